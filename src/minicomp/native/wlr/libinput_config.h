/* What libinput knows of a device. With the compositor lock held. */
#ifndef MC_LIBINPUT_CONFIG_H
#define MC_LIBINPUT_CONFIG_H

#include <stdbool.h>

struct wlr_input_device;

bool mc_device_is_libinput(struct wlr_input_device *device);
/* A pointer that is moved by fingers. */
bool mc_device_is_touchpad(struct wlr_input_device *device);

#endif
