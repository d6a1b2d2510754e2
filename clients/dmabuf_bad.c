/* dmabuf --bad and --list: does one wrong thing and says how the compositor answered. */
#include "dmabuf_bad.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json_log.h"

static const struct bad_scenario *const tables[] = {bad_params_scenarios, bad_buffer_scenarios,
                                                    bad_drm_scenarios};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

static const char *const expectation_names[] = {
    [BAD_ERROR] = "error",       [BAD_KILLED] = "killed", [BAD_FAILED] = "failed", [BAD_REFUSED] = "refused",
    [BAD_SURVIVES] = "survives", [BAD_EITHER] = "either", [BAD_DIES] = "dies",
};

static const char *const needs_names[] = {
    [BAD_NEEDS_NOTHING] = "-", [BAD_NEEDS_DMABUF] = "dma-buf", [BAD_NEEDS_WL_DRM] = "wl_drm"};

static const char *const error_names[] = {
    "already_used",   "plane_idx",          "plane_set",     "incomplete",
    "invalid_format", "invalid_dimensions", "out_of_bounds", "invalid_wl_buffer",
};
#define ERRORS (sizeof(error_names) / sizeof(error_names[0]))

void dmabuf_list(void)
{
    printf("%-24s %-8s %-28s %8s  %s\n", "SCENARIO", "NEEDS", "EXPECTED", "COUNT", "WHAT IT DOES");
    for (size_t t = 0; t < TABLES; t++) {
        for (const struct bad_scenario *s = tables[t]; s->name != NULL; s++) {
            char count[24] = "-", expected[32];
            if (s->default_count > 0) {
                snprintf(count, sizeof(count), "%" PRIu64, s->default_count);
            }
            snprintf(expected, sizeof(expected), "%s%s%s", expectation_names[s->expected],
                     s->expected == BAD_ERROR ? " " : "",
                     s->expected == BAD_ERROR ? error_names[s->code] : "");
            printf("%-24s %-8s %-28s %8s  %s\n", s->name, needs_names[s->needs], expected, count,
                   s->description);
        }
    }
}

static const struct bad_scenario *find_scenario(const char *name)
{
    for (size_t t = 0; t < TABLES; t++) {
        for (const struct bad_scenario *s = tables[t]; s->name != NULL; s++) {
            if (strcmp(s->name, name) == 0) {
                return s;
            }
        }
    }
    fprintf(stderr, "dmabuf: no scenario is called %s; see dmabuf --list\n", name);
    return NULL;
}

bool dmabuf_has_scenario(const char *name)
{
    return find_scenario(name) != NULL;
}

/* ---- what scenarios use ---- */

static void handle_created(void *data, struct zwp_linux_buffer_params_v1 *params, struct wl_buffer *buffer)
{
    (void)params;
    (void)buffer;
    ((struct bad *)data)->created++;
}

static void handle_failed(void *data, struct zwp_linux_buffer_params_v1 *params)
{
    (void)params;
    ((struct bad *)data)->failed = true;
}

static const struct zwp_linux_buffer_params_v1_listener params_listener = {handle_created, handle_failed};

struct zwp_linux_buffer_params_v1 *bad_params(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = zwp_linux_dmabuf_v1_create_params(bad->channel.dmabuf);
    zwp_linux_buffer_params_v1_add_listener(params, &params_listener, bad);
    return params;
}

void bad_add(struct zwp_linux_buffer_params_v1 *params, int fd, uint32_t plane)
{
    zwp_linux_buffer_params_v1_add(params, fd, plane, 0, BAD_STRIDE, 0, 0);
}

struct wl_buffer *bad_good_buffer(struct bad *bad)
{
    struct channel_plane plane = {bad->memory.fd, 0, BAD_STRIDE};
    struct wl_buffer *buffer = channel_create_buffer(&bad->channel, &plane, 1, BAD_WIDTH_PX, BAD_HEIGHT_PX,
                                                     DRM_FORMAT_XRGB8888, DRM_FORMAT_MOD_LINEAR, false);
    if (buffer == NULL) {
        bad->undone = "the compositor refused a good buffer";
    } else {
        bad->created++;
    }
    return buffer;
}

static void handle_configured(void *data)
{
    ((struct bad *)data)->configured = true;
}

static void handle_closed(void *data)
{
    (void)data;
}

static const struct window_events window_events = {.configured = handle_configured, .closed = handle_closed};

bool bad_open_window(struct bad *bad)
{
    uint64_t give_up_ns = monotonic_now_ns() + CHANNEL_STALL_S * NS_PER_S;
    window_init(&bad->window, bad->connection, BAD_WIDTH_PX, BAD_HEIGHT_PX, "dmabuf-bad", "dmabuf", false,
                &window_events, bad);
    while (!bad->configured) {
        if (!channel_roundtrip(&bad->channel)) {
            return false;
        }
        if (monotonic_now_ns() >= give_up_ns) {
            bad->undone = "the compositor sent no configure";
            return false;
        }
        usleep(1000);
    }
    return true;
}

void bad_show(struct bad *bad, struct wl_buffer *buffer)
{
    wl_surface_attach(bad->window.surface, buffer, 0, 0);
    wl_surface_damage_buffer(bad->window.surface, 0, 0, INT32_MAX, INT32_MAX);
    wl_surface_commit(bad->window.surface);
}

