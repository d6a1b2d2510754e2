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
 * missed: a display that is as good as constant is not asked again and again for what it does not give.
 *
 * Outputs share the threads that compose, and their clients share CPUs. Where the frames of two are due at
 * once ("crowded"), each takes longer, in a way that depends on the machine: what such frames cost, and what
 * safety they need, is learned apart from the others, so that these do not begin earlier than they must.
 *
 * Pure: no clock is read; a recorded trace can drive it. All times in ns of one clock. */
#ifndef MC_PACING_H
#define MC_PACING_H

#include <stdbool.h>
#include <stdint.h>

#include "margin.h"
#include "response.h"
#include "vclock.h"
#include "window.h"

enum mc_pacing_mode {
    MC_PACING_ASAP = 0,     /* at once, as wlroots does */
    MC_PACING_FIXED = 1,    /* a set time before the vblank, as Sway's max_render_time */
    MC_PACING_ADAPTIVE = 2, /* the above */
};

/* What frames of one kind take. */
struct mc_pacing_load {
    struct mc_window_stats cost;
    struct mc_margin safety;
};

struct mc_pacing {
    enum mc_pacing_mode mode;
    uint64_t fixed_ns;       /* mode fixed: how long before the vblank a frame begins */
    double target_miss_rate; /* mode adaptive: 0 < rate < 1 */
    struct mc_vclock clock;
    struct mc_pacing_load loads[2]; /* of frames that are not crowded, and of those that are */
    /* The latch is known to be more than low and at most high. */
    uint64_t latch_low_ns, latch_high_ns;
    uint64_t cliff_ns; /* how long before its vblank the last missed frame had been committed; 0: none yet */
    uint32_t young;    /* so many frames more that lower the safety quickly: its first value is a guess */
    uint32_t frames_since_miss, frames_since_probe, probe_wait, misses_in_a_row, contradictions;
    uint64_t frames, misses, probe_misses; /* in time or missed; commits that came too late are not ours */
    /* What other outputs see of this one. */
    struct mc_pacing *peer; /* the next of the ring of those that share a machine; itself when alone */
    uint64_t work_ns;   /* how long before its vblank the last frame's work was to begin: clients' included */
    uint64_t worked_ns; /* when that frame was handed over; 0: none yet */
};

struct mc_plan {
    uint64_t start_ns;  /* when to begin; not before now */
    uint64_t vblank_ns; /* which vblank it is for; 0 with mode asap on an unknown display */
    uint64_t budget_ns; /* how long before that a frame of its kind begins, when it is wanted in time */
    bool probe;         /* tries a smaller latch, so begins later than that */
    bool late; /* begins at once because its proper start has passed: if it misses, that is not the pacing's
                  fault */
    bool crowded; /* another output's frame is due as well */
};

void mc_pacing_init(struct mc_pacing *pacing, enum mc_pacing_mode mode, uint64_t fixed_ns,
                    double target_miss_rate);
/* Both are driven on one machine from now on; other may be in company already. Leave: before it is freed. */
void mc_pacing_join(struct mc_pacing *pacing, struct mc_pacing *other);
void mc_pacing_leave(struct mc_pacing *pacing);
/* The mode of the display changed: what was learned of it is void. */
void mc_pacing_reset(struct mc_pacing *pacing, uint64_t nominal_period_ns);
/* How long before its vblank a frame begins that is not crowded. */
uint64_t mc_pacing_budget_ns(const struct mc_pacing *pacing);
/* Plans the next frame, wanted now; not_before_ns: the vblank that is taken already (a flip is in flight), or
 * 0. */
struct mc_plan mc_pacing_plan(const struct mc_pacing *pacing, uint64_t now_ns, uint64_t not_before_ns);
/* A frame was composed and handed over: its commit returned at committed_ns. */
void mc_pacing_committed(struct mc_pacing *pacing, const struct mc_plan *plan, uint64_t committed_ns);
/* ... and was shown. seq as mc_vclock_stamp. True when it missed its vblank by the pacing's fault. */
bool mc_pacing_presented(struct mc_pacing *pacing, const struct mc_plan *plan, uint64_t committed_ns,
                         uint64_t seq, uint64_t shown_ns);

/* When to ask a client for its next frame (wl_surface.frame's done), so that its commit lands just before the
 * frame begins that is shown at the vblank after shown_vblank_ns. Between a commit and the next plan. */
struct mc_ask mc_pacing_ask(struct mc_pacing *pacing, const struct mc_response *response, uint64_t now_ns,
                            uint64_t shown_vblank_ns);
/* How many of its answers may come too late, that the target is met. */
double mc_pacing_late_rate(double target_miss_rate);

#endif
