/* Drawing tablets and pen displays: the tool is a pointer, its tip the left button.
 *
 * There is no tablet protocol (zwp_tablet_v2) yet: pressure and tilt reach nobody. A pen that has left is a
 * pointer that rests. */
#include <linux/input-event-codes.h>
#include <math.h>
#include <wlr/types/wlr_tablet_tool.h>

#include "seat.h"

/* One coordinate may be missing (NAN): then it stays as it is. */
static void move_to(struct mc_seat *seat, struct wlr_input_device *device, uint32_t time_ms, double x,
                    double y)
{
    if (wl_list_empty(&seat->server->output_layout->outputs)) {
        return;
    }
    mc_cursor_used(seat);
    wlr_cursor_warp_absolute(seat->server->cursor, device, x, y);
    mc_pointer_moved(seat, time_ms);
}

static void handle_axis(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, tool_axis);
    struct wlr_event_tablet_tool_axis *event = data;
    bool has_x = event->updated_axes & WLR_TABLET_TOOL_AXIS_X,
         has_y = event->updated_axes & WLR_TABLET_TOOL_AXIS_Y;
    mc_seat_stamp(seat->server, MC_INPUT_MOTION, event->time_msec);
    if (has_x || has_y) {
        move_to(seat, event->device, event->time_msec, has_x ? event->x : NAN, has_y ? event->y : NAN);
        wlr_seat_pointer_notify_frame(seat->wlr_seat);
    }
}

static void press(struct mc_seat *seat, struct wlr_input_device *device, uint32_t time_ms, uint32_t button,
                  bool pressed)
{
    mc_seat_stamp(seat->server, MC_INPUT_BUTTON, time_ms);
    if (pressed) {
        mc_pointer_press(seat, mc_device_of(seat, device), time_ms, button);
    } else {
        mc_pointer_release(seat, mc_device_of(seat, device), time_ms, button);
    }
    wlr_seat_pointer_notify_frame(seat->wlr_seat);
}

static void handle_tip(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, tool_tip);
    struct wlr_event_tablet_tool_tip *event = data;
    bool down = event->state == WLR_TABLET_TOOL_TIP_DOWN;
    if (down) {
        move_to(seat, event->device, event->time_msec, event->x, event->y);
    }
    press(seat, event->device, event->time_msec, BTN_LEFT, down);
}

static void handle_proximity(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, tool_proximity);
    struct wlr_event_tablet_tool_proximity *event = data;
    mc_seat_stamp(seat->server, MC_INPUT_MOTION, event->time_msec);
    if (event->state == WLR_TABLET_TOOL_PROXIMITY_IN) {
        move_to(seat, event->device, event->time_msec, event->x, event->y);
        wlr_seat_pointer_notify_frame(seat->wlr_seat);
    }
}

/* The buttons on the pen, as other compositors map them for programs that know no tablets. */
static uint32_t pointer_button(uint32_t button)
{
    return button == BTN_STYLUS ? BTN_RIGHT : button == BTN_STYLUS2 ? BTN_MIDDLE : button;
}

static void handle_button(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, tool_button);
    struct wlr_event_tablet_tool_button *event = data;
    press(seat, event->device, event->time_msec, pointer_button(event->button),
          event->state == WLR_BUTTON_PRESSED);
}

void mc_tablet_init(struct mc_seat *seat)
{
    struct wlr_cursor *cursor = seat->server->cursor;
    mc_listen(&cursor->events.tablet_tool_axis, &seat->tool_axis, handle_axis);
    mc_listen(&cursor->events.tablet_tool_tip, &seat->tool_tip, handle_tip);
    mc_listen(&cursor->events.tablet_tool_proximity, &seat->tool_proximity, handle_proximity);
    mc_listen(&cursor->events.tablet_tool_button, &seat->tool_button, handle_button);
}

void mc_tablet_finish(struct mc_seat *seat)
{
    mc_unlisten(&seat->tool_axis);
    mc_unlisten(&seat->tool_tip);
    mc_unlisten(&seat->tool_proximity);
    mc_unlisten(&seat->tool_button);
}
