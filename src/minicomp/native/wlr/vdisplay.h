/* The modelled display: a wlr_backend whose outputs keep KMS's rules on a clock of our own. */
#ifndef MC_VDISPLAY_H
#define MC_VDISPLAY_H

#include <wlr/types/wlr_input_device.h>
#include <wlr/types/wlr_output.h>

#include "server.h"

bool mc_vdisplay_is_output(const struct wlr_output *wlr_output);
/* How long before a vblank a commit must arrive; 0 for displays that are not modelled. */
uint64_t mc_vdisplay_latch_ns(const struct wlr_output *wlr_output);
/* A vblank that nothing waits for need not wake anybody. Until the next mc_vdisplay_hurry the output arms no
 * timer for its flips: they are completed, with the vblank's exact time, by mc_vdisplay_settle, which whoever
 * wakes up calls first. Others' displays and the step clock are not affected. */
void mc_vdisplay_defer(struct wlr_output *wlr_output);
void mc_vdisplay_hurry(struct wlr_output *wlr_output);
void mc_vdisplay_settle(struct mc_server *server);
/* Its keyboard, pointer or touch screen, there from the start; NULL when the backend is another one. */
struct wlr_input_device *mc_vdisplay_device(struct wlr_backend *backend, enum wlr_input_device_type type);
/* One of them, or NULL when memory is short; wlr_input_device_destroy ends it. */
struct wlr_input_device *mc_vdisplay_create_device(enum wlr_input_device_type type);

#endif
