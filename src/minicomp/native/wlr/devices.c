/* Input devices: taken in, told to the policy, mapped to outputs, and let go with nothing left pressed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <wlr/types/wlr_input_device.h>
#include <wlr/types/wlr_output.h>

#include "libinput_config.h"
#include "seat.h"

void mc_seat_add_capability(struct mc_seat *seat, uint32_t capability)
{
    if ((seat->capabilities & capability) != capability) {
        seat->capabilities |= capability;
        wlr_seat_set_capabilities(seat->wlr_seat, seat->capabilities);
    }
}

static void unmap_device(struct mc_device *device)
{
    mc_unlisten(&device->mapped_output_destroy);
    device->mapped_output = NULL;
}

static void handle_mapped_output_destroy(struct wl_listener *listener, void *data)
{
    /* wlr_cursor would go on using the output. */
    struct mc_device *device = wl_container_of(listener, device, mapped_output_destroy);
    unmap_device(device);
    wlr_cursor_map_input_to_output(device->seat->server->cursor, device->device, NULL);
}

static void map_device(struct mc_device *device, struct wlr_output *output)
{
    unmap_device(device);
    wlr_cursor_map_input_to_output(device->seat->server->cursor, device->device, output);
    if (output != NULL) {
        device->mapped_output = output;
        mc_listen(&output->events.destroy, &device->mapped_output_destroy, handle_mapped_output_destroy);
    }
}

static bool moves_cursor(const struct wlr_input_device *device)
{
    return device->type == WLR_INPUT_DEVICE_POINTER || device->type == WLR_INPUT_DEVICE_TOUCH ||
           device->type == WLR_INPUT_DEVICE_TABLET_TOOL;
}

void mc_device_destroy(struct mc_device *device)
{
    /* Released first: what a device held must not stay held without it. */
    wl_list_remove(&device->link);
    switch (device->device->type) {
    case WLR_INPUT_DEVICE_KEYBOARD:
        mc_keyboard_remove(device);
        break;
    case WLR_INPUT_DEVICE_POINTER:
    case WLR_INPUT_DEVICE_TABLET_TOOL:
        mc_pointer_remove(device);
        break;
    case WLR_INPUT_DEVICE_TOUCH:
        mc_touch_remove(device);
        break;
    default:
        break;
    }
    unmap_device(device);
    mc_unlisten(&device->destroy);
    if (moves_cursor(device->device)) {
        wlr_cursor_detach_input_device(device->seat->server->cursor, device->device);
    }
    mc_handles_remove(&device->seat->server->handles, device->handle);
    free(device);
}

static void handle_device_destroy(struct wl_listener *listener, void *data)
{
    struct mc_device *device = wl_container_of(listener, device, destroy);
    struct mc_server *server = device->seat->server;
    uint64_t handle = device->handle;
    mc_device_destroy(device);
    mc_push(server, MC_EVENT_DEVICE_GONE, handle, 0, 0);
}

void mc_seat_add_device(struct mc_server *server, struct wlr_input_device *wlr_device, bool is_virtual)
{
    struct mc_seat *seat = server->seat;
    struct mc_device *device = seat != NULL ? calloc(1, sizeof(*device)) : NULL;
    if (device == NULL) {
        return;
    }
    device->seat = seat;
    device->device = wlr_device;
    device->is_virtual = is_virtual;
    device->handle = mc_handles_add(&server->handles, MC_HANDLE_DEVICE, device);
    if (device->handle == 0) {
        free(device);
        return;
    }
    wl_list_insert(seat->devices.prev, &device->link);
    mc_listen(&wlr_device->events.destroy, &device->destroy, handle_device_destroy);
    if (moves_cursor(wlr_device)) {
        wlr_cursor_attach_input_device(server->cursor, wlr_device);
    }
    switch (wlr_device->type) {
    case WLR_INPUT_DEVICE_KEYBOARD:
        mc_keyboard_add(device);
        break;
    case WLR_INPUT_DEVICE_POINTER:
    case WLR_INPUT_DEVICE_TABLET_TOOL:
        mc_seat_add_capability(seat, WL_SEAT_CAPABILITY_POINTER);
        break;
    case WLR_INPUT_DEVICE_TOUCH:
        mc_seat_add_capability(seat, WL_SEAT_CAPABILITY_TOUCH);
        break;
    default: /* switches and tablets' buttons: listed, so that policy can say so */
        break;
    }
    mc_push(server, MC_EVENT_DEVICE_NEW, device->handle, wlr_device->type, is_virtual);
}

struct mc_device *mc_device_of(struct mc_seat *seat, const struct wlr_input_device *wlr_device)
{
    struct mc_device *device;
    wl_list_for_each (device, &seat->devices, link) {
        if (device->device == wlr_device) {
            return device;
        }
    }
    return NULL;
}

void mc_seat_map_device(struct mc_server *server, struct wlr_input_device *wlr_device,
                        struct wlr_output *output)
{
    struct mc_device *device = mc_device_of(server->seat, wlr_device);
    if (device != NULL && moves_cursor(wlr_device)) {
        map_device(device, output);
    }
}

struct wlr_output *mc_device_mapped_output(struct mc_seat *seat, const struct wlr_input_device *wlr_device)
{
    struct mc_device *device = mc_device_of(seat, wlr_device);
    return device != NULL ? device->mapped_output : NULL;
}

int mc_device_get_info(struct mc_server *server, uint64_t handle, struct mc_device_info *info_ret)
{
    mc_verb_begin(server);
    struct mc_device *device = mc_handles_get(&server->handles, MC_HANDLE_DEVICE, handle);
    if (device != NULL) {
        const struct wlr_input_device *wlr_device = device->device;
        *info_ret = (struct mc_device_info){
            .handle = handle,
            .type = wlr_device->type,
            .is_virtual = device->is_virtual,
            .is_libinput = mc_device_is_libinput(device->device),
            .is_touchpad = mc_device_is_touchpad(device->device),
            .vendor = wlr_device->vendor,
            .product = wlr_device->product,
            .width_mm = wlr_device->width_mm,
            .height_mm = wlr_device->height_mm,
        };
        snprintf(info_ret->name, sizeof(info_ret->name), "%s",
                 wlr_device->name != NULL ? wlr_device->name : "");
        if (wlr_device->output_name != NULL) {
            snprintf(info_ret->output_name, sizeof(info_ret->output_name), "%s", wlr_device->output_name);
        }
    }
    mc_verb_end(server);
    return device != NULL ? 0 : -ENOENT;
}

size_t mc_devices_list(struct mc_server *server, uint64_t *handles_ret, size_t max)
{
    size_t count = 0;
    mc_verb_begin(server);
    struct mc_device *device;
    wl_list_for_each (device, &server->seat->devices, link) {
        if (count < max) {
            handles_ret[count] = device->handle;
        }
        count++;
    }
    mc_verb_end(server);
    return count;
}

int mc_device_map_to_output(struct mc_server *server, uint64_t handle, uint64_t output_handle)
{
    mc_verb_begin(server);
    struct mc_device *device = mc_handles_get(&server->handles, MC_HANDLE_DEVICE, handle);
    struct mc_output *output = mc_handles_get(&server->handles, MC_HANDLE_OUTPUT, output_handle);
    int result = 0;
    if (device == NULL || (output_handle != 0 && output == NULL)) {
        result = -ENOENT;
    } else if (!moves_cursor(device->device)) {
        result = -EINVAL;
    } else {
        map_device(device, output != NULL ? output->wlr_output : NULL);
    }
    mc_verb_end(server);
    return result;
}
