#include "futex_probes.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe_time.h"
#include "syscall_count.h"

#define MS 1000000u

/* A field of /proc/self/task/TID/stat after the name, counted as in proc(5); 'S' for field 3 of a sleeper. */
static bool read_stat(int tid, int field, char *value, size_t size)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
    FILE *stat = fopen(path, "r");
    if (stat == NULL) {
        return false;
    }
    char *at = fgets(text, sizeof(text), stat) != NULL ? strrchr(text, ')') : NULL;
    fclose(stat);
    for (int i = 2; i < field && at != NULL; i++) {
        at = strchr(at + 1, ' ');
    }
    if (at == NULL) {
        return false;
    }
    snprintf(value, size, "%.*s", (int)strcspn(at + 1, " "), at + 1);
    return true;
}

static bool wait_until_asleep(int tid)
{
    uint64_t give_up_ns = mc_now_ns() + 1000 * MS;
    char state[4];
    while (mc_now_ns() < give_up_ns) {
        if (tid != 0 && read_stat(tid, 3, state, sizeof(state)) && state[0] == 'S') {
            return true;
        }
        mc_sleep_us(20);
    }
    return false;
}

static long futex(_Atomic uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

/* ---- system calls ---- */

struct sync_work {
    int kind, blocked, rounds;
};

static int blocked_once(int kind, pthread_mutex_t *mutex, sem_t *semaphore, pthread_cond_t *condition)
{
    struct timespec until = mc_real_time_in(MS);
    if (kind == MC_PROBE_MUTEX) {
        return pthread_mutex_timedlock(mutex, &until) == ETIMEDOUT ? 0 : EPROTO; /* held: by ourselves */
    }
    if (kind == MC_PROBE_SEMAPHORE) {
        return sem_timedwait(semaphore, &until) != 0 && errno == ETIMEDOUT ? 0 : EPROTO;
    }
    return pthread_cond_timedwait(condition, mutex, &until) == ETIMEDOUT ? 0 : EPROTO;
}

static int free_once(int kind, pthread_mutex_t *mutex, sem_t *semaphore, pthread_cond_t *condition)
{
    if (kind == MC_PROBE_MUTEX) {
        return pthread_mutex_lock(mutex) != 0 || pthread_mutex_unlock(mutex) != 0 ? EPROTO : 0;
    }
    if (kind == MC_PROBE_SEMAPHORE) {
        return sem_post(semaphore) != 0 || sem_wait(semaphore) != 0 ? EPROTO : 0;
    }
    return pthread_cond_signal(condition);
}

static int do_sync(void *data)
{
    const struct sync_work *work = data;
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    sem_t semaphore;
    sem_init(&semaphore, 0, 0);
    if (work->blocked) {
        pthread_mutex_lock(&mutex);
    }
    int error = 0;
    mc_count_mark();
    for (int i = 0; i < work->rounds && error == 0; i++) {
        error = work->blocked ? blocked_once(work->kind, &mutex, &semaphore, &condition)
                              : free_once(work->kind, &mutex, &semaphore, &condition);
    }
    mc_count_mark();
    return error;
}

int mc_probe_sync_syscalls(int kind, int blocked, int rounds, uint32_t *counts_ret, uint64_t size)
{
    struct sync_work work = {kind, blocked, rounds};
    return mc_count_syscalls(do_sync, &work, counts_ret, (size_t)size);
}

int mc_probe_futex_number(void)
{
    return SYS_futex;
}

int mc_probe_uncontended(int batch, int rounds, uint64_t *batch_ns_ret)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    for (int round = 0; round < rounds; round++) {
        uint64_t begin_ns = mc_now_ns();
        for (int i = 0; i < batch; i++) {
            pthread_mutex_lock(&mutex);
            pthread_mutex_unlock(&mutex);
        }
        batch_ns_ret[round] = mc_now_ns() - begin_ns;
    }
    return 0;
}

/* ---- a thread that sleeps for a mutex ---- */

struct waiter {
    pthread_mutex_t mutex;
    pthread_t thread;
    _Atomic int tid;
    _Atomic bool go, over;
    _Atomic uint64_t got_ns;
};

static void *waiter_main(void *data)
{
    struct waiter *waiter = data;
    atomic_store(&waiter->tid, (int)syscall(SYS_gettid));
    while (!atomic_load(&waiter->over)) {
        if (!atomic_exchange(&waiter->go, false)) {
            sched_yield();
            continue;
        }
        pthread_mutex_lock(&waiter->mutex);
        atomic_store(&waiter->got_ns, mc_now_ns());
        pthread_mutex_unlock(&waiter->mutex);
    }
    return NULL;
}

static bool begin_wait(struct waiter *waiter)
{
    atomic_store(&waiter->got_ns, 0);
    atomic_store(&waiter->go, true);
    while (atomic_load(&waiter->go)) {
        sched_yield();
    }
    return wait_until_asleep(atomic_load(&waiter->tid));
}

