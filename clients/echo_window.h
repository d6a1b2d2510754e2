/* The window of echo: its colour, and which commit showed which input event. And struct echo itself.
 *
 * The events that one read of the socket brought are answered by one commit. An event counts as shown by
 * the first presented commit that is not older than it: a commit that was discarded passes its events on.
 */
#ifndef CLIENTS_ECHO_WINDOW_H
#define CLIENTS_ECHO_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "common/connection.h"
#include "common/json_log.h"
#include "common/latencies.h"
#include "common/shm_pool.h"
#include "common/window.h"
#include "echo_input.h"
#include "echo_options.h"

struct echo {
    struct connection connection;
    struct window window;
    struct shm_pool pool;
    struct echo_input input;
    struct json_log log;
    struct latencies latencies; /* received -> presented */
    struct wl_list pending, feedbacks;
    struct wl_callback *first_callback;
    uint64_t events, shown, commit_seq;
    bool configured, closed, failed;
    bool dirty; /* the colour or the size changed since the last commit */
    struct echo_options options;
};

void echo_window_init(struct echo *echo);
void echo_window_finish(struct echo *echo);

/* struct echo_input's event callback; `data` is the struct echo. */
void echo_window_count_event(void *data, const struct echo_event *event);

/* Commits the current colour if it (or the size) changed; without a free buffer it stays due, and a release
 * wakes the loop, which calls this again. */
void echo_window_redraw(struct echo *echo);

/* At the end: logs the events that were not shown, with presented_ns 0, and drops outstanding feedback. */
void echo_window_forget_pending(struct echo *echo);

#endif
