#include "futex_probes.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe_time.h"
#include "syscall_count.h"
#include "tasks.h"

/* ---- system calls ---- */

struct sync_work {
    int kind, blocked, rounds;
};

static int blocked_once(int kind, pthread_mutex_t *mutex, sem_t *semaphore, pthread_cond_t *condition)
{
    struct timespec until = mc_real_time_in(MC_NSEC_PER_MSEC);
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
    return mc_task_wait_asleep(atomic_load(&waiter->tid));
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
