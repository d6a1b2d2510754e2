/* Windows of both kinds: the registry, the scene tree, and what the rest of the native plane asks of them. */
#include <errno.h>
#include <stdlib.h>
#include <wlr/types/wlr_layer_shell_v1.h>
#include <wlr/types/wlr_output_layout.h>
#include <wlr/types/wlr_seat.h>
#include <wlr/util/edges.h>
#include <wlr/xwayland.h>

#include "input.h"
#include "shell.h"

/* ---- for the kinds (xdg.c, xwayland.c) ---- */

struct mc_window *mc_window_create(struct mc_server *server, enum mc_window_kind kind)
{
    struct mc_window *window = calloc(1, sizeof(*window));
    if (window == NULL) {
        return NULL;
    }
    window->server = server;
    window->kind = kind;
    window->tree = wlr_scene_tree_create(&server->stack[MC_STACK_WINDOWS]->node);
    uint64_t handle = mc_handles_add(&server->handles, MC_HANDLE_WINDOW, window);
    if (window->tree == NULL || handle == 0) {
        mc_handles_remove(&server->handles, handle);
        wlr_scene_node_destroy(window->tree != NULL ? &window->tree->node : NULL);
        free(window);
        return NULL;
    }
    window->tag = (struct mc_node_tag){MC_HANDLE_WINDOW, handle};
    window->tree->node.data = &window->tag;
    wlr_scene_node_set_enabled(&window->tree->node, false);
    wl_list_insert(&server->windows, &window->link);
    return window;
}

void mc_window_destroy(struct mc_window *window)
{
    struct mc_server *server = window->server;
    mc_seat_forget(server, window->tag.handle);
    mc_foreign_destroy(window);
    mc_handles_remove(&server->handles, window->tag.handle);
    wl_list_remove(&window->link);
    wlr_scene_node_destroy(&window->tree->node);
    mc_push(server, MC_EVENT_WINDOW_GONE, window->tag.handle, 0, 0);
    mc_seat_repick(server);
    free(window);
}

void mc_window_mapped(struct mc_window *window)
{
    struct wlr_box box;
    mc_window_get_geometry(window, &box);
    window->mapped = true;
    window->width = box.width;
    window->height = box.height;
    mc_foreign_create(window);
    mc_push(window->server, MC_EVENT_WINDOW_MAP, window->tag.handle, box.width, box.height);
    mc_inhibitors_count(window->server->shell);
}

void mc_window_unmapped(struct mc_window *window)
{
    struct mc_server *server = window->server;
    mc_seat_forget(server, window->tag.handle);
    wlr_scene_node_set_enabled(&window->tree->node, false);
    window->mapped = window->shown = window->minimized = false;
    window->drag.edges = 0;
    mc_foreign_destroy(window);
    mc_push(server, MC_EVENT_WINDOW_UNMAP, window->tag.handle, 0, 0);
    mc_inhibitors_count(server->shell);
    mc_seat_repick(server);
}

void mc_window_committed(struct mc_window *window, bool tree_changed)
{
    struct wlr_box box;
    mc_window_get_geometry(window, &box);
    if (box.width != window->width || box.height != window->height) {
        window->width = box.width;
        window->height = box.height;
        mc_window_tell(window, MC_UNREAD_SIZE, MC_EVENT_WINDOW_RESIZED, box.width, box.height);
        mc_foreign_sync(window);
        tree_changed = true;
    }
    if (tree_changed) {
        mc_seat_repick(window->server);
    }
}

void mc_window_tell(struct mc_window *window, enum mc_window_unread what, enum mc_event_kind kind, int64_t a,
                    int64_t b)
{
    if ((window->unread & what) == 0) {
        window->unread |= what;
        mc_push(window->server, kind, window->tag.handle, a, b);
    }
}

const char *mc_window_title(struct mc_window *window)
{
    const char *title = window->kind == MC_WINDOW_XDG ? window->xdg->toplevel->title : window->x11->title;
    return title != NULL ? title : "";
}

const char *mc_window_app_id(struct mc_window *window)
{
    const char *app_id = window->kind == MC_WINDOW_XDG ? window->xdg->toplevel->app_id : window->x11->class;
    return app_id != NULL ? app_id : "";
}

static struct mc_window *window_of_tag(struct mc_node_tag *tag)
{
    /* The tag is the first member. */
    return tag != NULL && tag->kind == MC_HANDLE_WINDOW ? (struct mc_window *)tag : NULL;
}

struct mc_window *mc_window_parent(struct mc_window *window)
{
    if (window->kind == MC_WINDOW_XDG) {
        struct wlr_xdg_surface *parent = window->xdg->toplevel->parent;
        return parent != NULL && parent->data != NULL ? window_of_tag(mc_node_tag_of(parent->data)) : NULL;
    }
    /* Only a mapped X11 window is a window of ours. */
    return window->x11->parent != NULL ? window->x11->parent->data : NULL;
}

bool mc_window_is_pressed(struct mc_window *window)
{
    struct wlr_seat *seat = window->server->wlr_seat;
    struct wlr_surface *pointed = seat->pointer_state.focused_surface;
    if (seat->pointer_state.button_count > 0 && pointed != NULL && mc_surface_tag(pointed) == &window->tag) {
        return true;
    }
    struct wlr_touch_point *point;
    wl_list_for_each (point, &seat->touch_state.touch_points, link) {
        if (mc_surface_tag(point->surface) == &window->tag) {
            return true;
        }
    }
    return false;
}

uint64_t mc_output_handle(struct mc_server *server, struct wlr_output *wlr_output)
{
    struct mc_output *output = wlr_output != NULL ? mc_output_from(server, wlr_output) : NULL;
    return output != NULL ? output->handle : 0;
}

