/* xdg toplevels as windows: initial configure held for the policy, client requests turned into events. */
#include <stdlib.h>
#include <wlr/types/wlr_output.h>
#include <wlr/types/wlr_seat.h>
#include <wlr/util/edges.h>

#include "shell.h"

/* A policy that is stuck must not leave a new client without any answer. Until there is one, a client that
 * has no window on the screen yet gets no other events either (grace): some (weston-presentation-shm) take a
 * round trip for the answer to their first commit and draw after it. */
#define HELD_MAX_MS 1000
#define TILED_SHIFT 4

static void push(struct mc_window *window, enum mc_event_kind kind, int64_t a, int64_t b)
{
    mc_push(window->server, kind, window->tag.handle, a, b);
}

/* ---- the initial configure ---- */

static void set_grace(struct mc_window *window, bool in_grace)
{
    if (window->in_grace != in_grace) {
        window->in_grace = in_grace;
        mc_client_withhold(window->server, window->xdg->client->client, in_grace);
    }
}

/* Answers an initial commit, or changes what the client was told. */
static void send_configure(struct mc_window *window)
{
    set_grace(window, false);
    if (window->held != NULL) {
        if (window->xdg->configure_idle == window->held) {
            wl_event_source_remove(window->held);
            window->xdg->configure_idle = NULL;
        }
        window->held = NULL;
    }
    wlr_xdg_surface_schedule_configure(window->xdg);
}

static int handle_held_too_long(void *data)
{
    struct mc_window *window = data;
    mc_log(window->server, MC_LOG_WARNING, "a new window was configured without the policy, which is busy");
    send_configure(window);
    return 0;
}

/* Its other windows would miss frames while events to it are withheld. */
static bool client_has_mapped(const struct mc_window *window)
{
    const struct mc_window *other;
    wl_list_for_each (other, &window->server->windows, link) {
        if (other->mapped && other->kind == MC_WINDOW_XDG &&
            other->xdg->client->client == window->xdg->client->client) {
            return true;
        }
    }
    return false;
}

/* wlroots has scheduled the answer to the initial commit; the policy shall give it. The slot for a scheduled
 * configure is kept occupied, so that whatever else wants to send one (decorations, requests) finds it taken.
 */
static void hold_configure(struct mc_window *window)
{
    struct wl_event_loop *loop = wl_display_get_event_loop(window->server->display);
    struct wl_event_source *held = wl_event_loop_add_timer(loop, handle_held_too_long, window);
    if (held == NULL) {
        wlr_xdg_surface_schedule_configure(window->xdg); /* short of memory: an empty answer beats none */
        return;
    }
    wl_event_source_timer_update(held, HELD_MAX_MS);
    set_grace(window, !client_has_mapped(window));
    if (window->xdg->configure_idle != NULL) {
        wl_event_source_remove(window->xdg->configure_idle);
    }
    window->xdg->configure_idle = window->held = held;
}

void mc_xdg_configure(struct mc_window *window, int width, int height, uint32_t states)
{
    struct wlr_xdg_toplevel_configure *scheduled = &window->xdg->toplevel->scheduled;
    struct wlr_xdg_toplevel_configure wanted = *scheduled;
    wanted.width = (uint32_t)width;
    wanted.height = (uint32_t)height;
    wanted.maximized = (states & MC_WINDOW_MAXIMIZED) != 0;
    wanted.fullscreen = (states & MC_WINDOW_FULLSCREEN) != 0;
    wanted.tiled = states >> TILED_SHIFT & (WLR_EDGE_TOP | WLR_EDGE_BOTTOM | WLR_EDGE_LEFT | WLR_EDGE_RIGHT);
    /* The client may have changed its size since by itself: what counts is what it has now. */
    bool news = window->held != NULL || wanted.width != scheduled->width ||
                wanted.height != scheduled->height || wanted.maximized != scheduled->maximized ||
                wanted.fullscreen != scheduled->fullscreen || wanted.tiled != scheduled->tiled ||
                (width != 0 && width != window->width) || (height != 0 && height != window->height);
    window->drag.edges = 0;
    if (news) {
        *scheduled = wanted;
        send_configure(window);
    }
}

