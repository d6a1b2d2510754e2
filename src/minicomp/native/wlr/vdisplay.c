/* The modelled display.
 *
 * An output keeps KMS's flip rules: a commit is latched by the first vblank at least latch_ns later and shown
 * then; until it is, a second commit is refused (EBUSY). "Presented" carries the vblank's exact time and
 * number, however late this machine woke us; late waking shows in the trace as EPOLL_WAKE after the vblank.
 * Presentation flags say vsync only: neither a hardware clock nor hardware completion is claimed. wlroots'
 * own headless backend is no model: it ticks in whole milliseconds and calls a frame presented as it is
 * committed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wlr/interfaces/wlr_input_device.h>
#include <wlr/interfaces/wlr_output.h>
#include <wlr/backend/interface.h>

#include "server.h"
#include "vdisplay.h"

#define MAX_CONNECTORS 64
#define MAX_SIZE 16384
#define PIXELS_PER_METRE 3780 /* 96 dpi: the physical size that makes scale 1 right */

struct vdisplay {
    struct wlr_backend base;
    struct mc_server *server;
    struct wl_display *display;
    struct wl_listener display_destroy;
    struct wl_list outputs; /* voutput.link */
    bool started;
    struct wlr_input_device *devices[3]; /* keyboard, pointer, touch */
};

struct voutput {
    struct wlr_output base;
    struct vdisplay *owner;
    struct wl_list link;
    int connector;
    struct wlr_output_mode mode; /* the monitor's own, preferred */
    struct mc_vblank vblank;
    struct mc_timer timer; /* fires at the vblank that shows the pending flip, unless that is deferred */
    bool flip_pending;
    bool deferred; /* whoever wakes up after the vblank sees to it: mc_vdisplay_defer */
    uint64_t flip_seq;
    uint32_t flip_commit_seq;
    int fault_vblanks, fault_count; /* fault_vblanks 0: refuse the commit */
};

static const struct wlr_output_impl output_impl;
static const struct wlr_backend_impl backend_impl;

static struct voutput *voutput_from(struct wlr_output *wlr_output)
{
    struct voutput *output = wl_container_of(wlr_output, output, base);
    return output;
}

bool mc_vdisplay_is_output(const struct wlr_output *wlr_output)
{
    return wlr_output->impl == &output_impl;
}

uint64_t mc_vdisplay_latch_ns(const struct wlr_output *wlr_output)
{
    return mc_vdisplay_is_output(wlr_output) ? voutput_from((struct wlr_output *)wlr_output)->vblank.latch_ns
                                             : 0;
}

/* ---- flips ---- */

static void send_present(struct voutput *output, bool presented)
{
    uint64_t vblank_ns = mc_vblank_time(&output->vblank, output->flip_seq);
    struct timespec when = mc_timespec(vblank_ns);
    struct wlr_output_event_present event = {
        .commit_seq = output->flip_commit_seq,
        .presented = presented,
        .when = &when,
        .seq = (unsigned int)output->flip_seq,
        .refresh = (int)mc_vblank_period_ns(&output->vblank),
        .flags = WLR_OUTPUT_PRESENT_VSYNC,
    };
    output->flip_pending = false;
    wlr_output_send_present(&output->base, &event);
}

static void handle_vblank(void *data, uint64_t deadline_ns)
{
    (void)deadline_ns;
    struct voutput *output = data;
    if (!output->flip_pending) {
        return;
    }
    send_present(output, true);
    wlr_output_send_frame(&output->base);
}

static bool shown(struct voutput *output)
{
    return output->flip_pending &&
           mc_vblank_time(&output->vblank, output->flip_seq) <= mc_server_now_ns(output->owner->server);
}

static void cancel_flip(struct voutput *output)
{
    mc_timer_disarm(&output->timer);
    if (output->flip_pending) {
        send_present(output, shown(output));
        output->base.frame_pending = false;
    }
}

static bool take_refusal(struct voutput *output)
{
    if (output->fault_count > 0 && output->fault_vblanks == 0) {
        output->fault_count--;
        return true;
    }
    return false;
}

static bool output_test(struct wlr_output *wlr_output)
{
    uint32_t supported = WLR_OUTPUT_STATE_BACKEND_OPTIONAL | WLR_OUTPUT_STATE_BUFFER | WLR_OUTPUT_STATE_MODE |
                         WLR_OUTPUT_STATE_ENABLED;
    const struct wlr_output_state *state = &wlr_output->pending;
    if ((state->committed & ~supported) != 0) {
        return false;
    }
    if ((state->committed & WLR_OUTPUT_STATE_MODE) != 0 && state->mode_type == WLR_OUTPUT_STATE_MODE_CUSTOM) {
        return state->custom_mode.width <= MAX_SIZE && state->custom_mode.height <= MAX_SIZE;
    }
    return true;
}

