/* The seat's inside, shared by its files only: input.c (life), devices.c, keyboard.c, bindings.c, focus.c,
 * pointer.c, buttons.c, gestures.c, cursor.c, cursor_theme.c, constraints.c, touch.c, tablet.c, grabs.c,
 * selection.c, libinput_config.c,
 * virtual.c, ime.c, ime_popup.c, inject.c, inject_gestures.c.
 *
 * Everything is touched with the compositor lock held. Capabilities of the wl_seat only ever grow: taking one
 * away makes clients' wl_pointer objects inert, and wlroots 0.15 follows a NULL pointer when such an object
 * is locked or made relative. It also spares clients the churn at each VT switch. */
#ifndef MC_SEAT_H
#define MC_SEAT_H

#include <wlr/interfaces/wlr_input_device.h>
#include <wlr/interfaces/wlr_keyboard.h>
#include <wlr/types/wlr_cursor.h>
#include <wlr/types/wlr_seat.h>
#include <wlr/util/box.h>

#include "input.h"
#include "input_verbs.h"

#define MC_KEYS_HELD_MAX 64
#define MC_BUTTONS_HELD_MAX 16
#define MC_TOUCH_POINTS_MAX 16

/* Where a surface's scene node is in the layout, also for a moment after the node has gone. */
struct mc_anchor {
    struct wlr_scene_node *node; /* NULL when there is none or it was destroyed */
    int lx, ly;                  /* as last seen */
    struct wl_listener destroy;
};

void mc_anchor_set(struct mc_anchor *anchor, struct wlr_scene_node *node);
void mc_anchor_clear(struct mc_anchor *anchor);
void mc_anchor_update(struct mc_anchor *anchor);

/* What is at a point of the layout. */
struct mc_pick {
    struct wlr_surface *surface; /* NULL over nothing, or over something that is no surface */
    struct wlr_scene_node *node; /* the surface's */
    uint64_t handle;             /* of the window or layer surface, or 0 */
    double sx, sy;               /* surface-local */
};

struct mc_pick mc_pick_at(struct mc_seat *seat, double lx, double ly);

struct mc_device {
    struct wl_list link; /* mc_seat.devices */
    struct mc_seat *seat;
    struct wlr_input_device *device; /* borrowed, until its destroy event */
    uint64_t handle;
    bool is_virtual;
    bool has_own_keymap; /* a keyboard apart from the hub */
    struct wlr_output *mapped_output;
    struct wl_listener destroy, mapped_output_destroy;
    struct wl_listener key, modifiers; /* keyboards */
};

/* Where a pressed key went; its release follows it. */
enum mc_key_target {
    MC_KEY_EATEN = 0, /* a binding */
    MC_KEY_CLIENT = 1,
    MC_KEY_INPUT_METHOD = 2,
};

struct mc_held_key {
    struct wlr_keyboard *keyboard;
    uint32_t keycode;
    enum mc_key_target target;
};

struct mc_held_button {
    struct mc_device *device; /* NULL: a finger that plays a pointer */
    uint32_t button;
    bool eaten;
};

struct mc_binding {
    struct wl_list link; /* mc_seat.bindings, newest first */
    uint32_t modifiers;
    uint32_t code; /* keysym, or button */
    bool is_button;
    int64_t number;
};

struct mc_touch_point {
    struct mc_seat *seat;
    bool used;
    struct wlr_input_device *device;
    int32_t device_id; /* as the device numbers it */
    int32_t id;        /* as the seat does; unique among the points that are down */
    uint64_t handle;
    double lx, ly;
    struct wlr_surface *surface; /* NULL: it plays a pointer, or moves a window */
    bool plays_pointer;
    struct mc_anchor anchor;
    struct wl_listener surface_destroy;
};

enum mc_grab_kind {
    MC_GRAB_NONE = 0,
    MC_GRAB_MOVE = 1,
    MC_GRAB_RESIZE = 2,
};

struct mc_grab {
    enum mc_grab_kind kind;
    uint64_t handle;
    uint32_t edges;
    struct wlr_box box; /* geometry when it began */
    double start_lx, start_ly;
    struct mc_touch_point *point; /* NULL: the pointer's */
};

