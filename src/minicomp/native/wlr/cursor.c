/* The pointer's picture: the focused client's, or the theme's arrow; none before the pointer was used, while
 * fingers are used instead, or when it has rested long enough. The theme is read when first needed: it costs
 * milliseconds. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wlr/types/wlr_output.h>
#include <wlr/types/wlr_output_layout.h>
#include <wlr/types/wlr_xcursor_manager.h>
#include <wlr/xcursor.h>

#include "seat.h"

#define DEFAULT_SIZE 24
#define DEFAULT_IMAGE "left_ptr"
#define SCALES_MAX 16

static void load_theme(struct mc_seat *seat)
{
    struct mc_cursor *cursor = &seat->cursor;
    if (cursor->manager == NULL) {
        cursor->manager = wlr_xcursor_manager_create(cursor->theme, cursor->size);
    }
    struct wlr_output_layout_output *place;
    wl_list_for_each (place, &seat->server->output_layout->outputs, link) {
        if (cursor->manager != NULL) { /* does nothing for a scale that is loaded */
            wlr_xcursor_manager_load(cursor->manager, place->output->scale);
        }
    }
}

static void hide(struct mc_seat *seat)
{
    if (seat->cursor.picture != MC_PICTURE_NONE) {
        seat->cursor.picture = MC_PICTURE_NONE;
        wlr_cursor_set_image(seat->server->cursor, NULL, 0, 0, 0, 0, 0, 0);
    }
}

static void apply(struct mc_seat *seat)
{
    struct mc_cursor *cursor = &seat->cursor;
    if (!cursor->shown || cursor->hide_after_ms == 0 || cursor->client_hides) {
        hide(seat);
    } else if (cursor->surface != NULL) {
        cursor->picture = MC_PICTURE_CLIENT;
        wlr_cursor_set_surface(seat->server->cursor, cursor->surface, cursor->hotspot_x, cursor->hotspot_y);
    } else if (cursor->picture != MC_PICTURE_DEFAULT) {
        load_theme(seat);
        if (cursor->manager != NULL) {
            cursor->picture = MC_PICTURE_DEFAULT;
            wlr_xcursor_manager_set_cursor_image(cursor->manager, DEFAULT_IMAGE, seat->server->cursor);
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
    apply(seat);
}

void mc_cursor_default(struct mc_seat *seat)
{
    struct mc_cursor *cursor = &seat->cursor;
    set_surface(cursor, NULL);
    cursor->client_hides = false;
    apply(seat);
}

void mc_cursor_refresh(struct mc_seat *seat)
{
    if (seat->cursor.picture == MC_PICTURE_DEFAULT) { /* new outputs have no picture yet */
        seat->cursor.picture = MC_PICTURE_NONE;
    }
    apply(seat);
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
        apply(seat);
    }
}

void mc_cursor_unused(struct mc_seat *seat)
{
    if (seat->cursor.shown) {
        seat->cursor.shown = false;
        apply(seat);
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

/* ---- verbs and what Xwayland asks ---- */

static void drop_theme(struct mc_cursor *cursor)
{
    if (cursor->manager != NULL) {
        wlr_xcursor_manager_destroy(cursor->manager);
        cursor->manager = NULL;
    }
}

int mc_seat_set_cursor_theme(struct mc_server *server, const char *name, uint32_t size)
{
    char *theme = name != NULL ? strdup(name) : NULL;
    if (size == 0 || size > 1024 || (name != NULL && theme == NULL)) {
        free(theme);
        return size == 0 || size > 1024 ? -EINVAL : -ENOMEM;
    }
    mc_verb_begin(server);
    struct mc_cursor *cursor = &server->seat->cursor;
    hide(server->seat); /* it may show one of the theme's pictures */
    drop_theme(cursor);
    free(cursor->theme);
    cursor->theme = theme;
    cursor->size = size;
    mc_cursor_refresh(server->seat);
    mc_verb_end(server);
    return 0;
}

/* Themes read without the lock are handed to the manager by its public list, as wlr_xcursor_manager_load
 * does. */
static bool add_theme(struct mc_cursor *cursor, float scale, struct wlr_xcursor_theme *theme)
{
    struct wlr_xcursor_manager_theme *entry;
    wl_list_for_each (entry, &cursor->manager->scaled_themes, link) {
        if (entry->scale == scale) {
            return false;
        }
    }
    entry = calloc(1, sizeof(*entry));
    if (entry == NULL) {
        return false;
    }
    entry->scale = scale;
    entry->theme = theme;
    wl_list_insert(&cursor->manager->scaled_themes, &entry->link);
    return true;
}

int mc_seat_load_cursor_theme(struct mc_server *server)
{
    float scales[SCALES_MAX];
    size_t count = 0;
    mc_verb_begin(server);
    struct mc_cursor *cursor = &server->seat->cursor;
    char *name = cursor->theme != NULL ? strdup(cursor->theme) : NULL;
    uint32_t size = cursor->size;
    struct wlr_output_layout_output *place;
    wl_list_for_each (place, &server->output_layout->outputs, link) {
        bool known = count == SCALES_MAX;
        for (size_t i = 0; i < count && !known; i++) {
            known = scales[i] == place->output->scale;
        }
        if (!known) {
            scales[count++] = place->output->scale;
        }
    }
    mc_verb_end(server);

    int result = 0;
    for (size_t i = 0; i < count; i++) {
        struct wlr_xcursor_theme *theme = wlr_xcursor_theme_load(name, (int)((float)size * scales[i]));
        if (theme == NULL) {
            result = -ENOENT;
            continue;
        }
        mc_verb_begin(server);
        bool same = cursor->size == size &&
                    (name == NULL ? cursor->theme == NULL
                                  : cursor->theme != NULL && strcmp(name, cursor->theme) == 0);
        if (same && cursor->manager == NULL) {
            cursor->manager = wlr_xcursor_manager_create(cursor->theme, cursor->size);
        }
        bool taken = same && cursor->manager != NULL && add_theme(cursor, scales[i], theme);
        mc_verb_end(server);
        if (!taken) {
            wlr_xcursor_theme_destroy(theme);
        }
    }
    free(name);
    return result;
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

struct wlr_xcursor_image *mc_seat_default_cursor(struct mc_server *server)
{
    struct mc_cursor *cursor = &server->seat->cursor;
    load_theme(server->seat);
    if (cursor->manager == NULL || !wlr_xcursor_manager_load(cursor->manager, 1)) {
        return NULL;
    }
    struct wlr_xcursor *xcursor = wlr_xcursor_manager_get_xcursor(cursor->manager, DEFAULT_IMAGE, 1);
    return xcursor != NULL && xcursor->image_count > 0 ? xcursor->images[0] : NULL;
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
    drop_theme(&seat->cursor);
    free(seat->cursor.theme);
    seat->cursor.theme = NULL;
}
