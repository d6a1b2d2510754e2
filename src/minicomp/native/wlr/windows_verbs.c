/* The verbs of windows: what a window gets is the policy's business, here it is only done. */
#include <errno.h>
#include <stdio.h>
#include <wlr/xwayland.h>

#include "input.h"
#include "shell.h"

static const enum mc_stack level_stacks[] = {
    [MC_WINDOW_LEVEL_NORMAL] = MC_STACK_WINDOWS,
    [MC_WINDOW_LEVEL_FULLSCREEN] = MC_STACK_FULLSCREEN,
};

/* Locks; the window, or NULL with the lock released. */
static struct mc_window *begin(struct mc_server *server, uint64_t handle)
{
    mc_verb_begin(server);
    struct mc_window *window = mc_window_from_handle(server, handle);
    if (window == NULL) {
        mc_verb_end(server);
    }
    return window;
}

static int end(struct mc_server *server, int result)
{
    mc_verb_end(server);
    return result;
}

static void fill_limits(struct mc_window *window, struct mc_window_info *info)
{
    if (window->kind == MC_WINDOW_XDG) {
        /* wlroots does not apply the limits of an initial commit before the next one. */
        struct wlr_xdg_toplevel *toplevel = window->xdg->toplevel;
        struct wlr_xdg_toplevel_state *state = window->mapped ? &toplevel->current : &toplevel->pending;
        info->min_width = (int32_t)state->min_width;
        info->min_height = (int32_t)state->min_height;
        info->max_width = (int32_t)state->max_width;
        info->max_height = (int32_t)state->max_height;
    } else if (window->x11->size_hints != NULL) {
        struct wlr_xwayland_surface_size_hints *hints = window->x11->size_hints;
        info->min_width = hints->min_width > 0 ? hints->min_width : 0;
        info->min_height = hints->min_height > 0 ? hints->min_height : 0;
        info->max_width = hints->max_width > 0 ? hints->max_width : 0;
        info->max_height = hints->max_height > 0 ? hints->max_height : 0;
    }
}

int mc_window_get_info(struct mc_server *server, uint64_t handle, struct mc_window_info *info_ret)
{
    struct mc_window *window = begin(server, handle);
    if (window == NULL) {
        return -ENOENT;
    }
    *info_ret = (struct mc_window_info){
        .handle = handle,
        .kind = window->kind,
        .level = window->level,
        .waiting = window->held != NULL,
        .mapped = window->mapped,
        .shown = window->shown,
        .activated = window->activated,
        .minimized = window->minimized,
    };
    struct wlr_surface *surface = window->kind == MC_WINDOW_XDG ? window->xdg->surface : window->x11->surface;
    struct mc_client *client = mc_client_from(server, wl_resource_get_client(surface->resource));
    info_ret->client = client != NULL ? client->handle : 0;
    info_ret->pid = client != NULL ? client->pid : 0;
    if (window->kind == MC_WINDOW_X11) {
        info_ret->pid = window->x11->pid;
        info_ret->states = mc_x11_states(window);
    } else {
        info_ret->states = mc_xdg_states(window);
    }
    struct mc_window *parent = mc_window_parent(window);
    info_ret->parent = parent != NULL ? parent->tag.handle : 0;
    snprintf(info_ret->title, sizeof(info_ret->title), "%s", mc_window_title(window));
    snprintf(info_ret->app_id, sizeof(info_ret->app_id), "%s", mc_window_app_id(window));
    struct wlr_box box;
    mc_window_get_geometry(window, &box);
    info_ret->x = box.x;
    info_ret->y = box.y;
    info_ret->width = box.width;
    info_ret->height = box.height;
    fill_limits(window, info_ret);
    window->unread = 0;
    return end(server, 0);
}

size_t mc_windows_list(struct mc_server *server, uint64_t *handles_ret, size_t max)
{
    size_t count = 0;
    mc_verb_begin(server);
    struct mc_window *window;
    wl_list_for_each (window, &server->windows, link) {
        if (count < max) {
            handles_ret[count] = window->tag.handle;
        }
        count++;
    }
    mc_verb_end(server);
    return count;
}

int mc_window_configure(struct mc_server *server, uint64_t handle, int width, int height, uint32_t states)
{
    if (width < 0 || height < 0 || width > UINT16_MAX || height > UINT16_MAX) {
        return -EINVAL;
    }
    struct mc_window *window = begin(server, handle);
    if (window == NULL) {
        return -ENOENT;
    }
    if (window->kind == MC_WINDOW_XDG) {
        mc_xdg_configure(window, width, height, states);
    } else {
        mc_x11_configure(window, width, height, states);
    }
    mc_foreign_sync(window);
    return end(server, 0);
}

