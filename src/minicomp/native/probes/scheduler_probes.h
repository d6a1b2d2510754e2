/* Section 2: the scheduler. The calling thread's own class and CPU are what is measured. Times in ns; 0 or
 * -errno unless said otherwise. */
#ifndef MC_SCHEDULER_PROBES_H
#define MC_SCHEDULER_PROBES_H

#include <stdint.h>

/* Uses the CPU until the monotonic time `until_ns`. Returns the thread's CPU time. */
uint64_t mc_probe_spin(uint64_t until_ns);

/* Streams through `bytes` of memory until `until_ns`. */
int mc_probe_thrash(uint64_t bytes, uint64_t until_ns);

/* Wants to wake at began + i * interval_ns for every i below `count`, and notes how late each was seen; a
 * point that had passed before the thread got to it counts from when it was wanted (no coordinated
 * omission). */
int mc_probe_wakeups(uint64_t interval_ns, int count, uint64_t *late_ns_ret);

/* One period: from its wanted begin to the begin and to the end of its work, and the CPU time that the kernel
 * charged for the work. What is beyond the work that was asked for went by between two readings of the
 * clock, while nothing of the thread was executed: an interrupt, or a hypervisor that ran something else. */
struct mc_probe_period {
    uint64_t begun_ns;
    uint64_t done_ns;
    uint64_t charged_ns;
};

/* Every period_ns: works for work_ns of CPU time, then sleeps until the next. */
int mc_probe_periods(uint64_t period_ns, uint64_t work_ns, int count, struct mc_probe_period *periods_ret);

/* Uses the CPU until `until_ns` and notes when it did not have it for longer than gap_ns: each interruption's
 * begin and end (monotonic). How many there were, `most` at most. */
int mc_probe_gaps(uint64_t until_ns, uint64_t gap_ns, int most, uint64_t *begins_ns_ret,
                  uint64_t *ends_ns_ret);

/* Dependent loads through `bytes` of memory in random order, in `samples` pieces of `loads` loads: what a
 * load took in each. */
int mc_probe_cache(uint64_t bytes, int samples, uint32_t loads, double *load_ns_ret);

#endif
