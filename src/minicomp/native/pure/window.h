/* Order statistics of the last few durations, without allocation: what cost or response time to reckon with.
 */
#ifndef MC_WINDOW_H
#define MC_WINDOW_H

#include <stdint.h>

#define MC_WINDOW_SIZE 64
#define MC_WINDOW_FEW 8 /* from this many samples on an outlier can be told */

struct mc_window_stats {
    uint32_t values_us[MC_WINDOW_SIZE]; /* ring, newest at next - 1; saturates at about 4,000 s */
    uint32_t sorted_us[MC_WINDOW_SIZE]; /* the same, ascending */
    uint32_t count, next;
};

void mc_window_add(struct mc_window_stats *window, uint64_t value_ns);
/* The value below which all but `drop` of the window lie (drop 0: the largest), in ns; 0 when empty. */
uint64_t mc_window_upper_ns(const struct mc_window_stats *window, uint32_t drop);
uint64_t mc_window_median_ns(const struct mc_window_stats *window);
/* The largest of the newest n. */
uint64_t mc_window_recent_ns(const struct mc_window_stats *window, uint32_t n);
/* The larger of both: what to reckon with, so that a step up counts at once. */
uint64_t mc_window_expected_ns(const struct mc_window_stats *window, uint32_t drop, uint32_t n);

#endif
