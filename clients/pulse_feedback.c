/* See pulse_feedback.h. */
#include "pulse_feedback.h"

#include <stdio.h>
#include <stdlib.h>

#include "presentation-time-client-protocol.h"

static void log_frame(struct pulse *pulse, const struct pulse_frame *frame, uint64_t presented_ns,
                      uint32_t refresh_ns, uint64_t vblank_seq, uint32_t flags, bool discarded)
{
    struct json_log *log = &pulse->log;
    json_log_begin(log, "frame");
    json_log_u64(log, "surface", frame->surface_index);
    json_log_u64(log, "seq", frame->seq);
    json_log_u64(log, "callback_ns", frame->callback_ns);
    json_log_u64(log, "due_ns", frame->due_ns);
    json_log_u64(log, "work_us", frame->work_us);
    json_log_u64(log, "commit_ns", frame->commit_ns);
    json_log_u64(log, "presented_ns", presented_ns);
    json_log_u64(log, "refresh_ns", refresh_ns);
    json_log_u64(log, "vblank_seq", vblank_seq);
    json_log_u64(log, "flags", flags);
    json_log_bool(log, "discarded", discarded);
    json_log_end(log);
}

static void destroy_feedback(struct pulse_feedback *feedback)
{
    wl_list_remove(&feedback->link);
    if (feedback->object != NULL) {
        wp_presentation_feedback_destroy(feedback->object);
    }
    free(feedback);
}

static void handle_sync_output(void *data, struct wp_presentation_feedback *object, struct wl_output *output)
{
    (void)data;
    (void)object;
    (void)output;
}

static void handle_presented(void *data, struct wp_presentation_feedback *object, uint32_t tv_sec_hi,
                             uint32_t tv_sec_lo, uint32_t tv_nsec, uint32_t refresh_ns, uint32_t seq_hi,
                             uint32_t seq_lo, uint32_t flags)
{
    struct pulse_feedback *feedback = data;
    struct pulse *pulse = feedback->pulse;
    (void)object;
    uint64_t commit_ns = feedback->frame.commit_ns;
    uint64_t presented_ns = connection_presented_ns(&pulse->connection, tv_sec_hi, tv_sec_lo, tv_nsec);
    pulse->presented++;
    latencies_add(&pulse->latencies, presented_ns > commit_ns ? presented_ns - commit_ns : 0);
    log_frame(pulse, &feedback->frame, presented_ns, refresh_ns, (uint64_t)seq_hi << 32 | seq_lo, flags,
              false);
    destroy_feedback(feedback);
}

static void handle_discarded(void *data, struct wp_presentation_feedback *object)
{
    struct pulse_feedback *feedback = data;
    (void)object;
    feedback->pulse->discarded++;
    log_frame(feedback->pulse, &feedback->frame, 0, 0, 0, 0, true);
    destroy_feedback(feedback);
}

static const struct wp_presentation_feedback_listener feedback_listener = {
    .sync_output = handle_sync_output,
    .presented = handle_presented,
    .discarded = handle_discarded,
};

struct pulse_feedback *pulse_feedback_request(struct pulse *pulse, struct wl_surface *surface)
{
    struct pulse_feedback *feedback = calloc(1, sizeof(*feedback));
    if (feedback == NULL) {
        fputs("pulse: no memory for a frame's feedback\n", stderr);
        return NULL;
    }
    feedback->pulse = pulse;
    wl_list_insert(pulse->feedbacks.prev, &feedback->link);
    if (pulse->connection.presentation != NULL && !pulse->options.no_feedback) {
        feedback->object = wp_presentation_feedback(pulse->connection.presentation, surface);
        wp_presentation_feedback_add_listener(feedback->object, &feedback_listener, feedback);
    }
    return feedback;
}

void pulse_feedback_committed(struct pulse_feedback *feedback)
{
    if (feedback->object == NULL) {
        log_frame(feedback->pulse, &feedback->frame, 0, 0, 0, 0, false);
        destroy_feedback(feedback);
    }
}

void pulse_feedbacks_finish(struct pulse *pulse)
{
    struct pulse_feedback *feedback, *next;
    wl_list_for_each_safe (feedback, next, &pulse->feedbacks, link) {
        pulse->unanswered++;
        destroy_feedback(feedback);
    }
}