struct mc_drag_icon {
    struct wlr_drag_icon *icon; /* NULL: there is none */
    struct wlr_scene_node *node;
    int dx, dy; /* attach offsets so far */
    struct wl_listener icon_destroy, surface_commit, node_destroy;
};

enum mc_picture {
    MC_PICTURE_NONE = 0,
    MC_PICTURE_CLIENT = 1,
    MC_PICTURE_DEFAULT = 2,
};

struct mc_cursor {
    enum mc_picture picture; /* what outputs show now */
    char *theme;
    uint32_t size;
    struct wlr_xcursor_manager *manager; /* owned; NULL until first needed */
    pthread_t loader;                    /* reads the theme; to be joined while loader_started */
    bool loader_started, loading, load_failed, loader_stopped;
    struct wlr_surface *surface; /* the client's picture; NULL: ours, unless client_hides */
    bool client_hides;
    int32_t hotspot_x, hotspot_y;
    bool shown;            /* there is a pointer, lately used */
    int32_t hide_after_ms; /* -1: never */
    uint64_t moved_ns;
    struct mc_timer hide_timer;
    struct wl_listener surface_destroy;
};

struct mc_ime;
struct mc_inject;

struct mc_seat {
    struct mc_server *server;
    struct wlr_seat *wlr_seat;
    struct wl_list devices; /* mc_device.link */
    uint32_t capabilities;
    uint64_t event_ns;                     /* the current input event's own time */
    uint64_t injected_ns;                  /* exact time of an event that is being injected, or 0 */
    struct wl_event_source *repick_source; /* NULL: nothing to do */

    /* keyboard.c: all keyboards without a keymap of their own feed one, so that modifiers held on one count
     * for another, and clients are sent one keymap. */
    struct wlr_keyboard hub;
    struct wlr_input_device hub_device;
    bool hub_ready; /* it has a keymap */
    struct xkb_context *xkb;
    struct wl_listener hub_key, hub_modifiers;
    struct mc_held_key held_keys[MC_KEYS_HELD_MAX];
    size_t held_key_count;
    bool vt_switching;
    struct wl_list bindings; /* mc_binding.link */
    struct wlr_keyboard_shortcuts_inhibit_manager_v1 *shortcuts_inhibit;
    struct wl_listener new_inhibitor;

    /* focus.c */
    uint64_t focus; /* handle of the window or layer surface with keyboard focus, or 0 */
    struct wl_listener keyboard_grab_end, keyboard_focus_change;

    /* pointer.c */
    bool pointer_active; /* used at least once; before, nothing has pointer focus */
    uint64_t pointer_handle;
    struct mc_held_button held_buttons[MC_BUTTONS_HELD_MAX];
    size_t held_button_count;
    struct wlr_surface *pressed_surface; /* of the implicit grab; compared, never followed */
    struct mc_anchor pressed_anchor;
    struct mc_cursor cursor;
    struct wlr_relative_pointer_manager_v1 *relative_pointer;
    struct wlr_pointer_gestures_v1 *gestures;
    struct wl_listener motion, motion_absolute, button, axis, frame;
    struct wl_listener swipe_begin, swipe_update, swipe_end;
    struct wl_listener pinch_begin, pinch_update, pinch_end, hold_begin, hold_end;
    struct wl_listener request_set_cursor, pointer_focus_change, layout_change;

    /* constraints.c */
    struct wlr_pointer_constraints_v1 *constraints;
    struct wlr_pointer_constraint_v1 *active_constraint;
    struct wl_listener new_constraint;

    /* touch.c */
    struct mc_touch_point points[MC_TOUCH_POINTS_MAX];
    struct wl_listener touch_down, touch_up, touch_motion, touch_cancel, touch_frame;

    /* tablet.c */
    struct wl_listener tool_axis, tool_tip, tool_proximity, tool_button;

    struct mc_grab grab;

    /* selection.c */
    struct mc_drag_icon drag_icon;
    struct wl_listener request_set_selection, request_set_primary_selection, request_start_drag, start_drag,
        drag_destroy;

