/* The modelled display's keyboard, pointer and touch screen. */
#include <stdlib.h>
#include <wlr/interfaces/wlr_input_device.h>
#include <wlr/interfaces/wlr_keyboard.h>
#include <wlr/interfaces/wlr_pointer.h>
#include <wlr/interfaces/wlr_touch.h>

#include "vdisplay.h"

/* Without an impl.destroy wlroots frees the device and its inner object itself. */
struct wlr_input_device *mc_vdisplay_create_device(enum wlr_input_device_type type)
{
    struct wlr_input_device *device = calloc(1, sizeof(*device));
    if (device == NULL) {
        return NULL;
    }
    const char *name = type == WLR_INPUT_DEVICE_KEYBOARD  ? "minicomp keyboard"
                       : type == WLR_INPUT_DEVICE_POINTER ? "minicomp pointer"
                                                          : "minicomp touch";
    wlr_input_device_init(device, type, NULL, name, 0, 0);
    bool ok = true;
    if (type == WLR_INPUT_DEVICE_KEYBOARD) {
        ok = (device->keyboard = calloc(1, sizeof(*device->keyboard))) != NULL;
        if (ok) {
            wlr_keyboard_init(device->keyboard, NULL);
        }
    } else if (type == WLR_INPUT_DEVICE_POINTER) {
        ok = (device->pointer = calloc(1, sizeof(*device->pointer))) != NULL;
        if (ok) {
            wlr_pointer_init(device->pointer, NULL);
        }
    } else {
        ok = (device->touch = calloc(1, sizeof(*device->touch))) != NULL;
        if (ok) {
            wlr_touch_init(device->touch, NULL);
        }
    }
    if (!ok) {
        free((void *)device->name);
        free(device);
        return NULL;
    }
    return device;
}
