/* When to begin a frame: as late as the display, the machine and the stated miss rate allow.
 *
 * A frame that is to be shown at vblank V begins at V - (cost + latch + safety):
 *   cost    what it takes from the planned start to the commit's return: wake lateness, lock wait, compose,
 * commit. An upper order statistic of the last frames, so that a step up is followed at once and one down in
 * a second. latch   how long before V a commit must have returned to be shown at V. Unknown; found by
 * bisection: a frame shown in time with slack s proves latch <= s; now and then one frame tries half-way to
 * what has failed. safety  what else it takes to miss no more than the target: raised by each miss, lowered a
 * little by each frame in time, in the ratio that balances at the target rate (stochastic approximation,
 * Robbins and Monro 1951), and much less where frames are in time with hardly more slack than one that
 * missed: a display that is as good as constant is not asked again and again for what it does not give. Pure:
 * no clock is read; a recorded trace can drive it. All times in ns of one clock. */
#ifndef MC_PACING_H
#define MC_PACING_H

#include <stdbool.h>
#include <stdint.h>

#include "vclock.h"
#include "window.h"

enum mc_pacing_mode {
    MC_PACING_ASAP = 0,     /* at once, as wlroots does */
    MC_PACING_FIXED = 1,    /* a set time before the vblank, as Sway's max_render_time */
    MC_PACING_ADAPTIVE = 2, /* the above */
};

struct mc_pacing {
    enum mc_pacing_mode mode;
    uint64_t fixed_ns;       /* mode fixed: how long before the vblank a frame begins */
    double target_miss_rate; /* mode adaptive: 0 < rate < 1 */
    struct mc_vclock clock;
    struct mc_window_stats cost;
    /* The latch is known to be more than low and at most high. */
    uint64_t latch_low_ns, latch_high_ns;
    uint64_t safety_ns;
    uint64_t cliff_ns; /* how long before its vblank the last missed frame had been committed; 0: none yet */
    bool probing;      /* the frame that is planned tries a smaller latch */
    uint32_t frames_since_miss, frames_since_probe, probe_wait, misses_in_a_row;
    uint64_t frames, misses, probe_misses; /* in time or missed; commits that came too late are not ours */
};

struct mc_plan {
    uint64_t start_ns;  /* when to begin; not before now */
    uint64_t vblank_ns; /* which vblank it is for; 0 with mode asap on an unknown display */
    bool probe;
    bool late; /* begins at once because its proper start has passed: if it misses, that is not the pacing's
                  fault */
};

void mc_pacing_init(struct mc_pacing *pacing, enum mc_pacing_mode mode, uint64_t fixed_ns,
                    double target_miss_rate);
/* The mode of the display changed: what was learned of it is void. */
void mc_pacing_reset(struct mc_pacing *pacing, uint64_t nominal_period_ns);
/* How long before its vblank a frame begins. */
uint64_t mc_pacing_budget_ns(const struct mc_pacing *pacing);
/* Plans the next frame, wanted now; not_before_ns: the vblank that is taken already (a flip is in flight), or
 * 0. */
struct mc_plan mc_pacing_plan(struct mc_pacing *pacing, uint64_t now_ns, uint64_t not_before_ns);
/* A frame was composed and handed over: its commit returned at committed_ns. */
void mc_pacing_committed(struct mc_pacing *pacing, const struct mc_plan *plan, uint64_t committed_ns);
/* ... and was shown. seq as mc_vclock_stamp. True when it missed its vblank by the pacing's fault. */
bool mc_pacing_presented(struct mc_pacing *pacing, const struct mc_plan *plan, uint64_t committed_ns,
                         uint64_t seq, uint64_t shown_ns);

/* When to ask a client for its next frame (wl_surface.frame's done), so that its commit lands just before the
 * frame begins that is shown at the vblank after shown_vblank_ns. Not before now. */
uint64_t mc_pacing_callback_ns(const struct mc_pacing *pacing, const struct mc_window_stats *response,
                               uint64_t now_ns, uint64_t shown_vblank_ns);

#endif