    /* virtual.c */
    struct wlr_virtual_keyboard_manager_v1 *virtual_keyboards;
    struct wlr_virtual_pointer_manager_v1 *virtual_pointers;
    struct wl_listener new_virtual_keyboard, new_virtual_pointer;

    struct mc_ime *ime;       /* owned; NULL until its globals exist */
    struct mc_inject *inject; /* owned; NULL until needed */

    struct wl_listener new_input, backend_destroy;
};

/* input.c */
/* The current event was sent to this surface (NULL: to nobody). */
void mc_seat_delivered(struct mc_seat *seat, enum mc_input_kind kind, struct wlr_surface *surface);
uint32_t mc_seat_now_ms(struct mc_seat *seat);
/* The window or layer surface that a surface is part of: looks through the whole scene, so not for each
 * event. */
struct wlr_scene_node *mc_scene_find(struct wlr_scene_node *node, struct wlr_surface *surface);

/* devices.c */
/* NULL when it is not one of the seat's, or mapped to no output. */
struct mc_device *mc_device_of(struct mc_seat *seat, const struct wlr_input_device *wlr_device);
struct wlr_output *mc_device_mapped_output(struct mc_seat *seat, const struct wlr_input_device *wlr_device);
void mc_device_destroy(struct mc_device *device);
void mc_seat_add_capability(struct mc_seat *seat, uint32_t capability);

/* keyboard.c */
int mc_keyboard_init(struct mc_seat *seat);
void mc_keyboard_finish(struct mc_seat *seat);
void mc_keyboard_add(struct mc_device *device);
void mc_keyboard_remove(struct mc_device *device);
/* The keyboard whose state clients see; NULL when there is no keymap at all. */
struct wlr_keyboard *mc_keyboard_current(struct mc_seat *seat);
/* Compiles the default keymap unless there is one. */
bool mc_keyboard_ensure_keymap(struct mc_seat *seat);
/* Keys that are down as far as the focused client is told; the count. */
size_t mc_keyboard_held(struct mc_seat *seat, uint32_t keycodes_ret[MC_KEYS_HELD_MAX]);

/* bindings.c */
bool mc_bindings_key(struct mc_seat *seat, struct wlr_keyboard *keyboard, uint32_t keycode);
bool mc_bindings_button(struct mc_seat *seat, uint32_t button, uint64_t handle);
void mc_bindings_finish(struct mc_seat *seat);
int mc_bindings_create_inhibit(struct mc_seat *seat);

/* focus.c */
void mc_focus_init(struct mc_seat *seat);
void mc_focus_finish(struct mc_seat *seat);
/* Gives the keyboard to the surface that should have it, unless a drag is going on. */
void mc_focus_apply(struct mc_seat *seat);
void mc_focus_forget(struct mc_seat *seat, uint64_t handle);

/* pointer.c */
void mc_pointer_init(struct mc_seat *seat);
void mc_pointer_finish(struct mc_seat *seat);
void mc_pointer_forget(struct mc_seat *seat, uint64_t handle);
/* Looks again at what is under the pointer, without an event from a device. */
void mc_pointer_refocus(struct mc_seat *seat);
/* The cursor is somewhere else now: focus, grabs, motion. */
void mc_pointer_moved(struct mc_seat *seat, uint32_t time_ms);
/* Pointer focus to what was picked, and a motion event. */
void mc_pointer_focus_on(struct mc_seat *seat, const struct mc_pick *pick, uint32_t time_ms);

/* buttons.c */
void mc_pointer_press(struct mc_seat *seat, struct mc_device *device, uint32_t time_ms, uint32_t button);
void mc_pointer_release(struct mc_seat *seat, struct mc_device *device, uint32_t time_ms, uint32_t button);

/* What a device that goes away held is released. */
void mc_pointer_remove(struct mc_device *device);

/* gestures.c */
int mc_gestures_create(struct mc_seat *seat);
void mc_gestures_finish(struct mc_seat *seat);

