/* SIGXCPU, which a SCHED_DEADLINE thread with SCHED_FLAG_DL_OVERRUN causes when it has spent its budget and
 * is throttled until its next period. Its default action would kill the process; here it is counted.
 *
 * The kernel sends it to the process, not to the thread, and several that are pending are one: the count is a
 * lower bound. Any thread. */
#ifndef MC_OVERRUN_H
#define MC_OVERRUN_H

#include <stdint.h>

/* Installs the handler, once. 0 or -errno. To be called before any thread of the process can get the flag. */
int mc_overrun_watch(void);
/* How many so far, and (when at_ns_ret is not NULL) when the last one was, CLOCK_MONOTONIC. */
uint64_t mc_overrun_count(uint64_t *at_ns_ret);

#endif
