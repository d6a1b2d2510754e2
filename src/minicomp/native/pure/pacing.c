#include "pacing.h"

#include <string.h>

#define USEC 1000ull
#define MSEC 1000000ull

#define COST_DROP 1                /* of the window's 64: an outlier is the safety's business */
#define COST_RECENT 3              /* a step up counts from the first frame on */
#define UNKNOWN_COST_NS (2 * MSEC) /* before anything was measured */
#define FIRST_LATCH_NS (4 * MSEC)
#define PROBE_AFTER_FRAMES 24   /* quiet frames between two tries */
#define PROBE_PATIENCE 4096     /* tries get rarer, but never end: displays change */
#define LATCH_PRECISION_SHARE 8 /* done when high - low <= high / 8 ... */
#define LATCH_PRECISION_NS (20 * USEC)
#define SAFETY_STEP_SHARE 64 /* of a period, for each miss */
#define FIRST_SAFETY_NS (200 * USEC)
#define CLIFF_SHARE 128 /* of a period: "hardly more slack" than what missed */
#define CLIFF_SLOWER 16
#define SAME_VBLANK_SHARE 2 /* shown within half a period of its vblank: in time */
#define MISSES_BEFORE_RELEARN 3
#define RESPONSE_DROP 1
#define RESPONSE_RECENT 2
#define RESPONSE_SLACK_NS (100 * USEC)

void mc_pacing_init(struct mc_pacing *pacing, enum mc_pacing_mode mode, uint64_t fixed_ns,
                    double target_miss_rate)
{
    memset(pacing, 0, sizeof(*pacing));
    pacing->mode = mode;
    pacing->fixed_ns = fixed_ns;
    pacing->target_miss_rate = target_miss_rate;
    mc_pacing_reset(pacing, 0);
}

