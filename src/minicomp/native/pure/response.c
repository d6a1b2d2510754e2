#include "response.h"

#include "clock.h"

#define DROP 1 /* of the window's 64 */
#define RECENT 2
/* Parts of a period. */
#define LEAST_SLACK_SHARE 128 /* also the first */
#define STEP_SHARE 64         /* of the slack, for an answer that was too late */
#define LARGEST_STEP_SHARE 8
#define CHEAP_SHARE 64 /* so much for the longest answer is paid without asking for evidence */
/* Of the longest answer, on top of it. */
#define LONGEST_SHARE 16

static uint64_t upper_ns(const struct mc_answers *answers)
{
    return mc_window_expected_ns(&answers->times, DROP, RECENT);
}

/* Of the last thousand that an earlier callback could have brought in time; 0: none. */
static uint64_t longest_ns(const struct mc_answers *answers)
{
    uint64_t longest_ns = 0;
    for (uint32_t i = 0; i < MC_RESPONSE_BLOCKS; i++) {
        longest_ns = mc_max_ns(longest_ns, answers->longest_ns[i]);
    }
    return longest_ns;
}

static void note_longest(struct mc_answers *answers, uint64_t took_ns)
{
    uint64_t *block_ns = &answers->longest_ns[answers->count / MC_RESPONSE_BLOCK % MC_RESPONSE_BLOCKS];
    *block_ns = answers->count % MC_RESPONSE_BLOCK == 0 ? took_ns : mc_max_ns(*block_ns, took_ns);
    answers->count++;
}

bool mc_response_known(const struct mc_response *response)
{
    return response->alone.times.count != 0 || response->crowded.times.count != 0;
}

uint64_t mc_response_ns(const struct mc_response *response, bool crowded, uint64_t period_ns)
{
    const struct mc_answers *alone = &response->alone, *answers = crowded ? &response->crowded : alone;
    uint64_t least_ns = period_ns / LEAST_SLACK_SHARE;
    if (!crowded && alone->times.count == 0) {
        answers = &response->crowded;
    }
    uint64_t slack_ns = answers->slack.ns != 0 ? answers->slack.ns : least_ns;
    uint64_t answer_ns = upper_ns(answers), longest = longest_ns(answers);
    if (crowded && answers->times.count < MC_WINDOW_FEW) {
        /* Somebody who needs as long may be before it. */
        answer_ns = mc_max_ns(answer_ns, upper_ns(alone) + mc_window_median_ns(&alone->times));
        longest = mc_max_ns(longest, answer_ns);
    }
    uint64_t enough_ns = longest + longest / LONGEST_SHARE + least_ns;
    uint64_t cheap_ns = mc_min_ns(longest, answer_ns + period_ns / CHEAP_SHARE);
    return mc_max_ns(mc_max_ns(answer_ns, cheap_ns), mc_min_ns(answer_ns + slack_ns, enough_ns));
}

void mc_response_answered(struct mc_response *response, const struct mc_ask *ask, uint64_t called_ns,
                          uint64_t now_ns, double target_rate)
{
    /* From when it was to be called: on a busy machine the callback itself is late. */
    uint64_t took_ns = now_ns - (ask->vblank_ns != 0 ? mc_min_ns(ask->at_ns, called_ns) : called_ns);
    struct mc_answers *answers = ask->crowded ? &response->crowded : &response->alone;
    struct mc_margin_rules rules = {
        .rate = target_rate,
        .step_ns = ask->period_ns / STEP_SHARE,
        .largest_ns = ask->period_ns / LARGEST_STEP_SHARE,
        .most_ns = ask->period_ns,
        .least_ns = ask->period_ns / LEAST_SLACK_SHARE,
    };
    if (answers->slack.ns == 0) {
        mc_margin_begin(&answers->slack, rules.least_ns, &rules);
    }
    if (ask->vblank_ns != 0) {
        bool late = now_ns > ask->latest_ns;
        bool possible = took_ns + (ask->vblank_ns - ask->latest_ns) <= ask->period_ns;
        if (possible) {
            note_longest(answers, took_ns);
        }
        if (!late) {
            mc_margin_held(&answers->slack, &rules, 1);
        } else if (possible && answers->times.count >= MC_WINDOW_FEW) {
            mc_margin_failed(&answers->slack, &rules, now_ns - ask->latest_ns);
        }
    }
    mc_window_add(&answers->times, took_ns);
}
