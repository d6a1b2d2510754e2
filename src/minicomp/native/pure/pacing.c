#include "pacing.h"

#include <string.h>

#include "clock.h"

#define COST_DROP 1                            /* of the window's 64: an outlier is the safety's business */
#define COST_RECENT 3                          /* a step up counts from the first frame on */
#define UNKNOWN_COST_NS (2 * MC_NSEC_PER_MSEC) /* before anything was measured */
#define FIRST_LATCH_NS (4 * MC_NSEC_PER_MSEC)
#define EAGER_FRAMES 4          /* between two tries, until the first one that fails */
#define PROBE_AFTER_FRAMES 24   /* and then, for a start */
#define PROBE_PATIENCE 4096     /* tries get rarer, but never end: displays change */
#define LATCH_PRECISION_SHARE 8 /* done when high - low <= high / 8 ... */
#define LATCH_PRECISION_NS (20 * MC_NSEC_PER_USEC)
/* Of the safety, as parts of a period. */
#define SAFETY_STEP_SHARE 64 /* for a miss */
#define LARGEST_STEP_SHARE 16
#define LARGEST_SAFETY_SHARE 2
#define LEAST_SAFETY_SHARE 256
#define STALL_SHARE 4 /* more than this short: something stood still */
#define FIRST_SAFETY_NS (200 * MC_NSEC_PER_USEC)
#define YOUNG_FRAMES 128
#define YOUNG_SHARE 32  /* of the safety, for each frame in time */
#define CLIFF_SHARE 128 /* of a period: "hardly more slack" than what missed */
#define CLIFF_SLOWER 16
#define SAME_VBLANK_SHARE 2 /* shown within half a period of its vblank: in time */
#define MISSES_BEFORE_RELEARN 3
/* Of the target's misses: what frames may fail by composing too late, and by clients that answer too late.
 * Half of the target together, so that a few thousand frames can show it to be met. */
#define FRAME_SHARE 4
#define RESPONSE_SHARE 4
#define TRUSTED_CONTRADICTIONS 2
#define NEAR_SHARE 4        /* of the latch */
#define PEER_IDLE_PERIODS 3 /* an output that has shown nothing for so long takes nobody's time */

void mc_pacing_init(struct mc_pacing *pacing, enum mc_pacing_mode mode, uint64_t fixed_ns,
                    double target_miss_rate)
{
    memset(pacing, 0, sizeof(*pacing));
    pacing->mode = mode;
    pacing->fixed_ns = fixed_ns;
    pacing->target_miss_rate = target_miss_rate;
    pacing->peer = pacing;
    mc_pacing_reset(pacing, 0);
}

void mc_pacing_join(struct mc_pacing *pacing, struct mc_pacing *other)
{
    pacing->peer = other->peer;
    other->peer = pacing;
}

void mc_pacing_leave(struct mc_pacing *pacing)
{
    struct mc_pacing *before = pacing;
    while (before->peer != pacing) {
        before = before->peer;
    }
    before->peer = pacing->peer;
    pacing->peer = pacing;
}

static struct mc_margin_rules safety_rules(const struct mc_pacing *pacing)
{
    uint64_t period_ns = mc_vclock_period_ns(&pacing->clock);
    return (struct mc_margin_rules){
        .rate = pacing->target_miss_rate / FRAME_SHARE,
        .step_ns = period_ns / SAFETY_STEP_SHARE,
        .largest_ns = period_ns / LARGEST_STEP_SHARE,
        .most_ns = period_ns / LARGEST_SAFETY_SHARE,
        .least_ns = period_ns / LEAST_SAFETY_SHARE,
    };
}

void mc_pacing_reset(struct mc_pacing *pacing, uint64_t nominal_period_ns)
{
    mc_vclock_reset(&pacing->clock, nominal_period_ns);
    pacing->latch_low_ns = 0;
    pacing->latch_high_ns = mc_min_ns(FIRST_LATCH_NS, mc_vclock_period_ns(&pacing->clock) / 2);
    struct mc_margin_rules rules = safety_rules(pacing);
    for (int crowded = 0; crowded < 2; crowded++) {
        mc_margin_begin(&pacing->loads[crowded].safety, FIRST_SAFETY_NS, &rules);
    }
    pacing->cliff_ns = 0;
    pacing->young = YOUNG_FRAMES;
    pacing->frames_since_miss = pacing->frames_since_probe = pacing->misses_in_a_row = 0;
    pacing->contradictions = 0;
    pacing->probe_wait = EAGER_FRAMES;
    pacing->work_ns = pacing->worked_ns = 0;
}

