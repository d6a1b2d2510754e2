/* pulse: commits frames at known times and logs when each one was shown.
 *
 * This file is the program: options, the loop with its period timer, the records that begin and end the
 * log, the summary. A window is in pulse_surface.c. `pulse --help` is the user's manual.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "pulse_options.h"
#include "pulse_surface.h"

#define LAST_ANSWERS_NS (1 * NS_PER_S)                 /* how long to wait for feedback of the last commits */
#define LAST_ANSWERS_AFTER_SIGNAL_NS (200 * NS_PER_MS) /* whoever sends SIGTERM waits for us */

static int first_roundtrip(const struct pulse_options *options)
{
    struct connection connection;
    enum exit_code result = connection_connect_bare(&connection, "pulse", options->wait_s);
    if (result == EXIT_OK) {
        printf("%" PRIu64 "\n", monotonic_now_ns());
    }
    connection_finish(&connection);
    return result;
}

static enum exit_code require_globals(struct pulse *pulse)
{
    struct connection *connection = &pulse->connection;
    const struct {
        bool needed;
        const void *global;
        const char *interface;
    } globals[] = {
        {true, connection->compositor, "wl_compositor 4"},
        {true, connection->shm, "wl_shm"},
        {true, connection->wm_base, "xdg_wm_base"},
        {pulse->options.subsurfaces > 0, connection->subcompositor, "wl_subcompositor"},
        {pulse->options.require_presentation, connection->presentation, "wp_presentation"},
    };
    for (size_t i = 0; i < sizeof(globals) / sizeof(globals[0]); i++) {
        if (globals[i].needed &&
            connection_require(connection, globals[i].global, globals[i].interface) != EXIT_OK) {
            return EXIT_NO_COMPOSITOR;
        }
    }
    return EXIT_OK;
}

static void log_start(struct pulse *pulse, uint64_t start_ns)
{
    const struct pulse_options *options = &pulse->options;
    struct json_log *log = &pulse->log;
    json_log_begin(log, "start");
    json_log_string(log, "program", "pulse");
    json_log_u64(log, "pid", (uint64_t)getpid());
    json_log_u64(log, "start_ns", start_ns);
    json_log_bool(log, "presentation", pulse->connection.presentation != NULL);
    json_log_u64(log, "clock_id", (uint64_t)pulse->connection.presentation_clock);
    json_log_string(log, "mode", options->mode == PULSE_MODE_CALLBACK ? "callback" : "period");
    json_log_u64(log, "frames", options->frames);
    json_log_double(log, "duration_s", options->duration_s);
    json_log_u64(log, "period_us", options->mode == PULSE_MODE_PERIOD ? options->period_us : 0);
    json_log_u64(log, "phase_us", options->phase_us);
    json_log_string(log, "work_dist", options->work_text);
    json_log_double(log, "work_us", options->work.kind == PULSE_WORK_FIXED ? options->work.parameters[0] : 0);
    json_log_u64(log, "seed", options->seed);
    json_log_u64(log, "width", (uint64_t)options->width);
    json_log_u64(log, "height", (uint64_t)options->height);
    json_log_string(log, "damage", options->damage_text);
    json_log_u64(log, "surfaces", options->surfaces);
    json_log_u64(log, "subsurfaces", options->subsurfaces);
    json_log_string(log, "app_id", options->app_id);
    json_log_bool(log, "fullscreen", options->fullscreen);
    json_log_end(log);
    json_log_flush(log); /* a test that follows the log sees at once that we run */
}

static uint64_t cpu_time_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void log_end(struct pulse *pulse, const char *reason)
{
    struct json_log *log = &pulse->log;
    json_log_begin(log, "end");
    json_log_string(log, "reason", reason);
    json_log_u64(log, "end_ns", monotonic_now_ns());
    json_log_u64(log, "commits", pulse->commits);
    json_log_u64(log, "presented", pulse->presented);
    json_log_u64(log, "discarded", pulse->discarded);
    json_log_u64(log, "unanswered", pulse->unanswered);
    json_log_u64(log, "callbacks", pulse->callbacks);
    json_log_u64(log, "buffer_waits", pulse->buffer_waits);
    json_log_u64(log, "skipped", pulse->skipped);
    json_log_u64(log, "cpu_us", cpu_time_us());
    json_log_end(log);
}

