/* X11 windows through Xwayland.
 *
 * A managed X11 window is a window of ours from its map to its unmap, with a new handle each time: X11
 * clients create many windows that are never shown. Override-redirect ones (menus, tooltips) place themselves
 * and are nobody's business but theirs. Xwayland is started and reaped by wlroots: nothing here may wait for
 * children. */
#include <stdlib.h>
#include <wlr/xcursor.h>
#include <wlr/xwayland.h>

#include "input.h"
#include "shell.h"
#include "xwayland_verbs.h"

#define ENDING_MAX_NS MC_NSEC_PER_SEC /* for Xwayland to end when its connection has gone */

struct x11_surface {
    struct wl_list link; /* mc_shell.x11_surfaces */
    struct mc_shell *shell;
    struct wlr_xwayland_surface *surface; /* lives as long as this */
    struct mc_window *window;             /* owned; NULL while unmapped or unmanaged */
    struct wlr_scene_tree *unmanaged;     /* owned; NULL while unmapped or managed */
    struct wl_listener map, unmap, destroy, commit, request_configure, request_move, request_resize,
        request_minimize, request_maximize, request_fullscreen, request_activate, set_title, set_class,
        set_parent, set_geometry, set_override_redirect;
};

static bool is_maximized(const struct wlr_xwayland_surface *surface)
{
    return surface->maximized_horz && surface->maximized_vert;
}

static void push(struct x11_surface *x11, enum mc_event_kind kind, int64_t a, int64_t b)
{
    if (x11->window != NULL) {
        mc_push(x11->shell->server, kind, x11->window->tag.handle, a, b);
    }
}

/* ---- for windows.c ---- */

uint32_t mc_x11_states(struct mc_window *window)
{
    return (window->x11->fullscreen ? MC_WINDOW_FULLSCREEN : 0u) |
           (is_maximized(window->x11) ? MC_WINDOW_MAXIMIZED : 0u);
}

void mc_x11_configure(struct mc_window *window, int width, int height, uint32_t states)
{
    struct wlr_xwayland_surface *surface = window->x11;
    bool maximized = (states & MC_WINDOW_MAXIMIZED) != 0, fullscreen = (states & MC_WINDOW_FULLSCREEN) != 0;
    if (maximized != is_maximized(surface)) {
        wlr_xwayland_surface_set_maximized(surface, maximized);
    }
    if (fullscreen != surface->fullscreen) {
        wlr_xwayland_surface_set_fullscreen(surface, fullscreen);
    }
    wlr_xwayland_surface_configure(
        surface, (int16_t)window->tree->node.state.x, (int16_t)window->tree->node.state.y,
        width != 0 ? (uint16_t)width : surface->width, height != 0 ? (uint16_t)height : surface->height);
}

void mc_x11_moved(struct mc_window *window)
{
    mc_x11_configure(window, 0, 0, mc_x11_states(window));
}

/* ---- mapped and unmapped ---- */

static void handle_commit(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, commit);
    if (x11->window != NULL) {
        mc_window_committed(x11->window, false);
    }
}

static bool show_unmanaged(struct x11_surface *x11)
{
    struct mc_server *server = x11->shell->server;
    x11->unmanaged = wlr_scene_tree_create(&server->stack[MC_STACK_UNMANAGED]->node);
    if (x11->unmanaged == NULL ||
        wlr_scene_subsurface_tree_create(&x11->unmanaged->node, x11->surface->surface) == NULL) {
        return false;
    }
    wlr_scene_node_set_position(&x11->unmanaged->node, x11->surface->x, x11->surface->y);
    mc_seat_repick(server);
    return true;
}

static bool create_window(struct x11_surface *x11)
{
    struct wlr_xwayland_surface *surface = x11->surface;
    struct mc_window *window = mc_window_create(x11->shell->server, MC_WINDOW_X11);
    if (window == NULL) {
        return false;
    }
    window->x11 = surface;
    surface->data = x11->window = window;
    wlr_scene_node_set_position(&window->tree->node, surface->x, surface->y);
    if (wlr_scene_subsurface_tree_create(&window->tree->node, surface->surface) == NULL) {
        surface->data = x11->window = NULL;
        mc_window_destroy(window);
        return false;
    }
    push(x11, MC_EVENT_WINDOW_NEW, 1, 0);
    if (surface->fullscreen) {
        push(x11, MC_EVENT_WINDOW_REQUEST_FULLSCREEN, 1, 0);
    }
    if (is_maximized(surface)) {
        push(x11, MC_EVENT_WINDOW_REQUEST_MAXIMIZE, 1, 0);
    }
    mc_window_mapped(window);
    return true;
}

