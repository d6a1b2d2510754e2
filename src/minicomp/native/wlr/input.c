/* The seat's life, what is where in the scene, and the marks that every input event leaves. */
#include <errno.h>
#include <stdlib.h>
#include <wlr/backend.h>
#include <wlr/types/wlr_idle.h>
#include <wlr/types/wlr_relative_pointer_v1.h>

#include "idle.h"
#include "seat.h"

/* ---- where things are ---- */

static void handle_anchor_node_destroy(struct wl_listener *listener, void *data)
{
    struct mc_anchor *anchor = wl_container_of(listener, anchor, destroy);
    mc_unlisten(&anchor->destroy);
    anchor->node = NULL;
}

void mc_anchor_set(struct mc_anchor *anchor, struct wlr_scene_node *node)
{
    mc_anchor_clear(anchor);
    if (node != NULL) {
        anchor->node = node;
        mc_listen(&node->events.destroy, &anchor->destroy, handle_anchor_node_destroy);
        mc_anchor_update(anchor);
    }
}

void mc_anchor_clear(struct mc_anchor *anchor)
{
    mc_unlisten(&anchor->destroy);
    anchor->node = NULL;
}

void mc_anchor_update(struct mc_anchor *anchor)
{
    if (anchor->node != NULL) {
        wlr_scene_node_coords(anchor->node, &anchor->lx, &anchor->ly);
    }
}

struct mc_pick mc_pick_at(struct mc_seat *seat, double lx, double ly)
{
    struct mc_pick pick = {0};
    for (int i = MC_STACK_COUNT - 1; i >= 0; i--) {
        struct wlr_scene_tree *stack = seat->server->stack[i];
        if (i == MC_STACK_DRAG || stack == NULL) { /* a drag icon is in nobody's way */
            continue;
        }
        struct wlr_scene_node *node = wlr_scene_node_at(&stack->node, lx, ly, &pick.sx, &pick.sy);
        if (node != NULL) {
            struct mc_node_tag *tag = mc_node_tag_of(node);
            pick.handle = tag != NULL ? tag->handle : 0;
            if (node->type == WLR_SCENE_NODE_SURFACE) {
                pick.node = node;
                pick.surface = wlr_scene_surface_from_node(node)->surface;
            }
            return pick;
        }
    }
    return pick;
}

struct wlr_scene_node *mc_scene_find(struct wlr_scene_node *node, struct wlr_surface *surface)
{
    if (node->type == WLR_SCENE_NODE_SURFACE && wlr_scene_surface_from_node(node)->surface == surface) {
        return node;
    }
    struct wlr_scene_node *child;
    wl_list_for_each (child, &node->state.children, state.link) {
        struct wlr_scene_node *found = mc_scene_find(child, surface);
        if (found != NULL) {
            return found;
        }
    }
    return NULL;
}

/* ---- the marks of an event ---- */

/* Event times are the low 32 bits of CLOCK_MONOTONIC in ms: the others are those of now. */
static uint64_t full_time_ns(uint32_t time_ms)
{
    int64_t now_ms = (int64_t)(mc_now_ns() / MC_NSEC_PER_MSEC);
    int64_t full_ms = now_ms + (int32_t)(time_ms - (uint32_t)now_ms);
    return (uint64_t)(full_ms > 0 ? full_ms : time_ms) * MC_NSEC_PER_MSEC;
}

void mc_seat_stamp(struct mc_server *server, uint32_t kind, uint32_t time_ms)
{
    struct mc_seat *seat = server->seat;
    mc_commit_over(server);
    if (seat != NULL) {
        seat->event_ns = seat->injected_ns != 0 ? seat->injected_ns : full_time_ns(time_ms);
        mc_trace_now(&server->trace, MC_POINT_INPUT_EVENT, 0, 0, 0, seat->event_ns, kind);
    }
    mc_idle_activity(server);
    if (server->idle != NULL) {
        wlr_idle_notify_activity(server->idle, server->wlr_seat);
    }
}

void mc_seat_delivered(struct mc_seat *seat, enum mc_input_kind kind, struct wlr_surface *surface)
{
    struct mc_surface *to = mc_surface_from(surface);
    if (to != NULL) {
        mc_trace_now(&seat->server->trace, MC_POINT_INPUT_DELIVERED, 0, 0, to->id, seat->event_ns, kind);
    }
}

uint32_t mc_seat_now_ms(struct mc_seat *seat)
{
    return (uint32_t)(mc_server_now_ns(seat->server) / MC_NSEC_PER_MSEC);
}

/* ---- life ---- */

static void handle_new_input(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, new_input);
    mc_seat_add_device(seat->server, data, false);
}