static uint64_t min_ns(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_ns(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void mc_pacing_reset(struct mc_pacing *pacing, uint64_t nominal_period_ns)
{
    mc_vclock_reset(&pacing->clock, nominal_period_ns);
    pacing->latch_low_ns = 0;
    pacing->latch_high_ns = min_ns(FIRST_LATCH_NS, mc_vclock_period_ns(&pacing->clock) / 2);
    pacing->safety_ns = FIRST_SAFETY_NS;
    pacing->cliff_ns = 0;
    pacing->frames_since_miss = pacing->frames_since_probe = pacing->misses_in_a_row = 0;
    pacing->probe_wait = PROBE_AFTER_FRAMES;
    pacing->probing = false;
}

static uint64_t cost_ns(const struct mc_pacing *pacing)
{
    if (pacing->cost.count == 0) {
        return UNKNOWN_COST_NS;
    }
    return max_ns(mc_window_upper_ns(&pacing->cost, COST_DROP),
                  mc_window_recent_ns(&pacing->cost, COST_RECENT));
}

uint64_t mc_pacing_budget_ns(const struct mc_pacing *pacing)
{
    if (pacing->mode == MC_PACING_FIXED) {
        return pacing->fixed_ns;
    }
    return cost_ns(pacing) + pacing->latch_high_ns + pacing->safety_ns;
}

/* Whether the latch is known well enough to stop trying. */
static bool latch_known(const struct mc_pacing *pacing)
{
    uint64_t gap_ns = pacing->latch_high_ns - pacing->latch_low_ns;
    return gap_ns <= max_ns(pacing->latch_high_ns / LATCH_PRECISION_SHARE, LATCH_PRECISION_NS);
}

struct mc_plan mc_pacing_plan(struct mc_pacing *pacing, uint64_t now_ns, uint64_t not_before_ns)
{
    struct mc_plan plan = {.start_ns = now_ns};
    uint64_t period_ns = mc_vclock_period_ns(&pacing->clock);
    /* The vblank after the one in flight: half a period on, whatever the stamps' jitter. */
    uint64_t from_ns = not_before_ns != 0 ? max_ns(now_ns, not_before_ns + period_ns / 2) : now_ns;
    if (pacing->mode == MC_PACING_ASAP) {
        plan.start_ns = max_ns(now_ns, not_before_ns);
        plan.vblank_ns = mc_vclock_next(&pacing->clock, max_ns(plan.start_ns + 1, from_ns));
        return plan;
    }
    uint64_t budget_ns = mc_pacing_budget_ns(pacing);
    if (pacing->mode == MC_PACING_ADAPTIVE && !latch_known(pacing) &&
        pacing->frames_since_miss >= PROBE_AFTER_FRAMES && pacing->frames_since_probe >= pacing->probe_wait) {
        plan.probe = true;
        uint64_t middle_ns = (pacing->latch_low_ns + pacing->latch_high_ns) / 2;
        /* The bare middle: with safety on top it would try nothing. */
        budget_ns = cost_ns(pacing) + middle_ns;
    }
    plan.vblank_ns = mc_vclock_next(&pacing->clock, from_ns);
    if (plan.vblank_ns >= now_ns + budget_ns) {
        plan.start_ns = plan.vblank_ns - budget_ns;
        return plan;
    }
    plan.probe = false;
    /* Its proper start has passed. At once, if it will do with the usual cost and no safety; else the next
     * one. */
    uint64_t least_ns = mc_window_median_ns(&pacing->cost) + pacing->latch_high_ns;
    if (pacing->mode == MC_PACING_FIXED || plan.vblank_ns >= now_ns + least_ns) {
        plan.late = true;
        if (plan.vblank_ns > now_ns) {
            return plan;
        }
    }
    plan.late = false;
    plan.vblank_ns = mc_vclock_next(&pacing->clock, plan.vblank_ns + period_ns / 2);
    budget_ns = mc_pacing_budget_ns(pacing);
    plan.start_ns = plan.vblank_ns > now_ns + budget_ns ? plan.vblank_ns - budget_ns : now_ns;
    plan.late = plan.start_ns == now_ns;
    return plan;
}

void mc_pacing_committed(struct mc_pacing *pacing, const struct mc_plan *plan, uint64_t committed_ns)
{
    mc_window_add(&pacing->cost, committed_ns > plan->start_ns ? committed_ns - plan->start_ns : 0);
}

static void missed(struct mc_pacing *pacing, const struct mc_plan *plan, uint64_t slack_ns)
{
    pacing->frames_since_miss = 0;
    if (plan->probe) {
        pacing->probe_misses++;
        pacing->latch_low_ns = max_ns(pacing->latch_low_ns, min_ns(slack_ns, pacing->latch_high_ns - 1));
        return;
    }
    uint64_t period_ns = mc_vclock_period_ns(&pacing->clock);
    if (++pacing->misses_in_a_row >= MISSES_BEFORE_RELEARN && slack_ns < period_ns) {
        /* Not bad luck: the display wants its commits earlier than what had been enough. */
        pacing->latch_low_ns = min_ns(slack_ns, period_ns - 1);
        pacing->latch_high_ns = min_ns(max_ns(pacing->latch_high_ns, slack_ns) * 2, period_ns);
        pacing->misses_in_a_row = 0;
        return;
    }
    pacing->cliff_ns = slack_ns;
    pacing->safety_ns = min_ns(pacing->safety_ns + period_ns / SAFETY_STEP_SHARE, period_ns / 2);
}

static void in_time(struct mc_pacing *pacing, const struct mc_plan *plan, uint64_t slack_ns)
{
    pacing->misses_in_a_row = 0;
    pacing->frames_since_miss++;
    if (slack_ns < pacing->latch_high_ns) {
        pacing->latch_high_ns = max_ns(slack_ns, pacing->latch_low_ns + 1);
        if (slack_ns <= pacing->latch_low_ns) {
            pacing->latch_low_ns = slack_ns / 2; /* what failed there once was something else */
        }
    }
    if (!plan->probe) {
        uint64_t period_ns = mc_vclock_period_ns(&pacing->clock);
        double step_ns = (double)(period_ns / SAFETY_STEP_SHARE);
        double lower_ns = step_ns * pacing->target_miss_rate / (1.0 - pacing->target_miss_rate);
        /* 0: committed after its vblank, which is chance and no edge of the display. */
        if (pacing->cliff_ns > 0 && slack_ns >= pacing->cliff_ns &&
            slack_ns < pacing->cliff_ns + period_ns / CLIFF_SHARE) {
            lower_ns /= CLIFF_SLOWER;
        }
        pacing->safety_ns -= min_ns(pacing->safety_ns, (uint64_t)(lower_ns + 0.5));
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
    if (plan->probe) {
        /* Each try that fails makes the next one rarer, so that trying stays within the target in the long
         * run. */
        pacing->probe_wait =
            miss ? (uint32_t)min_ns(pacing->probe_wait * 2ull, PROBE_PATIENCE) : PROBE_AFTER_FRAMES;
    }
    if (miss) {
        pacing->misses++;
        missed(pacing, plan, slack_ns);
    } else {
        in_time(pacing, plan, slack_ns);
    }
    return miss;
}

uint64_t mc_pacing_callback_ns(const struct mc_pacing *pacing, const struct mc_window_stats *response,
                               uint64_t now_ns, uint64_t shown_vblank_ns)
{
    if (pacing->mode == MC_PACING_ASAP || response->count == 0) {
        return now_ns;
    }
    uint64_t period_ns = mc_vclock_period_ns(&pacing->clock);
    uint64_t answer_ns =
        max_ns(mc_window_upper_ns(response, RESPONSE_DROP), mc_window_recent_ns(response, RESPONSE_RECENT)) +
        RESPONSE_SLACK_NS;
    uint64_t vblank_ns = mc_vclock_next(&pacing->clock, max_ns(shown_vblank_ns + period_ns / 2, now_ns));
    uint64_t before_ns = mc_pacing_budget_ns(pacing) + answer_ns;
    return vblank_ns > now_ns + before_ns ? vblank_ns - before_ns : now_ns;
}
