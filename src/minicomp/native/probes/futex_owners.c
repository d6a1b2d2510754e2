#include "futex_probes.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe_time.h"
#include "tasks.h"

/* ---- priority inversion ---- */

enum { LOW = 1, MID = 2, HIGH = 3, COORDINATOR = 10 };

struct inversion {
    pthread_mutex_t mutex;
    sem_t low_holds, mid_may, high_may, over;
    _Atomic int low_tid;
    _Atomic bool high_waits, high_done;
    _Atomic uint64_t delay_ns;
};

static void *low_main(void *data)
{
    struct inversion *inversion = data;
    atomic_store(&inversion->low_tid, (int)syscall(SYS_gettid));
    pthread_mutex_lock(&inversion->mutex);
    sem_post(&inversion->low_holds);
    while (!atomic_load(&inversion->high_waits)) {
        sched_yield();
    }
    mc_use_cpu(10 * MC_NSEC_PER_MSEC);
    pthread_mutex_unlock(&inversion->mutex);
    sem_wait(&inversion->over); /* its priority is read until then */
    return NULL;
}

static void *mid_main(void *data)
{
    struct inversion *inversion = data;
    sem_wait(&inversion->mid_may);
    mc_use_cpu(40 * MC_NSEC_PER_MSEC);
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
    sem_t *semaphores[] = {&inversion.low_holds, &inversion.mid_may, &inversion.high_may, &inversion.over};
    for (size_t i = 0; i < sizeof(semaphores) / sizeof(*semaphores); i++) {
        sem_init(semaphores[i], 0, 0);
    }
    int error = one_cpu_fifo();
    pthread_t high, mid, low;
    /* Nothing fails between the three: a class that was given to us may be given to our threads. */
    if (error != 0 || (error = start_fifo(&high, high_main, HIGH, &inversion)) != 0 ||
        (error = start_fifo(&mid, mid_main, MID, &inversion)) != 0 ||
        (error = start_fifo(&low, low_main, LOW, &inversion)) != 0) {
        return error;
    }
    sem_wait(&inversion.low_holds);
    sem_post(&inversion.high_may);
    sem_post(&inversion.mid_may);
    int highest = 0;
    char value[16];
    while (!atomic_load(&inversion.high_done)) {
        /* proc(5), field 18: for a real-time thread -1 - its priority. */
        if (mc_task_stat(atomic_load(&inversion.low_tid), 18, value, sizeof(value)) &&
            -1 - atoi(value) > highest) {
            highest = -1 - atoi(value);
        }
        mc_sleep_us(500);
    }
    sem_post(&inversion.over);
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
    struct timespec until = mc_real_time_in(50 * MC_NSEC_PER_MSEC);
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
