/* See echo_window.h. */
#include "echo_window.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "presentation-time-client-protocol.h"

#define COLOUR_BEFORE_INPUT 0x202020u

static const uint32_t colours[] = {0xe6194b, 0x3cb44b, 0xffe119, 0x4363d8, 0xf58231, 0x911eb4, 0x42d4f4};
#define COLOUR_COUNT (sizeof(colours) / sizeof(colours[0]))

/* An event that was counted and is not known to be shown yet. */
struct pending_event {
    struct wl_list link;
    struct echo_event event;
    uint64_t number;
    uint64_t commit_seq, commit_ns; /* 0 while its commit waits for a buffer */
};

struct commit_feedback {
    struct wl_list link;
    struct echo *echo;
    struct wp_presentation_feedback *object;
    uint64_t commit_seq;
};

static uint32_t current_colour(const struct echo *echo)
{
    return echo->events == 0 ? COLOUR_BEFORE_INPUT : colours[(echo->events - 1) % COLOUR_COUNT];
}

static void log_input(struct echo *echo, const struct pending_event *pending, uint64_t presented_ns,
                      uint32_t refresh_ns, uint32_t flags)
{
    const struct echo_event *event = &pending->event;
    struct json_log *log = &echo->log;
    char colour[8];
    snprintf(colour, sizeof(colour), "%06x", colours[(pending->number - 1) % COLOUR_COUNT]);
    json_log_begin(log, "input");
    json_log_u64(log, "number", pending->number);
    json_log_string(log, "kind", echo_kind_names[event->kind]);
    json_log_string(log, "state", event->state);
    json_log_u64(log, "code", event->code);
    json_log_string(log, "sym", event->sym);
    json_log_double(log, "x", event->x);
    json_log_double(log, "y", event->y);
    json_log_string(log, "color", colour);
    json_log_u64(log, "event_ms", event->event_ms);
    json_log_u64(log, "received_ns", event->received_ns);
    json_log_u64(log, "commit_ns", pending->commit_ns);
    json_log_u64(log, "presented_ns", presented_ns);
    json_log_u64(log, "refresh_ns", refresh_ns);
    json_log_u64(log, "flags", flags);
    json_log_end(log);
}

static void destroy_pending(struct pending_event *pending)
{
    wl_list_remove(&pending->link);
    free(pending);
}

void echo_window_count_event(void *data, const struct echo_event *event)
{
    struct echo *echo = data;
    bool motion = strcmp(event->state, "motion") == 0;
    bool release = strcmp(event->state, "released") == 0 || strcmp(event->state, "up") == 0;
    if ((motion && !echo->options.count_motion) || (release && !echo->options.count_releases)) {
        return;
    }
    struct pending_event *pending = calloc(1, sizeof(*pending));
    if (pending == NULL) {
        fputs("echo: no memory for an event\n", stderr);
        echo->failed = true;
        return;
    }
    pending->event = *event;
    pending->number = ++echo->events;
    wl_list_insert(echo->pending.prev, &pending->link);
    echo->dirty = true;
}

/* ---- what was shown ---- */

static void destroy_feedback(struct commit_feedback *feedback)
{
    wl_list_remove(&feedback->link);
    wp_presentation_feedback_destroy(feedback->object);
    free(feedback);
}

static void handle_sync_output(void *data, struct wp_presentation_feedback *object, struct wl_output *output)
{
    (void)data, (void)object, (void)output;
}

static void handle_presented(void *data, struct wp_presentation_feedback *object, uint32_t tv_sec_hi,
                             uint32_t tv_sec_lo, uint32_t tv_nsec, uint32_t refresh_ns, uint32_t seq_hi,
                             uint32_t seq_lo, uint32_t flags)
{
    struct commit_feedback *feedback = data;
    struct echo *echo = feedback->echo;
    uint64_t presented_ns = connection_presented_ns(&echo->connection, tv_sec_hi, tv_sec_lo, tv_nsec);
    (void)object, (void)seq_hi, (void)seq_lo;
    struct pending_event *pending, *next;
    wl_list_for_each_safe (pending, next, &echo->pending, link) {
        if (pending->commit_seq == 0 || pending->commit_seq > feedback->commit_seq) {
            break;
        }
        uint64_t received_ns = pending->event.received_ns;
        latencies_add(&echo->latencies, presented_ns > received_ns ? presented_ns - received_ns : 0);
        log_input(echo, pending, presented_ns, refresh_ns, flags);
        destroy_pending(pending);
        echo->shown++;
    }
    json_log_flush(&echo->log);
    destroy_feedback(feedback);
}

static void handle_discarded(void *data, struct wp_presentation_feedback *object)
{
    (void)object;
    destroy_feedback(data); /* its events wait for a later commit to be presented */
}

static const struct wp_presentation_feedback_listener feedback_listener = {
    .sync_output = handle_sync_output,
    .presented = handle_presented,
    .discarded = handle_discarded,
};

