/* Touch: each finger belongs to the surface where it went down until it is lifted, with coordinates relative
 * to it.
 *
 * When that surface dies or is hidden, the client is told that the finger went up, and the finger is ignored
 * until it is lifted. The first finger on a client without wl_touch plays a pointer. */
#include <linux/input-event-codes.h>
#include <wlr/types/wlr_data_device.h>
#include <wlr/types/wlr_output_layout.h>
#include <wlr/types/wlr_touch.h>

#include "seat.h"

static void point_clear(struct mc_touch_point *point)
{
    mc_anchor_clear(&point->anchor);
    mc_unlisten(&point->surface_destroy);
    if (point->seat->grab.point == point) {
        mc_grab_finish(point->seat);
    }
    point->used = false;
    point->surface = NULL;
    point->plays_pointer = false;
}

static struct mc_touch_point *find_point(struct mc_seat *seat, const struct wlr_input_device *device,
                                         int32_t device_id)
{
    for (size_t i = 0; i < MC_TOUCH_POINTS_MAX; i++) {
        struct mc_touch_point *point = &seat->points[i];
        if (point->used && point->device == device && point->device_id == device_id) {
            return point;
        }
    }
    return NULL;
}

static bool id_in_use(struct mc_seat *seat, int32_t id)
{
    for (size_t i = 0; i < MC_TOUCH_POINTS_MAX; i++) {
        if (seat->points[i].used && seat->points[i].id == id) {
            return true;
        }
    }
    return false;
}

static struct mc_touch_point *add_point(struct mc_seat *seat, struct wlr_input_device *device,
                                        int32_t device_id)
{
    int32_t id = device_id;
    if (id_in_use(seat, id)) { /* by another device's finger */
        for (id = 0; id_in_use(seat, id); id++) {
        }
    }
    for (size_t i = 0; i < MC_TOUCH_POINTS_MAX; i++) {
        if (!seat->points[i].used) {
            seat->points[i] = (struct mc_touch_point){
                .seat = seat, .used = true, .device = device, .device_id = device_id, .id = id};
            return &seat->points[i];
        }
    }
    return NULL;
}

static bool pointer_is_played(struct mc_seat *seat)
{
    for (size_t i = 0; i < MC_TOUCH_POINTS_MAX; i++) {
        if (seat->points[i].used && seat->points[i].plays_pointer) {
            return true;
        }
    }
    return false;
}

static void play_pointer(struct mc_seat *seat, uint32_t time_ms, double lx, double ly)
{
    wlr_cursor_warp_closest(seat->server->cursor, NULL, lx, ly);
    mc_pointer_moved(seat, time_ms);
}

/* The surface dies with a finger on it. */
static void handle_surface_destroy(struct wl_listener *listener, void *data)
{
    struct mc_touch_point *point = wl_container_of(listener, point, surface_destroy);
    struct mc_seat *seat = point->seat;
    int32_t id = point->id;
    point_clear(point);
    wlr_seat_touch_notify_up(seat->wlr_seat, mc_seat_now_ms(seat), id);
    wlr_seat_touch_notify_frame(seat->wlr_seat);
}

static void down_on(struct mc_touch_point *point, const struct mc_pick *pick, uint32_t time_ms)
{
    struct mc_seat *seat = point->seat;
    if (wlr_seat_touch_notify_down(seat->wlr_seat, pick->surface, time_ms, point->id, pick->sx, pick->sy) ==
        0) {
        return; /* eaten: it dismissed a popup, or a drag is going on */
    }
    point->surface = pick->surface;
    mc_anchor_set(&point->anchor, pick->node);
    mc_listen(&pick->surface->events.destroy, &point->surface_destroy, handle_surface_destroy);
    mc_seat_delivered(seat, MC_INPUT_TOUCH, pick->surface);
}

