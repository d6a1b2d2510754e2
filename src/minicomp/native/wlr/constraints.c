/* Pointer constraints: a surface locks the pointer where it is, or confines it to a region.
 *
 * One is active while its surface has pointer focus, the pointer is inside its region, and the keyboard is
 * with the same window (or with none): a window that the pointer merely crosses must not catch it. */
#include <errno.h>
#include <math.h>
#include <pixman.h>
#include <stdlib.h>
#include <wlr/types/wlr_pointer_constraints_v1.h>
#include <wlr/util/region.h>

#include "seat.h"

/* Constraints may die at any time; each has one of these, in constraint->data. */
struct tracked {
    struct mc_seat *seat;
    struct wlr_pointer_constraint_v1 *constraint;
    struct wl_listener set_region, destroy;
};

static void deactivate(struct mc_seat *seat)
{
    struct wlr_pointer_constraint_v1 *constraint = seat->active_constraint;
    if (constraint == NULL) {
        return;
    }
    seat->active_constraint = NULL;
    if (constraint->type == WLR_POINTER_CONSTRAINT_V1_LOCKED &&
        constraint->current.committed & WLR_POINTER_CONSTRAINT_V1_STATE_CURSOR_HINT) {
        /* Where the client drew its own pointer: the real one comes back there. */
        struct wlr_scene_node *node = mc_scene_find(&seat->server->scene->node, constraint->surface);
        int lx, ly;
        if (node != NULL && wlr_scene_node_coords(node, &lx, &ly)) {
            double sx = constraint->current.cursor_hint.x, sy = constraint->current.cursor_hint.y;
            wlr_cursor_warp(seat->server->cursor, NULL, lx + sx, ly + sy);
            if (seat->wlr_seat->pointer_state.focused_surface == constraint->surface) {
                wlr_seat_pointer_warp(seat->wlr_seat, sx, sy);
            }
            mc_seat_repick(seat->server);
        }
    }
}

static bool may_activate(struct mc_seat *seat, struct wlr_pointer_constraint_v1 *constraint)
{
    const struct wlr_seat_pointer_state *state = &seat->wlr_seat->pointer_state;
    return seat->grab.kind == MC_GRAB_NONE && state->focused_surface == constraint->surface &&
           (seat->focus == 0 || seat->focus == seat->pointer_handle) &&
           pixman_region32_contains_point(&constraint->region, (int)floor(state->sx), (int)floor(state->sy),
                                          NULL);
}

static bool must_deactivate(struct mc_seat *seat, struct wlr_pointer_constraint_v1 *constraint)
{
    return seat->wlr_seat->pointer_state.focused_surface != constraint->surface ||
           (seat->focus != 0 && seat->focus != seat->pointer_handle);
}

void mc_constraints_update(struct mc_seat *seat)
{
    struct wlr_pointer_constraint_v1 *active = seat->active_constraint;
    if (seat->constraints == NULL) {
        return;
    }
    if (active != NULL && must_deactivate(seat, active)) {
        deactivate(seat);
        wlr_pointer_constraint_v1_send_deactivated(active); /* a one-shot one dies in this */
    }
    struct wlr_surface *surface = seat->wlr_seat->pointer_state.focused_surface;
    if (seat->active_constraint != NULL || surface == NULL ||
        wl_list_empty(&seat->constraints->constraints)) {
        return;
    }
    struct wlr_pointer_constraint_v1 *wanted =
        wlr_pointer_constraints_v1_constraint_for_surface(seat->constraints, surface, seat->wlr_seat);
    if (wanted != NULL && may_activate(seat, wanted)) {
        seat->active_constraint = wanted;
        wlr_pointer_constraint_v1_send_activated(wanted);
    }
}

bool mc_constraints_apply(struct mc_seat *seat, double *dx, double *dy)
{
    struct wlr_pointer_constraint_v1 *constraint = seat->active_constraint;
    if (constraint == NULL) {
        return true;
    }
    if (constraint->type == WLR_POINTER_CONSTRAINT_V1_LOCKED) {
        return false;
    }
    double sx = seat->wlr_seat->pointer_state.sx, sy = seat->wlr_seat->pointer_state.sy;
    double to_sx, to_sy;
    if (!wlr_region_confine(&constraint->region, sx, sy, sx + *dx, sy + *dy, &to_sx, &to_sy)) {
        return false;
    }
    *dx = to_sx - sx;
    *dy = to_sy - sy;
    return true;
}

static void handle_set_region(struct wl_listener *listener, void *data)
{
    struct tracked *tracked = wl_container_of(listener, tracked, set_region);
    struct mc_seat *seat = tracked->seat;
    struct wlr_pointer_constraint_v1 *constraint = tracked->constraint;
    if (seat->active_constraint != constraint) {
        mc_constraints_update(seat);
        return;
    }
    pixman_box32_t *box = pixman_region32_extents(&constraint->region);
    const struct wlr_seat_pointer_state *state = &seat->wlr_seat->pointer_state;
    if (constraint->type == WLR_POINTER_CONSTRAINT_V1_CONFINED &&
        pixman_region32_not_empty(&constraint->region) &&
        !pixman_region32_contains_point(&constraint->region, (int)floor(state->sx), (int)floor(state->sy),
                                        NULL)) {
        /* The protocol wants the pointer inside; the middle of what is left is as good as any point. */
        double dx = (box->x1 + box->x2) / 2.0 - state->sx, dy = (box->y1 + box->y2) / 2.0 - state->sy;
        wlr_cursor_move(seat->server->cursor, NULL, dx, dy);
        mc_seat_repick(seat->server);
    }
}

static void handle_destroy(struct wl_listener *listener, void *data)
{
    struct tracked *tracked = wl_container_of(listener, tracked, destroy);
    struct mc_seat *seat = tracked->seat;
    if (seat->active_constraint == tracked->constraint) {
        deactivate(seat);
    }
    tracked->constraint->data = NULL;
    mc_unlisten(&tracked->set_region);
    mc_unlisten(&tracked->destroy);
    free(tracked);
}

static void handle_new_constraint(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, new_constraint);
    struct wlr_pointer_constraint_v1 *constraint = data;
    struct tracked *tracked = calloc(1, sizeof(*tracked));
    if (tracked == NULL) { /* untracked it could outlive its use: it is never activated */
        wl_resource_post_no_memory(constraint->resource);
        return;
    }
    tracked->seat = seat;
    tracked->constraint = constraint;
    constraint->data = tracked;
    mc_listen(&constraint->events.set_region, &tracked->set_region, handle_set_region);
    mc_listen(&constraint->events.destroy, &tracked->destroy, handle_destroy);
    mc_constraints_update(seat);
}

int mc_constraints_create(struct mc_seat *seat)
{
    if (seat->constraints == NULL) {
        seat->constraints = wlr_pointer_constraints_v1_create(seat->server->display);
        if (seat->constraints == NULL) {
            return -ENOMEM;
        }
        mc_listen(&seat->constraints->events.new_constraint, &seat->new_constraint, handle_new_constraint);
    }
    return 0;
}

void mc_constraints_finish(struct mc_seat *seat)
{
    mc_unlisten(&seat->new_constraint);
    struct wlr_pointer_constraint_v1 *constraint;
    if (seat->constraints != NULL) {
        wl_list_for_each (constraint, &seat->constraints->constraints, link) {
            if (constraint->data != NULL) {
                struct tracked *tracked = constraint->data;
                seat->active_constraint = NULL;
                handle_destroy(&tracked->destroy, constraint);
            }
        }
    }
    seat->constraints = NULL;
}
