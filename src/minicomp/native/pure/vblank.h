/* A display's vertical blanks as arithmetic: when they are, and which one a commit makes.
 *
 * Vblank n is at base + n * 10^12 / refresh_mhz, rounded down once, so that no error accumulates however long
 * it runs. KMS flip semantics: a commit at time t is latched by the first vblank v with v - latch >= t. */
#ifndef MC_VBLANK_H
#define MC_VBLANK_H

#include <stdint.h>

struct mc_vblank {
    uint64_t base_ns;     /* time of vblank 0 */
    uint32_t refresh_mhz; /* > 0 */
    uint64_t latch_ns;    /* how long before a vblank a commit must have arrived */
};

uint64_t mc_vblank_period_ns(const struct mc_vblank *vblank);
uint64_t mc_vblank_time(const struct mc_vblank *vblank, uint64_t seq);
/* The first vblank at or after t_ns. */
uint64_t mc_vblank_seq_at_or_after(const struct mc_vblank *vblank, uint64_t t_ns);
/* The vblank that shows a commit made at t_ns. */
uint64_t mc_vblank_flip_seq(const struct mc_vblank *vblank, uint64_t t_ns);
/* Another refresh rate from the next vblank after now_ns on: that one keeps its time and becomes number 0, as
 * hardware restarts its counter at a modeset. */
void mc_vblank_set_refresh(struct mc_vblank *vblank, uint64_t now_ns, uint32_t refresh_mhz);

#endif
