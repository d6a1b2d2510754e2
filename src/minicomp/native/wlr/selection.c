/* Clipboard, primary selection, drag and drop: requests are granted when their serials are right, and a
 * drag's icon follows what drags it. */
#include <stdlib.h>
#include <wlr/types/wlr_data_device.h>
#include <wlr/types/wlr_primary_selection.h>

#include "seat.h"

static void handle_request_set_selection(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, request_set_selection);
    struct wlr_seat_request_set_selection_event *event = data;
    wlr_seat_set_selection(seat->wlr_seat, event->source, event->serial);
}

static void handle_request_set_primary_selection(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, request_set_primary_selection);
    struct wlr_seat_request_set_primary_selection_event *event = data;
    wlr_seat_set_primary_selection(seat->wlr_seat, event->source, event->serial);
}

static void handle_request_start_drag(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, request_start_drag);
    struct wlr_seat_request_start_drag_event *event = data;
    struct wlr_touch_point *point;
    if (seat->grab.kind == MC_GRAB_NONE) {
        if (wlr_seat_validate_pointer_grab_serial(seat->wlr_seat, event->origin, event->serial)) {
            wlr_seat_start_pointer_drag(seat->wlr_seat, event->drag, event->serial);
            return;
        }
        if (wlr_seat_validate_touch_grab_serial(seat->wlr_seat, event->origin, event->serial, &point)) {
            wlr_seat_start_touch_drag(seat->wlr_seat, event->drag, event->serial, point);
            return;
        }
    }
    wlr_data_source_destroy(event->drag->source); /* the drag dies with it */
}

/* ---- the icon ---- */

static void icon_clear(struct mc_drag_icon *icon)
{
    mc_unlisten(&icon->icon_destroy);
    mc_unlisten(&icon->surface_commit);
    mc_unlisten(&icon->node_destroy);
    icon->icon = NULL;
    icon->node = NULL;
}

static void handle_icon_destroy(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, drag_icon.icon_destroy);
    struct wlr_scene_node *node = seat->drag_icon.node;
    icon_clear(&seat->drag_icon);
    wlr_scene_node_destroy(node);
}

static void handle_icon_node_destroy(struct wl_listener *listener, void *data)
{
    /* With its surface, before wlr_drag_icon notices. */
    struct mc_seat *seat = wl_container_of(listener, seat, drag_icon.node_destroy);
    icon_clear(&seat->drag_icon);
}

static void handle_icon_commit(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, drag_icon.surface_commit);
    struct mc_drag_icon *icon = &seat->drag_icon;
    const struct wlr_surface *surface = icon->icon->surface;
    icon->dx += surface->current.dx;
    icon->dy += surface->current.dy;
    if (surface->current.dx != 0 || surface->current.dy != 0) {
        wlr_scene_node_set_position(icon->node, icon->node->state.x + surface->current.dx,
                                    icon->node->state.y + surface->current.dy);
    }
}

void mc_drag_moved(struct mc_seat *seat, double lx, double ly)
{
    struct mc_drag_icon *icon = &seat->drag_icon;
    if (icon->node != NULL) {
        wlr_scene_node_set_position(icon->node, (int)lx + icon->dx, (int)ly + icon->dy);
    }
}

static void handle_drag_destroy(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, drag_destroy);
    mc_unlisten(&seat->drag_destroy);
    mc_focus_apply(seat); /* drags keep the keyboard from moving */
    mc_seat_repick(seat->server);
}

static void handle_start_drag(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, start_drag);
    struct wlr_drag *drag = data;
    mc_unlisten(&seat->drag_destroy);
    mc_listen(&drag->events.destroy, &seat->drag_destroy, handle_drag_destroy);
    if (drag->icon == NULL || seat->drag_icon.icon != NULL) {
        mc_seat_repick(seat->server);
        return;
    }
    struct mc_drag_icon *icon = &seat->drag_icon;
    icon->node =
        wlr_scene_subsurface_tree_create(&seat->server->stack[MC_STACK_DRAG]->node, drag->icon->surface);
    if (icon->node == NULL) {
        return;
    }
    icon->icon = drag->icon;
    icon->dx = drag->icon->surface->current.dx;
    icon->dy = drag->icon->surface->current.dy;
    mc_listen(&drag->icon->events.destroy, &icon->icon_destroy, handle_icon_destroy);
    mc_listen(&drag->icon->surface->events.commit, &icon->surface_commit, handle_icon_commit);
    mc_listen(&icon->node->events.destroy, &icon->node_destroy, handle_icon_node_destroy);
    double lx = seat->server->cursor->x, ly = seat->server->cursor->y;
    if (drag->grab_type == WLR_DRAG_GRAB_KEYBOARD_TOUCH) {
        for (size_t i = 0; i < MC_TOUCH_POINTS_MAX; i++) {
            if (seat->points[i].used && seat->points[i].id == drag->grab_touch_id) {
                lx = seat->points[i].lx;
                ly = seat->points[i].ly;
            }
        }
    }
    mc_drag_moved(seat, lx, ly);
    mc_seat_repick(seat->server);
}

void mc_selection_init(struct mc_seat *seat)
{
    struct wlr_seat *wlr_seat = seat->wlr_seat;
    mc_listen(&wlr_seat->events.request_set_selection, &seat->request_set_selection,
              handle_request_set_selection);
    mc_listen(&wlr_seat->events.request_set_primary_selection, &seat->request_set_primary_selection,
              handle_request_set_primary_selection);
    mc_listen(&wlr_seat->events.request_start_drag, &seat->request_start_drag, handle_request_start_drag);
    mc_listen(&wlr_seat->events.start_drag, &seat->start_drag, handle_start_drag);
}

void mc_selection_finish(struct mc_seat *seat)
{
    mc_unlisten(&seat->request_set_selection);
    mc_unlisten(&seat->request_set_primary_selection);
    mc_unlisten(&seat->request_start_drag);
    mc_unlisten(&seat->start_drag);
    mc_unlisten(&seat->drag_destroy);
    if (seat->drag_icon.node != NULL) {
        struct wlr_scene_node *node = seat->drag_icon.node;
        icon_clear(&seat->drag_icon);
        wlr_scene_node_destroy(node);
    }
}
