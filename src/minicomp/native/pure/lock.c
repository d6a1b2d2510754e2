#include "lock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* nptl's PTHREAD_MUTEX_PRIO_INHERIT_NP, in no public header; there is no other way to ask a mutex. */
#define GLIBC_PRIO_INHERIT 32

bool mc_lock_init(struct mc_lock *lock, bool inherit)
{
    memset(lock, 0, sizeof(*lock));
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    if (inherit && pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT) != 0) {
        pthread_mutexattr_destroy(&attr);
        return false;
    }
    /* Error checking makes relocking by the owner EDEADLK instead of a hang; its cost is one compare. */
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    int error = pthread_mutex_init(&lock->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    atomic_store(&lock->holder, -1);
    return error == 0;
}

void mc_lock_finish(struct mc_lock *lock)
{
    pthread_mutex_destroy(&lock->mutex);
}

bool mc_lock_inherits(const struct mc_lock *lock)
{
    return (lock->mutex.__data.__kind & GLIBC_PRIO_INHERIT) != 0;
}

static void die(const char *what, int error)
{
    fprintf(stderr, "minicomp: compositor lock: %s: %s\n", what, strerror(error));
    abort();
}

struct mc_lock_wait mc_lock_acquire(struct mc_lock *lock)
{
    struct mc_lock_wait wait = {.holder = -1};
    int error = pthread_mutex_trylock(&lock->mutex);
    if (error == EBUSY) {
        wait.holder = atomic_load_explicit(&lock->holder, memory_order_relaxed);
        wait.begin_ns = mc_now_ns();
        error = pthread_mutex_lock(&lock->mutex);
        wait.end_ns = mc_now_ns();
    }
    if (error != 0) {
        die("acquire", error);
    }
    int source = mc_thread_source();
    lock->acquired_ns = wait.end_ns != 0 ? wait.end_ns : mc_now_ns();
    atomic_store_explicit(&lock->owner, (uintptr_t)pthread_self(), memory_order_relaxed);
    lock->acquired[source]++;
    atomic_store_explicit(&lock->holder, source, memory_order_relaxed);
    if (wait.begin_ns != 0) {
        uint64_t waited_ns = wait.end_ns - wait.begin_ns;
        lock->contended[source]++;
        if (waited_ns > lock->longest_wait_ns[source]) {
            lock->longest_wait_ns[source] = waited_ns;
        }
    }
    return wait;
}

uint64_t mc_lock_release(struct mc_lock *lock)
{
    uint64_t held_ns = mc_now_ns() - lock->acquired_ns;
    int source = mc_thread_source();
    if (held_ns > lock->longest_hold_ns[source]) {
        lock->longest_hold_ns[source] = held_ns;
    }
    atomic_store_explicit(&lock->owner, 0, memory_order_relaxed);
    atomic_store_explicit(&lock->holder, -1, memory_order_relaxed);
    int error = pthread_mutex_unlock(&lock->mutex);
    if (error != 0) {
        die("release", error);
    }
    return held_ns;
}

void mc_lock_urgent(struct mc_lock *lock, bool urgent)
{
    atomic_fetch_add(&lock->urgent, urgent ? 1 : -1);
}

bool mc_lock_is_urgent(struct mc_lock *lock)
{
    return atomic_load_explicit(&lock->urgent, memory_order_relaxed) > 0;
}

bool mc_lock_held(struct mc_lock *lock)
{
    return atomic_load_explicit(&lock->owner, memory_order_relaxed) == (uintptr_t)pthread_self();
}
