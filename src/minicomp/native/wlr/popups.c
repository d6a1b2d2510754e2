/* xdg popups: nodes in their parent's tree, kept on the screen. Grabs are wlroots' own. */
#include <stdlib.h>
#include <wlr/types/wlr_layer_shell_v1.h>
#include <wlr/types/wlr_output_layout.h>

#include "input.h"
#include "shell.h"

struct mc_popup {
    struct wl_list link; /* mc_shell.popups */
    struct mc_server *server;
    struct wlr_xdg_surface *xdg; /* lives as long as this */
    struct wl_listener map, unmap, commit, destroy;
};

/* The node of what the popup was opened on: a window, another popup or a layer surface; NULL when that has
 * none. */
static struct wlr_scene_node *parent_node(struct wlr_surface *parent)
{
    if (parent->role_data == NULL) {
        return NULL; /* its role is gone */
    }
    if (wlr_surface_is_xdg_surface(parent)) {
        return wlr_xdg_surface_from_wlr_surface(parent)->data;
    }
    if (wlr_surface_is_layer_surface(parent)) {
        return mc_layer_node(wlr_layer_surface_v1_from_wlr_surface(parent));
    }
    return NULL;
}

/* The area that the popup may use, in layout coordinates; false when there is no output. A panel's popups may
 * cover its own zone, and a full-screen window's everything; others keep to what panels leave. */
static bool allowed_area(struct mc_server *server, struct mc_node_tag *tag, struct wlr_box *box_ret)
{
    struct mc_window *window = mc_window_from_handle(server, tag->handle);
    struct mc_output *output = NULL;
    if (window != NULL) {
        struct wlr_box geometry;
        mc_window_get_geometry(window, &geometry);
        output = mc_output_at(server, geometry.x + geometry.width / 2.0, geometry.y + geometry.height / 2.0);
    } else {
        struct wlr_surface *surface = mc_layer_surface(mc_layer_from_handle(server, tag->handle));
        struct wlr_output *wlr_output = wlr_layer_surface_v1_from_wlr_surface(surface)->output;
        output = wlr_output != NULL ? mc_output_from(server, wlr_output) : NULL;
    }
    if (output == NULL) {
        return false;
    }
    if (window != NULL && window->level == MC_WINDOW_LEVEL_NORMAL && !wlr_box_empty(&output->usable)) {
        *box_ret = output->usable;
        return true;
    }
    struct wlr_box *box = wlr_output_layout_get_box(server->output_layout, output->wlr_output);
    if (box == NULL) {
        return false;
    }
    *box_ret = *box;
    return true;
}

static void constrain(struct mc_server *server, struct wlr_xdg_popup *popup, struct mc_node_tag *tag)
{
    struct wlr_box box;
    if (!allowed_area(server, tag, &box)) {
        return;
    }
    /* wlroots wants the box relative to the root surface's own corner, which its geometry is offset from. */
    struct wlr_surface *root = popup->parent;
    int root_lx = 0, root_ly = 0, geometry_x = 0, geometry_y = 0;
    while (wlr_surface_is_xdg_surface(root)) {
        struct wlr_xdg_surface *xdg = wlr_xdg_surface_from_wlr_surface(root);
        if (xdg->role != WLR_XDG_SURFACE_ROLE_POPUP) {
            geometry_x = xdg->current.geometry.x;
            geometry_y = xdg->current.geometry.y;
            break;
        }
        root = xdg->popup->parent;
    }
    wlr_scene_node_coords(parent_node(root), &root_lx, &root_ly);
    box.x += geometry_x - root_lx;
    box.y += geometry_y - root_ly;
    wlr_xdg_popup_unconstrain_from_box(popup, &box);
}

static void handle_change(struct mc_popup *popup)
{
    mc_inhibitors_count(popup->server->shell);
    mc_seat_repick(popup->server);
}

static void handle_map(struct wl_listener *listener, void *data)
{
    struct mc_popup *popup = wl_container_of(listener, popup, map);
    handle_change(popup);
}

static void handle_unmap(struct wl_listener *listener, void *data)
{
    struct mc_popup *popup = wl_container_of(listener, popup, unmap);
    handle_change(popup);
}

static void handle_commit(struct wl_listener *listener, void *data)
{
    struct mc_popup *popup = wl_container_of(listener, popup, commit);
    mc_seat_repick(popup->server);
}

static void popup_destroy(struct mc_popup *popup)
{
    popup->xdg->data = NULL;
    mc_unlisten(&popup->map);
    mc_unlisten(&popup->unmap);
    mc_unlisten(&popup->commit);
    mc_unlisten(&popup->destroy);
    wl_list_remove(&popup->link);
    free(popup);
}

static void handle_destroy(struct wl_listener *listener, void *data)
{
    struct mc_popup *popup = wl_container_of(listener, popup, destroy);
    mc_seat_repick(popup->server);
    popup_destroy(popup);
}

/* In the popup's first commit: its parent is known by then, also a layer surface, and the configure that
 * tells the client its place is scheduled but not sent. */
void mc_popup_create(struct mc_shell *shell, struct wlr_xdg_surface *xdg)
{
    if (xdg->popup->parent == NULL) {
        return; /* wlroots has posted the protocol's error */
    }
    struct wlr_scene_node *parent = parent_node(xdg->popup->parent);
    struct mc_node_tag *tag = parent != NULL ? mc_node_tag_of(parent) : NULL;
    if (tag == NULL) {
        wlr_xdg_popup_destroy(xdg); /* nothing to open it on: dismissed */
        return;
    }
    struct mc_popup *popup = calloc(1, sizeof(*popup));
    struct wlr_scene_node *node = popup != NULL ? wlr_scene_xdg_surface_create(parent, xdg) : NULL;
    if (node == NULL) {
        free(popup);
        wl_client_post_no_memory(xdg->client->client);
        return;
    }
    popup->server = shell->server;
    popup->xdg = xdg;
    xdg->data = node;
    wl_list_insert(&shell->popups, &popup->link);
    mc_listen(&xdg->events.map, &popup->map, handle_map);
    mc_listen(&xdg->events.unmap, &popup->unmap, handle_unmap);
    mc_listen(&xdg->surface->events.commit, &popup->commit, handle_commit);
    mc_listen(&xdg->events.destroy, &popup->destroy, handle_destroy);
    constrain(shell->server, xdg->popup, tag);
}

void mc_popups_finish(struct mc_shell *shell)
{
    struct mc_popup *popup, *next;
    wl_list_for_each_safe (popup, next, &shell->popups, link) {
        popup_destroy(popup);
    }
}