static void handle_down(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, touch_down);
    struct wlr_event_touch_down *event = data;
    mc_seat_stamp(seat->server, MC_INPUT_TOUCH, event->time_msec);
    if (find_point(seat, event->device, event->touch_id) != NULL ||
        wl_list_empty(&seat->server->output_layout->outputs)) {
        return;
    }
    struct mc_touch_point *point = add_point(seat, event->device, event->touch_id);
    if (point == NULL) {
        return;
    }
    wlr_cursor_absolute_to_layout_coords(seat->server->cursor, event->device, event->x, event->y, &point->lx,
                                         &point->ly);
    mc_cursor_unused(seat);
    struct mc_pick pick = mc_pick_at(seat, point->lx, point->ly);
    point->handle = pick.handle;
    if (pick.surface != NULL && wlr_surface_accepts_touch(seat->wlr_seat, pick.surface)) {
        if (pick.handle != 0) {
            bool is_layer = mc_handle_kind(pick.handle) == MC_HANDLE_LAYER;
            mc_push(seat->server, is_layer ? MC_EVENT_LAYER_PRESSED : MC_EVENT_WINDOW_PRESSED, pick.handle, 0,
                    0);
        }
        down_on(point, &pick, event->time_msec);
    } else if (!pointer_is_played(seat)) {
        point->plays_pointer = true;
        play_pointer(seat, event->time_msec, point->lx, point->ly);
        mc_pointer_press(seat, NULL, event->time_msec, BTN_LEFT);
        wlr_seat_pointer_notify_frame(seat->wlr_seat);
    }
}

static void handle_motion(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, touch_motion);
    struct wlr_event_touch_motion *event = data;
    struct wlr_seat *wlr_seat = seat->wlr_seat;
    mc_seat_stamp(seat->server, MC_INPUT_TOUCH, event->time_msec);
    struct mc_touch_point *point = find_point(seat, event->device, event->touch_id);
    if (point == NULL || wl_list_empty(&seat->server->output_layout->outputs)) {
        return;
    }
    wlr_cursor_absolute_to_layout_coords(seat->server->cursor, event->device, event->x, event->y, &point->lx,
                                         &point->ly);
    if (point->plays_pointer) {
        play_pointer(seat, event->time_msec, point->lx, point->ly);
        wlr_seat_pointer_notify_frame(wlr_seat);
        return;
    }
    if (mc_grab_motion(seat, point, point->lx, point->ly) || point->surface == NULL) {
        return;
    }
    const struct wlr_drag *drag = wlr_seat->drag;
    if (drag != NULL && drag->grab_type == WLR_DRAG_GRAB_KEYBOARD_TOUCH && drag->grab_touch_id == point->id) {
        mc_drag_moved(seat, point->lx, point->ly);
        struct mc_pick pick = mc_pick_at(seat, point->lx, point->ly);
        if (pick.surface != NULL) {
            wlr_seat_touch_point_focus(wlr_seat, pick.surface, event->time_msec, point->id, pick.sx, pick.sy);
        } else {
            wlr_seat_touch_point_clear_focus(wlr_seat, event->time_msec, point->id);
        }
        wlr_seat_touch_notify_motion(wlr_seat, event->time_msec, point->id, pick.sx, pick.sy);
        return;
    }
    mc_anchor_update(&point->anchor);
    wlr_seat_touch_notify_motion(wlr_seat, event->time_msec, point->id, point->lx - point->anchor.lx,
                                 point->ly - point->anchor.ly);
    mc_seat_delivered(seat, MC_INPUT_TOUCH, point->surface);
}

static void lift(struct mc_touch_point *point, uint32_t time_ms)
{
    struct mc_seat *seat = point->seat;
    struct wlr_surface *surface = point->surface;
    bool plays_pointer = point->plays_pointer;
    int32_t id = point->id;
    point_clear(point);
    if (plays_pointer) {
        mc_pointer_release(seat, NULL, time_ms, BTN_LEFT);
        wlr_seat_pointer_notify_frame(seat->wlr_seat);
    } else if (surface != NULL) {
        mc_seat_delivered(seat, MC_INPUT_TOUCH, surface);
        wlr_seat_touch_notify_up(seat->wlr_seat, time_ms, id);
    }
}