static void end_wait(struct waiter *waiter)
{
    while (atomic_load(&waiter->got_ns) == 0) {
        sched_yield();
    }
}

int mc_probe_mutex_states(int *states_ret)
{
    struct waiter waiter = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    int error = -pthread_create(&waiter.thread, NULL, waiter_main, &waiter);
    if (error != 0) {
        return error;
    }
    states_ret[0] = waiter.mutex.__data.__lock;
    pthread_mutex_lock(&waiter.mutex);
    states_ret[1] = waiter.mutex.__data.__lock;
    error = begin_wait(&waiter) ? 0 : -ETIMEDOUT;
    states_ret[2] = waiter.mutex.__data.__lock;
    pthread_mutex_unlock(&waiter.mutex);
    end_wait(&waiter);
    atomic_store(&waiter.over, true);
    pthread_join(waiter.thread, NULL);
    states_ret[3] = waiter.mutex.__data.__lock;
    return error;
}

int mc_probe_hand_over(int adaptive, int rounds, uint64_t *hand_over_ns_ret, int *spins_ret)
{
    struct waiter waiter = {.tid = 0};
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, adaptive ? PTHREAD_MUTEX_ADAPTIVE_NP : PTHREAD_MUTEX_DEFAULT);
    pthread_mutex_init(&waiter.mutex, &attributes);
    int error = -pthread_create(&waiter.thread, NULL, waiter_main, &waiter);
    if (error != 0) {
        return error;
    }
    for (int round = 0; round < rounds && error == 0; round++) {
        pthread_mutex_lock(&waiter.mutex);
        error = begin_wait(&waiter) ? 0 : -ETIMEDOUT;
        uint64_t begin_ns = mc_now_ns();
        pthread_mutex_unlock(&waiter.mutex);
        end_wait(&waiter);
        hand_over_ns_ret[round] = atomic_load(&waiter.got_ns) - begin_ns;
    }
    atomic_store(&waiter.over, true);
    pthread_join(waiter.thread, NULL);
    *spins_ret = waiter.mutex.__data.__spins;
    return error;
}

/* ---- lost wake-ups ---- */

#define CONTENDERS 4
/* Where nobody tells, every sleep ends by patience; where somebody does, none should, however busy the CPUs
 * are. */
#define PATIENCE_MS(tells) ((tells) ? 2000 : 10)

struct contest {
    _Atomic uint32_t word;
    _Atomic uint64_t given_back, sleeps, lost;
    _Atomic bool over;
    bool tells;
    uint64_t counter; /* under the lock */
};

static void contest_lock(struct contest *contest)
{
    uint32_t seen = 0;
    if (atomic_compare_exchange_strong(&contest->word, &seen, 1)) {
        return;
    }
    const struct timespec patience = {PATIENCE_MS(contest->tells) / 1000,
                                      PATIENCE_MS(contest->tells) % 1000 * (long)MS};
    uint32_t wanted = contest->tells ? 2 : 1;
    for (;;) {
        if (contest->tells) {
            if (atomic_exchange(&contest->word, 2) == 0) {
                return;
            }
        } else {
            seen = 0;
            if (atomic_compare_exchange_strong(&contest->word, &seen, 1)) {
                return;
            }
        }
        uint64_t before = atomic_load(&contest->given_back);
        long result = futex(&contest->word, FUTEX_WAIT, wanted, &patience);
        if (result == 0 || errno == ETIMEDOUT) {
            atomic_fetch_add(&contest->sleeps, 1);
        }
        /* Asleep all the time, given back meanwhile, not woken. */
        if (result != 0 && errno == ETIMEDOUT && atomic_load(&contest->given_back) != before) {
            atomic_fetch_add(&contest->lost, 1);
        }
    }
}

static void contest_unlock(struct contest *contest)
{
    atomic_fetch_add(&contest->given_back, 1);
    if (atomic_exchange(&contest->word, 0) == 2) {
        futex(&contest->word, FUTEX_WAKE, 1, NULL);
    }
}

static void *contender(void *data)
{
    struct contest *contest = data;
    for (unsigned i = 0; !atomic_load(&contest->over); i++) {
        contest_lock(contest);
        contest->counter++;
        if (i % 64 == 0) {
            mc_sleep_us(50); /* the others do go to sleep, on one CPU as well */
        }
        contest_unlock(contest);
    }
    return NULL;
}