static uint64_t upper_ns(const struct mc_window_stats *cost)
{
    return cost->count != 0 ? mc_window_expected_ns(cost, COST_DROP, COST_RECENT) : UNKNOWN_COST_NS;
}

static uint64_t cost_ns(const struct mc_pacing *pacing, bool crowded)
{
    const struct mc_window_stats *cost = &pacing->loads[crowded].cost;
    if (!crowded || cost->count >= MC_WINDOW_FEW) {
        return upper_ns(cost);
    }
    uint64_t known_ns = cost->count != 0 ? upper_ns(cost) : 0;
    uint64_t others_ns = 0;
    for (const struct mc_pacing *peer = pacing->peer; peer != pacing; peer = peer->peer) {
        others_ns += mc_window_median_ns(&peer->loads[false].cost);
    }
    return mc_max_ns(known_ns, upper_ns(&pacing->loads[false].cost) + others_ns);
}

static uint64_t budget_ns_of(const struct mc_pacing *pacing, bool crowded)
{
    if (pacing->mode == MC_PACING_FIXED) {
        return pacing->fixed_ns;
    }
    return cost_ns(pacing, crowded) + pacing->latch_high_ns + pacing->loads[crowded].safety.ns;
}

uint64_t mc_pacing_budget_ns(const struct mc_pacing *pacing)
{
    return budget_ns_of(pacing, false);
}

/* Whether another output's frame is worked on, from the callbacks of its clients to its commit, while one for
 * this vblank is. */
static bool is_crowded(const struct mc_pacing *pacing, uint64_t vblank_ns)
{
    if (pacing->peer == pacing || pacing->mode != MC_PACING_ADAPTIVE || vblank_ns < pacing->work_ns) {
        return false;
    }
    uint64_t begin_ns = vblank_ns - mc_max_ns(pacing->work_ns, budget_ns_of(pacing, false));
    uint64_t end_ns = vblank_ns - pacing->latch_high_ns;
    for (const struct mc_pacing *peer = pacing->peer; peer != pacing; peer = peer->peer) {
        uint64_t idle_ns = PEER_IDLE_PERIODS * mc_vclock_period_ns(&peer->clock);
        if (peer->worked_ns == 0 || begin_ns > peer->worked_ns + idle_ns) {
            continue;
        }
        uint64_t theirs_ns = mc_vclock_next(&peer->clock, begin_ns + peer->latch_high_ns);
        if (theirs_ns - mc_min_ns(peer->work_ns, theirs_ns) < end_ns) {
            return true;
        }
    }
    return false;
}

/* Whether the latch is known well enough to stop trying. */
static bool latch_known(const struct mc_pacing *pacing)
{
    uint64_t gap_ns = pacing->latch_high_ns - pacing->latch_low_ns;
    return gap_ns <= mc_max_ns(pacing->latch_high_ns / LATCH_PRECISION_SHARE, LATCH_PRECISION_NS);
}

static bool tries_less(const struct mc_pacing *pacing)
{
    uint32_t quiet = pacing->probe_wait < PROBE_AFTER_FRAMES ? pacing->probe_wait : PROBE_AFTER_FRAMES;
    return pacing->mode == MC_PACING_ADAPTIVE && !latch_known(pacing) && pacing->frames_since_miss >= quiet &&
           pacing->frames_since_probe >= pacing->probe_wait;
}

