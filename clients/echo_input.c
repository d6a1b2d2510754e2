/* See echo_input.h. */
#include "echo_input.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xkbcommon/xkbcommon.h>

#include "common/clock.h"

#define EVDEV_TO_XKB 8 /* xkb key codes are evdev's plus 8 */

const char *const echo_kind_names[ECHO_KIND_COUNT] = {"key", "button", "motion", "axis", "touch"};

static void log_focus(struct echo_input *input, const char *kind, bool entered, double x, double y)
{
    json_log_begin(input->log, "focus");
    json_log_string(input->log, "kind", kind);
    json_log_bool(input->log, "entered", entered);
    json_log_u64(input->log, "received_ns", monotonic_now_ns());
    if (entered && strcmp(kind, "pointer") == 0) {
        json_log_double(input->log, "x", x);
        json_log_double(input->log, "y", y);
    }
    json_log_end(input->log);
    json_log_flush(input->log);
}

/* ---- keyboard ---- */

static void handle_keymap(void *data, struct wl_keyboard *keyboard, uint32_t format, int32_t fd,
                          uint32_t size)
{
    struct echo_input *input = data;
    (void)keyboard;
    xkb_state_unref(input->xkb_state);
    xkb_keymap_unref(input->keymap);
    input->xkb_state = NULL;
    input->keymap = NULL;
    if (format == WL_KEYBOARD_KEYMAP_FORMAT_XKB_V1) {
        /* wl_seat version 7 demands MAP_PRIVATE; earlier ones allow it. */
        char *text = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (text != MAP_FAILED) {
            input->keymap = xkb_keymap_new_from_string(input->xkb_context, text, XKB_KEYMAP_FORMAT_TEXT_V1,
                                                       XKB_KEYMAP_COMPILE_NO_FLAGS);
            munmap(text, size);
        }
        if (input->keymap == NULL) {
            fprintf(stderr, "echo: the compositor's keymap (%u bytes) cannot be used; no keysyms\n", size);
        } else {
            input->xkb_state = xkb_state_new(input->keymap);
        }
    }
    close(fd);
}

static void handle_keyboard_enter(void *data, struct wl_keyboard *keyboard, uint32_t serial,
                                  struct wl_surface *surface, struct wl_array *keys)
{
    (void)keyboard, (void)serial, (void)surface, (void)keys;
    log_focus(data, "keyboard", true, 0, 0);
}

static void handle_keyboard_leave(void *data, struct wl_keyboard *keyboard, uint32_t serial,
                                  struct wl_surface *surface)
{
    (void)keyboard, (void)serial, (void)surface;
    log_focus(data, "keyboard", false, 0, 0);
}

static void handle_key(void *data, struct wl_keyboard *keyboard, uint32_t serial, uint32_t time_ms,
                       uint32_t key, uint32_t state)
{
    struct echo_input *input = data;
    struct echo_event event = {
        .kind = ECHO_KEY,
        .state = state == WL_KEYBOARD_KEY_STATE_PRESSED ? "pressed" : "released",
        .code = key,
        .event_ms = time_ms,
        .received_ns = monotonic_now_ns(),
    };
    (void)keyboard, (void)serial;
    if (input->xkb_state != NULL) {
        xkb_keysym_t sym = xkb_state_key_get_one_sym(input->xkb_state, key + EVDEV_TO_XKB);
        xkb_keysym_get_name(sym, event.sym, sizeof(event.sym));
    }
    input->event(input->data, &event);
}

static void handle_modifiers(void *data, struct wl_keyboard *keyboard, uint32_t serial, uint32_t depressed,
                             uint32_t latched, uint32_t locked, uint32_t group)
{
    struct echo_input *input = data;
    (void)keyboard, (void)serial;
    if (input->xkb_state != NULL) {
        xkb_state_update_mask(input->xkb_state, depressed, latched, locked, 0, 0, group);
    }
}

static void handle_repeat_info(void *data, struct wl_keyboard *keyboard, int32_t rate_per_s, int32_t delay_ms)
{
    struct echo_input *input = data;
    (void)keyboard;
    json_log_begin(input->log, "repeat");
    json_log_u64(input->log, "rate_per_s", (uint64_t)rate_per_s);
    json_log_u64(input->log, "delay_ms", (uint64_t)delay_ms);
    json_log_end(input->log);
}

