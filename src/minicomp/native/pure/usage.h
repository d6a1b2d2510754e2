/* How much CPU time a thread uses per display refresh: what a deadline reservation has to be made for.
 *
 * The time is added up from one wake-up to the first that comes a refresh later, or nearly (wake-ups are
 * planned against the vblank and move a little), so a thread that wakes several times for one frame is
 * measured in the unit that it is paid in. Pure; the caller keeps calls of one struct apart. All times in ns.
 */
#ifndef MC_USAGE_H
#define MC_USAGE_H

#include <stdint.h>

#define MC_USAGE_SIZE 512 /* refreshes; 8.5 s at 60 Hz */

struct mc_usage {
    uint64_t period_ns;                /* 0: not measured */
    uint64_t from_ns, from_cpu_ns;     /* when the present sum began; 0: none yet */
    uint64_t cpu_ns;                   /* at the end of the last work */
    uint32_t values_us[MC_USAGE_SIZE]; /* ring, newest at next - 1; rounded up */
    uint32_t count, next;
};

/* Forgets what was measured; 0 stops measuring. */
void mc_usage_start(struct mc_usage *usage, uint64_t period_ns);
/* The thread woke at woke_ns, has done its work, and has used cpu_ns since it was created. */
void mc_usage_note(struct mc_usage *usage, uint64_t woke_ns, uint64_t cpu_ns);
/* The value that the share `quantile` (0 to 1) of the sums does not exceed; 0 when there are fewer than few.
 */
uint64_t mc_usage_quantile_ns(const struct mc_usage *usage, double quantile, uint32_t few);

#endif
