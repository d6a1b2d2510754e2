/* Touch-pad gestures (swipe, pinch, hold): passed on to the surface with pointer focus. */
#include <errno.h>
#include <wlr/types/wlr_pointer.h>
#include <wlr/types/wlr_pointer_gestures_v1.h>

#include "seat.h"

static void gesture(struct mc_seat *seat, uint32_t time_ms)
{
    mc_seat_stamp(seat->server, MC_INPUT_GESTURE, time_ms);
    mc_seat_delivered(seat, MC_INPUT_GESTURE, seat->wlr_seat->pointer_state.focused_surface);
}

static void handle_swipe_begin(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, swipe_begin);
    struct wlr_event_pointer_swipe_begin *event = data;
    gesture(seat, event->time_msec);
    wlr_pointer_gestures_v1_send_swipe_begin(seat->gestures, seat->wlr_seat, event->time_msec,
                                             event->fingers);
}

static void handle_swipe_update(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, swipe_update);
    struct wlr_event_pointer_swipe_update *event = data;
    gesture(seat, event->time_msec);
    wlr_pointer_gestures_v1_send_swipe_update(seat->gestures, seat->wlr_seat, event->time_msec, event->dx,
                                              event->dy);
}

static void handle_swipe_end(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, swipe_end);
    struct wlr_event_pointer_swipe_end *event = data;
    gesture(seat, event->time_msec);
    wlr_pointer_gestures_v1_send_swipe_end(seat->gestures, seat->wlr_seat, event->time_msec,
                                           event->cancelled);
}

static void handle_pinch_begin(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, pinch_begin);
    struct wlr_event_pointer_pinch_begin *event = data;
    gesture(seat, event->time_msec);
    wlr_pointer_gestures_v1_send_pinch_begin(seat->gestures, seat->wlr_seat, event->time_msec,
                                             event->fingers);
}

static void handle_pinch_update(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, pinch_update);
    struct wlr_event_pointer_pinch_update *event = data;
    gesture(seat, event->time_msec);
    wlr_pointer_gestures_v1_send_pinch_update(seat->gestures, seat->wlr_seat, event->time_msec, event->dx,
                                              event->dy, event->scale, event->rotation);
}

static void handle_pinch_end(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, pinch_end);
    struct wlr_event_pointer_pinch_end *event = data;
    gesture(seat, event->time_msec);
    wlr_pointer_gestures_v1_send_pinch_end(seat->gestures, seat->wlr_seat, event->time_msec,
                                           event->cancelled);
}

static void handle_hold_begin(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, hold_begin);
    struct wlr_event_pointer_hold_begin *event = data;
    gesture(seat, event->time_msec);
    wlr_pointer_gestures_v1_send_hold_begin(seat->gestures, seat->wlr_seat, event->time_msec, event->fingers);
}

static void handle_hold_end(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, hold_end);
    struct wlr_event_pointer_hold_end *event = data;
    gesture(seat, event->time_msec);
    wlr_pointer_gestures_v1_send_hold_end(seat->gestures, seat->wlr_seat, event->time_msec, event->cancelled);
}

int mc_gestures_create(struct mc_seat *seat)
{
    if (seat->gestures != NULL) {
        return 0;
    }
    seat->gestures = wlr_pointer_gestures_v1_create(seat->server->display);
    if (seat->gestures == NULL) {
        return -ENOMEM;
    }
    struct wlr_cursor *cursor = seat->server->cursor;
    mc_listen(&cursor->events.swipe_begin, &seat->swipe_begin, handle_swipe_begin);
    mc_listen(&cursor->events.swipe_update, &seat->swipe_update, handle_swipe_update);
    mc_listen(&cursor->events.swipe_end, &seat->swipe_end, handle_swipe_end);
    mc_listen(&cursor->events.pinch_begin, &seat->pinch_begin, handle_pinch_begin);
    mc_listen(&cursor->events.pinch_update, &seat->pinch_update, handle_pinch_update);
    mc_listen(&cursor->events.pinch_end, &seat->pinch_end, handle_pinch_end);
    mc_listen(&cursor->events.hold_begin, &seat->hold_begin, handle_hold_begin);
    mc_listen(&cursor->events.hold_end, &seat->hold_end, handle_hold_end);
    return 0;
}

void mc_gestures_finish(struct mc_seat *seat)
{
    mc_unlisten(&seat->swipe_begin);
    mc_unlisten(&seat->swipe_update);
    mc_unlisten(&seat->swipe_end);
    mc_unlisten(&seat->pinch_begin);
    mc_unlisten(&seat->pinch_update);
    mc_unlisten(&seat->pinch_end);
    mc_unlisten(&seat->hold_begin);
    mc_unlisten(&seat->hold_end);
}