uint32_t mc_xdg_states(struct mc_window *window)
{
    struct wlr_xdg_toplevel_configure *scheduled = &window->xdg->toplevel->scheduled;
    return (scheduled->maximized ? MC_WINDOW_MAXIMIZED : 0u) |
           (scheduled->fullscreen ? MC_WINDOW_FULLSCREEN : 0u) | scheduled->tiled << TILED_SHIFT;
}

/* ---- interactive resize ---- */

void mc_xdg_send_drag(struct mc_window *window, bool resizing)
{
    struct mc_window_drag *drag = &window->drag;
    window->xdg->toplevel->scheduled.resizing = resizing;
    drag->serial = wlr_xdg_toplevel_set_size(window->xdg, (uint32_t)drag->width, (uint32_t)drag->height);
    drag->in_flight = true;
}

/* A commit may have brought the size that was asked for: keeps the undragged edges, and asks for the next. */
static void advance_drag(struct mc_window *window)
{
    struct mc_window_drag *drag = &window->drag;
    struct wlr_xdg_toplevel_configure *scheduled = &window->xdg->toplevel->scheduled;
    if (drag->edges == 0) {
        return;
    }
    struct wlr_box box;
    mc_window_get_geometry(window, &box);
    int lx = (drag->edges & WLR_EDGE_LEFT) != 0 ? drag->right - box.width : box.x;
    int ly = (drag->edges & WLR_EDGE_TOP) != 0 ? drag->bottom - box.height : box.y;
    wlr_scene_node_set_position(&window->tree->node, lx, ly);
    if (!drag->in_flight || (int32_t)(window->xdg->current.configure_serial - drag->serial) < 0) {
        return;
    }
    drag->in_flight = false;
    if (!scheduled->resizing) {
        drag->edges = 0; /* that was the last one */
    } else if (scheduled->width != (uint32_t)drag->width || scheduled->height != (uint32_t)drag->height) {
        mc_xdg_send_drag(window, true);
    }
}

/* ---- signals ---- */

static void handle_map(struct wl_listener *listener, void *data)
{
    struct mc_window *window = wl_container_of(listener, window, map);
    mc_window_mapped(window);
}

static void handle_unmap(struct wl_listener *listener, void *data)
{
    struct mc_window *window = wl_container_of(listener, window, unmap);
    struct wlr_xdg_toplevel *toplevel = window->xdg->toplevel;
    mc_window_unmapped(window);
    /* "The client will have to start again from the initial commit", which wlroots 0.15 does not answer. */
    window->unmap_commit = window->initial_pending = window->ever_unmapped = true;
    window->forgotten_serial = window->xdg->scheduled_serial;
    toplevel->scheduled = (struct wlr_xdg_toplevel_configure){0};
    toplevel->requested.maximized = toplevel->requested.minimized = toplevel->requested.fullscreen = false;
}

static void announce(struct mc_window *window)
{
    struct wlr_xdg_toplevel_requested *requested = &window->xdg->toplevel->requested;
    hold_configure(window);
    push(window, MC_EVENT_WINDOW_NEW, 0, 0);
    if (requested->fullscreen) {
        push(window, MC_EVENT_WINDOW_REQUEST_FULLSCREEN, 1,
             (int64_t)mc_output_handle(window->server, requested->fullscreen_output));
    }
    if (requested->maximized) {
        push(window, MC_EVENT_WINDOW_REQUEST_MAXIMIZE, 1, 0);
    }
    if (requested->minimized) {
        push(window, MC_EVENT_WINDOW_REQUEST_MINIMIZE, 1, 0);
    }
}