/* cursor.c: the picture */
int mc_cursor_init(struct mc_seat *seat);
void mc_cursor_finish(struct mc_seat *seat);
void mc_cursor_used(struct mc_seat *seat);   /* the pointer was used: shown */
void mc_cursor_unused(struct mc_seat *seat); /* a finger was used: hidden */
void mc_cursor_default(struct mc_seat *seat);
/* surface NULL: the client wants none. */
void mc_cursor_set_client(struct mc_seat *seat, struct wlr_surface *surface, int32_t hotspot_x,
                          int32_t hotspot_y);
/* Outputs came, went or changed scale. */
void mc_cursor_refresh(struct mc_seat *seat);
/* Shows what should be shown now; nothing. */
void mc_cursor_apply(struct mc_seat *seat);
void mc_cursor_take_off(struct mc_seat *seat);

/* cursor_theme.c */
#define MC_CURSOR_DEFAULT "left_ptr"
/* Whether the theme is there. If not, a thread reads it, without the lock, and applies the picture. With the
 * step clock it is read at once: pictures must not depend on how fast the disk is. */
bool mc_cursor_want_theme(struct mc_seat *seat);
/* Waits for that thread, which takes the lock: the caller must not hold it. None is started any more. */
void mc_cursor_stop_loader(struct mc_seat *seat);
void mc_cursor_drop_theme(struct mc_cursor *cursor);

/* constraints.c */
int mc_constraints_create(struct mc_seat *seat);
void mc_constraints_finish(struct mc_seat *seat);
/* Focus changed or the pointer moved: may activate or deactivate one. */
void mc_constraints_update(struct mc_seat *seat);
/* Limits a relative motion; false when the pointer is locked. */
bool mc_constraints_apply(struct mc_seat *seat, double *dx, double *dy);

/* touch.c */
void mc_touch_init(struct mc_seat *seat);
void mc_touch_finish(struct mc_seat *seat);
void mc_touch_remove(struct mc_device *device);
void mc_touch_forget(struct mc_seat *seat, uint64_t handle);
/* The finger on this window or layer surface, or NULL. */
struct mc_touch_point *mc_touch_on(struct mc_seat *seat, uint64_t handle);
/* Takes a finger away from its client, which is told that the touch was cancelled. */
void mc_touch_take(struct mc_touch_point *point);

/* tablet.c */
void mc_tablet_init(struct mc_seat *seat);
void mc_tablet_finish(struct mc_seat *seat);

/* grabs.c */
/* False: there is no grab of the pointer (point NULL) or of this finger. */
bool mc_grab_motion(struct mc_seat *seat, struct mc_touch_point *point, double lx, double ly);
void mc_grab_finish(struct mc_seat *seat);

/* selection.c */
void mc_selection_init(struct mc_seat *seat);
void mc_selection_finish(struct mc_seat *seat);
/* The pointer, or the finger that drags, is there now. */
void mc_drag_moved(struct mc_seat *seat, double lx, double ly);

/* virtual.c */
int mc_virtual_create_keyboards(struct mc_seat *seat);
int mc_virtual_create_pointers(struct mc_seat *seat);
void mc_virtual_finish(struct mc_seat *seat);

/* ime.c */
int mc_ime_create(struct mc_seat *seat, bool text_input, bool input_method);
void mc_ime_finish(struct mc_seat *seat);
void mc_ime_focus(struct mc_seat *seat, struct wlr_surface *surface);
/* The input method's keyboard grab that this keyboard's keys go to, or NULL. */
struct wlr_input_method_keyboard_grab_v2 *mc_ime_grab(struct mc_seat *seat, struct wlr_keyboard *keyboard);

/* inject.c */
/* Takes the lock; the device to emit events of, or NULL. Until the end the seat knows their exact time. */
struct wlr_input_device *mc_inject_begin(struct mc_server *server, enum wlr_input_device_type type);
/* Sends the frame that devices would, gives the lock back; 0, or -ENODEV when there was no device. */
int mc_inject_end(struct mc_server *server, struct wlr_input_device *device);
void mc_inject_finish(struct mc_seat *seat);

#endif
