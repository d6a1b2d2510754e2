#include "response.h"

#define DROP 1 /* of the window's 64 */
#define RECENT 2
#define LEAST_SLACK_SHARE                                                                                    \
    128                  /* of a period: what is so rare that no evidence has come yet; also the first       \
                          */
#define STEP_SHARE 64    /* a late answer raises the slack by how late it was and this part of a period ... */
#define CHEAP_SHARE 64   /* of a period: so much for the longest answer is paid without asking for evidence */
#define LONGEST_SHARE 16 /* of the longest answer, on top of it */
#define LARGEST_STEP_SHARE 8 /* ... but not by more than this */

static uint64_t min_ns(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_ns(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t upper_ns(const struct mc_answers *answers)
{
    return max_ns(mc_window_upper_ns(&answers->times, DROP), mc_window_recent_ns(&answers->times, RECENT));
}

/* Of the last thousand that an earlier callback could have brought in time; 0: none. */
static uint64_t longest_ns(const struct mc_answers *answers)
{
    uint64_t longest_ns = 0;
    for (uint32_t i = 0; i < MC_RESPONSE_BLOCKS; i++) {
        longest_ns = max_ns(longest_ns, answers->longest_ns[i]);
    }
    return longest_ns;
}

static void note_longest(struct mc_answers *answers, uint64_t took_ns)
{
    uint64_t *block_ns = &answers->longest_ns[answers->count / MC_RESPONSE_BLOCK % MC_RESPONSE_BLOCKS];
    *block_ns = answers->count % MC_RESPONSE_BLOCK == 0 ? took_ns : max_ns(*block_ns, took_ns);
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
    uint64_t slack_ns = answers->slack_ns != 0 ? answers->slack_ns : least_ns;
    uint64_t answer_ns = upper_ns(answers), longest = longest_ns(answers);
    if (crowded && answers->times.count < MC_WINDOW_FEW) {
        /* Somebody who needs as long may be before it. */
        answer_ns = max_ns(answer_ns, upper_ns(alone) + mc_window_median_ns(&alone->times));
        longest = max_ns(longest, answer_ns);
    }
    uint64_t enough_ns = longest + longest / LONGEST_SHARE + least_ns;
    uint64_t cheap_ns = min_ns(longest, answer_ns + period_ns / CHEAP_SHARE);
    return max_ns(max_ns(answer_ns, cheap_ns), min_ns(answer_ns + slack_ns, enough_ns));
}

void mc_response_answered(struct mc_response *response, const struct mc_ask *ask, uint64_t called_ns,
                          uint64_t now_ns, double target_rate)
{
    /* From when it was to be called: on a busy machine the callback itself is late. */
    uint64_t took_ns = now_ns - (ask->vblank_ns != 0 ? min_ns(ask->at_ns, called_ns) : called_ns);
    struct mc_answers *answers = ask->crowded ? &response->crowded : &response->alone;
    if (answers->slack_ns == 0) {
        answers->slack_ns = ask->period_ns / LEAST_SLACK_SHARE;
        answers->step_ns = ask->period_ns / STEP_SHARE;
    }
    if (ask->vblank_ns != 0) {
        uint64_t before_ns = ask->vblank_ns - ask->latest_ns;
        bool late = now_ns > ask->latest_ns, possible = took_ns + before_ns <= ask->period_ns;
        if (possible) {
            note_longest(answers, took_ns);
        }
        bool known = answers->times.count >= MC_WINDOW_FEW;
        if (late && possible && known) {
            answers->step_ns = min_ns(now_ns - ask->latest_ns + ask->period_ns / STEP_SHARE,
                                      ask->period_ns / LARGEST_STEP_SHARE);
            answers->slack_ns = min_ns(answers->slack_ns + answers->step_ns, ask->period_ns);
        } else if (!late) {
            double lower_ns = (double)answers->step_ns * target_rate / (1.0 - target_rate);
            uint64_t lowered_ns = answers->slack_ns - min_ns(answers->slack_ns, (uint64_t)(lower_ns + 0.5));
            answers->slack_ns = max_ns(lowered_ns, ask->period_ns / LEAST_SLACK_SHARE);
        }
    }
    mc_window_add(&answers->times, took_ns);
}
