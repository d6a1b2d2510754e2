/* Scenarios with windows and popups: xdg-shell objects in the wrong order, or too many of them. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hostile.h"
#include "xdg-shell-client-protocol.h"

#define TITLE_BYTES 3000 /* one message must stay under 4096 */
#define FROZEN_S 2

static void run_buffer_before_configure(struct hostile *hostile)
{
    struct connection *connection = &hostile->connection;
    struct wl_surface *surface = wl_compositor_create_surface(connection->compositor);
    struct xdg_surface *xdg_surface = xdg_wm_base_get_xdg_surface(connection->wm_base, surface);
    xdg_surface_get_toplevel(xdg_surface);
    shm_pool_init(&hostile->pool, connection->shm, NULL, NULL);
    shm_pool_resize(&hostile->pool, 64, 64);
    struct shm_buffer *buffer = shm_pool_take(&hostile->pool);
    if (buffer != NULL) {
        wl_surface_attach(surface, buffer->wl_buffer, 0, 0);
        wl_surface_commit(surface);
    }
}

static void run_bogus_ack(struct hostile *hostile)
{
    if (hostile_map_window(hostile)) {
        xdg_surface_ack_configure(hostile->window.xdg_surface, 0x7fffffff);
        wl_surface_commit(hostile->window.surface);
    }
}

static void run_double_role(struct hostile *hostile)
{
    if (hostile_map_window(hostile)) {
        xdg_surface_get_toplevel(hostile->window.xdg_surface);
    }
}

static void run_destroy_order(struct hostile *hostile)
{
    if (hostile_map_window(hostile)) {
        wl_surface_destroy(hostile->window.surface);
        hostile_roundtrip(hostile);
        xdg_toplevel_set_title(hostile->window.toplevel, "a ghost");
        xdg_toplevel_destroy(hostile->window.toplevel);
        xdg_surface_destroy(hostile->window.xdg_surface);
    }
}

static void run_destroy_xdg_first(struct hostile *hostile)
{
    if (hostile_map_window(hostile)) {
        xdg_surface_destroy(hostile->window.xdg_surface);
        hostile_roundtrip(hostile);
        xdg_toplevel_destroy(hostile->window.toplevel);
        wl_surface_destroy(hostile->window.surface);
    }
}

static void run_destroy_wm_base(struct hostile *hostile)
{
    if (hostile_map_window(hostile)) {
        xdg_wm_base_destroy(hostile->connection.wm_base);
        hostile->connection.wm_base = NULL;
    }
}

static struct xdg_positioner *create_positioner(struct hostile *hostile)
{
    struct xdg_positioner *positioner = xdg_wm_base_create_positioner(hostile->connection.wm_base);
    xdg_positioner_set_size(positioner, 50, 50);
    xdg_positioner_set_anchor_rect(positioner, 0, 0, 10, 10);
    return positioner;
}

static void run_popup_orphan(struct hostile *hostile)
{
    struct connection *connection = &hostile->connection;
    struct wl_surface *surface = wl_compositor_create_surface(connection->compositor);
    struct xdg_surface *xdg_surface = xdg_wm_base_get_xdg_surface(connection->wm_base, surface);
    xdg_surface_get_popup(xdg_surface, NULL, create_positioner(hostile));
    wl_surface_commit(surface);
}

static void run_popup_outlives_parent(struct hostile *hostile)
{
    if (!hostile_map_window(hostile)) {
        return;
    }
    struct connection *connection = &hostile->connection;
    struct wl_surface *surface = wl_compositor_create_surface(connection->compositor);
    struct xdg_surface *xdg_surface = xdg_wm_base_get_xdg_surface(connection->wm_base, surface);
    xdg_surface_get_popup(xdg_surface, hostile->window.xdg_surface, create_positioner(hostile));
    wl_surface_commit(surface);
    hostile_roundtrip(hostile);
    window_finish(&hostile->window);
    hostile_roundtrip(hostile);
    wl_surface_commit(surface);
}

static void run_bad_positioner(struct hostile *hostile)
{
    if (hostile_map_window(hostile)) {
        struct connection *connection = &hostile->connection;
        struct wl_surface *surface = wl_compositor_create_surface(connection->compositor);
        struct xdg_surface *xdg_surface = xdg_wm_base_get_xdg_surface(connection->wm_base, surface);
        struct xdg_positioner *empty = xdg_wm_base_create_positioner(connection->wm_base);
        xdg_surface_get_popup(xdg_surface, hostile->window.xdg_surface, empty);
    }
}

static void run_odd_geometry(struct hostile *hostile)
{
    if (hostile_map_window(hostile)) {
        xdg_toplevel_set_min_size(hostile->window.toplevel, INT32_MAX, INT32_MAX);
        xdg_toplevel_set_max_size(hostile->window.toplevel, INT32_MAX, INT32_MAX);
        xdg_surface_set_window_geometry(hostile->window.xdg_surface, INT32_MIN / 2, INT32_MIN / 2, INT32_MAX,
                                        INT32_MAX);
        wl_surface_commit(hostile->window.surface);
    }
}

static void run_title_flood(struct hostile *hostile)
{
    if (!hostile_map_window(hostile)) {
        return;
    }
    char title[TITLE_BYTES + 1];
    for (uint64_t i = 0; i < hostile->count; i++) {
        memset(title, 'a' + (int)(i % 26), TITLE_BYTES);
        title[TITLE_BYTES] = '\0';
        xdg_toplevel_set_title(hostile->window.toplevel, title);
        if (!hostile_push(hostile, true)) {
            return; /* one at a time: two do not fit libwayland's buffer */
        }
    }
}

