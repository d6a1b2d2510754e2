/* Requests that wlroots 0.15.1 handles wrongly; surface.c calls these. Loop thread, lock held. */
#ifndef MC_GUARD_H
#define MC_GUARD_H

#include <wayland-server-core.h>

struct mc_client;
struct wlr_surface;

/* Before a request is dispatched. */
void mc_guard_request(const struct wl_protocol_logger_message *message);
/* A wl_surface.commit is about to be dispatched. The client may be NULL. */
void mc_guard_commit(struct mc_client *client, struct wlr_surface *surface);
/* A wl_surface is being destroyed; its role object is still as it was. */
void mc_guard_surface_destroyed(struct wlr_surface *surface);

#endif