struct mc_plan mc_pacing_plan(const struct mc_pacing *pacing, uint64_t now_ns, uint64_t not_before_ns)
{
    struct mc_plan plan = {.start_ns = now_ns};
    uint64_t period_ns = mc_vclock_period_ns(&pacing->clock);
    /* The vblank after the one in flight: half a period on, whatever the stamps' jitter. */
    uint64_t from_ns = not_before_ns != 0 ? mc_max_ns(now_ns, not_before_ns + period_ns / 2) : now_ns;
    if (pacing->mode == MC_PACING_ASAP) {
        plan.start_ns = mc_max_ns(now_ns, not_before_ns);
        plan.vblank_ns = mc_vclock_next(&pacing->clock, mc_max_ns(plan.start_ns + 1, from_ns));
        plan.budget_ns = budget_ns_of(pacing, false);
        return plan;
    }
    plan.vblank_ns = mc_vclock_next(&pacing->clock, from_ns);
    plan.crowded = is_crowded(pacing, plan.vblank_ns);
    plan.budget_ns = budget_ns_of(pacing, plan.crowded);
    uint64_t before_ns = plan.budget_ns;
    if (!plan.crowded && tries_less(pacing)) {
        plan.probe = true;
        /* The bare middle: with safety on top it would try nothing. */
        before_ns = cost_ns(pacing, false) + (pacing->latch_low_ns + pacing->latch_high_ns) / 2;
    }
    if (plan.vblank_ns >= now_ns + before_ns) {
        plan.start_ns = plan.vblank_ns - before_ns;
        return plan;
    }
    plan.probe = false;
    /* Its proper start has passed. At once, if it will do with the usual cost and no safety; else the next
     * one. */
    uint64_t least_ns = mc_window_median_ns(&pacing->loads[plan.crowded].cost) + pacing->latch_high_ns;
    if (pacing->mode == MC_PACING_FIXED || plan.vblank_ns >= now_ns + least_ns) {
        plan.late = true;
        if (plan.vblank_ns > now_ns) {
            return plan;
        }
    }
    plan.vblank_ns = mc_vclock_next(&pacing->clock, plan.vblank_ns + period_ns / 2);
    plan.crowded = is_crowded(pacing, plan.vblank_ns);
    plan.budget_ns = budget_ns_of(pacing, plan.crowded);
    plan.start_ns = mc_max_ns(plan.vblank_ns - mc_min_ns(plan.budget_ns, plan.vblank_ns), now_ns);
    plan.late = plan.start_ns == now_ns;
    return plan;
}

void mc_pacing_committed(struct mc_pacing *pacing, const struct mc_plan *plan, uint64_t committed_ns)
{
    mc_window_add(&pacing->loads[plan->crowded].cost,
                  committed_ns > plan->start_ns ? committed_ns - plan->start_ns : 0);
    pacing->work_ns = budget_ns_of(pacing, false);
    pacing->worked_ns = committed_ns;
}

static void missed(struct mc_pacing *pacing, const struct mc_plan *plan, uint64_t committed_ns,
                   uint64_t slack_ns)
{
    pacing->frames_since_miss = 0;
    if (plan->probe) {
        pacing->probe_misses++;
        pacing->latch_low_ns =
            mc_max_ns(pacing->latch_low_ns, mc_min_ns(slack_ns, pacing->latch_high_ns - 1));
        return;
    }
    uint64_t period_ns = mc_vclock_period_ns(&pacing->clock);
    if (++pacing->misses_in_a_row >= MISSES_BEFORE_RELEARN && slack_ns < period_ns) {
        /* Not bad luck: the display wants its commits earlier than what had been enough. */
        pacing->latch_low_ns = mc_min_ns(slack_ns, period_ns - 1);
        pacing->latch_high_ns = mc_min_ns(mc_max_ns(pacing->latch_high_ns, slack_ns) * 2, period_ns);
        pacing->misses_in_a_row = pacing->contradictions = 0;
        pacing->probe_wait = PROBE_AFTER_FRAMES;
        return;
    }
    uint64_t needed_ns = committed_ns + pacing->latch_high_ns;
    uint64_t short_ns = needed_ns > plan->vblank_ns ? needed_ns - plan->vblank_ns : 0;
    if (short_ns > period_ns / STALL_SHARE) {
        return; /* no safety worth its latency would have been enough */
    }
    pacing->cliff_ns = slack_ns;
    struct mc_margin_rules rules = safety_rules(pacing);
    mc_margin_failed(&pacing->loads[plan->crowded].safety, &rules, short_ns);
}

static void lower_safety(const struct mc_pacing *pacing, struct mc_margin *safety, uint64_t slack_ns)
{
    struct mc_margin_rules rules = safety_rules(pacing);
    /* 0: committed after its vblank, which is chance and no edge of the display. */
    bool at_cliff = pacing->cliff_ns > 0 && slack_ns >= pacing->cliff_ns &&
                    slack_ns < pacing->cliff_ns + mc_vclock_period_ns(&pacing->clock) / CLIFF_SHARE;
    if (pacing->young > 0 && !at_cliff) {
        safety->ns -= safety->ns / YOUNG_SHARE;
    }
    mc_margin_held(safety, &rules, at_cliff ? 1.0 / CLIFF_SLOWER : 1.0);
}

