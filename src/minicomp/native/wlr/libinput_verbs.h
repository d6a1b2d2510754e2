/* Settings that libinput has for a device. What they mean is in libinput's manual; values are its own enums.
 */
#ifndef MC_LIBINPUT_VERBS_H
#define MC_LIBINPUT_VERBS_H

#include <stdbool.h>
#include <stdint.h>

struct mc_server;

enum mc_libinput_setting {
    MC_LIBINPUT_EVENTS = 0,            /* enum libinput_config_send_events_mode */
    MC_LIBINPUT_TAP = 1,               /* bool */
    MC_LIBINPUT_TAP_DRAG = 2,          /* bool */
    MC_LIBINPUT_NATURAL_SCROLL = 3,    /* bool */
    MC_LIBINPUT_ACCEL_PROFILE = 4,     /* enum libinput_config_accel_profile */
    MC_LIBINPUT_ACCEL_SPEED = 5,       /* -1 to 1 */
    MC_LIBINPUT_LEFT_HANDED = 6,       /* bool */
    MC_LIBINPUT_SCROLL_METHOD = 7,     /* enum libinput_config_scroll_method */
    MC_LIBINPUT_CLICK_METHOD = 8,      /* enum libinput_config_click_method */
    MC_LIBINPUT_DWT = 9,               /* bool: disable while typing */
    MC_LIBINPUT_MIDDLE_EMULATION = 10, /* bool */
    MC_LIBINPUT_CALIBRATION = 11,      /* by mc_libinput_calibrate */
};
/* 0; -ENOENT: the device is gone; -ENODEV: it is none of libinput's; -ENOTSUP: it has no such setting; or,
 * above 0, libinput's enum libinput_config_status: it refuses the value. */
int mc_libinput_set(struct mc_server *server, uint64_t device, int setting, double value);
/* The first two rows of the matrix that is applied to positions from 0 to 1. */
int mc_libinput_calibrate(struct mc_server *server, uint64_t device, const float matrix[6]);
/* libinput's words for a status. Static. */
const char *mc_libinput_reason(int status);

#endif
