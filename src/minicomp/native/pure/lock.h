/* The compositor lock: a priority-inheriting mutex that knows who holds it and for how long.
 *
 * PTHREAD_PRIO_INHERIT is FUTEX_LOCK_PI: while the render thread waits, the holder runs with the render
 * thread's urgency. wlroots is not thread-safe, so nothing touches it without this lock. Not recursive. */
#ifndef MC_LOCK_H
#define MC_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "clock.h"

struct mc_lock {
    pthread_mutex_t mutex;
    _Atomic int holder;      /* enum mc_source, or -1 when free; a hint for waiters */
    _Atomic uintptr_t owner; /* pthread_self() of the holder, 0 when free */
    _Atomic int urgent;      /* how many wait that should be let in */
    uint64_t acquired_ns;
    uint64_t longest_hold_ns[MC_SOURCE_COUNT]; /* guarded by mutex */
    uint64_t longest_wait_ns[MC_SOURCE_COUNT];
    uint64_t contended[MC_SOURCE_COUNT]; /* how often a source had to wait */
    uint64_t acquired[MC_SOURCE_COUNT];
};

struct mc_lock_wait {
    uint64_t begin_ns; /* 0: did not wait */
    uint64_t end_ns;
    int holder; /* who held it when the wait began, or -1 */
};

bool mc_lock_init(struct mc_lock *lock, bool inherit);
void mc_lock_finish(struct mc_lock *lock);
/* Whether it inherits priorities, by what glibc keeps in the mutex itself. */
bool mc_lock_inherits(const struct mc_lock *lock);
/* Takes the lock for the calling thread's source. Aborts when this thread holds it already: that would be a
 * deadlock, and a stack trace beats a hang. */
struct mc_lock_wait mc_lock_acquire(struct mc_lock *lock);
/* Gives the lock back; the time it was held, in ns. */
uint64_t mc_lock_release(struct mc_lock *lock);
/* Somebody for whom a holder should make way, if it can, is about to wait (true) or has the lock (false). */
void mc_lock_urgent(struct mc_lock *lock, bool urgent);
bool mc_lock_is_urgent(struct mc_lock *lock);
/* Whether the calling thread holds it; for assertions. */
bool mc_lock_held(struct mc_lock *lock);

#endif
