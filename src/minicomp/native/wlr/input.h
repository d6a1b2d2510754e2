/* The seat: devices, focus, routing, bindings, grabs. Everything between an input event and the client, in C.
 *
 * This is what the rest of the native plane may call, with the lock held; what Python calls is in
 * input_verbs.h. */
#ifndef MC_INPUT_H
#define MC_INPUT_H

#include "server.h"
#include "windows.h"

struct wlr_input_device;
struct wlr_output;
struct wlr_xcursor_image;

/* flags of INPUT_EVENT and INPUT_DELIVERED (docs/trace-format.md). */
enum mc_input_kind {
    MC_INPUT_KEY = 1,
    MC_INPUT_MOTION = 2,
    MC_INPUT_BUTTON = 3,
    MC_INPUT_AXIS = 4,
    MC_INPUT_TOUCH = 5,
    MC_INPUT_GESTURE = 6,
};

/* Life: called by server.c. The seat listens to the backend's new devices, the cursor and the wlr_seat.
 * finish is safe to call twice, and after an init that failed half-way. */
int mc_seat_init(struct mc_server *server);
void mc_seat_finish(struct mc_server *server);

/* The tree, a surface's size or a place changed: looks again at what is under the pointer, at the end of this
 * dispatch (an idle source), and tells clients about focus changes. Cheap to call often. */
void mc_seat_repick(struct mc_server *server);
/* The window or layer surface goes away or is hidden: ends grabs on it, drops focus. Its surface is still
 * alive. */
void mc_seat_forget(struct mc_server *server, uint64_t handle);
/* An input device from somewhere else than the backend (virtual ones): borrowed until its destroy event. */
void mc_seat_add_device(struct mc_server *server, struct wlr_input_device *device, bool is_virtual);
/* A virtual pointer or touch device acts on this output only; NULL for all of them. */
void mc_seat_map_device(struct mc_server *server, struct wlr_input_device *device, struct wlr_output *output);

/* Keyboard focus to a window or layer surface, 0 for none: enter and leave, activated states, selection
 * offers, text input. 0, -ENOENT (no such object) or -EAGAIN (it has no surface now). */
int mc_seat_set_focus(struct mc_server *server, uint64_t handle);
uint64_t mc_seat_get_focus(struct mc_server *server);

/* Marks the time an input event arrived: trace record, idle notification, and "no commit is being applied".
 */
void mc_seat_stamp(struct mc_server *server, uint32_t kind, uint32_t time_ms);

/* The default cursor's picture at scale 1, for Xwayland; NULL when there is none. Owned by the seat, valid
 * until the theme changes. Loads the theme. */
struct wlr_xcursor_image *mc_seat_default_cursor(struct mc_server *server);

#endif
