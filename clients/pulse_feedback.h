/* What became of each commit: wp_presentation feedback, its log record, the counts. And struct pulse, which
 * all windows share.
 *
 * A feedback object lives from its request until it was presented or discarded; it outlives its window.
 */
#ifndef CLIENTS_PULSE_FEEDBACK_H
#define CLIENTS_PULSE_FEEDBACK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/connection.h"
#include "common/json_log.h"
#include "common/latencies.h"
#include "pulse_options.h"

/* What all windows share. */
struct pulse {
    struct connection connection;
    struct pulse_options options;
    struct json_log log;
    struct latencies latencies;
    uint64_t work_state;
    struct wl_list feedbacks; /* commits whose feedback is outstanding */
    bool ending;              /* no new frames, only answers to those already committed */
    bool failed;              /* a local failure, already reported: end with EXIT_LOCAL */
    uint64_t first_commit_ns, last_commit_ns;
    uint64_t commits, presented, discarded, unanswered, callbacks, buffer_waits, skipped;
};

/* One commit; times are CLOCK_MONOTONIC. */
struct pulse_frame {
    uint64_t surface_index, seq;
    uint64_t callback_ns; /* when the frame callback arrived that this frame answers; 0: none */
    uint64_t due_ns;      /* period mode: the time it was due; 0 otherwise */
    uint64_t work_us, commit_ns;
};

struct pulse_feedback {
    struct wl_list link; /* struct pulse.feedbacks */
    struct pulse *pulse;
    struct wp_presentation_feedback *object; /* NULL without wp_presentation, or not wanted */
    struct pulse_frame frame;
};

/* To be called before the surface's commit; fill in `frame`, then call pulse_feedback_committed.
 * Returns NULL when there is no memory (reported). */
struct pulse_feedback *pulse_feedback_request(struct pulse *pulse, struct wl_surface *surface);

/* Without a feedback object this logs the frame and frees the feedback: there is nothing to wait for. */
void pulse_feedback_committed(struct pulse_feedback *feedback);

/* Forgets outstanding feedback, counting it as unanswered. */
void pulse_feedbacks_finish(struct pulse *pulse);

#endif
