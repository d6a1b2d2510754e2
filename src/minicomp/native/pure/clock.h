/* Time and thread identity shared by both native planes. No wlroots here.
 *
 * All times are CLOCK_MONOTONIC nanoseconds in uint64_t unless a name says otherwise. */
#ifndef MC_CLOCK_H
#define MC_CLOCK_H

#include <stdint.h>
#include <time.h>

#define MC_NSEC_PER_SEC 1000000000ull
#define MC_NSEC_PER_MSEC 1000000ull
#define MC_NSEC_PER_USEC 1000ull

/* Which thread a trace record or a lock hold belongs to ("source" in the run file). */
enum mc_source {
    MC_SOURCE_LOOP = 0,
    MC_SOURCE_RENDER = 1,
    MC_SOURCE_POLICY = 2,
    MC_SOURCE_COUNT = 3,
};

static inline uint64_t mc_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * MC_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* CPU time that the calling thread has used; getrusage's is up to a tick old. */
static inline uint64_t mc_thread_cpu_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * MC_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static inline uint64_t mc_min_ns(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t mc_max_ns(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline struct timespec mc_timespec(uint64_t t_ns)
{
    struct timespec ts = {.tv_sec = (time_t)(t_ns / MC_NSEC_PER_SEC),
                          .tv_nsec = (long)(t_ns % MC_NSEC_PER_SEC)};
    return ts;
}

/* The calling thread's source; policy (Python) threads never set it, so that is the default. */
enum mc_source mc_thread_source(void);
void mc_thread_set_source(enum mc_source source);

#endif
