/* The pointer: motion, buttons and scrolling from all pointing devices, and which surface gets them.
 *
 * Nothing has pointer focus before the first event. While a button is held the surface where it went down
 * gets all events, with coordinates relative to it, wherever the pointer is (implicit grab); drags and
 * interactive moves end that. A button that two devices hold is down until both let go. */
#include <errno.h>
#include <math.h>
#include <wlr/types/wlr_output_layout.h>
#include <wlr/types/wlr_pointer.h>
#include <wlr/types/wlr_relative_pointer_v1.h>

#include "seat.h"

/* ---- focus ---- */

void mc_pointer_focus_on(struct mc_seat *seat, const struct mc_pick *pick, uint32_t time_ms)
{
    struct wlr_seat *wlr_seat = seat->wlr_seat;
    seat->pointer_handle = pick->handle;
    if (pick->surface == NULL) {
        wlr_seat_pointer_notify_clear_focus(wlr_seat);
        return;
    }
    wlr_seat_pointer_notify_enter(wlr_seat, pick->surface, pick->sx, pick->sy);
    wlr_seat_pointer_notify_motion(wlr_seat, time_ms, pick->sx, pick->sy);
}

/* The surface that got the first press keeps the pointer until the last release. */
static bool has_implicit_grab(struct mc_seat *seat)
{
    return seat->wlr_seat->pointer_state.button_count > 0 && seat->wlr_seat->drag == NULL;
}

static void move_focus(struct mc_seat *seat, uint32_t time_ms)
{
    const struct wlr_cursor *cursor = seat->server->cursor;
    struct wlr_seat *wlr_seat = seat->wlr_seat;
    if (!has_implicit_grab(seat)) {
        struct mc_pick pick = mc_pick_at(seat, cursor->x, cursor->y);
        mc_pointer_focus_on(seat, &pick, time_ms);
    } else if (wlr_seat->pointer_state.focused_surface != NULL &&
               wlr_seat->pointer_state.focused_surface == seat->pressed_surface) {
        mc_anchor_update(&seat->pressed_anchor);
        wlr_seat_pointer_notify_motion(wlr_seat, time_ms, cursor->x - seat->pressed_anchor.lx,
                                       cursor->y - seat->pressed_anchor.ly);
    }
}

void mc_pointer_moved(struct mc_seat *seat, uint32_t time_ms)
{
    const struct wlr_cursor *cursor = seat->server->cursor;
    seat->pointer_active = true;
    if (mc_grab_motion(seat, NULL, cursor->x, cursor->y)) {
        return;
    }
    mc_drag_moved(seat, cursor->x, cursor->y);
    move_focus(seat, time_ms);
    mc_constraints_update(seat);
    mc_seat_delivered(seat, MC_INPUT_MOTION, seat->wlr_seat->pointer_state.focused_surface);
}

void mc_pointer_refocus(struct mc_seat *seat)
{
    if (seat->pointer_active && seat->grab.kind == MC_GRAB_NONE) {
        double sx = seat->wlr_seat->pointer_state.sx, sy = seat->wlr_seat->pointer_state.sy;
        move_focus(seat, mc_seat_now_ms(seat));
        if (sx != seat->wlr_seat->pointer_state.sx || sy != seat->wlr_seat->pointer_state.sy) {
            wlr_seat_pointer_notify_frame(seat->wlr_seat);
        }
        mc_constraints_update(seat);
    }
}

void mc_pointer_forget(struct mc_seat *seat, uint64_t handle)
{
    if (seat->pointer_handle == handle) {
        seat->pointer_handle = 0;
        wlr_seat_pointer_notify_clear_focus(seat->wlr_seat);
        mc_anchor_clear(&seat->pressed_anchor);
        seat->pressed_surface = NULL;
    }
}

static void handle_focus_change(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, pointer_focus_change);
    const struct wlr_seat_client *client = seat->wlr_seat->pointer_state.focused_client;
    if (client == NULL || wl_list_empty(&client->pointers)) {
        mc_cursor_default(seat); /* nobody else would replace the last client's picture */
    }
    mc_constraints_update(seat);
}

/* ---- motion ---- */

static bool has_outputs(struct mc_seat *seat)
{
    return !wl_list_empty(&seat->server->output_layout->outputs);
}

static void move_by(struct mc_seat *seat, struct wlr_input_device *device, uint32_t time_ms, double dx,
                    double dy, double unaccel_dx, double unaccel_dy)
{
    mc_cursor_used(seat);
    if (seat->relative_pointer != NULL) {
        wlr_relative_pointer_manager_v1_send_relative_motion(
            seat->relative_pointer, seat->wlr_seat, time_ms * 1000ull, dx, dy, unaccel_dx, unaccel_dy);
    }
    if (!has_outputs(seat)) {
        return;
    }
    if (mc_constraints_apply(seat, &dx, &dy)) {
        wlr_cursor_move(seat->server->cursor, device, dx, dy);
        mc_pointer_moved(seat, time_ms);
    } else { /* locked: it had the relative motion only */
        mc_seat_delivered(seat, MC_INPUT_MOTION, seat->wlr_seat->pointer_state.focused_surface);
    }
}

static void handle_motion(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, motion);
    struct wlr_event_pointer_motion *event = data;
    mc_seat_stamp(seat->server, MC_INPUT_MOTION, event->time_msec);
    move_by(seat, event->device, event->time_msec, event->delta_x, event->delta_y, event->unaccel_dx,
            event->unaccel_dy);
}

