/* The modelled display: a wlr_backend whose outputs keep KMS's rules on a clock of our own. */
#ifndef MC_VDISPLAY_H
#define MC_VDISPLAY_H

#include <wlr/types/wlr_input_device.h>
#include <wlr/types/wlr_output.h>

#include "server.h"

bool mc_vdisplay_is_output(const struct wlr_output *wlr_output);
/* How long before a vblank a commit must arrive; 0 for displays that are not modelled. */
uint64_t mc_vdisplay_latch_ns(const struct wlr_output *wlr_output);
/* Its keyboard, pointer or touch screen, there from the start; NULL when the backend is another one. */
struct wlr_input_device *mc_vdisplay_device(struct wlr_backend *backend, enum wlr_input_device_type type);

#endif