static const struct wl_keyboard_listener keyboard_listener = {
    .keymap = handle_keymap,
    .enter = handle_keyboard_enter,
    .leave = handle_keyboard_leave,
    .key = handle_key,
    .modifiers = handle_modifiers,
    .repeat_info = handle_repeat_info,
};

/* ---- pointer ---- */

static void handle_pointer_enter(void *data, struct wl_pointer *pointer, uint32_t serial,
                                 struct wl_surface *surface, wl_fixed_t x, wl_fixed_t y)
{
    struct echo_input *input = data;
    (void)surface;
    input->pointer_x = wl_fixed_to_double(x);
    input->pointer_y = wl_fixed_to_double(y);
    /* Hidden: a cursor would cover pixels that a screenshot checks. */
    wl_pointer_set_cursor(pointer, serial, NULL, 0, 0);
    log_focus(input, "pointer", true, input->pointer_x, input->pointer_y);
}

static void handle_pointer_leave(void *data, struct wl_pointer *pointer, uint32_t serial,
                                 struct wl_surface *surface)
{
    (void)pointer, (void)serial, (void)surface;
    log_focus(data, "pointer", false, 0, 0);
}

static void emit_pointer(struct echo_input *input, enum echo_kind kind, const char *state, uint32_t code,
                         uint32_t time_ms)
{
    struct echo_event event = {
        .kind = kind,
        .state = state,
        .code = code,
        .x = input->pointer_x,
        .y = input->pointer_y,
        .event_ms = time_ms,
        .received_ns = monotonic_now_ns(),
    };
    input->event(input->data, &event);
}

static void handle_motion(void *data, struct wl_pointer *pointer, uint32_t time_ms, wl_fixed_t x,
                          wl_fixed_t y)
{
    struct echo_input *input = data;
    (void)pointer;
    input->pointer_x = wl_fixed_to_double(x);
    input->pointer_y = wl_fixed_to_double(y);
    emit_pointer(input, ECHO_MOTION, "motion", 0, time_ms);
}

static void handle_button(void *data, struct wl_pointer *pointer, uint32_t serial, uint32_t time_ms,
                          uint32_t button, uint32_t state)
{
    (void)pointer, (void)serial;
    emit_pointer(data, ECHO_BUTTON, state == WL_POINTER_BUTTON_STATE_PRESSED ? "pressed" : "released", button,
                 time_ms);
}

static void handle_axis(void *data, struct wl_pointer *pointer, uint32_t time_ms, uint32_t axis,
                        wl_fixed_t value)
{
    struct echo_input *input = data;
    struct echo_event event = {
        .kind = ECHO_AXIS,
        .state = "scroll",
        .code = axis,
        .y = wl_fixed_to_double(value),
        .event_ms = time_ms,
        .received_ns = monotonic_now_ns(),
    };
    (void)pointer;
    input->event(input->data, &event);
}

static void ignore_pointer_frame(void *data, struct wl_pointer *pointer)
{
    (void)data, (void)pointer;
}

static void ignore_axis_source(void *data, struct wl_pointer *pointer, uint32_t source)
{
    (void)data, (void)pointer, (void)source;
}

static void ignore_axis_stop(void *data, struct wl_pointer *pointer, uint32_t time_ms, uint32_t axis)
{
    (void)data, (void)pointer, (void)time_ms, (void)axis;
}

static void ignore_axis_discrete(void *data, struct wl_pointer *pointer, uint32_t axis, int32_t discrete)
{
    (void)data, (void)pointer, (void)axis, (void)discrete;
}

static const struct wl_pointer_listener pointer_listener = {
    .enter = handle_pointer_enter,
    .leave = handle_pointer_leave,
    .motion = handle_motion,
    .button = handle_button,
    .axis = handle_axis,
    .frame = ignore_pointer_frame,
    .axis_source = ignore_axis_source,
    .axis_stop = ignore_axis_stop,
    .axis_discrete = ignore_axis_discrete,
};

/* ---- touch ---- */

static void emit_touch(struct echo_input *input, const char *state, int32_t id, uint32_t time_ms,
                       wl_fixed_t x, wl_fixed_t y)
{
    struct echo_event event = {
        .kind = ECHO_TOUCH,
        .state = state,
        .code = (uint32_t)id,
        .x = wl_fixed_to_double(x),
        .y = wl_fixed_to_double(y),
        .event_ms = time_ms,
        .received_ns = monotonic_now_ns(),
    };
    input->event(input->data, &event);
}

