/* Layer-shell surfaces: objects and verbs. Where they go and how large they are is the policy's arrangement.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wlr/types/wlr_cursor.h>
#include <wlr/types/wlr_layer_shell_v1.h>

#include "input.h"
#include "layers_verbs.h"
#include "shell.h"

struct mc_layer {
    struct mc_node_tag tag; /* first: tree->node.data points here */
    struct wl_list link;    /* mc_server.layers, oldest first */
    struct mc_server *server;
    struct wlr_layer_surface_v1 *surface;    /* lives as long as this */
    struct wlr_scene_tree *tree;             /* owned; at the surface's corner; popups are in it */
    struct wlr_layer_surface_v1_state known; /* what the policy was told */
    bool waiting;                            /* its initial commit waits for an answer */
    bool asked;                              /* it has asked for something since the last configure */
    bool unread;                             /* a change was told and not yet read */
    bool unmap_commit;                       /* the commit being applied is the one that unmapped it */
    bool initial_pending;                    /* unmapped: the next commit is an initial one */
    int sent_width, sent_height;
    struct wl_listener map, unmap, commit, destroy, output_destroy;
};

static const enum mc_stack layer_stacks[] = {
    [ZWLR_LAYER_SHELL_V1_LAYER_BACKGROUND] = MC_STACK_BACKGROUND,
    [ZWLR_LAYER_SHELL_V1_LAYER_BOTTOM] = MC_STACK_BOTTOM,
    [ZWLR_LAYER_SHELL_V1_LAYER_TOP] = MC_STACK_TOP,
    [ZWLR_LAYER_SHELL_V1_LAYER_OVERLAY] = MC_STACK_OVERLAY,
};

static bool same_wishes(const struct wlr_layer_surface_v1_state *a,
                        const struct wlr_layer_surface_v1_state *b)
{
    return a->anchor == b->anchor && a->exclusive_zone == b->exclusive_zone &&
           memcmp(&a->margin, &b->margin, sizeof(a->margin)) == 0 &&
           a->keyboard_interactive == b->keyboard_interactive && a->desired_width == b->desired_width &&
           a->desired_height == b->desired_height && a->layer == b->layer;
}

/* "If you pass 0 for either value, ... you must set your anchor to opposite edges": wlroots leaves that to
 * us. */
static bool check_size(struct wlr_layer_surface_v1 *surface)
{
    const uint32_t across = ZWLR_LAYER_SURFACE_V1_ANCHOR_LEFT | ZWLR_LAYER_SURFACE_V1_ANCHOR_RIGHT;
    const uint32_t down = ZWLR_LAYER_SURFACE_V1_ANCHOR_TOP | ZWLR_LAYER_SURFACE_V1_ANCHOR_BOTTOM;
    const struct wlr_layer_surface_v1_state *state = &surface->current;
    if (state->desired_width == 0 && (state->anchor & across) != across) {
        wl_resource_post_error(surface->resource, ZWLR_LAYER_SURFACE_V1_ERROR_INVALID_SIZE,
                               "width 0 without anchors to left and right");
        return false;
    }
    if (state->desired_height == 0 && (state->anchor & down) != down) {
        wl_resource_post_error(surface->resource, ZWLR_LAYER_SURFACE_V1_ERROR_INVALID_SIZE,
                               "height 0 without anchors to top and bottom");
        return false;
    }
    return true;
}

static void handle_map(struct wl_listener *listener, void *data)
{
    struct mc_layer *layer = wl_container_of(listener, layer, map);
    wlr_scene_node_set_enabled(&layer->tree->node, true);
    mc_push(layer->server, MC_EVENT_LAYER_MAP, layer->tag.handle, 0, 0);
    mc_inhibitors_count(layer->server->shell);
    mc_seat_repick(layer->server);
}

static void handle_unmap(struct wl_listener *listener, void *data)
{
    struct mc_layer *layer = wl_container_of(listener, layer, unmap);
    mc_seat_forget(layer->server, layer->tag.handle);
    wlr_scene_node_set_enabled(&layer->tree->node, false);
    layer->unmap_commit = layer->initial_pending = true;
    mc_push(layer->server, MC_EVENT_LAYER_UNMAP, layer->tag.handle, 0, 0);
    mc_inhibitors_count(layer->server->shell);
    mc_seat_repick(layer->server);
}

static void announce(struct mc_layer *layer)
{
    layer->known = layer->surface->current;
    layer->waiting = layer->asked = true;
    mc_push(layer->server, MC_EVENT_LAYER_NEW, layer->tag.handle, 0, 0);
}

