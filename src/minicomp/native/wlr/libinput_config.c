/* libinput's configuration of one device. libinput itself keeps it until the device goes. */
#include <errno.h>
#include <wlr/backend/libinput.h>

#include "libinput_config.h"
#include "libinput_verbs.h"
#include "seat.h"

static struct libinput_device *libinput_of(struct wlr_input_device *device)
{
    return wlr_input_device_is_libinput(device) ? wlr_libinput_get_device_handle(device) : NULL;
}

bool mc_device_is_libinput(struct wlr_input_device *device)
{
    return libinput_of(device) != NULL;
}

bool mc_device_is_touchpad(struct wlr_input_device *device)
{
    struct libinput_device *handle = libinput_of(device);
    return handle != NULL && device->type == WLR_INPUT_DEVICE_POINTER &&
           libinput_device_config_tap_get_finger_count(handle) > 0;
}

static bool has_setting(struct libinput_device *handle, enum mc_libinput_setting setting)
{
    switch (setting) {
    case MC_LIBINPUT_EVENTS:
        return true;
    case MC_LIBINPUT_TAP:
    case MC_LIBINPUT_TAP_DRAG:
        return libinput_device_config_tap_get_finger_count(handle) > 0;
    case MC_LIBINPUT_NATURAL_SCROLL:
        return libinput_device_config_scroll_has_natural_scroll(handle) != 0;
    case MC_LIBINPUT_ACCEL_PROFILE:
    case MC_LIBINPUT_ACCEL_SPEED:
        return libinput_device_config_accel_is_available(handle) != 0;
    case MC_LIBINPUT_LEFT_HANDED:
        return libinput_device_config_left_handed_is_available(handle) != 0;
    case MC_LIBINPUT_SCROLL_METHOD:
        return libinput_device_config_scroll_get_methods(handle) != 0;
    case MC_LIBINPUT_CLICK_METHOD:
        return libinput_device_config_click_get_methods(handle) != 0;
    case MC_LIBINPUT_DWT:
        return libinput_device_config_dwt_is_available(handle) != 0;
    case MC_LIBINPUT_MIDDLE_EMULATION:
        return libinput_device_config_middle_emulation_is_available(handle) != 0;
    case MC_LIBINPUT_CALIBRATION:
        return libinput_device_config_calibration_has_matrix(handle) != 0;
    }
    return false;
}

static enum libinput_config_status apply(struct libinput_device *handle, enum mc_libinput_setting setting,
                                         double value)
{
    int number = (int)value;
    switch (setting) {
    case MC_LIBINPUT_EVENTS:
        return libinput_device_config_send_events_set_mode(handle, (uint32_t)number);
    case MC_LIBINPUT_TAP:
        return libinput_device_config_tap_set_enabled(handle, number);
    case MC_LIBINPUT_TAP_DRAG:
        return libinput_device_config_tap_set_drag_enabled(handle, number);
    case MC_LIBINPUT_NATURAL_SCROLL:
        return libinput_device_config_scroll_set_natural_scroll_enabled(handle, number);
    case MC_LIBINPUT_ACCEL_PROFILE:
        return libinput_device_config_accel_set_profile(handle, number);
    case MC_LIBINPUT_ACCEL_SPEED:
        return libinput_device_config_accel_set_speed(handle, value);
    case MC_LIBINPUT_LEFT_HANDED:
        return libinput_device_config_left_handed_set(handle, number);
    case MC_LIBINPUT_SCROLL_METHOD:
        return libinput_device_config_scroll_set_method(handle, number);
    case MC_LIBINPUT_CLICK_METHOD:
        return libinput_device_config_click_set_method(handle, number);
    case MC_LIBINPUT_DWT:
        return libinput_device_config_dwt_set_enabled(handle, number);
    case MC_LIBINPUT_MIDDLE_EMULATION:
        return libinput_device_config_middle_emulation_set_enabled(handle, number);
    case MC_LIBINPUT_CALIBRATION:
        break;
    }
    return LIBINPUT_CONFIG_STATUS_INVALID;
}

/* The libinput device to set something of, or an error. */
static int find(struct mc_server *server, uint64_t device_handle, int setting,
                struct libinput_device **handle_ret)
{
    struct mc_device *device = mc_handles_get(&server->handles, MC_HANDLE_DEVICE, device_handle);
    if (device == NULL) {
        return -ENOENT;
    }
    *handle_ret = libinput_of(device->device);
    if (*handle_ret == NULL) {
        return -ENODEV;
    }
    return has_setting(*handle_ret, (enum mc_libinput_setting)setting) ? 0 : -ENOTSUP;
}

int mc_libinput_set(struct mc_server *server, uint64_t device, int setting, double value)
{
    mc_verb_begin(server);
    struct libinput_device *handle;
    int result = find(server, device, setting, &handle);
    if (result == 0) {
        result = (int)apply(handle, (enum mc_libinput_setting)setting, value);
    }
    mc_verb_end(server);
    return result;
}

int mc_libinput_calibrate(struct mc_server *server, uint64_t device, const float matrix[6])
{
    mc_verb_begin(server);
    struct libinput_device *handle;
    int result = find(server, device, MC_LIBINPUT_CALIBRATION, &handle);
    if (result == 0) {
        result = (int)libinput_device_config_calibration_set_matrix(handle, matrix);
    }
    mc_verb_end(server);
    return result;
}

const char *mc_libinput_reason(int status)
{
    const char *reason = libinput_config_status_to_str((enum libinput_config_status)status);
    return reason != NULL ? reason : "unknown status";
}
