/* Time in the clients: CLOCK_MONOTONIC nanoseconds in uint64_t, as in the compositor's trace. */
#ifndef CLIENTS_COMMON_CLOCK_H
#define CLIENTS_COMMON_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

static inline uint64_t clock_now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static inline uint64_t monotonic_now_ns(void)
{
    return clock_now_ns(CLOCK_MONOTONIC);
}

#endif