static void handle_commit(struct wl_listener *listener, void *data)
{
    struct mc_layer *layer = wl_container_of(listener, layer, commit);
    const struct wlr_layer_surface_v1_state *current = &layer->surface->current;
    if (layer->unmap_commit) {
        layer->unmap_commit = false;
        return;
    }
    if (!check_size(layer->surface)) {
        return;
    }
    if (layer->initial_pending && !wlr_surface_has_buffer(layer->surface->surface)) {
        layer->initial_pending = false;
        announce(layer);
    } else if (!same_wishes(&layer->known, current)) {
        if (current->layer != layer->known.layer) {
            wlr_scene_node_reparent(&layer->tree->node,
                                    &layer->server->stack[layer_stacks[current->layer]]->node);
        }
        layer->known = *current;
        layer->asked = true;
        if (!layer->unread) {
            layer->unread = true;
            mc_push(layer->server, MC_EVENT_LAYER_CHANGED, layer->tag.handle, 0, 0);
        }
    }
    mc_seat_repick(layer->server);
}

static void layer_destroy(struct mc_layer *layer)
{
    struct mc_server *server = layer->server;
    mc_seat_forget(server, layer->tag.handle);
    layer->surface->data = NULL;
    mc_unlisten(&layer->map);
    mc_unlisten(&layer->unmap);
    mc_unlisten(&layer->commit);
    mc_unlisten(&layer->destroy);
    mc_unlisten(&layer->output_destroy);
    mc_handles_remove(&server->handles, layer->tag.handle);
    wl_list_remove(&layer->link);
    wlr_scene_node_destroy(&layer->tree->node);
    mc_push(server, MC_EVENT_LAYER_GONE, layer->tag.handle, 0, 0);
    mc_seat_repick(server);
    free(layer);
}

static void handle_destroy(struct wl_listener *listener, void *data)
{
    struct mc_layer *layer = wl_container_of(listener, layer, destroy);
    /* wlroots dismisses the popups of a mapped layer surface only. */
    struct wlr_xdg_popup *popup, *next;
    wl_list_for_each_safe (popup, next, &layer->surface->popups, link) {
        wlr_xdg_popup_destroy(popup->base);
    }
    layer_destroy(layer);
}

static void handle_output_destroy(struct wl_listener *listener, void *data)
{
    struct mc_layer *layer = wl_container_of(listener, layer, output_destroy);
    layer->surface->output = NULL;
    mc_unlisten(&layer->output_destroy);
    wlr_layer_surface_v1_destroy(layer->surface); /* says "closed"; handle_destroy does the rest */
}

/* Emitted in a layer surface's first commit. */
void mc_layer_handle_new_surface(struct wl_listener *listener, void *data)
{
    struct mc_shell *shell = wl_container_of(listener, shell, new_layer_surface);
    struct mc_server *server = shell->server;
    struct wlr_layer_surface_v1 *surface = data;
    if (!check_size(surface)) {
        return; /* its client goes */
    }
    if (surface->output == NULL) {
        struct mc_output *output = mc_output_at(server, server->cursor->x, server->cursor->y);
        if (output == NULL) {
            wlr_layer_surface_v1_destroy(surface); /* nowhere to show it: closed */
            return;
        }
        surface->output = output->wlr_output;
    }
    struct mc_layer *layer = calloc(1, sizeof(*layer));
    if (layer == NULL) {
        wl_client_post_no_memory(wl_resource_get_client(surface->resource));
        return;
    }
    layer->server = server;
    layer->surface = surface;
    layer->tree = wlr_scene_tree_create(&server->stack[layer_stacks[surface->current.layer]]->node);
    uint64_t handle = mc_handles_add(&server->handles, MC_HANDLE_LAYER, layer);
    if (layer->tree == NULL || handle == 0 ||
        wlr_scene_subsurface_tree_create(&layer->tree->node, surface->surface) == NULL) {
        mc_handles_remove(&server->handles, handle);
        wlr_scene_node_destroy(layer->tree != NULL ? &layer->tree->node : NULL);
        free(layer);
        wl_client_post_no_memory(wl_resource_get_client(surface->resource));
        return;
    }
    layer->tag = (struct mc_node_tag){MC_HANDLE_LAYER, handle};
    layer->tree->node.data = &layer->tag;
    wlr_scene_node_set_enabled(&layer->tree->node, false);
    surface->data = layer;
    wl_list_insert(server->layers.prev, &layer->link);
    mc_listen(&surface->events.map, &layer->map, handle_map);
    mc_listen(&surface->events.unmap, &layer->unmap, handle_unmap);
    mc_listen(&surface->surface->events.commit, &layer->commit, handle_commit);
    mc_listen(&surface->events.destroy, &layer->destroy, handle_destroy);
    mc_listen(&surface->output->events.destroy, &layer->output_destroy, handle_output_destroy);
    announce(layer);
}

