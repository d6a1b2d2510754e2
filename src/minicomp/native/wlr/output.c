/* Outputs: their life, their configuration, and the scene's idea of where surfaces are. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wlr/interfaces/wlr_output.h>
#include <wlr/backend.h>
#include <wlr/types/wlr_output.h>
#include <wlr/types/wlr_output_layout.h>
#include <wlr/types/wlr_surface.h>

#include "input.h"
#include "server.h"
#include "vdisplay.h"

#define HELD_FOR_NS (100 * MC_NSEC_PER_MSEC)
#define SIZE_MAX_PIXELS 16384

/* What an output.commit changed that clients, windows and the pointer must hear of. */
#define STATE_PLACE                                                                                          \
    (WLR_OUTPUT_STATE_MODE | WLR_OUTPUT_STATE_SCALE | WLR_OUTPUT_STATE_TRANSFORM | WLR_OUTPUT_STATE_ENABLED)

struct mc_output *mc_output_from(struct mc_server *server, struct wlr_output *wlr_output)
{
    (void)server;
    return wlr_output != NULL ? wlr_output->data : NULL;
}

struct mc_output *mc_output_at(struct mc_server *server, double lx, double ly)
{
    double nearest_lx, nearest_ly;
    wlr_output_layout_closest_point(server->output_layout, NULL, lx, ly, &nearest_lx, &nearest_ly);
    return mc_output_from(server, wlr_output_layout_output_at(server->output_layout, nearest_lx, nearest_ly));
}

/* wlr_scene_surface.primary_output survives its output in wlroots 0.15: the next commit would use freed
 * memory. */
static void forget_primary(struct wlr_scene_node *node, struct wlr_output *gone)
{
    if (node->type == WLR_SCENE_NODE_SURFACE) {
        struct wlr_scene_surface *surface = wlr_scene_surface_from_node(node);
        if (surface->primary_output == gone) {
            surface->primary_output = NULL;
        }
    }
    struct wlr_scene_node *child;
    wl_list_for_each (child, &node->state.children, state.link) {
        forget_primary(child, gone);
    }
}

struct mc_node_tag *mc_node_tag_of(struct wlr_scene_node *node)
{
    while (node != NULL && node->data == NULL) {
        node = node->parent;
    }
    return node != NULL ? node->data : NULL;
}

void mc_scene_refresh_outputs(struct mc_server *server)
{
    /* wlr_scene recomputes a subtree's outputs when it is moved, and only then. */
    struct wlr_scene_node *root = &server->scene->node;
    wlr_scene_node_set_position(root, 1, 0);
    wlr_scene_node_set_position(root, 0, 0);
    mc_seat_repick(server);
}

static void handle_output_commit(struct wl_listener *listener, void *data)
{
    struct mc_output *output = wl_container_of(listener, output, commit);
    struct wlr_output_event_commit *event = data;
    if ((event->committed & WLR_OUTPUT_STATE_BUFFER) != 0) {
        mc_ration_handed_over(output);
    }
    if ((event->committed & WLR_OUTPUT_STATE_MODE) != 0) {
        mc_frame_mode_changed(output);
    }
    if ((event->committed & STATE_PLACE) != 0) {
        mc_scene_refresh_outputs(output->server);
        atomic_fetch_add_explicit(&output->server->changes, 1, memory_order_relaxed);
        mc_push(output->server, MC_EVENT_OUTPUT_CHANGED, output->handle, 0, 0);
    }
}

static void handle_output_destroy(struct wl_listener *listener, void *data)
{
    struct mc_output *output = wl_container_of(listener, output, destroy);
    struct mc_server *server = output->server;
    (void)data;
    wl_list_remove(
        &output->link); /* first: what follows damages its neighbours, whose deadlines are then looked at */
    mc_frame_finish(output);
    mc_capture_drop(output);
    mc_unlisten(&output->commit);
    mc_unlisten(&output->destroy);
    wlr_output_layout_remove(server->output_layout, output->wlr_output);
    forget_primary(&server->scene->node, output->wlr_output);
    output->wlr_output->data = NULL;
    mc_handles_remove(&server->handles, output->handle);
    mc_scene_refresh_outputs(server);
    mc_push(server, MC_EVENT_OUTPUT_GONE, output->handle, 0, 0);
    free(output);
}

