/* Interactive move and resize: a window follows the pointer, or the finger that is on it, until that is
 * released. The client is told that the pointer left, or that the touch was cancelled. */
#include <errno.h>
#include <math.h>
#include <wlr/util/edges.h>

#include "seat.h"

static void move_by(struct mc_window *window, const struct mc_grab *grab, double dx, double dy)
{
    mc_window_place(window, grab->box.x + (int)round(dx), grab->box.y + (int)round(dy));
}

static void resize_by(struct mc_window *window, const struct mc_grab *grab, double dx, double dy)
{
    int left = grab->box.x, top = grab->box.y;
    int right = left + grab->box.width, bottom = top + grab->box.height;
    if (grab->edges & WLR_EDGE_LEFT) {
        left = (int)fmin(left + round(dx), right - 1);
    } else if (grab->edges & WLR_EDGE_RIGHT) {
        right = (int)fmax(right + round(dx), left + 1);
    }
    if (grab->edges & WLR_EDGE_TOP) {
        top = (int)fmin(top + round(dy), bottom - 1);
    } else if (grab->edges & WLR_EDGE_BOTTOM) {
        bottom = (int)fmax(bottom + round(dy), top + 1);
    }
    mc_window_resize(window, grab->edges, left, top, right - left, bottom - top);
}

bool mc_grab_motion(struct mc_seat *seat, struct mc_touch_point *point, double lx, double ly)
{
    const struct mc_grab *grab = &seat->grab;
    if (grab->kind == MC_GRAB_NONE || grab->point != point) {
        return false;
    }
    struct mc_window *window = mc_window_from_handle(seat->server, grab->handle);
    if (window == NULL) {
        mc_grab_finish(seat);
        return false;
    }
    if (grab->kind == MC_GRAB_MOVE) {
        move_by(window, grab, lx - grab->start_lx, ly - grab->start_ly);
    } else {
        resize_by(window, grab, lx - grab->start_lx, ly - grab->start_ly);
    }
    return true;
}

void mc_grab_finish(struct mc_seat *seat)
{
    struct mc_grab grab = seat->grab;
    if (grab.kind == MC_GRAB_NONE) {
        return;
    }
    seat->grab = (struct mc_grab){0};
    struct mc_window *window = mc_window_from_handle(seat->server, grab.handle);
    if (window != NULL && grab.kind == MC_GRAB_RESIZE) {
        mc_window_resize_end(window);
    }
    mc_push(seat->server, MC_EVENT_GRAB_END, grab.handle, 0, 0);
    mc_seat_repick(seat->server);
}

static int begin(struct mc_server *server, uint64_t handle, enum mc_grab_kind kind, uint32_t edges)
{
    struct mc_seat *seat = server->seat;
    struct mc_window *window = mc_window_from_handle(server, handle);
    if (window == NULL) {
        return -ENOENT;
    }
    if (seat->grab.kind != MC_GRAB_NONE || seat->wlr_seat->drag != NULL) {
        return -EBUSY;
    }
    struct mc_touch_point *point = seat->held_button_count == 0 ? mc_touch_on(seat, handle) : NULL;
    if (seat->held_button_count == 0 && point == NULL) {
        return -EAGAIN;
    }
    seat->grab = (struct mc_grab){
        .kind = kind,
        .handle = handle,
        .edges = edges,
        .start_lx = point != NULL ? point->lx : server->cursor->x,
        .start_ly = point != NULL ? point->ly : server->cursor->y,
        .point = point,
    };
    mc_window_get_geometry(window, &seat->grab.box);
    if (point != NULL) {
        mc_touch_take(point);
    } else {
        wlr_seat_pointer_notify_clear_focus(seat->wlr_seat);
        mc_cursor_default(seat);
    }
    return 0;
}

int mc_seat_begin_move(struct mc_server *server, uint64_t window)
{
    mc_verb_begin(server);
    int result = begin(server, window, MC_GRAB_MOVE, 0);
    mc_verb_end(server);
    return result;
}

int mc_seat_begin_resize(struct mc_server *server, uint64_t window, uint32_t edges)
{
    if (edges == 0 || edges > (WLR_EDGE_TOP | WLR_EDGE_BOTTOM | WLR_EDGE_LEFT | WLR_EDGE_RIGHT)) {
        return -EINVAL;
    }
    mc_verb_begin(server);
    int result = begin(server, window, MC_GRAB_RESIZE, edges);
    mc_verb_end(server);
    return result;
}

int mc_seat_end_grab(struct mc_server *server)
{
    mc_verb_begin(server);
    int result = server->seat->grab.kind != MC_GRAB_NONE ? 0 : -ENOENT;
    mc_grab_finish(server->seat);
    mc_verb_end(server);
    return result;
}
