/* Input events made here: by tests, the control socket and experiments. They go through devices (the modelled
 * display's, or our own with other backends), so that all that follows is the real path. */
#include <errno.h>
#include <stdlib.h>
#include <wlr/interfaces/wlr_pointer.h>
#include <wlr/interfaces/wlr_touch.h>
#include <wlr/types/wlr_output.h>
#include <wlr/types/wlr_output_layout.h>
#include <xkbcommon/xkbcommon.h>

#include "seat.h"
#include "vdisplay.h"

#define DEVICE_TYPES 3 /* keyboard, pointer, touch */

/* Devices of our own, made when the backend is not the modelled display. */
struct mc_inject {
    struct wlr_input_device *devices[DEVICE_TYPES];
};

static int index_of(enum wlr_input_device_type type)
{
    return type == WLR_INPUT_DEVICE_KEYBOARD ? 0 : type == WLR_INPUT_DEVICE_POINTER ? 1 : 2;
}

/* wlroots frees device and what is in it when neither has an impl. */
static struct wlr_input_device *device_create(enum wlr_input_device_type type)
{
    static const char *const names[DEVICE_TYPES] = {"injected keyboard", "injected pointer",
                                                    "injected touch"};
    size_t sizes[DEVICE_TYPES] = {sizeof(struct wlr_keyboard), sizeof(struct wlr_pointer),
                                  sizeof(struct wlr_touch)};
    int index = index_of(type);
    struct wlr_input_device *device = calloc(1, sizeof(*device));
    void *inside = calloc(1, sizes[index]);
    if (device == NULL || inside == NULL) {
        free(device);
        free(inside);
        return NULL;
    }
    wlr_input_device_init(device, type, NULL, names[index], 0, 0);
    device->_device = inside;
    if (type == WLR_INPUT_DEVICE_KEYBOARD) {
        wlr_keyboard_init(inside, NULL);
    } else if (type == WLR_INPUT_DEVICE_POINTER) {
        wlr_pointer_init(inside, NULL);
    } else {
        wlr_touch_init(inside, NULL);
    }
    return device;
}

static struct wlr_input_device *find_device(struct mc_seat *seat, enum wlr_input_device_type type)
{
    struct wlr_input_device *device = mc_vdisplay_device(seat->server->backend, type);
    if (device != NULL) {
        return device;
    }
    if (seat->inject == NULL) {
        seat->inject = calloc(1, sizeof(*seat->inject));
        if (seat->inject == NULL) {
            return NULL;
        }
    }
    device = seat->inject->devices[index_of(type)];
    if (device == NULL) {
        device = seat->inject->devices[index_of(type)] = device_create(type);
        if (device != NULL) {
            mc_seat_add_device(seat->server, device, false);
        }
    }
    return device;
}

void mc_inject_finish(struct mc_seat *seat)
{
    for (int i = 0; i < DEVICE_TYPES && seat->inject != NULL; i++) {
        if (seat->inject->devices[i] != NULL) {
            wlr_input_device_destroy(seat->inject->devices[i]);
        }
    }
    free(seat->inject);
    seat->inject = NULL;
}

/* Between begin and end the seat knows the event's exact time; end also sends the frame that devices would.
 */
struct wlr_input_device *mc_inject_begin(struct mc_server *server, enum wlr_input_device_type type)
{
    mc_verb_begin(server);
    server->seat->injected_ns = mc_now_ns();
    return find_device(server->seat, type);
}

int mc_inject_end(struct mc_server *server, struct wlr_input_device *device)
{
    if (device != NULL && device->type == WLR_INPUT_DEVICE_POINTER) {
        wl_signal_emit(&device->pointer->events.frame, device->pointer);
    } else if (device != NULL && device->type == WLR_INPUT_DEVICE_TOUCH) {
        wl_signal_emit(&device->touch->events.frame, NULL);
    }
    server->seat->injected_ns = 0;
    mc_verb_end(server);
    return device != NULL ? 0 : -ENODEV;
}

/* Absolute devices report 0..1 of what they are mapped to: the layout, or an output as the panel is mounted,
 * which wlr_cursor turns by the output's transform. This is the way back. */