static void handle_new_output(struct wl_listener *listener, void *data)
{
    struct mc_server *server = wl_container_of(listener, server, new_output);
    struct wlr_output *wlr_output = data;
    if (wlr_output->non_desktop) {
        return;
    }
    struct mc_output *output = calloc(1, sizeof(*output));
    if (output == NULL || !wlr_output_init_render(wlr_output, server->allocator, server->renderer)) {
        mc_log(server, MC_LOG_ERROR, "output %s: cannot be rendered to", wlr_output->name);
        free(output);
        return;
    }
    output->server = server;
    output->wlr_output = wlr_output;
    output->id = ++server->next_output_id;
    if (mc_frame_init(output) != 0) {
        mc_log(server, MC_LOG_ERROR, "output %s: no timer", wlr_output->name);
        free(output);
        return;
    }
    output->handle = mc_handles_add(&server->handles, MC_HANDLE_OUTPUT, output);
    wlr_output->data = output;
    wl_list_insert(server->outputs.prev, &output->link);
    mc_listen(&wlr_output->events.commit, &output->commit, handle_output_commit);
    mc_listen(&wlr_output->events.destroy, &output->destroy, handle_output_destroy);
    mc_push(server, MC_EVENT_OUTPUT_NEW, output->handle, 0, 0);
}

/* The layout closes the gap that an output leaves, and makes room for one with a fixed place. */
static void handle_layout_change(struct wl_listener *listener, void *data)
{
    struct mc_server *server = wl_container_of(listener, server, layout_change);
    (void)data;
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        struct wlr_box *box = wlr_output_layout_get_box(server->output_layout, output->wlr_output);
        if (box == NULL || memcmp(box, &output->place, sizeof(*box)) == 0) {
            continue;
        }
        output->place = output->usable = *box;
        mc_push(server, MC_EVENT_OUTPUT_CHANGED, output->handle, 0, 0);
    }
}

void mc_outputs_attach(struct mc_server *server)
{
    mc_listen(&server->output_layout->events.change, &server->layout_change, handle_layout_change);
    mc_listen(&server->backend->events.new_output, &server->new_output, handle_new_output);
}

void mc_outputs_detach(struct mc_server *server)
{
    mc_unlisten(&server->layout_change);
    mc_unlisten(&server->new_output);
    struct mc_output *output, *next;
    wl_list_for_each_safe (output, next, &server->outputs, link) {
        handle_output_destroy(&output->destroy, output->wlr_output);
    }
}

struct mc_output *mc_output_by_handle(struct mc_server *server, uint64_t handle)
{
    return mc_handles_get(&server->handles, MC_HANDLE_OUTPUT, handle);
}

static struct wlr_output_mode *pick_mode(struct wlr_output *wlr_output, const struct mc_output_config *config)
{
    struct wlr_output_mode *best = NULL, *mode;
    int32_t width = config->width, height = config->height;
    if (width == 0) {
        struct wlr_output_mode *preferred = wlr_output_preferred_mode(wlr_output);
        if (preferred == NULL || !config->highest_refresh) {
            return preferred;
        }
        width = preferred->width;
        height = preferred->height;
    }
    wl_list_for_each (mode, &wlr_output->modes, link) {
        if (mode->width != width || mode->height != height) {
            continue;
        }
        /* A monitor's 59.951 Hz is what people call 60. */
        if (config->refresh_mhz != 0 && abs(mode->refresh - config->refresh_mhz) > 500) {
            continue;
        }
        bool nearer = best != NULL && config->refresh_mhz != 0 &&
                      abs(mode->refresh - config->refresh_mhz) < abs(best->refresh - config->refresh_mhz);
        if (best == NULL || nearer || (config->refresh_mhz == 0 && mode->refresh > best->refresh)) {
            best = mode;
        }
    }
    return best;
}

size_t mc_output_modes(struct mc_server *server, uint64_t handle, struct mc_output_mode *modes_ret,
                       size_t max)
{
    size_t count = 0;
    mc_verb_begin(server);
    struct mc_output *output = mc_output_by_handle(server, handle);
    struct wlr_output_mode *mode;
    if (output != NULL) {
        wl_list_for_each (mode, &output->wlr_output->modes, link) {
            if (count < max) {
                modes_ret[count] =
                    (struct mc_output_mode){mode->width, mode->height, mode->refresh, mode->preferred};
            }
            count++;
        }
    }
    mc_verb_end(server);
    return count;
}

