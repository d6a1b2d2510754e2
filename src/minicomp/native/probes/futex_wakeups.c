#include "futex_probes.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe_time.h"
#include "tasks.h"

static long futex(_Atomic uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
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
    const struct timespec patience = mc_timespec(PATIENCE_MS(contest->tells) * MC_NSEC_PER_MSEC);
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
            struct timespec until = mc_real_time_in(2000 * MC_NSEC_PER_MSEC);
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
        error = mc_task_wait_asleep(atomic_load(&sleepers[i].tid)) ? 0 : -ETIMEDOUT;
    }
    *said_ret = (int)futex(&word, FUTEX_WAKE, 1, NULL);
    mc_sleep_us(20000); /* there is nothing to wait for: that no other wakes shows by time alone */
    *woke_ret = atomic_load(&woke);
    atomic_store(&word, 0);
    *mismatch_ret = futex(&word, FUTEX_WAIT, 1, NULL) == 0 ? 0 : errno;
    futex(&word, FUTEX_WAKE, (uint32_t)waiters, NULL);
    for (int i = 0; i < running; i++) {
        pthread_join(sleepers[i].thread, NULL);
    }
    return error;
}