int mc_probe_lost(int tells, int limit_ms, uint64_t *locks_ret, uint64_t *sleeps_ret, uint64_t *lost_ret)
{
    struct contest contest = {.tells = tells != 0};
    pthread_t threads[CONTENDERS];
    int running = 0, error = 0;
    for (; running < CONTENDERS && error == 0; running++) {
        error = -pthread_create(&threads[running], NULL, contender, &contest);
    }
    running -= error != 0;
    mc_sleep_us((uint64_t)limit_ms * 1000);
    atomic_store(&contest.over, true);
    for (int i = 0; i < running; i++) {
        pthread_join(threads[i], NULL);
    }
    *locks_ret = contest.counter;
    *sleeps_ret = atomic_load(&contest.sleeps);
    *lost_ret = atomic_load(&contest.lost);
    return error != 0 ? error : contest.counter == atomic_load(&contest.given_back) ? 0 : -EPROTO;
}

struct ring {
    pthread_mutex_t mutex;
    pthread_cond_t turned;
    int turn, members, rounds, done;
};

struct member {
    struct ring *ring;
    int place;
};

static void *member_main(void *data)
{
    const struct member *member = data;
    struct ring *ring = member->ring;
    pthread_mutex_lock(&ring->mutex);
    for (int result = 0; ring->done < ring->rounds && result == 0;) {
        if (ring->turn == member->place) {
            ring->turn = (ring->turn + 1) % ring->members;
            ring->done++;
            pthread_cond_broadcast(&ring->turned);
        } else {
            struct timespec until = mc_real_time_in(2000 * MS);
            result = pthread_cond_timedwait(&ring->turned, &ring->mutex, &until);
        }
    }
    pthread_cond_broadcast(&ring->turned);
    pthread_mutex_unlock(&ring->mutex);
    return NULL;
}

int mc_probe_token(int threads, int rounds, int *done_ret)
{
    struct ring ring = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, threads, rounds, 0};
    struct member members[64];
    pthread_t ids[64];
    if (threads > 64) {
        return -EINVAL;
    }
    int running = 0, error = 0;
    for (; running < threads && error == 0; running++) {
        members[running] = (struct member){&ring, running};
        error = -pthread_create(&ids[running], NULL, member_main, &members[running]);
    }
    running -= error != 0;
    for (int i = 0; i < running; i++) {
        pthread_join(ids[i], NULL);
    }
    *done_ret = ring.done;
    return error;
}

/* ---- waking one ---- */

struct sleeper {
    pthread_t thread;
    _Atomic uint32_t *word;
    _Atomic int tid, *woke;
};

static void *sleeper_main(void *data)
{
    struct sleeper *sleeper = data;
    atomic_store(&sleeper->tid, (int)syscall(SYS_gettid));
    const struct timespec patience = {.tv_sec = 2};
    if (futex(sleeper->word, FUTEX_WAIT, 1, &patience) == 0) {
        atomic_fetch_add(sleeper->woke, 1);
    }
    return NULL;
}

int mc_probe_wake_one(int waiters, int *said_ret, int *woke_ret, int *mismatch_ret)
{
    _Atomic uint32_t word = 1;
    _Atomic int woke = 0;
    struct sleeper sleepers[64] = {0};
    if (waiters > 64) {
        return -EINVAL;
    }
    int running = 0, error = 0;
    for (; running < waiters && error == 0; running++) {
        sleepers[running].word = &word;
        sleepers[running].woke = &woke;
        error = -pthread_create(&sleepers[running].thread, NULL, sleeper_main, &sleepers[running]);
    }
    running -= error != 0;
    for (int i = 0; i < running && error == 0; i++) {
        while (atomic_load(&sleepers[i].tid) == 0) {
            sched_yield();
        }
        error = wait_until_asleep(atomic_load(&sleepers[i].tid)) ? 0 : -ETIMEDOUT;
    }
    *said_ret = (int)futex(&word, FUTEX_WAKE, 1, NULL);
    mc_sleep_us(20000);
    *woke_ret = atomic_load(&woke);
    atomic_store(&word, 0);
    *mismatch_ret = futex(&word, FUTEX_WAIT, 1, NULL) == 0 ? 0 : errno;
    futex(&word, FUTEX_WAKE, (uint32_t)waiters, NULL);
    for (int i = 0; i < running; i++) {
        pthread_join(sleepers[i].thread, NULL);
    }
    return error;
}

/* ---- priority inversion ---- */

enum { LOW = 1, MID = 2, HIGH = 3, COORDINATOR = 10 };

struct inversion {
    pthread_mutex_t mutex;
    sem_t mid_may, high_may;
    _Atomic int low_tid;
    _Atomic bool low_holds, high_waits, high_done, over;
    _Atomic uint64_t delay_ns;
};

static void *low_main(void *data)
{
    struct inversion *inversion = data;
    atomic_store(&inversion->low_tid, (int)syscall(SYS_gettid));
    pthread_mutex_lock(&inversion->mutex);
    atomic_store(&inversion->low_holds, true);
    while (!atomic_load(&inversion->high_waits)) {
        sched_yield();
    }
    mc_use_cpu(10 * MS);
    pthread_mutex_unlock(&inversion->mutex);
    while (!atomic_load(&inversion->over)) {
        mc_sleep_us(1000); /* its priority is still being read */
    }
    return NULL;
}