static int set_shown(struct mc_server *server, uint64_t handle, bool shown)
{
    struct mc_window *window = begin(server, handle);
    if (window == NULL) {
        return -ENOENT;
    }
    if (!window->mapped) {
        return end(server, -EAGAIN);
    }
    if (window->shown != shown) {
        window->shown = shown;
        if (!shown) {
            mc_seat_forget(server, handle);
        }
        wlr_scene_node_set_enabled(&window->tree->node, shown);
        mc_foreign_sync(window);
        mc_inhibitors_count(server->shell);
        mc_seat_repick(server);
    }
    return end(server, 0);
}

int mc_window_show(struct mc_server *server, uint64_t handle)
{
    return set_shown(server, handle, true);
}

int mc_window_hide(struct mc_server *server, uint64_t handle)
{
    return set_shown(server, handle, false);
}

int mc_window_place_at(struct mc_server *server, uint64_t handle, int lx, int ly)
{
    struct mc_window *window = begin(server, handle);
    if (window == NULL) {
        return -ENOENT;
    }
    mc_window_place(window, lx, ly);
    return end(server, 0);
}

int mc_window_raise(struct mc_server *server, uint64_t handle)
{
    struct mc_window *window = begin(server, handle);
    if (window == NULL) {
        return -ENOENT;
    }
    wlr_scene_node_raise_to_top(&window->tree->node);
    if (window->kind == MC_WINDOW_X11) {
        wlr_xwayland_surface_restack(window->x11, NULL, XCB_STACK_MODE_ABOVE);
    }
    mc_seat_repick(server);
    return end(server, 0);
}

int mc_window_lower(struct mc_server *server, uint64_t handle)
{
    struct mc_window *window = begin(server, handle);
    if (window == NULL) {
        return -ENOENT;
    }
    wlr_scene_node_lower_to_bottom(&window->tree->node);
    if (window->kind == MC_WINDOW_X11) {
        wlr_xwayland_surface_restack(window->x11, NULL, XCB_STACK_MODE_BELOW);
    }
    mc_seat_repick(server);
    return end(server, 0);
}

int mc_window_raise_above(struct mc_server *server, uint64_t handle, uint64_t sibling_handle)
{
    struct mc_window *window = begin(server, handle);
    if (window == NULL) {
        return -ENOENT;
    }
    struct mc_window *sibling = mc_window_from_handle(server, sibling_handle);
    if (sibling == NULL) {
        return end(server, -ENOENT);
    }
    if (sibling == window || sibling->level != window->level) {
        return end(server, -EINVAL);
    }
    wlr_scene_node_place_above(&window->tree->node, &sibling->tree->node);
    if (window->kind == MC_WINDOW_X11 && sibling->kind == MC_WINDOW_X11) {
        wlr_xwayland_surface_restack(window->x11, sibling->x11, XCB_STACK_MODE_ABOVE);
    }
    mc_seat_repick(server);
    return end(server, 0);
}

int mc_window_set_level(struct mc_server *server, uint64_t handle, int level)
{
    if (level < 0 || level > MC_WINDOW_LEVEL_FULLSCREEN) {
        return -EINVAL;
    }
    struct mc_window *window = begin(server, handle);
    if (window == NULL) {
        return -ENOENT;
    }
    if ((int)window->level != level) {
        window->level = (enum mc_window_level)level;
        wlr_scene_node_reparent(&window->tree->node, &server->stack[level_stacks[level]]->node);
        mc_seat_repick(server);
    }
    return end(server, 0);
}

int mc_window_set_minimized(struct mc_server *server, uint64_t handle, bool minimized)
{
    struct mc_window *window = begin(server, handle);
    if (window == NULL) {
        return -ENOENT;
    }
    window->minimized = minimized;
    if (window->kind == MC_WINDOW_X11) {
        wlr_xwayland_surface_set_minimized(window->x11, minimized);
    }
    mc_foreign_sync(window);
    return end(server, 0);
}

int mc_window_close(struct mc_server *server, uint64_t handle)
{
    struct mc_window *window = begin(server, handle);
    if (window == NULL) {
        return -ENOENT;
    }
    if (window->kind == MC_WINDOW_XDG) {
        wlr_xdg_toplevel_send_close(window->xdg);
    } else {
        wlr_xwayland_surface_close(window->x11);
    }
    return end(server, 0);
}

int mc_window_kill_client(struct mc_server *server, uint64_t handle)
{
    struct mc_window *window = begin(server, handle);
    if (window == NULL) {
        return -ENOENT;
    }
    if (window->kind == MC_WINDOW_X11) {
        return end(server, -ENOTSUP);
    }
    wl_client_destroy(window->xdg->client->client);
    return end(server, 0);
}