static void to_absolute(struct mc_server *server, struct wlr_input_device *device, double lx, double ly,
                        double *x_ret, double *y_ret)
{
    double x0, y0, x1, y1;
    wlr_cursor_absolute_to_layout_coords(server->cursor, device, 0, 0, &x0, &y0);
    wlr_cursor_absolute_to_layout_coords(server->cursor, device, 1, 1, &x1, &y1);
    double x = x1 > x0 ? (lx - x0) / (x1 - x0) : 0;
    double y = y1 > y0 ? (ly - y0) / (y1 - y0) : 0;
    const struct wlr_output *output = mc_device_mapped_output(server->seat, device);
    enum wl_output_transform transform = output != NULL ? output->transform : WL_OUTPUT_TRANSFORM_NORMAL;
    bool flipped = transform & WL_OUTPUT_TRANSFORM_FLIPPED;
    switch (transform & ~WL_OUTPUT_TRANSFORM_FLIPPED) {
    case WL_OUTPUT_TRANSFORM_90:
        *x_ret = y;
        *y_ret = flipped ? x : 1 - x;
        break;
    case WL_OUTPUT_TRANSFORM_180:
        *x_ret = flipped ? x : 1 - x;
        *y_ret = 1 - y;
        break;
    case WL_OUTPUT_TRANSFORM_270:
        *x_ret = 1 - y;
        *y_ret = flipped ? 1 - x : x;
        break;
    default:
        *x_ret = flipped ? 1 - x : x;
        *y_ret = y;
        break;
    }
}

int mc_inject_key(struct mc_server *server, uint32_t keycode, bool pressed)
{
    struct wlr_input_device *device = mc_inject_begin(server, WLR_INPUT_DEVICE_KEYBOARD);
    if (device != NULL) {
        struct wlr_event_keyboard_key event = {
            .time_msec = mc_seat_now_ms(server->seat),
            .keycode = keycode,
            .update_state = true,
            .state = pressed ? WL_KEYBOARD_KEY_STATE_PRESSED : WL_KEYBOARD_KEY_STATE_RELEASED,
        };
        wlr_keyboard_notify_key(device->keyboard, &event);
    }
    return mc_inject_end(server, device);
}

int mc_inject_motion(struct mc_server *server, double lx, double ly)
{
    struct wlr_input_device *device = mc_inject_begin(server, WLR_INPUT_DEVICE_POINTER);
    if (device != NULL) {
        struct wlr_event_pointer_motion_absolute event = {.device = device,
                                                          .time_msec = mc_seat_now_ms(server->seat)};
        to_absolute(server, device, lx, ly, &event.x, &event.y);
        wl_signal_emit(&device->pointer->events.motion_absolute, &event);
    }
    return mc_inject_end(server, device);
}

int mc_inject_motion_relative(struct mc_server *server, double dx, double dy)
{
    struct wlr_input_device *device = mc_inject_begin(server, WLR_INPUT_DEVICE_POINTER);
    if (device != NULL) {
        struct wlr_event_pointer_motion event = {
            .device = device,
            .time_msec = mc_seat_now_ms(server->seat),
            .delta_x = dx,
            .delta_y = dy,
            .unaccel_dx = dx,
            .unaccel_dy = dy,
        };
        wl_signal_emit(&device->pointer->events.motion, &event);
    }
    return mc_inject_end(server, device);
}

int mc_inject_button(struct mc_server *server, uint32_t button, bool pressed)
{
    struct wlr_input_device *device = mc_inject_begin(server, WLR_INPUT_DEVICE_POINTER);
    if (device != NULL) {
        struct wlr_event_pointer_button event = {
            .device = device,
            .time_msec = mc_seat_now_ms(server->seat),
            .button = button,
            .state = pressed ? WLR_BUTTON_PRESSED : WLR_BUTTON_RELEASED,
        };
        wl_signal_emit(&device->pointer->events.button, &event);
    }
    return mc_inject_end(server, device);
}

int mc_inject_axis(struct mc_server *server, uint32_t orientation, double value, int32_t discrete)
{
    if (orientation > WLR_AXIS_ORIENTATION_HORIZONTAL) {
        return -EINVAL;
    }
    struct wlr_input_device *device = mc_inject_begin(server, WLR_INPUT_DEVICE_POINTER);
    if (device != NULL) {
        struct wlr_event_pointer_axis event = {
            .device = device,
            .time_msec = mc_seat_now_ms(server->seat),
            .source = discrete != 0 ? WLR_AXIS_SOURCE_WHEEL : WLR_AXIS_SOURCE_FINGER,
            .orientation = (enum wlr_axis_orientation)orientation,
            .delta = value,
            .delta_discrete = discrete,
        };
        wl_signal_emit(&device->pointer->events.axis, &event);
    }
    return mc_inject_end(server, device);
}