static void set_mode(struct wlr_output *wlr_output, const struct mc_output_config *config)
{
    struct wlr_output_mode *mode = pick_mode(wlr_output, config);
    if (mode != NULL) {
        if (mode != wlr_output->current_mode) {
            wlr_output_set_mode(wlr_output, mode);
        }
        return;
    }
    bool same = wlr_output->width == config->width && wlr_output->height == config->height &&
                (config->refresh_mhz == 0 || wlr_output->refresh == config->refresh_mhz);
    if (config->width > 0 && !same) {
        wlr_output_set_custom_mode(wlr_output, config->width, config->height, config->refresh_mhz);
    }
}

static void fill_pending(struct wlr_output *wlr_output, const struct mc_output_config *config)
{
    wlr_output_enable(wlr_output, config->enabled);
    if (config->enabled) {
        set_mode(wlr_output, config);
        if (config->scale > 0 && config->scale != wlr_output->scale) {
            wlr_output_set_scale(wlr_output, config->scale);
        }
        if (config->transform != (int32_t)wlr_output->transform) {
            wlr_output_set_transform(wlr_output, (enum wl_output_transform)config->transform);
        }
        wlr_output_enable_adaptive_sync(wlr_output, config->adaptive_sync);
    }
}

/* wlroots allocates a buffer for the mode before it asks the display, and reckons its bytes in an int. */
static bool is_too_large(const struct mc_output_config *config)
{
    return config->enabled && (config->width > SIZE_MAX_PIXELS || config->height > SIZE_MAX_PIXELS);
}

/* Makes it the pending state, if the display agrees: 0, or why not. Another mode comes with a new buffer,
 * which a display takes only when no flip is under way: -EBUSY then, and no frame begins for a while, so that
 * it will be free soon. */
static int prepare(struct mc_output *output, const struct mc_output_config *config)
{
    struct wlr_output *wlr_output = output->wlr_output;
    if (is_too_large(config)) {
        return -EINVAL;
    }
    fill_pending(wlr_output, config);
    bool new_buffer =
        (wlr_output->pending.committed & (WLR_OUTPUT_STATE_MODE | WLR_OUTPUT_STATE_ENABLED)) != 0;
    if (config->enabled && new_buffer && wlr_output->frame_pending && !mc_vdisplay_is_output(wlr_output)) {
        output->held_until_ns = mc_server_now_ns(output->server) + HELD_FOR_NS;
        return -EBUSY;
    }
    output->held_until_ns = 0;
    return wlr_output_test(wlr_output) ? 0 : -EINVAL;
}

/* Nothing is to come of what was prepared. */
static void leave(struct mc_output *output)
{
    wlr_output_rollback(output->wlr_output);
    mc_deadline_changed(output);
}

static int apply(struct mc_output *output, const struct mc_output_config *config)
{
    int result = prepare(output, config);
    if (result == 0 && !wlr_output_commit(output->wlr_output)) {
        result = -EINVAL;
    }
    if (result != 0) {
        leave(output);
    }
    return result;
}

/* Without a cursor plane wlroots would try one for every picture, and log errors each time. */
static void settle_cursor(struct mc_output *output)
{
    struct wlr_output *wlr_output = output->wlr_output;
    const struct wlr_output_impl *impl = wlr_output->impl;
    if (impl->set_cursor == NULL || impl->get_cursor_formats == NULL || !wlr_output->enabled) {
        return;
    }
    bool lacks =
        impl->get_cursor_formats(wlr_output, WLR_BUFFER_CAP_DMABUF | WLR_BUFFER_CAP_DATA_PTR) == NULL;
    if (lacks != output->cursor_locked) {
        output->cursor_locked = lacks;
        wlr_output_lock_software_cursors(wlr_output, lacks);
    }
    if (!lacks) {
        mc_cursor_plane_prepare(output->server, wlr_output);
    }
}

int mc_output_test(struct mc_server *server, uint64_t handle, const struct mc_output_config *config)
{
    mc_verb_begin(server);
    struct mc_output *output = mc_output_by_handle(server, handle);
    int result = -ENOENT;
    if (output != NULL) {
        result = prepare(output, config);
        leave(output);
    }
    mc_verb_end(server);
    return result;
}