struct wlr_scene_node *mc_layer_node(struct wlr_layer_surface_v1 *layer_surface)
{
    struct mc_layer *layer = layer_surface->data;
    return layer != NULL ? &layer->tree->node : NULL;
}

struct mc_layer *mc_layer_from_handle(struct mc_server *server, uint64_t handle)
{
    return mc_handles_get(&server->handles, MC_HANDLE_LAYER, handle);
}

struct wlr_surface *mc_layer_surface(struct mc_layer *layer)
{
    return layer->surface->surface;
}

void mc_layers_finish(struct mc_server *server)
{
    struct mc_layer *layer, *next;
    wl_list_for_each_safe (layer, next, &server->layers, link) {
        layer_destroy(layer);
    }
}

/* ---- verbs ---- */

/* Locks; the layer surface, or NULL with the lock released. */
static struct mc_layer *begin(struct mc_server *server, uint64_t handle)
{
    mc_verb_begin(server);
    struct mc_layer *layer = mc_layer_from_handle(server, handle);
    if (layer == NULL) {
        mc_verb_end(server);
    }
    return layer;
}

int mc_layer_get_info(struct mc_server *server, uint64_t handle, struct mc_layer_info *info_ret)
{
    struct mc_layer *layer = begin(server, handle);
    if (layer == NULL) {
        return -ENOENT;
    }
    const struct wlr_layer_surface_v1_state *state = &layer->known;
    struct mc_client *client = mc_client_from(server, wl_resource_get_client(layer->surface->resource));
    *info_ret = (struct mc_layer_info){
        .handle = handle,
        .output = mc_output_handle(server, layer->surface->output),
        .client = client != NULL ? client->handle : 0,
        .pid = client != NULL ? client->pid : 0,
        .layer = state->layer,
        .anchor = state->anchor,
        .exclusive_zone = state->exclusive_zone,
        .margin_top = (int32_t)state->margin.top,
        .margin_right = (int32_t)state->margin.right,
        .margin_bottom = (int32_t)state->margin.bottom,
        .margin_left = (int32_t)state->margin.left,
        .desired_width = (int32_t)state->desired_width,
        .desired_height = (int32_t)state->desired_height,
        .keyboard_interactivity = state->keyboard_interactive,
        .x = layer->tree->node.state.x,
        .y = layer->tree->node.state.y,
        .width = layer->surface->surface->current.width,
        .height = layer->surface->surface->current.height,
        .waiting = layer->waiting,
        .mapped = layer->surface->mapped,
    };
    snprintf(info_ret->name_space, sizeof(info_ret->name_space), "%s", layer->surface->namespace);
    layer->unread = false;
    mc_verb_end(server);
    return 0;
}

size_t mc_layers_list(struct mc_server *server, uint64_t *handles_ret, size_t max)
{
    size_t count = 0;
    mc_verb_begin(server);
    struct mc_layer *layer;
    wl_list_for_each (layer, &server->layers, link) {
        if (count < max) {
            handles_ret[count] = layer->tag.handle;
        }
        count++;
    }
    mc_verb_end(server);
    return count;
}

int mc_layer_configure(struct mc_server *server, uint64_t handle, int width, int height)
{
    if (width < 0 || height < 0) {
        return -EINVAL;
    }
    struct mc_layer *layer = begin(server, handle);
    if (layer == NULL) {
        return -ENOENT;
    }
    /* Unmapped and not waiting: it has to commit first. */
    bool may = layer->waiting || !layer->initial_pending;
    if (may && (layer->asked || width != layer->sent_width || height != layer->sent_height)) {
        layer->waiting = layer->asked = false;
        layer->sent_width = width;
        layer->sent_height = height;
        wlr_layer_surface_v1_configure(layer->surface, (uint32_t)width, (uint32_t)height);
    }
    mc_verb_end(server);
    return 0;
}

int mc_layer_place_at(struct mc_server *server, uint64_t handle, int lx, int ly)
{
    struct mc_layer *layer = begin(server, handle);
    if (layer == NULL) {
        return -ENOENT;
    }
    wlr_scene_node_set_position(&layer->tree->node, lx, ly);
    mc_seat_repick(server);
    mc_verb_end(server);
    return 0;
}

int mc_layer_close(struct mc_server *server, uint64_t handle)
{
    struct mc_layer *layer = begin(server, handle);
    if (layer == NULL) {
        return -ENOENT;
    }
    wlr_layer_surface_v1_destroy(layer->surface);
    mc_verb_end(server);
    return 0;
}
