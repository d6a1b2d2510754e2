/* Virtual keyboards and pointers of trusted clients (wtype, on-screen keyboards, remote desktops): devices
 * like others, except that keyboards bring their own keymap. */
#include <errno.h>
#include <wlr/types/wlr_virtual_keyboard_v1.h>
#include <wlr/types/wlr_virtual_pointer_v1.h>

#include "seat.h"

static void handle_new_keyboard(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, new_virtual_keyboard);
    struct wlr_virtual_keyboard_v1 *keyboard = data;
    mc_seat_add_device(seat->server, &keyboard->input_device, true);
}

static void handle_new_pointer(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, new_virtual_pointer);
    struct wlr_virtual_pointer_v1_new_pointer_event *event = data;
    struct wlr_input_device *device = &event->new_pointer->input_device;
    mc_seat_add_device(seat->server, device, true);
    if (event->suggested_output != NULL) {
        mc_seat_map_device(seat->server, device, event->suggested_output);
    }
}

int mc_virtual_create_keyboards(struct mc_seat *seat)
{
    if (seat->virtual_keyboards == NULL) {
        seat->virtual_keyboards = wlr_virtual_keyboard_manager_v1_create(seat->server->display);
        if (seat->virtual_keyboards == NULL) {
            return -ENOMEM;
        }
        mc_listen(&seat->virtual_keyboards->events.new_virtual_keyboard, &seat->new_virtual_keyboard,
                  handle_new_keyboard);
    }
    return 0;
}

int mc_virtual_create_pointers(struct mc_seat *seat)
{
    if (seat->virtual_pointers == NULL) {
        seat->virtual_pointers = wlr_virtual_pointer_manager_v1_create(seat->server->display);
        if (seat->virtual_pointers == NULL) {
            return -ENOMEM;
        }
        mc_listen(&seat->virtual_pointers->events.new_virtual_pointer, &seat->new_virtual_pointer,
                  handle_new_pointer);
    }
    return 0;
}

void mc_virtual_finish(struct mc_seat *seat)
{
    mc_unlisten(&seat->new_virtual_keyboard);
    mc_unlisten(&seat->new_virtual_pointer);
}
