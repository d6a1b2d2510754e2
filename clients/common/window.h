/* One xdg_toplevel: creation, configure and close, the size it currently has.
 *
 * The caller owns the struct (it must not move); window_finish destroys the objects and may be called
 * twice. After window_init the client must not attach a buffer before `configured` was called.
 */
#ifndef CLIENTS_COMMON_WINDOW_H
#define CLIENTS_COMMON_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "common/connection.h"

struct window_events {
    void (*configured)(void *data); /* acked; width and height are what to draw now */
    void (*closed)(void *data);     /* the compositor asks the window to go */
};

struct window {
    struct wl_surface *surface;
    struct xdg_surface *xdg_surface;
    struct xdg_toplevel *toplevel;
    int width, height;
    int wanted_width, wanted_height; /* used while the compositor leaves the size to us */
    int pending_width, pending_height;
    bool deaf; /* configures are neither acked nor reported: those that arrive between unmapping and remapping
                */
    const struct window_events *events; /* borrowed */
    void *data;
};

void window_init(struct window *window, struct connection *connection, int width, int height,
                 const char *app_id, const char *title, bool fullscreen, const struct window_events *events,
                 void *data);
void window_finish(struct window *window);

#endif
