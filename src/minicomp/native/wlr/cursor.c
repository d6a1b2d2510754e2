/* The pointer's picture: the focused client's, or the theme's arrow; none before the pointer was used, while
 * fingers are used instead, or when it has rested long enough. */
#include <wlr/types/wlr_output.h>
#include <wlr/types/wlr_xcursor_manager.h>

#include "seat.h"
#include "vdisplay.h"

#define DEFAULT_SIZE 24

void mc_cursor_take_off(struct mc_seat *seat)
{
    if (seat->cursor.picture != MC_PICTURE_NONE) {
        seat->cursor.picture = MC_PICTURE_NONE;
        wlr_cursor_set_image(seat->server->cursor, NULL, 0, 0, 0, 0, 0, 0);
    }
}

static enum mc_cursor_plane plane_of(const struct wlr_output *wlr_output)
{
    if (wlr_output->hardware_cursor != NULL) {
        return MC_CURSOR_HARDWARE;
    }
    const struct wlr_output_cursor *shown;
    wl_list_for_each (shown, &wlr_output->cursors, link) {
        if (shown->enabled && shown->visible) {
            return MC_CURSOR_SOFTWARE;
        }
    }
    return MC_CURSOR_UNKNOWN;
}

/* Says, once per output and change, how the pointer is shown: wlroots takes the hardware's plane when there
 * is one and it takes the picture. */
static void report_planes(struct mc_server *server)
{
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        enum mc_cursor_plane plane = plane_of(output->wlr_output);
        if (plane != MC_CURSOR_UNKNOWN && plane != output->cursor_plane) {
            output->cursor_plane = plane;
            mc_log(server, mc_vdisplay_is_output(output->wlr_output) ? MC_LOG_DEBUG : MC_LOG_INFO,
                   "output %s: the cursor is %s", output->wlr_output->name,
                   plane == MC_CURSOR_HARDWARE ? "on a hardware plane" : "drawn in software");
        }
    }
}

static void show_picture(struct mc_seat *seat)
{
    struct mc_cursor *cursor = &seat->cursor;
    if (!cursor->shown || cursor->hide_after_ms == 0 || cursor->client_hides) {
        mc_cursor_take_off(seat);
    } else if (cursor->surface != NULL) {
        cursor->picture = MC_PICTURE_CLIENT;
        wlr_cursor_set_surface(seat->server->cursor, cursor->surface, cursor->hotspot_x, cursor->hotspot_y);
    } else if (cursor->picture != MC_PICTURE_DEFAULT) {
        if (mc_cursor_want_theme(seat)) {
            cursor->picture = MC_PICTURE_DEFAULT;
            wlr_xcursor_manager_set_cursor_image(cursor->manager, MC_CURSOR_DEFAULT, seat->server->cursor);
        } else {
            mc_cursor_take_off(seat);
        }
    }
}

static void handle_surface_destroy(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, cursor.surface_destroy);
    mc_cursor_set_client(seat, NULL, 0, 0);
}

static void set_surface(struct mc_cursor *cursor, struct wlr_surface *surface)
{
    if (cursor->surface != surface) {
        mc_unlisten(&cursor->surface_destroy);
        cursor->surface = surface;
        if (surface != NULL) {
            mc_listen(&surface->events.destroy, &cursor->surface_destroy, handle_surface_destroy);
        }
    }
}

void mc_cursor_set_client(struct mc_seat *seat, struct wlr_surface *surface, int32_t hotspot_x,
                          int32_t hotspot_y)
{
    struct mc_cursor *cursor = &seat->cursor;
    set_surface(cursor, surface);
    cursor->client_hides = surface == NULL;
    cursor->hotspot_x = hotspot_x;
    cursor->hotspot_y = hotspot_y;
    mc_cursor_apply(seat);
}

void mc_cursor_default(struct mc_seat *seat)
{
    struct mc_cursor *cursor = &seat->cursor;
    set_surface(cursor, NULL);
    cursor->client_hides = false;
    mc_cursor_apply(seat);
}

void mc_cursor_refresh(struct mc_seat *seat)
{
    if (seat->cursor.picture == MC_PICTURE_DEFAULT) { /* new outputs have no picture yet */
        seat->cursor.picture = MC_PICTURE_NONE;
    }
    seat->cursor.load_failed = false;
    mc_cursor_apply(seat);
}

void mc_cursor_apply(struct mc_seat *seat)
{
    show_picture(seat);
    report_planes(seat->server);
}

static uint64_t hide_at_ns(const struct mc_cursor *cursor)
{
    return cursor->moved_ns + (uint64_t)cursor->hide_after_ms * MC_NSEC_PER_MSEC;
}

void mc_cursor_used(struct mc_seat *seat)
{
    struct mc_cursor *cursor = &seat->cursor;
    if (cursor->hide_after_ms > 0) {
        cursor->moved_ns = mc_server_now_ns(seat->server);
        if (cursor->hide_timer.deadline_ns == 0) { /* a timer that is armed looks again when it fires */
            mc_timer_arm(&cursor->hide_timer, hide_at_ns(cursor));
        }
    }
    if (!cursor->shown) {
        cursor->shown = true;
        mc_cursor_apply(seat);
    }
}

void mc_cursor_unused(struct mc_seat *seat)
{
    if (seat->cursor.shown) {
        seat->cursor.shown = false;
        mc_cursor_apply(seat);
    }
}

static void rested(void *data, uint64_t deadline_ns)
{
    struct mc_seat *seat = data;
    struct mc_cursor *cursor = &seat->cursor;
    if (cursor->hide_after_ms <= 0) {
        return;
    }
    if (hide_at_ns(cursor) > deadline_ns) {
        mc_timer_arm(&cursor->hide_timer, hide_at_ns(cursor));
    } else {
        mc_cursor_unused(seat);
    }
}

void mc_seat_hide_cursor(struct mc_server *server, int32_t after_ms)
{
    mc_verb_begin(server);
    struct mc_cursor *cursor = &server->seat->cursor;
    cursor->hide_after_ms = after_ms < 0 ? -1 : after_ms;
    mc_timer_disarm(&cursor->hide_timer);
    if (after_ms > 0 && cursor->shown) {
        cursor->moved_ns = mc_server_now_ns(server);
        mc_timer_arm(&cursor->hide_timer, hide_at_ns(cursor));
    }
    mc_cursor_refresh(server->seat);
    mc_verb_end(server);
}

int mc_cursor_init(struct mc_seat *seat)
{
    seat->cursor.size = DEFAULT_SIZE;
    seat->cursor.hide_after_ms = -1;
    return mc_timer_init(&seat->cursor.hide_timer, seat->server, rested, seat);
}

void mc_cursor_finish(struct mc_seat *seat)
{
    mc_timer_finish(&seat->cursor.hide_timer);
    mc_unlisten(&seat->cursor.surface_destroy);
    mc_cursor_drop_theme(&seat->cursor);
}
