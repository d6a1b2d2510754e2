/* Touch-pad gestures made here, as inject.c makes other events. */
#include <errno.h>
#include <wlr/types/wlr_pointer.h>

#include "seat.h"

int mc_inject_swipe(struct mc_server *server, int32_t phase, uint32_t fingers, double dx, double dy)
{
    struct wlr_input_device *device = mc_inject_begin(server, WLR_INPUT_DEVICE_POINTER);
    uint32_t now_ms = mc_seat_now_ms(server->seat);
    if (device != NULL && phase == MC_GESTURE_BEGIN) {
        struct wlr_event_pointer_swipe_begin event = {device, now_ms, fingers};
        wl_signal_emit(&device->pointer->events.swipe_begin, &event);
    } else if (device != NULL && phase == MC_GESTURE_UPDATE) {
        struct wlr_event_pointer_swipe_update event = {device, now_ms, fingers, dx, dy};
        wl_signal_emit(&device->pointer->events.swipe_update, &event);
    } else if (device != NULL) {
        struct wlr_event_pointer_swipe_end event = {device, now_ms, phase == MC_GESTURE_CANCEL};
        wl_signal_emit(&device->pointer->events.swipe_end, &event);
    }
    return mc_inject_end(server, device);
}

int mc_inject_pinch(struct mc_server *server, int32_t phase, uint32_t fingers, double dx, double dy,
                    double scale, double rotation)
{
    struct wlr_input_device *device = mc_inject_begin(server, WLR_INPUT_DEVICE_POINTER);
    uint32_t now_ms = mc_seat_now_ms(server->seat);
    if (device != NULL && phase == MC_GESTURE_BEGIN) {
        struct wlr_event_pointer_pinch_begin event = {device, now_ms, fingers};
        wl_signal_emit(&device->pointer->events.pinch_begin, &event);
    } else if (device != NULL && phase == MC_GESTURE_UPDATE) {
        struct wlr_event_pointer_pinch_update event = {device, now_ms, fingers, dx, dy, scale, rotation};
        wl_signal_emit(&device->pointer->events.pinch_update, &event);
    } else if (device != NULL) {
        struct wlr_event_pointer_pinch_end event = {device, now_ms, phase == MC_GESTURE_CANCEL};
        wl_signal_emit(&device->pointer->events.pinch_end, &event);
    }
    return mc_inject_end(server, device);
}

int mc_inject_hold(struct mc_server *server, int32_t phase, uint32_t fingers)
{
    struct wlr_input_device *device = mc_inject_begin(server, WLR_INPUT_DEVICE_POINTER);
    uint32_t now_ms = mc_seat_now_ms(server->seat);
    if (device != NULL && phase == MC_GESTURE_BEGIN) {
        struct wlr_event_pointer_hold_begin event = {device, now_ms, fingers};
        wl_signal_emit(&device->pointer->events.hold_begin, &event);
    } else if (device != NULL) {
        struct wlr_event_pointer_hold_end event = {device, now_ms, phase == MC_GESTURE_CANCEL};
        wl_signal_emit(&device->pointer->events.hold_end, &event);
    }
    return mc_inject_end(server, device);
}
