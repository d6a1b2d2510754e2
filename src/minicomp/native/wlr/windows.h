/* Windows (xdg toplevels and X11 windows), their popups, and layer surfaces: native objects and verbs. */
#ifndef MC_WINDOWS_H
#define MC_WINDOWS_H

#include "server.h"

struct mc_window;
struct mc_layer;

/* Owned by windows.c; used by input.c: */

/* The window's main wl_surface, or NULL while it is not mapped. */
struct wlr_surface *mc_window_surface(struct mc_window *window);
/* Tells the client and taskbars whether the window is the active one (xdg activated state, X11 activation).
 */
void mc_window_set_activated(struct mc_window *window, bool activated);
/* The window or layer surface that a wl_surface belongs to: itself, a subsurface, or a popup of it; else
 * NULL. */
struct mc_node_tag *mc_surface_tag(struct wlr_surface *surface);
/* For interactive move and resize (input.c): the window's geometry in layout coordinates. */
void mc_window_get_geometry(struct mc_window *window, struct wlr_box *box_ret);
/* Places the geometry's top-left corner at lx, ly. */
void mc_window_place(struct mc_window *window, int lx, int ly);
/* Asks for a size (one configure under way at a time, so call it as often as you like) and, when the client
 * obliges, keeps the edges opposite to `edges` (enum wlr_edges) in place. */
void mc_window_resize(struct mc_window *window, uint32_t edges, int lx, int ly, int width, int height);
/* The resize is over: the client is told, and gets the last size wanted. */
void mc_window_resize_end(struct mc_window *window);
struct mc_window *mc_window_from_handle(struct mc_server *server, uint64_t handle);
struct mc_layer *mc_layer_from_handle(struct mc_server *server, uint64_t handle);
struct wlr_surface *mc_layer_surface(struct mc_layer *layer);

int mc_windows_init(struct mc_server *server);
void mc_windows_finish(struct mc_server *server);

#endif