/* A mode of the monitor's list with these figures; a custom one joins the list, as on KMS, since clients can
 * see as current only what is in it. NULL when memory is short. */
static struct wlr_output_mode *custom_mode(struct voutput *output, int32_t width, int32_t height,
                                           int32_t refresh_mhz)
{
    struct wlr_output_mode *mode;
    wl_list_for_each (mode, &output->base.modes, link) {
        if (mode->width == width && mode->height == height && mode->refresh == refresh_mhz) {
            return mode;
        }
    }
    mode = calloc(1, sizeof(*mode));
    if (mode != NULL) {
        *mode = (struct wlr_output_mode){.width = width, .height = height, .refresh = refresh_mhz};
        wl_list_insert(output->base.modes.prev, &mode->link);
    }
    return mode;
}

static bool change_mode(struct voutput *output)
{
    const struct wlr_output_state *state = &output->base.pending;
    struct wlr_output_mode *mode = state->mode;
    if (state->mode_type == WLR_OUTPUT_STATE_MODE_CUSTOM) {
        int32_t refresh_mhz =
            state->custom_mode.refresh > 0 ? state->custom_mode.refresh : output->mode.refresh;
        mode = custom_mode(output, state->custom_mode.width, state->custom_mode.height, refresh_mhz);
        if (mode == NULL) {
            return false;
        }
    }
    cancel_flip(output);
    wlr_output_update_mode(&output->base, mode);
    if ((uint32_t)mode->refresh != output->vblank.refresh_mhz) {
        mc_vblank_set_refresh(&output->vblank, mc_server_now_ns(output->owner->server),
                              (uint32_t)mode->refresh);
    }
    return true;
}

static bool output_commit(struct wlr_output *wlr_output)
{
    struct voutput *output = voutput_from(wlr_output);
    uint32_t committed = wlr_output->pending.committed;
    if (!output_test(wlr_output)) {
        return false;
    }
    bool flip = (committed & WLR_OUTPUT_STATE_BUFFER) != 0;
    if (flip && (output->flip_pending || take_refusal(output))) {
        return false;
    }
    if ((committed & WLR_OUTPUT_STATE_MODE) != 0 && !change_mode(output)) {
        return false;
    }
    if ((committed & WLR_OUTPUT_STATE_ENABLED) != 0) {
        if (!wlr_output->pending.enabled) {
            cancel_flip(output);
        }
        wlr_output_update_enabled(wlr_output, wlr_output->pending.enabled);
    }
    if (flip) {
        uint64_t now_ns = mc_server_now_ns(output->owner->server);
        output->flip_pending = true;
        output->flip_seq = mc_vblank_flip_seq(&output->vblank, now_ns);
        output->flip_commit_seq = wlr_output->commit_seq + 1;
        if (output->fault_count > 0) {
            output->fault_count--;
            output->flip_seq += (uint64_t)output->fault_vblanks;
        }
        if (!output->deferred) {
            mc_timer_arm(&output->timer, mc_vblank_time(&output->vblank, output->flip_seq));
        }
    }
    return true;
}

void mc_vdisplay_defer(struct wlr_output *wlr_output)
{
    if (mc_vdisplay_is_output(wlr_output)) {
        struct voutput *output = voutput_from(wlr_output);
        output->deferred = !output->owner->server->step;
    }
}

void mc_vdisplay_hurry(struct wlr_output *wlr_output)
{
    if (mc_vdisplay_is_output(wlr_output)) {
        struct voutput *output = voutput_from(wlr_output);
        output->deferred = false;
        if (output->flip_pending) {
            mc_timer_arm(&output->timer, mc_vblank_time(&output->vblank, output->flip_seq));
        }
    }
}

static void output_destroy(struct wlr_output *wlr_output)
{
    struct voutput *output = voutput_from(wlr_output);
    mc_timer_finish(&output->timer);
    wl_list_remove(&output->link);
    struct wlr_output_mode *mode, *next;
    wl_list_for_each_safe (mode, next, &wlr_output->modes, link) {
        if (mode != &output->mode) {
            free(mode);
        }
    }
    free(output);
}

