/* See window.h. */
#include "common/window.h"

#include <string.h>

#include "xdg-shell-client-protocol.h"

static void handle_toplevel_configure(void *data, struct xdg_toplevel *toplevel, int32_t width,
                                      int32_t height, struct wl_array *states)
{
    struct window *window = data;
    (void)toplevel;
    (void)states;
    window->pending_width = width;
    window->pending_height = height;
}

static void handle_toplevel_close(void *data, struct xdg_toplevel *toplevel)
{
    struct window *window = data;
    (void)toplevel;
    window->events->closed(window->data);
}

static const struct xdg_toplevel_listener toplevel_listener = {
    .configure = handle_toplevel_configure,
    .close = handle_toplevel_close,
};

static void handle_surface_configure(void *data, struct xdg_surface *xdg_surface, uint32_t serial)
{
    struct window *window = data;
    if (window->deaf) {
        return;
    }
    /* xdg-shell: a width or height of 0 leaves that one to the client. */
    window->width = window->pending_width > 0 ? window->pending_width : window->wanted_width;
    window->height = window->pending_height > 0 ? window->pending_height : window->wanted_height;
    xdg_surface_ack_configure(xdg_surface, serial);
    window->events->configured(window->data);
}

static const struct xdg_surface_listener surface_listener = {.configure = handle_surface_configure};

void window_init(struct window *window, struct connection *connection, int width, int height,
                 const char *app_id, const char *title, bool fullscreen, const struct window_events *events,
                 void *data)
{
    memset(window, 0, sizeof(*window));
    window->wanted_width = window->width = width;
    window->wanted_height = window->height = height;
    window->events = events;
    window->data = data;
    window->surface = wl_compositor_create_surface(connection->compositor);
    window->xdg_surface = xdg_wm_base_get_xdg_surface(connection->wm_base, window->surface);
    xdg_surface_add_listener(window->xdg_surface, &surface_listener, window);
    window->toplevel = xdg_surface_get_toplevel(window->xdg_surface);
    xdg_toplevel_add_listener(window->toplevel, &toplevel_listener, window);
    xdg_toplevel_set_app_id(window->toplevel, app_id);
    xdg_toplevel_set_title(window->toplevel, title);
    if (fullscreen) {
        xdg_toplevel_set_fullscreen(window->toplevel, NULL);
    }
    wl_surface_commit(window->surface);
}

void window_finish(struct window *window)
{
    if (window->surface == NULL) {
        return;
    }
    xdg_toplevel_destroy(window->toplevel);
    xdg_surface_destroy(window->xdg_surface);
    wl_surface_destroy(window->surface);
    window->surface = NULL;
}
