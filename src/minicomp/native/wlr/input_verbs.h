/* The seat's verbs, as Python sees them. They take the lock themselves and return 0 or -errno; -ENOENT is
 * "that object is gone". Times are on the compositor's clock, coordinates are layout coordinates. */
#ifndef MC_INPUT_VERBS_H
#define MC_INPUT_VERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mc_server;

/* The protocols that come with the seat; bits of `which`. Offered from the moment this is called. */
enum mc_seat_global {
    MC_SEAT_RELATIVE_POINTER = 1,
    MC_SEAT_POINTER_CONSTRAINTS = 2,
    MC_SEAT_POINTER_GESTURES = 4,
    MC_SEAT_VIRTUAL_KEYBOARD = 8,
    MC_SEAT_VIRTUAL_POINTER = 16,
    MC_SEAT_TEXT_INPUT = 32,
    MC_SEAT_INPUT_METHOD = 64,
    MC_SEAT_SHORTCUTS_INHIBIT = 128,
    MC_SEAT_ALL_GLOBALS = 255,
};
int mc_seat_create_globals(struct mc_server *server, uint32_t which);

/* ---- devices ---- */

struct mc_device_info {
    uint64_t handle;
    int32_t type; /* enum wlr_input_device_type */
    bool is_virtual, is_libinput, is_touchpad;
    uint32_t vendor, product;
    double width_mm, height_mm; /* 0 when unknown */
    char name[96];
    char output_name[32]; /* the output that the hardware says it belongs to, or "" */
};
int mc_device_get_info(struct mc_server *server, uint64_t device, struct mc_device_info *info_ret);
/* Fills up to max; how many there are. */
size_t mc_devices_list(struct mc_server *server, uint64_t *handles_ret, size_t max);
/* Absolute positions of this device cover just that output, and turn with it; output 0: all of the layout. */
int mc_device_map_to_output(struct mc_server *server, uint64_t device, uint64_t output);

/* ---- keyboards ---- */

/* The keymap of all keyboards that bring none of their own. -EINVAL: xkbcommon refuses it (its reasons are in
 * the log); nothing changed. Names may be NULL: xkbcommon's defaults. */
int mc_seat_set_keymap(struct mc_server *server, const char *keymap_text);
int mc_seat_set_xkb_names(struct mc_server *server, const char *rules, const char *model, const char *layout,
                          const char *variant, const char *options);
/* A keymap for this keyboard alone (barcode scanners, keypads): it leaves the others, whose modifiers it then
 * does not share, and clients see its keymap while it is used. -EINVAL as above; for other devices too. */
int mc_device_set_xkb_names(struct mc_server *server, uint64_t device, const char *rules, const char *model,
                            const char *layout, const char *variant, const char *options);
/* Whether xkbcommon makes a keymap of these names, without using it. Takes no lock. */
bool mc_keymap_compiles(const char *rules, const char *model, const char *layout, const char *variant,
                        const char *options);
/* The symbol with an xkb name (of two that differ in case, the small letter), or of a character; 0: there is
 * none. They take no lock. */
uint32_t mc_keysym_from_name(const char *name);
uint32_t mc_keysym_from_char(uint32_t codepoint);
/* rate_hz 0: clients do not repeat keys. */
int mc_seat_set_repeat(struct mc_server *server, int32_t rate_hz, int32_t delay_ms);
/* Ctrl+Alt+F1..F12 change the virtual terminal (where there are any). */
void mc_seat_set_vt_switching(struct mc_server *server, bool enabled);
int mc_seat_change_vt(struct mc_server *server, uint32_t vt);
/* A key or pointer button that the policy wants: eaten, and pushed as MC_EVENT_BINDING with this number.
 * modifiers: enum wlr_keyboard_modifier bits, without locks. Of two equal bindings the later one counts. */
int mc_seat_bind(struct mc_server *server, uint32_t modifiers, uint32_t keysym, int64_t number);
int mc_seat_bind_button(struct mc_server *server, uint32_t modifiers, uint32_t button, int64_t number);
void mc_seat_clear_bindings(struct mc_server *server);

/* ---- focus ---- */

