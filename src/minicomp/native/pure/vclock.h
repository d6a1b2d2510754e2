/* When the next vblanks are, told from the ones that were reported.
 *
 * A line through the last presentation stamps (sequence number -> time), least squares, after
 * SurfaceFlinger's VSyncPredictor: stamps jitter, the display does not. A stamp far off the line is left out;
 * several in a row mean that the display has changed, and the line is begun anew. Estimated stamps (no flip
 * happened) are not fed. */
#ifndef MC_VCLOCK_H
#define MC_VCLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define MC_VCLOCK_STAMPS 20

struct mc_vclock {
    uint64_t nominal_ns; /* period by the mode; 0: unknown display, everything is a guess */
    uint64_t seqs[MC_VCLOCK_STAMPS], stamps_ns[MC_VCLOCK_STAMPS];
    uint32_t count, next;
    uint32_t rejected; /* in a row */
    /* The line: time of vblank `origin_seq + n` is origin_ns + n * period_ns (period with a fraction). */
    uint64_t origin_seq, origin_ns;
    double period_ns;
};

/* A new mode, or a new output: nothing is known but the nominal period. */
void mc_vclock_reset(struct mc_vclock *clock, uint64_t nominal_ns);
/* A frame was shown at t_ns. seq: the display's counter, or 0 when it has none (then it is told from the
 * time). False: the stamp did not fit and was left out. */
bool mc_vclock_stamp(struct mc_vclock *clock, uint64_t seq, uint64_t t_ns);
/* The first predicted vblank at or after t_ns. Never before t_ns. */
uint64_t mc_vclock_next(const struct mc_vclock *clock, uint64_t t_ns);
/* The period as it is estimated now. */
uint64_t mc_vclock_period_ns(const struct mc_vclock *clock);

#endif
