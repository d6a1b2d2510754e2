/* Clocks and sleeps of the probes, beside mc_now_ns. For C only: Python is not told of it. */
#ifndef MC_PROBE_TIME_H
#define MC_PROBE_TIME_H

#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "clock.h"

/* Any clock's time; mc_now_ns for CLOCK_MONOTONIC. */
static inline uint64_t mc_clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * MC_NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* For the timed waits of pthreads, whose clock is CLOCK_REALTIME. */
static inline struct timespec mc_real_time_in(uint64_t ns)
{
    return mc_timespec(mc_clock_ns(CLOCK_REALTIME) + ns);
}

static inline void mc_sleep_us(uint64_t us)
{
    struct timespec t = mc_timespec(us * MC_NSEC_PER_USEC);
    nanosleep(&t, NULL);
}

/* Until mc_now_ns says at_ns, whatever signals come. */
static inline void mc_sleep_until(uint64_t at_ns)
{
    struct timespec at = mc_timespec(at_ns);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
    }
}

/* Works for so long of the calling thread's CPU time. Returns what it was: a little more, or a lot when the
 * thread was stopped and charged for it. */
static inline uint64_t mc_use_cpu(uint64_t cpu_ns)
{
    uint64_t begin_ns = mc_thread_cpu_ns(), used_ns;
    do {
        used_ns = mc_thread_cpu_ns() - begin_ns;
    } while (used_ns < cpu_ns);
    return used_ns;
}

#endif