static void handle_commit(struct wl_listener *listener, void *data)
{
    struct mc_window *window = wl_container_of(listener, window, commit);
    struct wlr_surface *surface = window->xdg->surface;
    if (window->unmap_commit) {
        window->unmap_commit = false;
        return;
    }
    if (!window->mapped) {
        if (window->initial_pending && !wlr_surface_has_buffer(surface)) {
            window->initial_pending = false;
            announce(window);
        }
        return;
    }
    advance_drag(window);
    bool tree_changed = (surface->current.committed & WLR_SURFACE_STATE_INPUT_REGION) != 0 ||
                        !wl_list_empty(&surface->current.subsurfaces_above) ||
                        !wl_list_empty(&surface->current.subsurfaces_below);
    mc_window_committed(window, tree_changed);
}

static void handle_request_maximize(struct wl_listener *listener, void *data)
{
    struct mc_window *window = wl_container_of(listener, window, request_maximize);
    push(window, MC_EVENT_WINDOW_REQUEST_MAXIMIZE, window->xdg->toplevel->requested.maximized, 0);
}

static void handle_request_fullscreen(struct wl_listener *listener, void *data)
{
    struct mc_window *window = wl_container_of(listener, window, request_fullscreen);
    struct wlr_xdg_toplevel_set_fullscreen_event *event = data;
    push(window, MC_EVENT_WINDOW_REQUEST_FULLSCREEN, event->fullscreen,
         (int64_t)mc_output_handle(window->server, event->output));
}

static void handle_request_minimize(struct wl_listener *listener, void *data)
{
    struct mc_window *window = wl_container_of(listener, window, request_minimize);
    push(window, MC_EVENT_WINDOW_REQUEST_MINIMIZE, 1, 0);
}

/* The press it refers to must be the one that is held, and on this window: an old serial moves nothing. */
static bool grab_is_valid(struct mc_window *window, struct wlr_seat *seat, uint32_t serial)
{
    struct wlr_touch_point *point;
    return mc_window_is_pressed(window) && (wlr_seat_validate_pointer_grab_serial(seat, NULL, serial) ||
                                            wlr_seat_validate_touch_grab_serial(seat, NULL, serial, &point));
}

static void handle_request_move(struct wl_listener *listener, void *data)
{
    struct mc_window *window = wl_container_of(listener, window, request_move);
    struct wlr_xdg_toplevel_move_event *event = data;
    if (grab_is_valid(window, event->seat->seat, event->serial)) {
        push(window, MC_EVENT_WINDOW_REQUEST_MOVE, 0, 0);
    }
}

static void handle_request_resize(struct wl_listener *listener, void *data)
{
    struct mc_window *window = wl_container_of(listener, window, request_resize);
    struct wlr_xdg_toplevel_resize_event *event = data;
    if (grab_is_valid(window, event->seat->seat, event->serial)) {
        push(window, MC_EVENT_WINDOW_REQUEST_RESIZE, event->edges, 0);
    }
}

static void handle_request_menu(struct wl_listener *listener, void *data)
{
    struct mc_window *window = wl_container_of(listener, window, request_menu);
    struct wlr_xdg_toplevel_show_window_menu_event *event = data;
    push(window, MC_EVENT_WINDOW_REQUEST_MENU, (int32_t)event->x, (int32_t)event->y);
}

static void handle_set_title(struct wl_listener *listener, void *data)
{
    struct mc_window *window = wl_container_of(listener, window, set_title);
    mc_foreign_sync_text(window);
    mc_window_tell(window, MC_UNREAD_TITLE, MC_EVENT_WINDOW_TITLE, 0, 0);
}

static void handle_set_app_id(struct wl_listener *listener, void *data)
{
    struct mc_window *window = wl_container_of(listener, window, set_app_id);
    mc_foreign_sync_text(window);
    mc_window_tell(window, MC_UNREAD_APP_ID, MC_EVENT_WINDOW_APP_ID, 0, 0);
}

static void handle_set_parent(struct wl_listener *listener, void *data)
{
    struct mc_window *window = wl_container_of(listener, window, set_parent);
    struct mc_window *parent = mc_window_parent(window);
    mc_foreign_sync(window);
    mc_window_tell(window, MC_UNREAD_PARENT, MC_EVENT_WINDOW_PARENT,
                   parent != NULL ? (int64_t)parent->tag.handle : 0, 0);
}