int mc_output_configure(struct mc_server *server, uint64_t handle, const struct mc_output_config *config)
{
    mc_verb_begin(server);
    struct mc_output *output = mc_output_by_handle(server, handle);
    if (output == NULL) {
        mc_verb_end(server);
        return -ENOENT;
    }
    struct wlr_output *wlr_output = output->wlr_output;
    int result = apply(output, config);
    if (result != 0) {
        mc_verb_end(server);
        return result;
    }
    settle_cursor(output);
    if (!config->enabled) {
        if (!config->keep_place) {
            wlr_output_layout_remove(server->output_layout, wlr_output);
            forget_primary(&server->scene->node, wlr_output);
        }
        mc_redraw_reset(&output->redraw);
    } else if (config->automatic_position) {
        if (wlr_output_layout_get(server->output_layout, wlr_output) == NULL) {
            wlr_output_layout_add_auto(server->output_layout, wlr_output);
        }
    } else {
        wlr_output_layout_add(server->output_layout, wlr_output, config->x, config->y);
    }
    output->scene_output = wlr_scene_get_scene_output(server->scene, wlr_output);
    struct wlr_box *box = wlr_output_layout_get_box(server->output_layout, wlr_output);
    output->usable = box != NULL ? *box : (struct wlr_box){0};
    mc_scene_refresh_outputs(server);
    if (config->enabled) {
        /* What was wanted while it was off is forgotten, and is not told again while it stands. */
        wlr_output->needs_frame = false;
        wlr_output_damage_whole(wlr_output);
    }
    mc_push(server, MC_EVENT_OUTPUT_CHANGED, handle, 0, 0);
    mc_verb_end(server);
    return 0;
}

static void copy_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text != NULL ? text : "");
}

int mc_output_get_info(struct mc_server *server, uint64_t handle, struct mc_output_info *info_ret)
{
    mc_verb_begin(server);
    struct mc_output *output = mc_output_by_handle(server, handle);
    if (output == NULL) {
        mc_look_end(server);
        return -ENOENT;
    }
    struct wlr_output *wlr_output = output->wlr_output;
    struct wlr_box *box = wlr_output_layout_get_box(server->output_layout, wlr_output);
    *info_ret = (struct mc_output_info){
        .handle = handle,
        .id = output->id,
        .enabled = wlr_output->enabled,
        .placed = box != NULL,
        .hardware_cursor = wlr_output->hardware_cursor != NULL,
        .adaptive_sync = wlr_output->adaptive_sync_status == WLR_OUTPUT_ADAPTIVE_SYNC_ENABLED,
        .mode_width = wlr_output->width,
        .mode_height = wlr_output->height,
        .refresh_mhz = wlr_output->refresh,
        .phys_width_mm = wlr_output->phys_width,
        .phys_height_mm = wlr_output->phys_height,
        .scale = wlr_output->scale,
        .transform = (int32_t)wlr_output->transform,
        .modelled = mc_vdisplay_is_output(wlr_output),
        .latch_ns = mc_vdisplay_latch_ns(wlr_output),
        .frames = output->frames,
        .failed_commits = output->failed_commits,
        .callback_only = output->callback_only,
        .last_present_ns = output->last_present_ns,
        .usable_x = output->usable.x,
        .usable_y = output->usable.y,
        .usable_width = output->usable.width,
        .usable_height = output->usable.height,
    };
    if (box != NULL) {
        info_ret->x = box->x;
        info_ret->y = box->y;
        info_ret->width = box->width;
        info_ret->height = box->height;
    }
    copy_text(info_ret->name, sizeof(info_ret->name), wlr_output->name);
    copy_text(info_ret->make, sizeof(info_ret->make), wlr_output->make);
    copy_text(info_ret->model, sizeof(info_ret->model), wlr_output->model);
    copy_text(info_ret->serial, sizeof(info_ret->serial), wlr_output->serial);
    mc_look_end(server);
    return 0;
}

size_t mc_outputs_list(struct mc_server *server, uint64_t *handles_ret, size_t max)
{
    size_t count = 0;
    mc_verb_begin(server);
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        if (count < max) {
            handles_ret[count] = output->handle;
        }
        count++;
    }
    mc_look_end(server);
    return count;
}

int mc_output_set_usable(struct mc_server *server, uint64_t handle, int x, int y, int width, int height)
{
    mc_verb_begin(server);
    struct mc_output *output = mc_output_by_handle(server, handle);
    if (output != NULL) {
        output->usable = (struct wlr_box){x, y, width, height};
    }
    mc_verb_end(server);
    return output != NULL ? 0 : -ENOENT;
}