static void handle_up(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, touch_up);
    struct wlr_event_touch_up *event = data;
    mc_seat_stamp(seat->server, MC_INPUT_TOUCH, event->time_msec);
    struct mc_touch_point *point = find_point(seat, event->device, event->touch_id);
    if (point != NULL) {
        lift(point, event->time_msec);
    }
}

/* wl_touch.cancel is about all of a client's fingers. */
static void cancel_client(struct mc_seat *seat, struct wlr_surface *surface)
{
    const struct wl_client *client = wl_resource_get_client(surface->resource);
    for (size_t i = 0; i < MC_TOUCH_POINTS_MAX; i++) {
        struct mc_touch_point *point = &seat->points[i];
        if (point->used && point->surface != NULL &&
            wl_resource_get_client(point->surface->resource) == client) {
            mc_anchor_clear(&point->anchor);
            mc_unlisten(&point->surface_destroy);
            point->surface = NULL;
        }
    }
    wlr_seat_touch_notify_cancel(seat->wlr_seat, surface);
}

void mc_touch_take(struct mc_touch_point *point)
{
    if (point->surface != NULL) {
        cancel_client(point->seat, point->surface);
    } else if (point->plays_pointer) {
        point->plays_pointer = false;
        mc_pointer_release(point->seat, NULL, mc_seat_now_ms(point->seat), BTN_LEFT);
        wlr_seat_pointer_notify_frame(point->seat->wlr_seat);
    }
}

static void handle_cancel(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, touch_cancel);
    struct wlr_event_touch_cancel *event = data;
    mc_seat_stamp(seat->server, MC_INPUT_TOUCH, event->time_msec);
    struct mc_touch_point *point = find_point(seat, event->device, event->touch_id);
    if (point != NULL) {
        mc_touch_take(point);
        point_clear(point);
    }
}

static void handle_frame(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, touch_frame);
    wlr_seat_touch_notify_frame(seat->wlr_seat);
}

struct mc_touch_point *mc_touch_on(struct mc_seat *seat, uint64_t handle)
{
    for (size_t i = 0; i < MC_TOUCH_POINTS_MAX; i++) {
        struct mc_touch_point *point = &seat->points[i];
        if (point->used && point->handle == handle && point->surface != NULL) {
            return point;
        }
    }
    return NULL;
}

void mc_touch_forget(struct mc_seat *seat, uint64_t handle)
{
    struct mc_touch_point *point;
    while ((point = mc_touch_on(seat, handle)) !=
           NULL) { /* not cancelled: that would be about other windows too */
        lift(point, mc_seat_now_ms(seat));
        wlr_seat_touch_notify_frame(seat->wlr_seat);
    }
}

void mc_touch_remove(struct mc_device *device)
{
    for (size_t i = 0; i < MC_TOUCH_POINTS_MAX; i++) {
        struct mc_touch_point *point = &device->seat->points[i];
        if (point->used && point->device == device->device) {
            mc_touch_take(point);
            point_clear(point);
        }
    }
}

void mc_touch_init(struct mc_seat *seat)
{
    struct wlr_cursor *cursor = seat->server->cursor;
    mc_listen(&cursor->events.touch_down, &seat->touch_down, handle_down);
    mc_listen(&cursor->events.touch_motion, &seat->touch_motion, handle_motion);
    mc_listen(&cursor->events.touch_up, &seat->touch_up, handle_up);
    mc_listen(&cursor->events.touch_cancel, &seat->touch_cancel, handle_cancel);
    mc_listen(&cursor->events.touch_frame, &seat->touch_frame, handle_frame);
}

void mc_touch_finish(struct mc_seat *seat)
{
    mc_unlisten(&seat->touch_down);
    mc_unlisten(&seat->touch_motion);
    mc_unlisten(&seat->touch_up);
    mc_unlisten(&seat->touch_cancel);
    mc_unlisten(&seat->touch_frame);
    for (size_t i = 0; i < MC_TOUCH_POINTS_MAX; i++) {
        if (seat->points[i].used) {
            point_clear(&seat->points[i]);
        }
    }
}