static void handle_motion_absolute(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, motion_absolute);
    struct wlr_event_pointer_motion_absolute *event = data;
    struct wlr_cursor *cursor = seat->server->cursor;
    mc_seat_stamp(seat->server, MC_INPUT_MOTION, event->time_msec);
    double lx, ly;
    wlr_cursor_absolute_to_layout_coords(cursor, event->device, event->x, event->y, &lx, &ly);
    double dx = lx - cursor->x, dy = ly - cursor->y;
    move_by(seat, event->device, event->time_msec, dx, dy, dx, dy);
}

/* ---- buttons, scrolling, frames ---- */

static void handle_button(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, button);
    struct wlr_event_pointer_button *event = data;
    struct mc_device *device = mc_device_of(seat, event->device);
    mc_seat_stamp(seat->server, MC_INPUT_BUTTON, event->time_msec);
    mc_cursor_used(seat);
    if (event->state == WLR_BUTTON_PRESSED) {
        mc_pointer_press(seat, device, event->time_msec, event->button);
    } else {
        mc_pointer_release(seat, device, event->time_msec, event->button);
    }
}

static void handle_axis(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, axis);
    struct wlr_event_pointer_axis *event = data;
    struct wlr_seat_pointer_state *state = &seat->wlr_seat->pointer_state;
    mc_seat_stamp(seat->server, MC_INPUT_AXIS, event->time_msec);
    mc_cursor_used(seat);
    if (!seat->pointer_active) {
        seat->pointer_active = true;
        mc_pointer_refocus(seat);
    }
    /* wlr_seat aborts when two sources scroll within one frame, which two devices can do, and keeps the last
     * source when its surface dies before the frame ends. */
    if (state->sent_axis_source && state->cached_axis_source != event->source) {
        wlr_seat_pointer_notify_frame(seat->wlr_seat);
        state->sent_axis_source = false;
    }
    wlr_seat_pointer_notify_axis(seat->wlr_seat, event->time_msec, event->orientation, event->delta,
                                 event->delta_discrete, event->source);
    mc_seat_delivered(seat, MC_INPUT_AXIS, state->focused_surface);
}

static void handle_frame(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, frame);
    wlr_seat_pointer_notify_frame(seat->wlr_seat);
}

/* ---- the client's cursor ---- */

static void handle_request_set_cursor(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, request_set_cursor);
    struct wlr_seat_pointer_request_set_cursor_event *event = data;
    if (event->seat_client == seat->wlr_seat->pointer_state.focused_client) {
        mc_cursor_set_client(seat, event->surface, event->hotspot_x, event->hotspot_y);
    }
}

static void handle_layout_change(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, layout_change);
    mc_cursor_refresh(seat);
    mc_seat_repick(seat->server);
}

/* ---- verbs ---- */

void mc_seat_get_pointer(struct mc_server *server, struct mc_pointer_info *info_ret)
{
    mc_verb_begin(server);
    struct mc_seat *seat = server->seat;
    const struct mc_surface *surface = mc_surface_from(seat->wlr_seat->pointer_state.focused_surface);
    *info_ret = (struct mc_pointer_info){
        .lx = server->cursor->x,
        .ly = server->cursor->y,
        .active = seat->pointer_active,
        .under = mc_pick_at(seat, server->cursor->x, server->cursor->y).handle,
        .surface = surface != NULL ? surface->id : 0,
        .buttons = (uint32_t)seat->held_button_count,
    };
    mc_verb_end(server);
}

uint64_t mc_seat_at(struct mc_server *server, double lx, double ly)
{
    mc_verb_begin(server);
    uint64_t handle = mc_pick_at(server->seat, lx, ly).handle;
    mc_verb_end(server);
    return handle;
}

int mc_seat_warp(struct mc_server *server, double lx, double ly)
{
    mc_verb_begin(server);
    struct mc_seat *seat = server->seat;
    int result = -EAGAIN;
    if (has_outputs(seat)) {
        wlr_cursor_warp_closest(server->cursor, NULL, lx, ly);
        if (seat->pointer_active) {
            mc_pointer_moved(seat, mc_seat_now_ms(seat));
            wlr_seat_pointer_notify_frame(seat->wlr_seat);
        }
        result = 0;
    }
    mc_verb_end(server);
    return result;
}

/* ---- life ---- */

void mc_pointer_init(struct mc_seat *seat)
{
    struct wlr_cursor *cursor = seat->server->cursor;
    mc_listen(&cursor->events.motion, &seat->motion, handle_motion);
    mc_listen(&cursor->events.motion_absolute, &seat->motion_absolute, handle_motion_absolute);
    mc_listen(&cursor->events.button, &seat->button, handle_button);
    mc_listen(&cursor->events.axis, &seat->axis, handle_axis);
    mc_listen(&cursor->events.frame, &seat->frame, handle_frame);
    mc_listen(&seat->wlr_seat->events.request_set_cursor, &seat->request_set_cursor,
              handle_request_set_cursor);
    mc_listen(&seat->wlr_seat->pointer_state.events.focus_change, &seat->pointer_focus_change,
              handle_focus_change);
    mc_listen(&seat->server->output_layout->events.change, &seat->layout_change, handle_layout_change);
}

void mc_pointer_finish(struct mc_seat *seat)
{
    mc_gestures_finish(seat);
    mc_unlisten(&seat->motion);
    mc_unlisten(&seat->motion_absolute);
    mc_unlisten(&seat->button);
    mc_unlisten(&seat->axis);
    mc_unlisten(&seat->frame);
    mc_unlisten(&seat->request_set_cursor);
    mc_unlisten(&seat->pointer_focus_change);
    mc_unlisten(&seat->layout_change);
    mc_anchor_clear(&seat->pressed_anchor);
}
