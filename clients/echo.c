/* echo: a window that changes its colour at each input event and logs when that was shown.
 *
 * This file is the program: the loop, the records that begin and end the log, the summary. The window is in
 * echo_window.c, the seat in echo_input.c. `echo --help` is the user's manual.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "echo_options.h"
#include "echo_window.h"

#define LAST_ANSWERS_NS (300 * NS_PER_MS)

static void log_start(struct echo *echo)
{
    struct json_log *log = &echo->log;
    json_log_begin(log, "start");
    json_log_string(log, "program", "echo");
    json_log_u64(log, "pid", (uint64_t)getpid());
    json_log_u64(log, "start_ns", monotonic_now_ns());
    json_log_bool(log, "presentation", echo->connection.presentation != NULL);
    json_log_u64(log, "clock_id", (uint64_t)echo->connection.presentation_clock);
    json_log_bool(log, "motion", echo->options.count_motion);
    json_log_bool(log, "releases", echo->options.count_releases);
    json_log_end(log);
    json_log_flush(log);
}

static const char *reason_to_end(const struct echo *echo, uint64_t end_ns)
{
    if (echo->failed) {
        return "failure";
    }
    if (echo->connection.stop_requested) {
        return "signal";
    }
    if (echo->closed) {
        return "closed";
    }
    if (echo->options.event_limit != 0 && echo->shown >= echo->options.event_limit) {
        return "events";
    }
    return end_ns != 0 && monotonic_now_ns() >= end_ns ? "duration" : NULL;
}

static enum exit_code run(struct echo *echo, const char **reason_ret)
{
    uint64_t end_ns = echo->options.duration_s > 0
                          ? monotonic_now_ns() + (uint64_t)(echo->options.duration_s * (double)NS_PER_S)
                          : 0;
    uint64_t give_up_ns = 0; /* set when the end has come: then only answers to commits are awaited */
    *reason_ret = NULL;
    for (;;) {
        if (*reason_ret == NULL && (*reason_ret = reason_to_end(echo, end_ns)) != NULL) {
            give_up_ns = monotonic_now_ns() + LAST_ANSWERS_NS;
        }
        if (*reason_ret != NULL && (wl_list_empty(&echo->feedbacks) || monotonic_now_ns() >= give_up_ns)) {
            return echo->failed ? EXIT_LOCAL : EXIT_OK;
        }
        if (connection_wait(&echo->connection, give_up_ns != 0 ? give_up_ns : end_ns) != EXIT_OK) {
            *reason_ret = "disconnect";
            return EXIT_DISCONNECTED;
        }
        if (*reason_ret == NULL) {
            echo_window_redraw(echo);
        }
    }
}

static void finish_log(struct echo *echo, const char *reason)
{
    echo_window_forget_pending(echo);
    json_log_begin(&echo->log, "end");
    json_log_string(&echo->log, "reason", reason);
    json_log_u64(&echo->log, "end_ns", monotonic_now_ns());
    json_log_u64(&echo->log, "events", echo->events);
    json_log_u64(&echo->log, "shown", echo->shown);
    json_log_u64(&echo->log, "commits", echo->commit_seq);
    json_log_end(&echo->log);
    if (echo->options.quiet) {
        return;
    }
    FILE *out = echo->options.log_path != NULL && strcmp(echo->options.log_path, "-") == 0 ? stderr : stdout;
    fprintf(out, "echo: %" PRIu64 " input events, %" PRIu64 " %s, ended by %s\n", echo->events, echo->shown,
            echo->connection.presentation != NULL ? "shown" : "committed (no wp_presentation)", reason);
    if (echo->latencies.count > 0) {
        fprintf(out, "  received -> presented: p50 %.3f ms, p99 %.3f ms, max %.3f ms\n",
                latencies_quantile_ms(&echo->latencies, 0.5), latencies_quantile_ms(&echo->latencies, 0.99),
                latencies_quantile_ms(&echo->latencies, 1.0));
    }
}

static enum exit_code run_connected(struct echo *echo)
{
    struct connection *connection = &echo->connection;
    if (connection_require(connection, connection->compositor, "wl_compositor 4") != EXIT_OK ||
        connection_require(connection, connection->shm, "wl_shm") != EXIT_OK ||
        connection_require(connection, connection->wm_base, "xdg_wm_base") != EXIT_OK ||
        connection_require(connection, connection->seat_version != 0 ? connection : NULL, "wl_seat") !=
            EXIT_OK) {
        return EXIT_NO_COMPOSITOR;
    }
    log_start(echo);
    echo_window_init(echo);
    if (!echo_input_init(&echo->input, connection, &echo->log, echo_window_count_event, echo)) {
        echo_window_finish(echo);
        return EXIT_LOCAL;
    }
    const char *reason = NULL;
    enum exit_code result = run(echo, &reason);
    finish_log(echo, reason);
    echo_input_finish(&echo->input);
    echo_window_finish(echo);
    return result;
}

int main(int argc, char **argv)
{
    static struct echo echo; /* static: the log's buffer is too large for a stack frame */
    switch (echo_options_parse(&echo.options, argc, argv)) {
    case ECHO_OPTIONS_HELP_SHOWN:
        return EXIT_OK;
    case ECHO_OPTIONS_BAD:
        return EXIT_USAGE;
    case ECHO_OPTIONS_RUN:
        break;
    }
    int log_error = json_log_open(&echo.log, echo.options.log_path);
    if (log_error != 0) {
        fprintf(stderr, "echo: --log %s: %s\n", echo.options.log_path, strerror(log_error));
        return EXIT_LOCAL;
    }
    enum exit_code result = connection_connect(&echo.connection, "echo", echo.options.wait_s);
    if (result == EXIT_OK) {
        result = run_connected(&echo);
    }
    connection_finish(&echo.connection);
    latencies_finish(&echo.latencies);
    log_error = json_log_close(&echo.log);
    if (log_error != 0) {
        fprintf(stderr, "echo: writing the log: %s\n", strerror(log_error));
        result = result == EXIT_OK ? EXIT_LOCAL : result;
    }
    return result;
}
