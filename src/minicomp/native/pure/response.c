#include "response.h"

#define DROP 1 /* of the window's 64 */
#define RECENT 2
#define FIRST_SLACK_SHARE 128 /* of a period */
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

static uint64_t upper_ns(const struct mc_window_stats *times)
{
    return max_ns(mc_window_upper_ns(times, DROP), mc_window_recent_ns(times, RECENT));
}

/* Of the last thousand that an earlier callback could have brought in time; 0: none. */
static uint64_t longest_ns(const struct mc_response *response)
{
    uint64_t longest_ns = 0;
    for (uint32_t i = 0; i < MC_RESPONSE_BLOCKS; i++) {
        longest_ns = max_ns(longest_ns, response->longest_ns[i]);
    }
    return longest_ns;
}

static void note_longest(struct mc_response *response, uint64_t took_ns)
{
    uint64_t *block_ns = &response->longest_ns[response->answers / MC_RESPONSE_BLOCK % MC_RESPONSE_BLOCKS];
    *block_ns = response->answers % MC_RESPONSE_BLOCK == 0 ? took_ns : max_ns(*block_ns, took_ns);
    response->answers++;
}

static uint64_t with_slack_ns(const struct mc_response *response, uint64_t answer_ns, uint64_t period_ns)
{
    uint64_t first_ns = period_ns / FIRST_SLACK_SHARE;
    uint64_t slack_ns = response->slack_ns != 0 ? response->slack_ns : first_ns;
    uint64_t longest = longest_ns(response);
    uint64_t enough_ns = longest + longest / LONGEST_SHARE + first_ns;
    uint64_t cheap_ns = min_ns(longest, answer_ns + period_ns / CHEAP_SHARE);
    return max_ns(max_ns(answer_ns, cheap_ns), min_ns(answer_ns + slack_ns, enough_ns));
}

bool mc_response_known(const struct mc_response *response)
{
    return response->alone.count != 0 || response->crowded.count != 0;
}

uint64_t mc_response_ns(const struct mc_response *response, bool crowded, uint64_t period_ns)
{
    if (!crowded) {
        const struct mc_window_stats *times =
            response->alone.count != 0 ? &response->alone : &response->crowded;
        return with_slack_ns(response, upper_ns(times), period_ns);
    }
    uint64_t answer_ns = upper_ns(&response->crowded);
    if (response->crowded.count < MC_WINDOW_FEW) {
        /* Somebody who needs as long may be before it. */
        answer_ns = max_ns(answer_ns, upper_ns(&response->alone) + mc_window_median_ns(&response->alone));
    }
    return with_slack_ns(response, answer_ns, period_ns);
}

void mc_response_answered(struct mc_response *response, const struct mc_ask *ask, uint64_t called_ns,
                          uint64_t now_ns, double target_rate)
{
    uint64_t took_ns = now_ns - called_ns;
    if (response->slack_ns == 0) {
        response->slack_ns = ask->period_ns / FIRST_SLACK_SHARE;
        response->step_ns = ask->period_ns / STEP_SHARE;
    }
    if (ask->vblank_ns != 0) {
        uint64_t before_ns = ask->vblank_ns - ask->latest_ns;
        bool late = now_ns > ask->latest_ns, possible = took_ns + before_ns <= ask->period_ns;
        if (possible) {
            note_longest(response, took_ns);
        }
        bool known = response->alone.count + response->crowded.count >= MC_WINDOW_FEW;
        if (late && possible && known) {
            response->step_ns = min_ns(now_ns - ask->latest_ns + ask->period_ns / STEP_SHARE,
                                       ask->period_ns / LARGEST_STEP_SHARE);
            response->slack_ns = min_ns(response->slack_ns + response->step_ns, ask->period_ns);
        } else if (!late) {
            double lower_ns = (double)response->step_ns * target_rate / (1.0 - target_rate);
            /* 1: 0 means that nothing was asked yet. */
            response->slack_ns =
                max_ns(response->slack_ns - min_ns(response->slack_ns, (uint64_t)(lower_ns + 0.5)), 1);
        }
    }
    mc_window_add(ask->crowded ? &response->crowded : &response->alone, took_ns);
}