static void print_summary(struct pulse *pulse, const char *reason)
{
    /* Standard output may be the log. */
    bool log_on_stdout = pulse->options.log_path != NULL && strcmp(pulse->options.log_path, "-") == 0;
    FILE *out = log_on_stdout ? stderr : stdout;
    double span_s = (double)(pulse->last_commit_ns - pulse->first_commit_ns) / (double)NS_PER_S;
    fprintf(out, "pulse: %" PRIu64 " commits in %.2f s", pulse->commits, span_s);
    if (span_s > 0) {
        fprintf(out, " (%.1f/s)", (double)(pulse->commits - 1) / span_s);
    }
    fprintf(out, ", ended by %s\n", reason);
    if (pulse->connection.presentation == NULL || pulse->options.no_feedback) {
        fprintf(out, "  frame callbacks %" PRIu64 "; %s\n", pulse->callbacks,
                pulse->options.no_feedback ? "no presentation feedback was asked for"
                                           : "the compositor has no wp_presentation");
        return;
    }
    fprintf(out,
            "  presented %" PRIu64 ", discarded %" PRIu64 ", unanswered %" PRIu64
            ", waited for a buffer %" PRIu64 " times, skipped %" PRIu64 "\n",
            pulse->presented, pulse->discarded, pulse->unanswered, pulse->buffer_waits, pulse->skipped);
    if (pulse->latencies.count > 0) {
        fprintf(out, "  commit -> presented: p50 %.3f ms, p99 %.3f ms, max %.3f ms\n",
                latencies_quantile_ms(&pulse->latencies, 0.5), latencies_quantile_ms(&pulse->latencies, 0.99),
                latencies_quantile_ms(&pulse->latencies, 1.0));
    }
}

/* Why to end now, or NULL. Windows that the compositor has closed are destroyed here. */
static const char *reason_to_end(struct pulse *pulse, struct pulse_surface *surfaces, uint64_t end_ns)
{
    uint64_t done = 0, closed = 0;
    for (uint64_t i = 0; i < pulse->options.surfaces; i++) {
        if (surfaces[i].closed) {
            pulse_surface_finish(&surfaces[i]);
            closed++;
        }
        done += pulse_surface_is_done(&surfaces[i]) ? 1 : 0;
    }
    if (pulse->failed) {
        return "failure";
    }
    if (pulse->connection.stop_requested) {
        return "signal";
    }
    if (closed == pulse->options.surfaces) {
        return "closed";
    }
    if (done == pulse->options.surfaces) {
        return "frames";
    }
    return end_ns != 0 && monotonic_now_ns() >= end_ns ? "duration" : NULL;
}

/* The first phase + k * period that is after now. */
static uint64_t next_due_ns(const struct pulse_options *options, uint64_t now_ns)
{
    uint64_t period_ns = options->period_us * NS_PER_US, phase_ns = options->phase_us * NS_PER_US;
    return now_ns < phase_ns ? phase_ns : phase_ns + ((now_ns - phase_ns) / period_ns + 1) * period_ns;
}

static void tick_surfaces(struct pulse *pulse, struct pulse_surface *surfaces, uint64_t *due_ns)
{
    uint64_t period_ns = pulse->options.period_us * NS_PER_US;
    for (uint64_t i = 0; i < pulse->options.surfaces; i++) {
        pulse_surface_tick(&surfaces[i], *due_ns);
    }
    uint64_t next_ns = next_due_ns(&pulse->options, monotonic_now_ns());
    uint64_t periods = (next_ns - *due_ns) / period_ns;
    pulse->skipped += periods > 1 ? (periods - 1) * pulse->options.surfaces : 0; /* the work took too long */
    *due_ns = next_ns;
}

static bool answers_outstanding(const struct pulse *pulse, const struct pulse_surface *surfaces)
{
    for (uint64_t i = 0; i < pulse->options.surfaces; i++) {
        if (surfaces[i].callback != NULL) {
            return true;
        }
    }
    return !wl_list_empty(&pulse->feedbacks);
}