static void in_time(struct mc_pacing *pacing, const struct mc_plan *plan, uint64_t slack_ns)
{
    pacing->misses_in_a_row = 0;
    pacing->frames_since_miss++;
    if (slack_ns < pacing->latch_high_ns) {
        if (slack_ns <= pacing->latch_low_ns) {
            /* What failed there once was something else; or the latch varies, when that happens again and
             * again or by little: then it is known as well as it can be. */
            bool varies = slack_ns >= pacing->latch_low_ns - pacing->latch_low_ns / NEAR_SHARE ||
                          ++pacing->contradictions > TRUSTED_CONTRADICTIONS;
            pacing->latch_low_ns = varies ? slack_ns - slack_ns / LATCH_PRECISION_SHARE : slack_ns / 2;
        }
        pacing->latch_high_ns = mc_max_ns(slack_ns, pacing->latch_low_ns + 1);
    }
    if (!plan->probe) {
        lower_safety(pacing, &pacing->loads[plan->crowded].safety, slack_ns);
        pacing->young -= pacing->young > 0;
    }
}

bool mc_pacing_presented(struct mc_pacing *pacing, const struct mc_plan *plan, uint64_t committed_ns,
                         uint64_t seq, uint64_t shown_ns)
{
    bool stamped = mc_vclock_stamp(&pacing->clock, seq, shown_ns);
    if (plan->vblank_ns == 0 || plan->late || !stamped) {
        return false;
    }
    uint64_t period_ns = mc_vclock_period_ns(&pacing->clock);
    bool miss = shown_ns > plan->vblank_ns + period_ns / SAME_VBLANK_SHARE;
    uint64_t slack_ns = plan->vblank_ns > committed_ns ? plan->vblank_ns - committed_ns : 0;
    pacing->frames++;
    pacing->frames_since_probe = plan->probe ? 0 : pacing->frames_since_probe + 1;
    if (plan->probe && miss) {
        /* Each try that fails makes the next one rarer, so that trying stays within the target in the long
         * run. */
        uint64_t wait = mc_max_ns(pacing->probe_wait * 2ull, PROBE_AFTER_FRAMES);
        pacing->probe_wait = (uint32_t)mc_min_ns(wait, PROBE_PATIENCE);
    }
    if (miss) {
        pacing->misses++;
        missed(pacing, plan, committed_ns, slack_ns);
    } else {
        in_time(pacing, plan, slack_ns);
    }
    return miss;
}

struct mc_ask mc_pacing_ask(struct mc_pacing *pacing, const struct mc_response *response, uint64_t now_ns,
                            uint64_t shown_vblank_ns)
{
    struct mc_ask ask = {.at_ns = now_ns, .period_ns = mc_vclock_period_ns(&pacing->clock)};
    if (pacing->mode == MC_PACING_ASAP || !mc_response_known(response)) {
        return ask;
    }
    ask.vblank_ns = mc_vclock_next(&pacing->clock, mc_max_ns(shown_vblank_ns + ask.period_ns / 2, now_ns));
    ask.crowded = is_crowded(pacing, ask.vblank_ns);
    const struct mc_pacing_load *load = &pacing->loads[ask.crowded];
    uint64_t least_ns = pacing->mode == MC_PACING_FIXED
                            ? pacing->fixed_ns
                            : mc_window_median_ns(&load->cost) + pacing->latch_high_ns + load->safety.ns;
    ask.latest_ns = ask.vblank_ns - mc_min_ns(least_ns, ask.vblank_ns);
    uint64_t before_ns =
        budget_ns_of(pacing, ask.crowded) + mc_response_ns(response, ask.crowded, ask.period_ns);
    ask.at_ns = mc_max_ns(ask.vblank_ns - mc_min_ns(before_ns, ask.vblank_ns), now_ns);
    pacing->work_ns = mc_max_ns(pacing->work_ns, before_ns);
    return ask;
}

double mc_pacing_late_rate(double target_miss_rate)
{
    return target_miss_rate / RESPONSE_SHARE;
}