static const struct wlr_output_impl output_impl = {
    .destroy = output_destroy,
    .test = output_test,
    .commit = output_commit,
};

/* ---- connectors ---- */

static struct voutput *find(struct vdisplay *display, int connector)
{
    struct voutput *output;
    wl_list_for_each (output, &display->outputs, link) {
        if (output->connector == connector) {
            return output;
        }
    }
    return NULL;
}

static void announce(struct voutput *output)
{
    wl_signal_emit(&output->owner->base.events.new_output, &output->base);
}

static int plug(struct vdisplay *display, int connector, int width, int height, int refresh_mhz,
                uint64_t latch_ns)
{
    if (connector == 0) {
        connector = 1;
        while (find(display, connector) != NULL) {
            connector++;
        }
    }
    if (connector < 1 || connector > MAX_CONNECTORS || width < 1 || height < 1 || width > MAX_SIZE ||
        height > MAX_SIZE || refresh_mhz < 1 || latch_ns >= 1000000000000ull / (uint64_t)refresh_mhz) {
        return -EINVAL;
    }
    if (find(display, connector) != NULL) {
        return -EEXIST;
    }
    struct voutput *output = calloc(1, sizeof(*output));
    if (output == NULL) {
        return -ENOMEM;
    }
    output->owner = display;
    output->connector = connector;
    int error = mc_timer_init(&output->timer, display->server, handle_vblank, output);
    if (error != 0) {
        free(output);
        return error;
    }
    wlr_output_init(&output->base, &display->base, &output_impl, display->display);
    output->mode = (struct wlr_output_mode){width, height, refresh_mhz, true, {0}};
    wl_list_insert(&output->base.modes, &output->mode.link);
    output->base.phys_width = width * 1000 / PIXELS_PER_METRE;
    output->base.phys_height = height * 1000 / PIXELS_PER_METRE;
    strcpy(output->base.make, "minicomp");
    strcpy(output->base.model, "modelled");
    snprintf(output->base.serial, sizeof(output->base.serial), "%d", connector);
    char text[64];
    snprintf(text, sizeof(text), "HEADLESS-%d", connector);
    output->base.name = strdup(text);
    snprintf(text, sizeof(text), "minicomp modelled display %d", connector);
    output->base.description = strdup(text);
    output->vblank = (struct mc_vblank){mc_server_now_ns(display->server), (uint32_t)refresh_mhz, latch_ns};
    wl_list_insert(display->outputs.prev, &output->link);
    if (display->started) {
        announce(output);
    }
    return connector;
}

static struct vdisplay *vdisplay_of(struct mc_server *server)
{
    struct wlr_backend *backend = server->backend;
    if (backend == NULL || backend->impl != &backend_impl) {
        return NULL;
    }
    struct vdisplay *display = wl_container_of(backend, display, base);
    return display;
}

/* NULL: no such connector, or not a modelled display. */
static struct voutput *plugged(struct mc_server *server, int connector)
{
    struct vdisplay *display = vdisplay_of(server);
    return display != NULL ? find(display, connector) : NULL;
}

void mc_vdisplay_settle(struct mc_server *server)
{
    struct vdisplay *display = vdisplay_of(server);
    if (display == NULL) {
        return;
    }
    struct voutput *output, *next;
    wl_list_for_each_safe (output, next, &display->outputs, link) {
        if (output->deferred && shown(output)) {
            handle_vblank(output, 0);
        }
    }
}

int mc_vdisplay_plug(struct mc_server *server, int connector, int width, int height, int refresh_mhz,
                     uint64_t latch_ns)
{
    mc_verb_begin(server);
    struct vdisplay *display = vdisplay_of(server);
    int result = display == NULL ? -ENODEV : plug(display, connector, width, height, refresh_mhz, latch_ns);
    mc_verb_end(server);
    return result;
}

int mc_vdisplay_unplug(struct mc_server *server, int connector)
{
    mc_verb_begin(server);
    struct voutput *output = plugged(server, connector);
    if (output != NULL) {
        wlr_output_destroy(&output->base);
    }
    mc_verb_end(server);
    return output != NULL ? 0 : -ENOENT;
}

int mc_vdisplay_inject_fault(struct mc_server *server, int connector, int vblanks, int count)
{
    mc_verb_begin(server);
    struct voutput *output = plugged(server, connector);
    if (output != NULL) {
        output->fault_vblanks = vblanks;
        output->fault_count = count;
    }
    mc_verb_end(server);
    return output != NULL ? 0 : -ENOENT;
}