/* 0, -ENOENT, or -EAGAIN: it has no surface now. */
int mc_seat_focus_window(struct mc_server *server, uint64_t handle);
int mc_seat_focus_layer(struct mc_server *server, uint64_t handle);
int mc_seat_focus_none(struct mc_server *server);
/* The window or layer surface with keyboard focus, or 0. */
uint64_t mc_seat_focused(struct mc_server *server);

/* ---- the pointer ---- */

struct mc_pointer_info {
    double lx, ly;
    bool active;      /* it has moved: before that it has no focus and no picture */
    uint64_t under;   /* the window or layer surface under it, or 0 */
    uint32_t surface; /* id of the surface with pointer focus, or 0 */
    uint32_t buttons; /* how many are held */
};
void mc_seat_get_pointer(struct mc_server *server, struct mc_pointer_info *info_ret);
/* The window or layer surface at a point, or 0. */
uint64_t mc_seat_at(struct mc_server *server, double lx, double ly);
int mc_seat_warp(struct mc_server *server, double lx, double ly);
/* name NULL: the default theme. Loaded when first needed. */
int mc_seat_set_cursor_theme(struct mc_server *server, const char *name, uint32_t size);
/* Loads the theme for all outputs' scales now, without holding the lock while reading files. */
int mc_seat_load_cursor_theme(struct mc_server *server);
/* after_ms: hidden when the pointer has not moved that long; 0: always; -1: never. */
void mc_seat_hide_cursor(struct mc_server *server, int32_t after_ms);

/* ---- interactive move and resize ---- */

/* Follows the pointer (or the finger that is on the window) until its button is released; then, or when the
 * window goes away, MC_EVENT_GRAB_END. -EAGAIN: nothing is held any more; -EBUSY: a grab is going on. */
int mc_seat_begin_move(struct mc_server *server, uint64_t window);
/* edges: enum wlr_edges bits. */
int mc_seat_begin_resize(struct mc_server *server, uint64_t window, uint32_t edges);
/* Ends it early; the window stays as it is. -ENOENT: there was none. */
int mc_seat_end_grab(struct mc_server *server);

/* ---- injection ---- */

/* As if a device had done it: through the modelled display's devices, or devices of our own. Coordinates are
 * layout coordinates; key and button codes are evdev's (linux/input-event-codes.h). */
int mc_inject_key(struct mc_server *server, uint32_t keycode, bool pressed);
int mc_inject_motion(struct mc_server *server, double lx, double ly);
int mc_inject_motion_relative(struct mc_server *server, double dx, double dy);
int mc_inject_button(struct mc_server *server, uint32_t button, bool pressed);
/* orientation: 0 vertical, 1 horizontal; value: wl_pointer.axis units (15 a wheel click); discrete: wheel
 * clicks, or 0 for a touch-pad-like scroll. */
int mc_inject_axis(struct mc_server *server, uint32_t orientation, double value, int32_t discrete);
int mc_inject_touch_down(struct mc_server *server, int32_t touch_id, double lx, double ly);
int mc_inject_touch_motion(struct mc_server *server, int32_t touch_id, double lx, double ly);
int mc_inject_touch_up(struct mc_server *server, int32_t touch_id);
int mc_inject_touch_cancel(struct mc_server *server, int32_t touch_id);
/* Touch-pad gestures; dx, dy, scale and rotation (degrees) count for updates, as in pointer-gestures-v1. */
enum mc_gesture_phase {
    MC_GESTURE_BEGIN = 0,
    MC_GESTURE_UPDATE = 1,
    MC_GESTURE_END = 2,
    MC_GESTURE_CANCEL = 3,
};
int mc_inject_swipe(struct mc_server *server, int32_t phase, uint32_t fingers, double dx, double dy);
int mc_inject_pinch(struct mc_server *server, int32_t phase, uint32_t fingers, double dx, double dy,
                    double scale, double rotation);
/* Has no updates. */
int mc_inject_hold(struct mc_server *server, int32_t phase, uint32_t fingers);
/* The key that makes a character with the injection keyboard's keymap: keycode (evdev) and the modifiers to
 * hold (enum wlr_keyboard_modifier bits). -ENOENT: no key of the first layout makes it. */
int mc_inject_find_key(struct mc_server *server, uint32_t keysym, uint32_t *keycode_ret,
                       uint32_t *modifiers_ret);

#endif