static void handle_map(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, map);
    if (x11->window != NULL || x11->unmanaged != NULL || x11->surface->surface == NULL) {
        return;
    }
    mc_listen(&x11->surface->surface->events.commit, &x11->commit, handle_commit);
    bool done = x11->surface->override_redirect ? show_unmanaged(x11) : create_window(x11);
    if (!done) {
        mc_log(x11->shell->server, MC_LOG_ERROR, "out of memory: an X11 window is not shown");
    }
}

static void withdraw(struct x11_surface *x11)
{
    mc_unlisten(&x11->commit);
    if (x11->unmanaged != NULL) {
        wlr_scene_node_destroy(&x11->unmanaged->node);
        x11->unmanaged = NULL;
        mc_seat_repick(x11->shell->server);
    }
    if (x11->window != NULL) {
        struct mc_window *window = x11->window;
        mc_window_unmapped(window);
        x11->surface->data = x11->window = NULL;
        mc_window_destroy(window);
    }
}

static void handle_unmap(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, unmap);
    withdraw(x11);
}

static void handle_set_override_redirect(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, set_override_redirect);
    if (x11->window != NULL || x11->unmanaged != NULL) {
        withdraw(x11);
        handle_map(&x11->map, NULL);
    }
}

static void handle_set_geometry(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, set_geometry);
    if (x11->unmanaged != NULL) {
        wlr_scene_node_set_position(&x11->unmanaged->node, x11->surface->x, x11->surface->y);
        mc_seat_repick(x11->shell->server);
    } else if (x11->window != NULL) {
        mc_window_committed(x11->window, false);
    }
}

/* ---- requests ---- */

static void handle_request_configure(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, request_configure);
    struct wlr_xwayland_surface_configure_event *event = data;
    if (x11->window == NULL) {
        wlr_xwayland_surface_configure(x11->surface, event->x, event->y, event->width, event->height);
        return;
    }
    int64_t place = (int64_t)((uint64_t)(uint32_t)event->x << 32 | (uint32_t)event->y);
    push(x11, MC_EVENT_WINDOW_REQUEST_PLACE, place, (int64_t)event->width << 32 | event->height);
}

static void handle_request_move(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, request_move);
    if (x11->window != NULL && mc_window_is_pressed(x11->window)) {
        push(x11, MC_EVENT_WINDOW_REQUEST_MOVE, 0, 0);
    }
}

static void handle_request_resize(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, request_resize);
    struct wlr_xwayland_resize_event *event = data;
    if (x11->window != NULL && mc_window_is_pressed(x11->window)) {
        push(x11, MC_EVENT_WINDOW_REQUEST_RESIZE, event->edges, 0);
    }
}

static void handle_request_minimize(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, request_minimize);
    struct wlr_xwayland_minimize_event *event = data;
    push(x11, MC_EVENT_WINDOW_REQUEST_MINIMIZE, event->minimize, 0);
}

static void handle_request_maximize(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, request_maximize);
    push(x11, MC_EVENT_WINDOW_REQUEST_MAXIMIZE, is_maximized(x11->surface), 0);
}

static void handle_request_fullscreen(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, request_fullscreen);
    push(x11, MC_EVENT_WINDOW_REQUEST_FULLSCREEN, x11->surface->fullscreen, 0);
}

static void handle_request_activate(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, request_activate);
    push(x11, MC_EVENT_WINDOW_REQUEST_ACTIVATE, 3, 0);
}

/* ---- properties ---- */

static void handle_set_title(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, set_title);
    if (x11->window != NULL) {
        mc_foreign_sync_text(x11->window);
        mc_window_tell(x11->window, MC_UNREAD_TITLE, MC_EVENT_WINDOW_TITLE, 0, 0);
    }
}

static void handle_set_class(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, set_class);
    if (x11->window != NULL) {
        mc_foreign_sync_text(x11->window);
        mc_window_tell(x11->window, MC_UNREAD_APP_ID, MC_EVENT_WINDOW_APP_ID, 0, 0);
    }
}

static void handle_set_parent(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, set_parent);
    if (x11->window != NULL) {
        struct mc_window *parent = mc_window_parent(x11->window);
        mc_foreign_sync(x11->window);
        mc_window_tell(x11->window, MC_UNREAD_PARENT, MC_EVENT_WINDOW_PARENT,
                       parent != NULL ? (int64_t)parent->tag.handle : 0, 0);
    }
}

/* ---- life ---- */

static void x11_destroy(struct x11_surface *x11)
{
    withdraw(x11);
    mc_unlisten(&x11->map);
    mc_unlisten(&x11->unmap);
    mc_unlisten(&x11->destroy);
    mc_unlisten(&x11->request_configure);
    mc_unlisten(&x11->request_move);
    mc_unlisten(&x11->request_resize);
    mc_unlisten(&x11->request_minimize);
    mc_unlisten(&x11->request_maximize);
    mc_unlisten(&x11->request_fullscreen);
    mc_unlisten(&x11->request_activate);
    mc_unlisten(&x11->set_title);
    mc_unlisten(&x11->set_class);
    mc_unlisten(&x11->set_parent);
    mc_unlisten(&x11->set_geometry);
    mc_unlisten(&x11->set_override_redirect);
    wl_list_remove(&x11->link);
    free(x11);
}