static void handle_backend_destroy(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, backend_destroy);
    mc_unlisten(&seat->backend_destroy);
    mc_unlisten(&seat->new_input);
}

static void repick(void *data)
{
    struct mc_seat *seat = data;
    seat->repick_source = NULL;
    mc_pointer_refocus(seat);
}

void mc_seat_repick(struct mc_server *server)
{
    struct mc_seat *seat = server->seat;
    if (seat != NULL && seat->repick_source == NULL) {
        seat->repick_source =
            wl_event_loop_add_idle(wl_display_get_event_loop(server->display), repick, seat);
    }
}

void mc_seat_forget(struct mc_server *server, uint64_t handle)
{
    struct mc_seat *seat = server->seat;
    if (seat == NULL || handle == 0) {
        return;
    }
    if (seat->grab.kind != MC_GRAB_NONE && seat->grab.handle == handle) {
        mc_grab_finish(seat);
    }
    mc_touch_forget(seat, handle);
    mc_pointer_forget(seat, handle);
    mc_focus_forget(seat, handle);
    mc_seat_repick(server);
}

int mc_seat_create_globals(struct mc_server *server, uint32_t which)
{
    mc_verb_begin(server);
    struct mc_seat *seat = server->seat;
    int result = 0;
    if (which & MC_SEAT_RELATIVE_POINTER && seat->relative_pointer == NULL) {
        seat->relative_pointer = wlr_relative_pointer_manager_v1_create(server->display);
        result = seat->relative_pointer != NULL ? 0 : -ENOMEM;
    }
    if (result == 0 && which & MC_SEAT_POINTER_GESTURES) {
        result = mc_gestures_create(seat);
    }
    if (result == 0 && which & MC_SEAT_POINTER_CONSTRAINTS) {
        result = mc_constraints_create(seat);
    }
    if (result == 0 && which & MC_SEAT_VIRTUAL_KEYBOARD) {
        result = mc_virtual_create_keyboards(seat);
    }
    if (result == 0 && which & MC_SEAT_VIRTUAL_POINTER) {
        result = mc_virtual_create_pointers(seat);
    }
    if (result == 0 && which & (MC_SEAT_TEXT_INPUT | MC_SEAT_INPUT_METHOD)) {
        result = mc_ime_create(seat, which & MC_SEAT_TEXT_INPUT, which & MC_SEAT_INPUT_METHOD);
    }
    if (result == 0 && which & MC_SEAT_SHORTCUTS_INHIBIT) {
        result = mc_bindings_create_inhibit(seat);
    }
    mc_verb_end(server);
    return result;
}

int mc_seat_init(struct mc_server *server)
{
    struct mc_seat *seat = calloc(1, sizeof(*seat));
    if (seat == NULL) {
        return -ENOMEM;
    }
    server->seat = seat;
    seat->server = server;
    seat->wlr_seat = server->wlr_seat;
    wl_list_init(&seat->devices);
    wl_list_init(&seat->bindings);
    int result = mc_keyboard_init(seat);
    if (result == 0) {
        result = mc_cursor_init(seat);
    }
    if (result != 0) {
        mc_seat_finish(server);
        return result;
    }
    mc_focus_init(seat);
    mc_pointer_init(seat);
    mc_touch_init(seat);
    mc_tablet_init(seat);
    mc_selection_init(seat);
    mc_listen(&server->backend->events.new_input, &seat->new_input, handle_new_input);
    mc_listen(&server->backend->events.destroy, &seat->backend_destroy, handle_backend_destroy);
    return 0;
}

void mc_seat_finish(struct mc_server *server)
{
    struct mc_seat *seat = server->seat;
    if (seat == NULL) {
        return;
    }
    mc_cursor_stop_loader(seat);
    mc_unlisten(&seat->new_input);
    mc_unlisten(&seat->backend_destroy);
    mc_inject_finish(seat);
    mc_ime_finish(seat);
    mc_virtual_finish(seat);
    struct mc_device *device, *next;
    wl_list_for_each_safe (device, next, &seat->devices, link) {
        mc_device_destroy(device);
    }
    mc_selection_finish(seat);
    mc_touch_finish(seat);
    mc_tablet_finish(seat);
    mc_constraints_finish(seat);
    mc_pointer_finish(seat);
    mc_focus_finish(seat);
    mc_cursor_finish(seat);
    mc_keyboard_finish(seat);
    mc_bindings_finish(seat);
    if (seat->repick_source != NULL) {
        wl_event_source_remove(seat->repick_source);
    }
    server->seat = NULL;
    free(seat);
}
