/* The input method's windows (candidate lists): under the text cursor, or above it where there is no room. */
#include <stdlib.h>
#include <wlr/types/wlr_output_layout.h>

#include "ime.h"

#define COORDINATE_MAX 65536 /* what clients say about their cursors is taken with a grain of salt */

struct mc_ime_popup {
    struct wl_list link; /* mc_ime.popups */
    struct mc_ime *ime;
    struct wlr_input_popup_surface_v2 *popup;
    struct wlr_scene_node *node; /* owned; NULL once its surface took it along */
    struct wl_listener map, unmap, commit, destroy, node_destroy;
};

static int clamp(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

/* The text cursor in layout coordinates; false when nobody knows where it is. */
static bool cursor_box(struct mc_ime *ime, struct wlr_box *box_ret)
{
    const struct wlr_text_input_v3 *input = ime->active != NULL ? ime->active->input : NULL;
    struct wlr_scene_node *node = NULL;
    if (input != NULL && input->focused_surface != NULL) {
        node = mc_scene_find(&ime->seat->server->scene->node, input->focused_surface);
    }
    int lx, ly;
    if (node == NULL || !wlr_scene_node_coords(node, &lx, &ly)) {
        return false;
    }
    if (input->active_features & WLR_TEXT_INPUT_V3_FEATURE_CURSOR_RECTANGLE) {
        const struct wlr_box *said = &input->current.cursor_rectangle;
        *box_ret = (struct wlr_box){
            .x = lx + clamp(said->x, -COORDINATE_MAX, COORDINATE_MAX),
            .y = ly + clamp(said->y, -COORDINATE_MAX, COORDINATE_MAX),
            .width = clamp(said->width, 0, COORDINATE_MAX),
            .height = clamp(said->height, 0, COORDINATE_MAX),
        };
    } else { /* at the bottom of its surface */
        *box_ret = (struct wlr_box){.x = lx, .y = ly, .height = input->focused_surface->current.height};
    }
    return true;
}

static void place(struct mc_ime_popup *popup)
{
    struct mc_server *server = popup->ime->seat->server;
    struct wlr_box cursor;
    if (popup->node == NULL) {
        return;
    }
    bool known = popup->popup->mapped && cursor_box(popup->ime, &cursor);
    wlr_scene_node_set_enabled(popup->node, known);
    if (!known) {
        return;
    }
    int width = popup->popup->surface->current.width, height = popup->popup->surface->current.height;
    int lx = cursor.x, ly = cursor.y + cursor.height;
    struct mc_output *output = mc_output_at(server, cursor.x, cursor.y);
    const struct wlr_box *screen =
        output != NULL ? wlr_output_layout_get_box(server->output_layout, output->wlr_output) : NULL;
    if (screen != NULL) {
        if (ly + height > screen->y + screen->height && cursor.y - height >= screen->y) {
            ly = cursor.y - height;
        }
        if (lx + width > screen->x + screen->width) {
            lx = screen->x + screen->width - width;
        }
        if (lx < screen->x) {
            lx = screen->x;
        }
    }
    wlr_scene_node_set_position(popup->node, lx, ly);
    cursor.x -= lx;
    cursor.y -= ly;
    wlr_input_popup_surface_v2_send_text_input_rectangle(popup->popup, &cursor);
}

static void handle_map(struct wl_listener *listener, void *data)
{
    struct mc_ime_popup *popup = wl_container_of(listener, popup, map);
    place(popup);
    mc_seat_repick(popup->ime->seat->server);
}

static void handle_unmap(struct wl_listener *listener, void *data)
{
    struct mc_ime_popup *popup = wl_container_of(listener, popup, unmap);
    if (popup->node != NULL) {
        wlr_scene_node_set_enabled(popup->node, false); /* wlroots still calls it mapped */
    }
    mc_seat_repick(popup->ime->seat->server);
}

static void handle_commit(struct wl_listener *listener, void *data)
{
    struct mc_ime_popup *popup = wl_container_of(listener, popup, commit);
    place(popup);
}

static void handle_node_destroy(struct wl_listener *listener, void *data)
{
    struct mc_ime_popup *popup = wl_container_of(listener, popup, node_destroy);
    mc_unlisten(&popup->node_destroy);
    popup->node = NULL;
}

static void popup_destroy(struct mc_ime_popup *popup)
{
    mc_unlisten(&popup->map);
    mc_unlisten(&popup->unmap);
    mc_unlisten(&popup->commit);
    mc_unlisten(&popup->destroy);
    mc_unlisten(&popup->node_destroy);
    if (popup->node != NULL) {
        wlr_scene_node_destroy(popup->node);
    }
    mc_seat_repick(popup->ime->seat->server);
    wl_list_remove(&popup->link);
    free(popup);
}

static void handle_destroy(struct wl_listener *listener, void *data)
{
    struct mc_ime_popup *popup = wl_container_of(listener, popup, destroy);
    popup_destroy(popup);
}

void mc_ime_popup_add(struct mc_ime *ime, struct wlr_input_popup_surface_v2 *wlr_popup)
{
    struct mc_ime_popup *popup = calloc(1, sizeof(*popup));
    struct wlr_scene_tree *overlay = ime->seat->server->stack[MC_STACK_OVERLAY];
    struct wlr_scene_node *node =
        popup != NULL ? wlr_scene_subsurface_tree_create(&overlay->node, wlr_popup->surface) : NULL;
    if (node == NULL) {
        free(popup);
        return;
    }
    popup->ime = ime;
    popup->popup = wlr_popup;
    popup->node = node;
    wl_list_insert(&ime->popups, &popup->link);
    mc_listen(&wlr_popup->events.map, &popup->map, handle_map);
    mc_listen(&wlr_popup->events.unmap, &popup->unmap, handle_unmap);
    mc_listen(&wlr_popup->events.destroy, &popup->destroy, handle_destroy);
    mc_listen(&wlr_popup->surface->events.commit, &popup->commit, handle_commit);
    mc_listen(&node->events.destroy, &popup->node_destroy, handle_node_destroy);
    place(popup);
}

void mc_ime_popups_place(struct mc_ime *ime)
{
    struct mc_ime_popup *popup;
    wl_list_for_each (popup, &ime->popups, link) {
        place(popup);
    }
}

void mc_ime_popups_finish(struct mc_ime *ime)
{
    struct mc_ime_popup *popup, *next;
    wl_list_for_each_safe (popup, next, &ime->popups, link) {
        popup_destroy(popup);
    }
}