static void request_feedback(struct echo *echo)
{
    struct commit_feedback *feedback = calloc(1, sizeof(*feedback));
    if (feedback == NULL) {
        fputs("echo: no memory for feedback\n", stderr);
        echo->failed = true;
        return;
    }
    feedback->echo = echo;
    feedback->commit_seq = echo->commit_seq;
    feedback->object = wp_presentation_feedback(echo->connection.presentation, echo->window.surface);
    wp_presentation_feedback_add_listener(feedback->object, &feedback_listener, feedback);
    wl_list_insert(&echo->feedbacks, &feedback->link);
}

/* ---- drawing ---- */

static void handle_first_frame_done(void *data, struct wl_callback *callback, uint32_t time_ms)
{
    struct echo *echo = data;
    (void)time_ms;
    wl_callback_destroy(callback);
    echo->first_callback = NULL;
    json_log_begin(&echo->log, "ready");
    json_log_u64(&echo->log, "ready_ns", monotonic_now_ns());
    json_log_u64(&echo->log, "width", (uint64_t)echo->window.width);
    json_log_u64(&echo->log, "height", (uint64_t)echo->window.height);
    json_log_end(&echo->log);
    json_log_flush(&echo->log);
}

static const struct wl_callback_listener first_frame_listener = {.done = handle_first_frame_done};

/* Events got their commit; without wp_presentation that is all that can be known of them. */
static void mark_committed(struct echo *echo, uint64_t commit_ns)
{
    struct pending_event *pending, *next;
    wl_list_for_each_safe (pending, next, &echo->pending, link) {
        if (pending->commit_seq == 0) {
            pending->commit_seq = echo->commit_seq;
            pending->commit_ns = commit_ns;
        }
        if (echo->connection.presentation == NULL) {
            log_input(echo, pending, 0, 0, 0);
            destroy_pending(pending);
            echo->shown++;
        }
    }
}

void echo_window_redraw(struct echo *echo)
{
    if (!echo->dirty || !echo->configured) {
        return;
    }
    struct window *window = &echo->window;
    shm_pool_resize(&echo->pool, window->width, window->height);
    struct shm_buffer *buffer = shm_pool_take(&echo->pool);
    if (buffer == NULL && errno == EBUSY) {
        return; /* still dirty: the loop comes back after the next release */
    }
    if (buffer == NULL) {
        fprintf(stderr, "echo: cannot allocate a buffer: %s\n", strerror(errno));
        echo->failed = true;
        return;
    }
    shm_buffer_fill(buffer, window->width, 0, 0, window->width, window->height, current_colour(echo));
    wl_surface_attach(window->surface, buffer->wl_buffer, 0, 0);
    wl_surface_damage_buffer(window->surface, 0, 0, window->width, window->height);
    if (echo->commit_seq == 0) {
        echo->first_callback = wl_surface_frame(window->surface);
        wl_callback_add_listener(echo->first_callback, &first_frame_listener, echo);
    }
    echo->commit_seq++;
    if (echo->connection.presentation != NULL) {
        request_feedback(echo);
    }
    uint64_t commit_ns = monotonic_now_ns();
    wl_surface_commit(window->surface);
    connection_flush(&echo->connection);
    echo->dirty = false;
    mark_committed(echo, commit_ns);
}

static void handle_configured(void *data)
{
    struct echo *echo = data;
    if (!echo->configured || echo->pool.width != echo->window.width ||
        echo->pool.height != echo->window.height) {
        json_log_begin(&echo->log, "configure");
        json_log_u64(&echo->log, "width", (uint64_t)echo->window.width);
        json_log_u64(&echo->log, "height", (uint64_t)echo->window.height);
        json_log_end(&echo->log);
    }
    echo->dirty = true; /* also when the size is the same: an acked configure takes effect with a commit */
    echo->configured = true;
}

static void handle_closed(void *data)
{
    struct echo *echo = data;
    echo->closed = true;
}

static const struct window_events window_events = {.configured = handle_configured, .closed = handle_closed};

void echo_window_init(struct echo *echo)
{
    const struct echo_options *options = &echo->options;
    wl_list_init(&echo->pending);
    wl_list_init(&echo->feedbacks);
    shm_pool_init(&echo->pool, echo->connection.shm, NULL, NULL);
    window_init(&echo->window, &echo->connection, options->width, options->height, options->app_id,
                options->title, options->fullscreen, &window_events, echo);
}

void echo_window_forget_pending(struct echo *echo)
{
    struct pending_event *pending, *next_pending;
    wl_list_for_each_safe (pending, next_pending, &echo->pending, link) {
        log_input(echo, pending, 0, 0, 0);
        destroy_pending(pending);
    }
    struct commit_feedback *feedback, *next_feedback;
    wl_list_for_each_safe (feedback, next_feedback, &echo->feedbacks, link) {
        destroy_feedback(feedback);
    }
}

void echo_window_finish(struct echo *echo)
{
    if (echo->first_callback != NULL) {
        wl_callback_destroy(echo->first_callback);
        echo->first_callback = NULL;
    }
    window_finish(&echo->window);
    shm_pool_finish(&echo->pool);
}
