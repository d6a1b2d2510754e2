/* How long a client takes from its frame callback to its commit, and how long to reckon with.
 *
 * The reckoning is an upper order statistic of its last answers (a client that becomes slower is followed at
 * once, one that becomes faster within a second) and a slack: raised when an answer came too late for the
 * vblank it was asked for, lowered a little by each that did not, in the ratio that balances at the rate
 * asked for (Robbins and Monro 1951). By order statistics alone one answer in thirty would be late. Never
 * much more than its longest answer in a quarter of a minute: a client with two kinds of frames, say, needs
 * the longer time and nothing on top. And never less, where that costs hardly anything. Answers that no
 * earlier callback would have brought in time (the client had nothing to draw, or was stopped) teach neither.
 * Pure; all times in ns of one clock. */
#ifndef MC_RESPONSE_H
#define MC_RESPONSE_H

#include <stdbool.h>
#include <stdint.h>

#include "margin.h"
#include "window.h"

#define MC_RESPONSE_BLOCKS 16
#define MC_RESPONSE_BLOCK 64 /* answers */

struct mc_answers {
    struct mc_window_stats times;            /* from the planned callback to the commit */
    uint64_t longest_ns[MC_RESPONSE_BLOCKS]; /* ring: of each block of answers */
    uint32_t count;                          /* of those blocks' answers */
    struct mc_margin slack;                  /* 0 ns: nothing was asked yet */
};

struct mc_response {
    struct mc_answers alone, crowded; /* crowded: while another output's frame was due as well (pacing.h) */
};

/* What a surface is asked for: a commit that can be shown at vblank_ns. */
struct mc_ask {
    uint64_t at_ns;     /* when to send the callback; not before it was planned */
    uint64_t vblank_ns; /* 0: whenever it likes */
    uint64_t latest_ns; /* a commit after this is probably too late for that vblank */
    uint64_t period_ns;
    bool crowded;
};

/* Whether anything is known of it. */
bool mc_response_known(const struct mc_response *response);
/* How long to reckon with. */
uint64_t mc_response_ns(const struct mc_response *response, bool crowded, uint64_t period_ns);
/* It was called at called_ns for what was asked, and committed at now_ns. target_rate: of late answers. */
void mc_response_answered(struct mc_response *response, const struct mc_ask *ask, uint64_t called_ns,
                          uint64_t now_ns, double target_rate);

#endif