void bad_let_it_compose(struct bad *bad)
{
    for (int i = 0; i < 20 && channel_roundtrip(&bad->channel); i++) {
        usleep(10000);
    }
}

/* ---- the verdict ---- */

static bool as_expected(const struct bad *bad, const struct bad_scenario *scenario, bool alive, int error,
                        const struct wl_interface *interface, uint32_t code)
{
    bool killed = !alive && error != 0;
    bool by_params = interface == &zwp_linux_buffer_params_v1_interface;
    if (bad->undone != NULL || (!alive && !killed)) {
        return false;
    }
    switch (scenario->expected) {
    case BAD_ERROR:
        return killed && by_params && code == scenario->code;
    case BAD_KILLED:
        return killed;
    case BAD_FAILED:
        return alive && bad->failed;
    case BAD_REFUSED:
        return killed || bad->failed;
    case BAD_SURVIVES:
        return alive && !bad->failed && bad->created > 0;
    default:
        return true;
    }
}

static int judge(const struct bad *bad, const struct bad_scenario *scenario, bool alive)
{
    static struct json_log log;
    struct wl_display *display = bad->connection->display;
    const struct wl_interface *interface = NULL;
    uint32_t id = 0;
    int error = wl_display_get_error(display);
    uint32_t code = error != 0 ? wl_display_get_protocol_error(display, &interface, &id) : 0;
    bool good = as_expected(bad, scenario, alive, error, interface, code);
    json_log_open(&log, "-");
    json_log_begin(&log, "result");
    json_log_string(&log, "scenario", scenario->name);
    json_log_string(&log, "expected", expectation_names[scenario->expected]);
    json_log_string(&log, "verdict",
                    bad->undone != NULL ? "undone"
                    : !alive            ? (error != 0 ? "killed" : "stalled")
                    : bad->failed       ? "failed"
                                        : "survives");
    if (interface != NULL) {
        bool by_params = interface == &zwp_linux_buffer_params_v1_interface && code < ERRORS;
        json_log_string(&log, "error_interface", interface->name);
        json_log_u64(&log, "error_code", code);
        json_log_string(&log, "error", by_params ? error_names[code] : "");
    } else if (error != 0) {
        json_log_string(&log, "disconnected", strerror(error));
    }
    if (bad->undone != NULL) {
        json_log_string(&log, "undone", bad->undone);
    }
    json_log_u64(&log, "created", bad->created);
    json_log_bool(&log, "as_expected", good);
    json_log_end(&log);
    if (json_log_close(&log) != 0) {
        return EXIT_LOCAL;
    }
    return good ? EXIT_OK : EXIT_UNEXPECTED;
}

static bool prepare_memory(struct bad *bad, const struct bad_scenario *scenario)
{
    const struct dmabuf_options *options = bad->options;
    size_t bytes = (size_t)BAD_STRIDE * BAD_HEIGHT_PX;
    bad->memfd = memfd_create("dmabuf-bad", MFD_CLOEXEC);
    if (bad->memfd < 0 || ftruncate(bad->memfd, (off_t)bytes) != 0) {
        fprintf(stderr, "dmabuf: a memfd cannot be made: %s\n", strerror(errno));
        return false;
    }
    bad->source =
        options->source != MEMORY_SOURCE_COUNT ? options->source : memory_find_source(options->device);
    if (bad->source == MEMORY_MEMFD && scenario->needs != BAD_NEEDS_NOTHING) {
        fprintf(stderr, "dmabuf: %s needs a dma-buf, and none can be allocated here\n", scenario->name);
        return false;
    }
    return scenario->needs == BAD_NEEDS_NOTHING ||
           memory_allocate(&bad->memory, bad->source, bytes, 4096, options->device);
}

int dmabuf_misbehave(const struct dmabuf_options *options, struct connection *connection)
{
    struct bad bad = {.options = options, .connection = connection, .memory = {.fd = -1, .device = -1}};
    const struct bad_scenario *scenario = find_scenario(options->bad);
    if (options->count != 0 && scenario->default_count == 0) {
        fprintf(stderr, "dmabuf: --count means nothing to %s\n", scenario->name);
        return EXIT_USAGE;
    }
    bad.count = options->count != 0 ? options->count : scenario->default_count;
    if (!prepare_memory(&bad, scenario)) {
        return EXIT_LOCAL;
    }
    int result = (int)channel_open(&bad.channel, connection, (uint32_t)options->version);
    if (result != EXIT_OK) {
        return result;
    }
    scenario->run(&bad);
    bool alive = channel_roundtrip(&bad.channel);
    if (alive && options->hold_s > 0) {
        uint64_t end_ns = monotonic_now_ns() + (uint64_t)(options->hold_s * (double)NS_PER_S);
        while (monotonic_now_ns() < end_ns && connection_wait(connection, end_ns) == EXIT_OK) {
        }
        alive = channel_roundtrip(&bad.channel);
    }
    result = judge(&bad, scenario, alive);
    _exit(result); /* half the objects are in a state that no clean-up is made for */
}