static void run_create_destroy(struct hostile *hostile)
{
    for (uint64_t i = 0; i < hostile->count; i++) {
        if (!hostile_map_window(hostile)) {
            return;
        }
        window_finish(&hostile->window);
        shm_pool_finish(&hostile->pool);
    }
}

static void run_many_windows(struct hostile *hostile)
{
    /* Each has its own struct: listeners point into it for the rest of the run. */
    struct hostile *windows = calloc(hostile->count, sizeof(*windows));
    for (uint64_t i = 0; windows != NULL && i < hostile->count; i++) {
        windows[i].connection = hostile->connection;
        if (!hostile_map_window(&windows[i])) {
            hostile->undone = windows[i].undone;
            return;
        }
    }
}

static void run_map_unmap(struct hostile *hostile)
{
    if (!hostile_map_window(hostile)) {
        return;
    }
    for (uint64_t i = 0; i < hostile->count; i++) {
        /* xdg-shell: unmapped by a NULL buffer, it needs an initial commit and a configure again. Configures
         * that were on their way belong to its former life: wlroots calls acking them a protocol error. */
        wl_surface_attach(hostile->window.surface, NULL, 0, 0);
        wl_surface_commit(hostile->window.surface);
        hostile->window.deaf = true;
        if (!hostile_roundtrip(hostile)) {
            return;
        }
        hostile->window.deaf = false;
        hostile->configured = false;
        wl_surface_commit(hostile->window.surface);
        if (!hostile_show_window(hostile)) {
            return;
        }
    }
}

static void run_callback_never_commit(struct hostile *hostile)
{
    if (!hostile_map_window(hostile)) {
        return;
    }
    for (uint64_t i = 0; i < hostile->count; i++) {
        wl_surface_frame(hostile->window.surface);
        if (i % 64 == 63 && !hostile_push(hostile, true)) {
            return;
        }
    }
}

static void run_deep_subsurfaces(struct hostile *hostile)
{
    if (!hostile_map_window(hostile)) {
        return;
    }
    struct wl_surface *parent = hostile->window.surface;
    for (uint64_t i = 0; i < hostile->count; i++) {
        struct wl_surface *child = wl_compositor_create_surface(hostile->connection.compositor);
        wl_subcompositor_get_subsurface(hostile->connection.subcompositor, child, parent);
        wl_surface_commit(child);
        parent = child;
        if (i % 32 == 31 && !hostile_push(hostile, true)) {
            return;
        }
    }
    wl_surface_commit(hostile->window.surface);
}

static void run_frozen(struct hostile *hostile)
{
    if (hostile_map_window(hostile)) {
        wl_surface_frame(hostile->window.surface);
        wl_surface_commit(hostile->window.surface);
        hostile_push(hostile, false);
        sleep(FROZEN_S);
    }
}

const struct hostile_scenario hostile_window_scenarios[] = {
    {"buffer-before-configure", HOSTILE_KILLED, 0, 0, "attaches a buffer before the first configure",
     run_buffer_before_configure},
    {"bogus-ack", HOSTILE_KILLED, 0, 0, "acks a configure that was never sent", run_bogus_ack},
    {"double-role", HOSTILE_KILLED, 0, 0, "a second toplevel on one xdg_surface", run_double_role},
    {"destroy-order", HOSTILE_EITHER, 0, 0, "destroys the wl_surface before its xdg objects, then uses these",
     run_destroy_order},
    {"destroy-xdg-first", HOSTILE_EITHER, 0, 0, "destroys the xdg_surface before its toplevel",
     run_destroy_xdg_first},
    {"destroy-wm-base", HOSTILE_KILLED, 0, 0, "destroys xdg_wm_base while a window lives",
     run_destroy_wm_base},
    {"popup-orphan", HOSTILE_KILLED, 0, 0, "a popup without a parent", run_popup_orphan},
    {"popup-outlives-parent", HOSTILE_EITHER, 0, 0, "destroys a window under its popup",
     run_popup_outlives_parent},
    {"bad-positioner", HOSTILE_KILLED, 0, 0, "a popup with an empty positioner", run_bad_positioner},
    {"odd-geometry", HOSTILE_EITHER, 0, 0, "window geometry and sizes near the integer limits",
     run_odd_geometry},
    {"title-flood", HOSTILE_SURVIVES, 0, 20000, "titles of 3000 bytes", run_title_flood},
    {"create-destroy-windows", HOSTILE_SURVIVES, 0, 500, "maps and destroys windows", run_create_destroy},
    {"many-windows", HOSTILE_SURVIVES, 0, 200, "maps windows and keeps them", run_many_windows},
    {"map-unmap", HOSTILE_SURVIVES, 0, 200, "maps and unmaps one window", run_map_unmap},
    {"callback-never-commit", HOSTILE_SURVIVES, 0, 10000, "asks for frame callbacks and never commits",
     run_callback_never_commit},
    {"deep-subsurfaces", HOSTILE_EITHER, HOSTILE_NEEDS_SUBSURFACES, 1000, "each the child of the one before",
     run_deep_subsurfaces},
    {"frozen", HOSTILE_SURVIVES, 0, 0, "maps a window and then answers nothing for 2 s", run_frozen},
    {0},
};
