#include "vblank.h"

#define MILLIHERTZ_NS 1000000000000ull /* ns in a period of 1 mHz */

uint64_t mc_vblank_period_ns(const struct mc_vblank *vblank)
{
    return MILLIHERTZ_NS / vblank->refresh_mhz;
}

uint64_t mc_vblank_time(const struct mc_vblank *vblank, uint64_t seq)
{
    return vblank->base_ns + (uint64_t)((unsigned __int128)seq * MILLIHERTZ_NS / vblank->refresh_mhz);
}

uint64_t mc_vblank_seq_at_or_after(const struct mc_vblank *vblank, uint64_t t_ns)
{
    if (t_ns <= vblank->base_ns) {
        return 0;
    }
    unsigned __int128 scaled = (unsigned __int128)(t_ns - vblank->base_ns) * vblank->refresh_mhz;
    uint64_t seq = (uint64_t)(scaled / MILLIHERTZ_NS);
    /* Rounding down twice can land one short; step up to the first that is not before t. */
    while (mc_vblank_time(vblank, seq) < t_ns) {
        seq++;
    }
    return seq;
}

uint64_t mc_vblank_flip_seq(const struct mc_vblank *vblank, uint64_t t_ns)
{
    return mc_vblank_seq_at_or_after(vblank, t_ns + vblank->latch_ns);
}

void mc_vblank_set_refresh(struct mc_vblank *vblank, uint64_t now_ns, uint32_t refresh_mhz)
{
    uint64_t seq = mc_vblank_seq_at_or_after(vblank, now_ns);
    vblank->base_ns = mc_vblank_time(vblank, seq);
    vblank->refresh_mhz = refresh_mhz;
}