static void handle_touch_down(void *data, struct wl_touch *touch, uint32_t serial, uint32_t time_ms,
                              struct wl_surface *surface, int32_t id, wl_fixed_t x, wl_fixed_t y)
{
    (void)touch, (void)serial, (void)surface;
    emit_touch(data, "down", id, time_ms, x, y);
}

static void handle_touch_up(void *data, struct wl_touch *touch, uint32_t serial, uint32_t time_ms, int32_t id)
{
    (void)touch, (void)serial;
    emit_touch(data, "up", id, time_ms, 0, 0);
}

static void handle_touch_motion(void *data, struct wl_touch *touch, uint32_t time_ms, int32_t id,
                                wl_fixed_t x, wl_fixed_t y)
{
    (void)touch;
    emit_touch(data, "motion", id, time_ms, x, y);
}

static void ignore_touch(void *data, struct wl_touch *touch)
{
    (void)data, (void)touch;
}

static const struct wl_touch_listener touch_listener = {
    .down = handle_touch_down,
    .up = handle_touch_up,
    .motion = handle_touch_motion,
    .frame = ignore_touch,
    .cancel = ignore_touch,
};

/* ---- seat ---- */

/* wl_seat: releasing an object whose capability went away is the client's duty. */
static void drop_devices(struct echo_input *input, bool keyboard, bool pointer, bool touch)
{
    if (keyboard && input->keyboard != NULL) {
        wl_keyboard_release(input->keyboard);
        input->keyboard = NULL;
    }
    if (pointer && input->pointer != NULL) {
        wl_pointer_release(input->pointer);
        input->pointer = NULL;
    }
    if (touch && input->touch != NULL) {
        wl_touch_release(input->touch);
        input->touch = NULL;
    }
}

static void handle_capabilities(void *data, struct wl_seat *seat, uint32_t capabilities)
{
    struct echo_input *input = data;
    bool keyboard = (capabilities & WL_SEAT_CAPABILITY_KEYBOARD) != 0;
    bool pointer = (capabilities & WL_SEAT_CAPABILITY_POINTER) != 0;
    bool touch = (capabilities & WL_SEAT_CAPABILITY_TOUCH) != 0;
    json_log_begin(input->log, "capabilities");
    json_log_bool(input->log, "keyboard", keyboard);
    json_log_bool(input->log, "pointer", pointer);
    json_log_bool(input->log, "touch", touch);
    json_log_end(input->log);
    json_log_flush(input->log);

    drop_devices(input, !keyboard, !pointer, !touch);
    if (keyboard && input->keyboard == NULL) {
        input->keyboard = wl_seat_get_keyboard(seat);
        wl_keyboard_add_listener(input->keyboard, &keyboard_listener, input);
    }
    if (pointer && input->pointer == NULL) {
        input->pointer = wl_seat_get_pointer(seat);
        wl_pointer_add_listener(input->pointer, &pointer_listener, input);
    }
    if (touch && input->touch == NULL) {
        input->touch = wl_seat_get_touch(seat);
        wl_touch_add_listener(input->touch, &touch_listener, input);
    }
}

static void ignore_seat_name(void *data, struct wl_seat *seat, const char *name)
{
    (void)data, (void)seat, (void)name;
}

static const struct wl_seat_listener seat_listener = {.capabilities = handle_capabilities,
                                                      .name = ignore_seat_name};

bool echo_input_init(struct echo_input *input, struct connection *connection, struct json_log *log,
                     void (*event)(void *data, const struct echo_event *event), void *data)
{
    *input = (struct echo_input){.connection = connection, .log = log, .event = event, .data = data};
    input->xkb_context = xkb_context_new(XKB_CONTEXT_NO_DEFAULT_INCLUDES);
    if (input->xkb_context == NULL) {
        fputs("echo: no memory for xkb\n", stderr);
        return false;
    }
    uint32_t version = connection->seat_version < 5 ? connection->seat_version : 5;
    input->seat = wl_registry_bind(connection->registry, connection->seat_name, &wl_seat_interface, version);
    wl_seat_add_listener(input->seat, &seat_listener, input);
    return true;
}

void echo_input_finish(struct echo_input *input)
{
    if (input->seat != NULL) {
        drop_devices(input, true, true, true);
        wl_seat_destroy(input->seat);
        input->seat = NULL;
    }
    xkb_state_unref(input->xkb_state);
    xkb_keymap_unref(input->keymap);
    xkb_context_unref(input->xkb_context);
    input->xkb_state = NULL;
    input->keymap = NULL;
    input->xkb_context = NULL;
}