static void handle_destroy(struct wl_listener *listener, void *data)
{
    struct x11_surface *x11 = wl_container_of(listener, x11, destroy);
    x11_destroy(x11);
}

static void handle_new_surface(struct wl_listener *listener, void *data)
{
    struct mc_shell *shell = wl_container_of(listener, shell, new_x11_surface);
    struct wlr_xwayland_surface *surface = data;
    struct x11_surface *x11 = calloc(1, sizeof(*x11));
    if (x11 == NULL) {
        mc_log(shell->server, MC_LOG_ERROR, "out of memory: an X11 window is not managed");
        return;
    }
    x11->shell = shell;
    x11->surface = surface;
    wl_list_insert(&shell->x11_surfaces, &x11->link);
    mc_listen(&surface->events.map, &x11->map, handle_map);
    mc_listen(&surface->events.unmap, &x11->unmap, handle_unmap);
    mc_listen(&surface->events.destroy, &x11->destroy, handle_destroy);
    mc_listen(&surface->events.request_configure, &x11->request_configure, handle_request_configure);
    mc_listen(&surface->events.request_move, &x11->request_move, handle_request_move);
    mc_listen(&surface->events.request_resize, &x11->request_resize, handle_request_resize);
    mc_listen(&surface->events.request_minimize, &x11->request_minimize, handle_request_minimize);
    mc_listen(&surface->events.request_maximize, &x11->request_maximize, handle_request_maximize);
    mc_listen(&surface->events.request_fullscreen, &x11->request_fullscreen, handle_request_fullscreen);
    mc_listen(&surface->events.request_activate, &x11->request_activate, handle_request_activate);
    mc_listen(&surface->events.set_title, &x11->set_title, handle_set_title);
    mc_listen(&surface->events.set_class, &x11->set_class, handle_set_class);
    mc_listen(&surface->events.set_parent, &x11->set_parent, handle_set_parent);
    mc_listen(&surface->events.set_geometry, &x11->set_geometry, handle_set_geometry);
    mc_listen(&surface->events.set_override_redirect, &x11->set_override_redirect,
              handle_set_override_redirect);
}

static void handle_ready(struct wl_listener *listener, void *data)
{
    struct mc_shell *shell = wl_container_of(listener, shell, xwayland_ready);
    if (shell->xwayland->xwm != NULL) {
        shell->xwayland->server->wm_fd[0] = -1; /* xcb closes it; wlroots 0.15 would close it once more */
    }
    struct wlr_xcursor_image *image = mc_seat_default_cursor(shell->server);
    if (image != NULL) {
        wlr_xwayland_set_cursor(shell->xwayland, image->buffer, image->width * 4, image->width, image->height,
                                (int32_t)image->hotspot_x, (int32_t)image->hotspot_y);
    }
    mc_push(shell->server, MC_EVENT_XWAYLAND_READY, 0, 0, 0);
}

void mc_x11_finish(struct mc_shell *shell)
{
    mc_unlisten(&shell->xwayland_ready);
    mc_unlisten(&shell->new_x11_surface);
    struct x11_surface *x11, *next;
    wl_list_for_each_safe (x11, next, &shell->x11_surfaces, link) {
        x11_destroy(x11);
    }
    shell->xwayland = NULL;
}

/* wlr_xwayland_destroy leaves its window manager to the event loop, which sees that Xwayland has gone. */
void mc_xwayland_destroy(struct mc_server *server, struct wlr_xwayland *xwayland)
{
    struct wl_event_loop *loop = wl_display_get_event_loop(server->display);
    uint64_t deadline_ns = mc_now_ns() + ENDING_MAX_NS;
    mc_verb_begin(server);
    if (xwayland->xwm != NULL && xwayland->server->client != NULL) {
        wl_client_destroy(xwayland->server->client);
    }
    while (xwayland->xwm != NULL && mc_now_ns() < deadline_ns) {
        wl_event_loop_dispatch(loop, 50);
    }
    mc_x11_finish(server->shell); /* its listeners hang on what goes now */
    wlr_xwayland_destroy(xwayland);
    mc_verb_end(server);
}

int mc_xwayland_attach(struct mc_server *server, struct wlr_xwayland *xwayland)
{
    mc_verb_begin(server);
    struct mc_shell *shell = server->shell;
    shell->xwayland = xwayland;
    wlr_xwayland_set_seat(xwayland, server->wlr_seat);
    mc_listen(&xwayland->events.ready, &shell->xwayland_ready, handle_ready);
    mc_listen(&xwayland->events.new_surface, &shell->new_x11_surface, handle_new_surface);
    mc_verb_end(server);
    return 0;
}