/* ---- for the rest of the native plane (windows.h) ---- */

struct wlr_surface *mc_window_surface(struct mc_window *window)
{
    if (!window->mapped) {
        return NULL;
    }
    return window->kind == MC_WINDOW_XDG ? window->xdg->surface : window->x11->surface;
}

void mc_window_set_activated(struct mc_window *window, bool activated)
{
    if (window->activated == activated) {
        return;
    }
    window->activated = activated;
    if (window->kind == MC_WINDOW_XDG) {
        wlr_xdg_toplevel_set_activated(window->xdg, activated);
    } else {
        wlr_xwayland_surface_activate(window->x11, activated);
        if (activated) {
            wlr_xwayland_surface_restack(window->x11, NULL, XCB_STACK_MODE_ABOVE);
        }
    }
    mc_foreign_sync(window);
}

struct mc_node_tag *mc_surface_tag(struct wlr_surface *surface)
{
    struct wlr_surface *root = wlr_surface_get_root_surface(surface);
    if (root == NULL || root->role_data == NULL) {
        return NULL; /* its parent or its role is gone */
    }
    if (wlr_surface_is_xdg_surface(root)) {
        struct wlr_xdg_surface *xdg = wlr_xdg_surface_from_wlr_surface(root);
        return xdg->data != NULL ? mc_node_tag_of(xdg->data) : NULL;
    }
    if (wlr_surface_is_layer_surface(root)) {
        struct wlr_scene_node *node = mc_layer_node(wlr_layer_surface_v1_from_wlr_surface(root));
        return node != NULL ? node->data : NULL;
    }
    if (wlr_surface_is_xwayland_surface(root)) {
        struct mc_window *window = wlr_xwayland_surface_from_wlr_surface(root)->data;
        return window != NULL ? &window->tag : NULL;
    }
    return NULL;
}

void mc_window_get_geometry(struct mc_window *window, struct wlr_box *box_ret)
{
    if (window->kind == MC_WINDOW_XDG) {
        wlr_xdg_surface_get_geometry(window->xdg, box_ret);
    } else {
        box_ret->width = window->x11->width;
        box_ret->height = window->x11->height;
    }
    box_ret->x = window->tree->node.state.x;
    box_ret->y = window->tree->node.state.y;
}

static void move_tree(struct mc_window *window, int lx, int ly)
{
    struct wlr_scene_node *node = &window->tree->node;
    if (node->state.x == lx && node->state.y == ly) {
        return;
    }
    wlr_scene_node_set_position(node, lx, ly);
    mc_foreign_sync(window);
    mc_seat_repick(window->server);
}

void mc_window_place(struct mc_window *window, int lx, int ly)
{
    window->drag.edges = 0;
    move_tree(window, lx, ly);
    if (window->kind == MC_WINDOW_X11) {
        mc_x11_moved(window);
    }
}

void mc_window_resize(struct mc_window *window, uint32_t edges, int lx, int ly, int width, int height)
{
    struct mc_window_drag *drag = &window->drag;
    if (!window->mapped || edges == 0) {
        return;
    }
    if (window->kind == MC_WINDOW_X11) {
        /* X11 has no answer to wait for. */
        move_tree(window, lx, ly);
        mc_x11_configure(window, width, height, mc_x11_states(window));
        return;
    }
    bool same = drag->edges == edges && drag->width == width && drag->height == height;
    drag->edges = edges;
    drag->right = lx + width;
    drag->bottom = ly + height;
    drag->width = width;
    drag->height = height;
    if (!same && !drag->in_flight) {
        mc_xdg_send_drag(window, true);
    }
}

void mc_window_resize_end(struct mc_window *window)
{
    if (window->kind == MC_WINDOW_XDG && window->drag.edges != 0) {
        mc_xdg_send_drag(window, false);
    }
}

struct mc_window *mc_window_from_handle(struct mc_server *server, uint64_t handle)
{
    return mc_handles_get(&server->handles, MC_HANDLE_WINDOW, handle);
}

static void handle_layout_change(struct wl_listener *listener, void *data)
{
    struct mc_shell *shell = wl_container_of(listener, shell, layout_change);
    struct mc_window *window;
    wl_list_for_each (window, &shell->server->windows, link) {
        mc_foreign_sync(window);
    }
}

int mc_windows_init(struct mc_server *server)
{
    struct mc_shell *shell = calloc(1, sizeof(*shell));
    if (shell == NULL) {
        return -ENOMEM;
    }
    shell->server = server;
    wl_list_init(&shell->popups);
    wl_list_init(&shell->decorations);
    wl_list_init(&shell->inhibitors);
    wl_list_init(&shell->x11_surfaces);
    mc_listen(&server->output_layout->events.change, &shell->layout_change, handle_layout_change);
    server->shell = shell;
    return 0;
}

void mc_windows_finish(struct mc_server *server)
{
    struct mc_shell *shell = server->shell;
    if (shell == NULL) {
        return;
    }
    mc_unlisten(&shell->layout_change);
    mc_unlisten(&shell->new_xdg_surface);
    mc_unlisten(&shell->new_layer_surface);
    mc_protocols_finish(shell);
    mc_popups_finish(shell);
    mc_layers_finish(server);
    struct mc_window *window, *next;
    wl_list_for_each_safe (window, next, &server->windows, link) {
        if (window->kind == MC_WINDOW_XDG) {
            mc_xdg_detach(window);
            mc_window_destroy(window);
        }
    }
    mc_x11_finish(shell);
    free(shell);
    server->shell = NULL;
}