int mc_inject_touch_down(struct mc_server *server, int32_t touch_id, double lx, double ly)
{
    struct wlr_input_device *device = mc_inject_begin(server, WLR_INPUT_DEVICE_TOUCH);
    if (device != NULL) {
        struct wlr_event_touch_down event = {
            .device = device, .time_msec = mc_seat_now_ms(server->seat), .touch_id = touch_id};
        to_absolute(server, device, lx, ly, &event.x, &event.y);
        wl_signal_emit(&device->touch->events.down, &event);
    }
    return mc_inject_end(server, device);
}

int mc_inject_touch_motion(struct mc_server *server, int32_t touch_id, double lx, double ly)
{
    struct wlr_input_device *device = mc_inject_begin(server, WLR_INPUT_DEVICE_TOUCH);
    if (device != NULL) {
        struct wlr_event_touch_motion event = {
            .device = device, .time_msec = mc_seat_now_ms(server->seat), .touch_id = touch_id};
        to_absolute(server, device, lx, ly, &event.x, &event.y);
        wl_signal_emit(&device->touch->events.motion, &event);
    }
    return mc_inject_end(server, device);
}

int mc_inject_touch_up(struct mc_server *server, int32_t touch_id)
{
    struct wlr_input_device *device = mc_inject_begin(server, WLR_INPUT_DEVICE_TOUCH);
    if (device != NULL) {
        struct wlr_event_touch_up event = {
            .device = device, .time_msec = mc_seat_now_ms(server->seat), .touch_id = touch_id};
        wl_signal_emit(&device->touch->events.up, &event);
    }
    return mc_inject_end(server, device);
}

int mc_inject_touch_cancel(struct mc_server *server, int32_t touch_id)
{
    struct wlr_input_device *device = mc_inject_begin(server, WLR_INPUT_DEVICE_TOUCH);
    if (device != NULL) {
        struct wlr_event_touch_cancel event = {
            .device = device, .time_msec = mc_seat_now_ms(server->seat), .touch_id = touch_id};
        wl_signal_emit(&device->touch->events.cancel, &event);
    }
    return mc_inject_end(server, device);
}

/* The modifiers that get a key of the first layout to a level, as enum wlr_keyboard_modifier bits. */
static bool level_modifiers(struct wlr_keyboard *keyboard, xkb_keycode_t key, xkb_level_index_t level,
                            uint32_t *modifiers_ret)
{
    xkb_mod_mask_t masks[16];
    size_t count = xkb_keymap_key_get_mods_for_level(keyboard->keymap, key, 0, level, masks, 16);
    for (size_t i = 0; i < count; i++) {
        uint32_t modifiers = 0;
        xkb_mod_mask_t left = masks[i];
        for (int j = 0; j < WLR_MODIFIER_COUNT; j++) {
            if (keyboard->mod_indexes[j] != XKB_MOD_INVALID && left & 1u << keyboard->mod_indexes[j]) {
                left &= ~(1u << keyboard->mod_indexes[j]);
                modifiers |= 1u << j;
            }
        }
        if (left == 0 && (modifiers & WLR_MODIFIER_CAPS) == 0) { /* a lock would have to be undone */
            *modifiers_ret = modifiers;
            return true;
        }
    }
    return false;
}

int mc_inject_find_key(struct mc_server *server, uint32_t keysym, uint32_t *keycode_ret,
                       uint32_t *modifiers_ret)
{
    mc_verb_begin(server);
    struct mc_seat *seat = server->seat;
    int result = -ENOENT;
    if (mc_keyboard_ensure_keymap(seat)) {
        struct xkb_keymap *keymap = seat->hub.keymap;
        xkb_level_index_t best_level = ~0u;
        for (xkb_keycode_t key = xkb_keymap_min_keycode(keymap); key <= xkb_keymap_max_keycode(keymap);
             key++) {
            xkb_level_index_t levels = xkb_keymap_num_levels_for_key(keymap, key, 0);
            for (xkb_level_index_t level = 0; level < levels && level < best_level; level++) {
                const xkb_keysym_t *symbols;
                int count = xkb_keymap_key_get_syms_by_level(keymap, key, 0, level, &symbols);
                if (count == 1 && symbols[0] == keysym && key >= 8 &&
                    level_modifiers(&seat->hub, key, level, modifiers_ret)) {
                    *keycode_ret = key - 8;
                    best_level = level;
                    result = 0;
                }
            }
        }
    }
    mc_verb_end(server);
    return result;
}