int mc_vdisplay_shift(struct mc_server *server, int connector, uint64_t shift_ns)
{
    mc_verb_begin(server);
    struct voutput *output = plugged(server, connector);
    if (output != NULL) {
        output->vblank.base_ns += shift_ns;
        if (output->flip_pending) {
            mc_timer_arm(&output->timer, mc_vblank_time(&output->vblank, output->flip_seq));
        }
    }
    mc_verb_end(server);
    return output != NULL ? 0 : -ENOENT;
}

uint64_t mc_vdisplay_next_vblank(struct mc_server *server, int connector, uint64_t t_ns)
{
    mc_verb_begin(server);
    struct voutput *output = plugged(server, connector);
    uint64_t vblank_ns = 0;
    if (output != NULL) {
        vblank_ns = mc_vblank_time(&output->vblank, mc_vblank_seq_at_or_after(&output->vblank, t_ns));
    }
    mc_verb_end(server);
    return vblank_ns;
}

struct wlr_input_device *mc_vdisplay_device(struct wlr_backend *backend, enum wlr_input_device_type type)
{
    if (backend == NULL || backend->impl != &backend_impl) {
        return NULL;
    }
    struct vdisplay *display = wl_container_of(backend, display, base);
    for (size_t i = 0; i < 3; i++) {
        if (display->devices[i] != NULL && display->devices[i]->type == type) {
            return display->devices[i];
        }
    }
    return NULL;
}

/* ---- the backend ---- */

static bool backend_start(struct wlr_backend *backend)
{
    struct vdisplay *display = wl_container_of(backend, display, base);
    display->started = true;
    for (size_t i = 0; i < 3; i++) {
        wl_signal_emit(&backend->events.new_input, display->devices[i]);
    }
    struct voutput *output, *next;
    wl_list_for_each_safe (output, next, &display->outputs, link) {
        announce(output);
    }
    return true;
}

static void backend_destroy(struct wlr_backend *backend)
{
    struct vdisplay *display = wl_container_of(backend, display, base);
    mc_unlisten(&display->display_destroy);
    struct voutput *output, *next;
    wl_list_for_each_safe (output, next, &display->outputs, link) {
        wlr_output_destroy(&output->base);
    }
    for (size_t i = 0; i < 3; i++) {
        if (display->devices[i] != NULL) {
            wlr_input_device_destroy(display->devices[i]);
        }
    }
    wlr_backend_finish(backend);
    free(display);
}

static clockid_t backend_get_presentation_clock(struct wlr_backend *backend)
{
    (void)backend;
    return CLOCK_MONOTONIC; /* with the step clock: its modelled time, which begins at CLOCK_MONOTONIC's */
}

static uint32_t backend_get_buffer_caps(struct wlr_backend *backend)
{
    (void)backend;
    return WLR_BUFFER_CAP_DATA_PTR | WLR_BUFFER_CAP_DMABUF | WLR_BUFFER_CAP_SHM;
}

static const struct wlr_backend_impl backend_impl = {
    .start = backend_start,
    .destroy = backend_destroy,
    .get_presentation_clock = backend_get_presentation_clock,
    .get_buffer_caps = backend_get_buffer_caps,
};

static void handle_display_destroy(struct wl_listener *listener, void *data)
{
    (void)data;
    struct vdisplay *display = wl_container_of(listener, display, display_destroy);
    backend_destroy(&display->base);
}

struct wlr_backend *mc_vdisplay_create(struct mc_server *server, struct wl_display *wl_display)
{
    static const enum wlr_input_device_type types[3] = {
        WLR_INPUT_DEVICE_KEYBOARD,
        WLR_INPUT_DEVICE_POINTER,
        WLR_INPUT_DEVICE_TOUCH,
    };
    struct vdisplay *display = calloc(1, sizeof(*display));
    if (display == NULL) {
        return NULL;
    }
    wlr_backend_init(&display->base, &backend_impl);
    display->server = server;
    display->display = wl_display;
    wl_list_init(&display->outputs);
    display->display_destroy.notify = handle_display_destroy;
    wl_display_add_destroy_listener(wl_display, &display->display_destroy);
    for (size_t i = 0; i < 3; i++) {
        display->devices[i] = mc_vdisplay_create_device(types[i]);
        if (display->devices[i] == NULL) {
            backend_destroy(&display->base);
            return NULL;
        }
    }
    return &display->base;
}