static enum exit_code run(struct pulse *pulse, struct pulse_surface *surfaces, uint64_t start_ns,
                          const char **reason_ret)
{
    const struct pulse_options *options = &pulse->options;
    uint64_t end_ns =
        options->duration_s > 0 ? start_ns + (uint64_t)(options->duration_s * (double)NS_PER_S) : 0;
    uint64_t due_ns = options->mode == PULSE_MODE_PERIOD ? next_due_ns(options, start_ns) : 0;
    while ((*reason_ret = reason_to_end(pulse, surfaces, end_ns)) == NULL) {
        uint64_t deadline_ns = end_ns;
        if (due_ns != 0 && (deadline_ns == 0 || due_ns < deadline_ns)) {
            deadline_ns = due_ns;
        }
        if (connection_wait(&pulse->connection, deadline_ns) != EXIT_OK) {
            *reason_ret = "disconnect";
            return EXIT_DISCONNECTED;
        }
        if (due_ns != 0 && monotonic_now_ns() >= due_ns) {
            tick_surfaces(pulse, surfaces, &due_ns);
        }
    }
    pulse->ending = true;
    uint64_t patience_ns = pulse->connection.stop_requested ? LAST_ANSWERS_AFTER_SIGNAL_NS : LAST_ANSWERS_NS;
    uint64_t give_up_ns = monotonic_now_ns() + patience_ns;
    while (answers_outstanding(pulse, surfaces) && monotonic_now_ns() < give_up_ns) {
        if (connection_wait(&pulse->connection, give_up_ns) != EXIT_OK) {
            *reason_ret = "disconnect";
            return EXIT_DISCONNECTED;
        }
    }
    return pulse->failed ? EXIT_LOCAL : EXIT_OK;
}

static enum exit_code run_windows(struct pulse *pulse)
{
    struct pulse_surface *surfaces = calloc(pulse->options.surfaces, sizeof(*surfaces));
    if (surfaces == NULL) {
        fputs("pulse: no memory for windows\n", stderr);
        return EXIT_LOCAL;
    }
    uint64_t start_ns = monotonic_now_ns();
    const char *reason = "failure";
    log_start(pulse, start_ns);
    enum exit_code result = EXIT_OK;
    for (uint64_t i = 0; i < pulse->options.surfaces && result == EXIT_OK; i++) {
        result = pulse_surface_init(&surfaces[i], pulse, i) ? EXIT_OK : EXIT_LOCAL;
    }
    if (result == EXIT_OK) {
        result = run(pulse, surfaces, start_ns, &reason);
    }
    pulse_feedbacks_finish(pulse);
    log_end(pulse, reason);
    if (!pulse->options.quiet) {
        print_summary(pulse, reason);
    }
    for (uint64_t i = 0; i < pulse->options.surfaces; i++) {
        pulse_surface_finish(&surfaces[i]);
    }
    free(surfaces);
    return result;
}

int main(int argc, char **argv)
{
    static struct pulse pulse; /* static: the log's buffer is too large for a stack frame */
    switch (pulse_options_parse(&pulse.options, argc, argv)) {
    case PULSE_OPTIONS_HELP_SHOWN:
        return EXIT_OK;
    case PULSE_OPTIONS_BAD:
        return EXIT_USAGE;
    case PULSE_OPTIONS_RUN:
        break;
    }
    if (pulse.options.first_roundtrip) {
        return first_roundtrip(&pulse.options);
    }
    pulse.work_state = pulse.options.seed;
    wl_list_init(&pulse.feedbacks);
    int log_error = json_log_open(&pulse.log, pulse.options.log_path);
    if (log_error != 0) {
        fprintf(stderr, "pulse: --log %s: %s\n", pulse.options.log_path, strerror(log_error));
        return EXIT_LOCAL;
    }
    enum exit_code result = connection_connect(&pulse.connection, "pulse", pulse.options.wait_s);
    if (result == EXIT_OK) {
        result = require_globals(&pulse);
    }
    if (result == EXIT_OK) {
        result = run_windows(&pulse);
    }
    connection_finish(&pulse.connection);
    latencies_finish(&pulse.latencies);
    log_error = json_log_close(&pulse.log);
    if (log_error != 0) {
        fprintf(stderr, "pulse: writing the log: %s\n", strerror(log_error));
        result = result == EXIT_OK ? EXIT_LOCAL : result;
    }
    return result;
}