static void *mid_main(void *data)
{
    struct inversion *inversion = data;
    sem_wait(&inversion->mid_may);
    mc_use_cpu(40 * MS);
    return NULL;
}

static void *high_main(void *data)
{
    struct inversion *inversion = data;
    sem_wait(&inversion->high_may);
    atomic_store(&inversion->high_waits, true); /* on one CPU nobody below runs before we do wait */
    uint64_t begin_ns = mc_now_ns();
    pthread_mutex_lock(&inversion->mutex);
    atomic_store(&inversion->delay_ns, mc_now_ns() - begin_ns);
    pthread_mutex_unlock(&inversion->mutex);
    atomic_store(&inversion->high_done, true);
    return NULL;
}

static int start_fifo(pthread_t *thread, void *(*run)(void *), int priority, void *data)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
    struct sched_param param = {.sched_priority = priority};
    pthread_attr_setschedparam(&attributes, &param);
    return -pthread_create(thread, &attributes, run, data);
}

static int one_cpu_fifo(void)
{
    cpu_set_t cpus, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0) {
        return -errno;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &cpus)) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one); /* the last: the first takes most interrupts */
        }
    }
    struct sched_param param = {.sched_priority = COORDINATOR};
    bool done =
        sched_setaffinity(0, sizeof(one), &one) == 0 && sched_setscheduler(0, SCHED_FIFO, &param) == 0;
    return done ? 0 : -errno;
}

int mc_probe_inversion(int inherit, uint64_t *delay_ns_ret, int *low_priority_ret)
{
    struct inversion inversion = {.low_tid = 0};
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, inherit ? PTHREAD_PRIO_INHERIT : PTHREAD_PRIO_NONE);
    pthread_mutex_init(&inversion.mutex, &attributes);
    sem_init(&inversion.mid_may, 0, 0);
    sem_init(&inversion.high_may, 0, 0);
    int error = one_cpu_fifo();
    pthread_t high, mid, low;
    /* Nothing fails between the three: a class that was given to us may be given to our threads. */
    if (error != 0 || (error = start_fifo(&high, high_main, HIGH, &inversion)) != 0 ||
        (error = start_fifo(&mid, mid_main, MID, &inversion)) != 0 ||
        (error = start_fifo(&low, low_main, LOW, &inversion)) != 0) {
        return error;
    }
    while (!atomic_load(&inversion.low_holds)) {
        mc_sleep_us(500);
    }
    sem_post(&inversion.high_may);
    sem_post(&inversion.mid_may);
    int highest = 0;
    char value[16];
    while (!atomic_load(&inversion.high_done)) {
        /* proc(5), field 18: for a real-time thread -1 - its priority. */
        if (read_stat(atomic_load(&inversion.low_tid), 18, value, sizeof(value)) &&
            -1 - atoi(value) > highest) {
            highest = -1 - atoi(value);
        }
        mc_sleep_us(500);
    }
    atomic_store(&inversion.over, true);
    pthread_join(high, NULL);
    pthread_join(mid, NULL);
    pthread_join(low, NULL);
    *delay_ns_ret = atomic_load(&inversion.delay_ns);
    *low_priority_ret = highest;
    return 0;
}

/* ---- an owner that dies ---- */

static void *lock_and_end(void *mutex)
{
    pthread_mutex_lock(mutex);
    return NULL;
}

int mc_probe_owner_dies(int robust, int process, int *lock_ret, int *again_ret)
{
    pthread_mutex_t *mutex =
        mmap(NULL, sizeof(*mutex), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mutex == MAP_FAILED) {
        return -errno;
    }
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, robust ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED);
    pthread_mutexattr_setpshared(&attributes, process ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
    pthread_mutex_init(mutex, &attributes);
    if (process) {
        pid_t pid = fork();
        if (pid == 0) {
            pthread_mutex_lock(mutex);
            raise(SIGKILL);
        }
        if (pid < 0 || waitpid(pid, NULL, 0) != pid) {
            return -errno;
        }
    } else {
        pthread_t owner;
        int error = pthread_create(&owner, NULL, lock_and_end, mutex);
        if (error != 0) {
            return -error;
        }
        pthread_join(owner, NULL);
    }
    struct timespec until = mc_real_time_in(50 * MS);
    *lock_ret = pthread_mutex_timedlock(mutex, &until);
    *again_ret = *lock_ret;
    if (*lock_ret == EOWNERDEAD) {
        pthread_mutex_consistent(mutex);
        pthread_mutex_unlock(mutex);
        *again_ret = pthread_mutex_lock(mutex);
    }
    munmap(mutex, sizeof(*mutex));
    return 0;
}
