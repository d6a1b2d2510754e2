/* Pointer buttons: to a binding, or to the surface under the pointer, which gets all events until the last
 * one is let go. A button that two devices hold is down until both let go; a device that goes away lets go of
 * all. */
#include "seat.h"

static struct mc_held_button *find_held(struct mc_seat *seat, struct mc_device *device, uint32_t button)
{
    for (size_t i = 0; i < seat->held_button_count; i++) {
        struct mc_held_button *held = &seat->held_buttons[i];
        if (held->button == button && held->device == device) {
            return held;
        }
    }
    return NULL;
}

static bool is_held(struct mc_seat *seat, uint32_t button)
{
    for (size_t i = 0; i < seat->held_button_count; i++) {
        if (seat->held_buttons[i].button == button) {
            return true;
        }
    }
    return false;
}

void mc_pointer_press(struct mc_seat *seat, struct mc_device *device, uint32_t time_ms, uint32_t button)
{
    struct wlr_seat *wlr_seat = seat->wlr_seat;
    if (seat->held_button_count == MC_BUTTONS_HELD_MAX || find_held(seat, device, button) != NULL) {
        return;
    }
    bool down_already = is_held(seat, button);
    struct mc_held_button *held = &seat->held_buttons[seat->held_button_count++];
    *held = (struct mc_held_button){.device = device, .button = button};
    if (down_already) {
        return;
    }
    if (seat->grab.kind != MC_GRAB_NONE) {
        held->eaten = true;
        return;
    }
    seat->pointer_active = true;
    const struct wlr_cursor *cursor = seat->server->cursor;
    struct mc_pick pick = mc_pick_at(seat, cursor->x, cursor->y);
    if (mc_bindings_button(seat, button, pick.handle)) {
        held->eaten = true;
        return;
    }
    if (wlr_seat->pointer_state.button_count == 0) {
        mc_pointer_focus_on(seat, &pick, time_ms); /* a re-pick may be due still */
        seat->pressed_surface = wlr_seat->pointer_state.focused_surface;
        mc_anchor_set(&seat->pressed_anchor, pick.node);
    }
    if (pick.handle != 0) {
        bool is_layer = mc_handle_kind(pick.handle) == MC_HANDLE_LAYER;
        mc_push(seat->server, is_layer ? MC_EVENT_LAYER_PRESSED : MC_EVENT_WINDOW_PRESSED, pick.handle, 0, 0);
    }
    struct wlr_surface *target = wlr_seat->pointer_state.focused_surface;
    if (wlr_seat_pointer_notify_button(wlr_seat, time_ms, button, WLR_BUTTON_PRESSED) != 0) {
        mc_seat_delivered(seat, MC_INPUT_BUTTON, target);
    }
}

void mc_pointer_release(struct mc_seat *seat, struct mc_device *device, uint32_t time_ms, uint32_t button)
{
    struct mc_held_button *held = find_held(seat, device, button);
    if (held == NULL) {
        return;
    }
    bool eaten = held->eaten;
    *held = seat->held_buttons[--seat->held_button_count];
    for (size_t i = 0; i < seat->held_button_count; i++) {
        if (seat->held_buttons[i].button == button) { /* another device goes on holding it */
            seat->held_buttons[i].eaten = eaten;
            return;
        }
    }
    struct wlr_seat *wlr_seat = seat->wlr_seat;
    if (!eaten) {
        struct wlr_surface *target = wlr_seat->pointer_state.focused_surface;
        if (wlr_seat_pointer_notify_button(wlr_seat, time_ms, button, WLR_BUTTON_RELEASED) != 0) {
            mc_seat_delivered(seat, MC_INPUT_BUTTON, target);
        }
    }
    if (seat->held_button_count == 0) {
        if (seat->grab.kind != MC_GRAB_NONE && seat->grab.point == NULL) {
            mc_grab_finish(seat);
        }
        mc_anchor_clear(&seat->pressed_anchor);
        seat->pressed_surface = NULL;
        mc_seat_repick(seat->server); /* after the frame event that ends this group */
    }
}

void mc_pointer_remove(struct mc_device *device)
{
    struct mc_seat *seat = device->seat;
    bool released = false;
    for (size_t i = seat->held_button_count; i-- > 0;) {
        if (seat->held_buttons[i].device == device) {
            mc_pointer_release(seat, device, mc_seat_now_ms(seat), seat->held_buttons[i].button);
            released = true;
        }
    }
    if (released) {
        wlr_seat_pointer_notify_frame(seat->wlr_seat);
    }
}