bool mc_xdg_forgot(struct wlr_xdg_surface *xdg, uint32_t serial)
{
    /* A toplevel's data is its window's tree, whose data is the window's first member. */
    struct wlr_scene_node *node = xdg->data;
    struct mc_window *window = node != NULL ? node->data : NULL;
    return window != NULL && window->ever_unmapped && (int32_t)(serial - window->forgotten_serial) <= 0;
}

void mc_xdg_detach(struct mc_window *window)
{
    set_grace(window, false);
    if (window->held != NULL && window->xdg->configure_idle == window->held) {
        wl_event_source_remove(window->held);
        window->xdg->configure_idle = NULL;
    }
    window->xdg->data = NULL;
    mc_unlisten(&window->map);
    mc_unlisten(&window->unmap);
    mc_unlisten(&window->destroy);
    mc_unlisten(&window->commit);
    mc_unlisten(&window->request_maximize);
    mc_unlisten(&window->request_fullscreen);
    mc_unlisten(&window->request_minimize);
    mc_unlisten(&window->request_move);
    mc_unlisten(&window->request_resize);
    mc_unlisten(&window->request_menu);
    mc_unlisten(&window->set_title);
    mc_unlisten(&window->set_app_id);
    mc_unlisten(&window->set_parent);
}

static void handle_destroy(struct wl_listener *listener, void *data)
{
    struct mc_window *window = wl_container_of(listener, window, destroy);
    mc_xdg_detach(window);
    mc_window_destroy(window);
}

static void create_window(struct mc_server *server, struct wlr_xdg_surface *xdg)
{
    struct mc_window *window = mc_window_create(server, MC_WINDOW_XDG);
    if (window == NULL) {
        wl_client_post_no_memory(xdg->client->client);
        return;
    }
    window->xdg = xdg;
    xdg->data = &window->tree->node;
    struct wlr_xdg_toplevel *toplevel = xdg->toplevel;
    mc_listen(&xdg->events.destroy, &window->destroy, handle_destroy);
    if (wlr_scene_xdg_surface_create(&window->tree->node, xdg) == NULL) {
        wl_client_post_no_memory(xdg->client->client);
        return; /* goes with its client */
    }
    mc_listen(&xdg->events.map, &window->map, handle_map);
    mc_listen(&xdg->events.unmap, &window->unmap, handle_unmap);
    mc_listen(&xdg->surface->events.commit, &window->commit, handle_commit);
    mc_listen(&toplevel->events.request_maximize, &window->request_maximize, handle_request_maximize);
    mc_listen(&toplevel->events.request_fullscreen, &window->request_fullscreen, handle_request_fullscreen);
    mc_listen(&toplevel->events.request_minimize, &window->request_minimize, handle_request_minimize);
    mc_listen(&toplevel->events.request_move, &window->request_move, handle_request_move);
    mc_listen(&toplevel->events.request_resize, &window->request_resize, handle_request_resize);
    mc_listen(&toplevel->events.request_show_window_menu, &window->request_menu, handle_request_menu);
    mc_listen(&toplevel->events.set_title, &window->set_title, handle_set_title);
    mc_listen(&toplevel->events.set_app_id, &window->set_app_id, handle_set_app_id);
    mc_listen(&toplevel->events.set_parent, &window->set_parent, handle_set_parent);
    announce(window);
}

/* Emitted in a surface's first commit, for toplevels and popups. */
void mc_xdg_handle_new_surface(struct wl_listener *listener, void *data)
{
    struct mc_shell *shell = wl_container_of(listener, shell, new_xdg_surface);
    struct wlr_xdg_surface *xdg = data;
    if (xdg->role == WLR_XDG_SURFACE_ROLE_TOPLEVEL) {
        create_window(shell->server, xdg);
    } else if (xdg->role == WLR_XDG_SURFACE_ROLE_POPUP) {
        mc_popup_create(shell, xdg);
    }
}
