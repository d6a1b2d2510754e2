/* The cursor theme: read when a picture of it is first needed, by a thread of its own, for it takes tens of
 * milliseconds during which no frame must wait. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wlr/types/wlr_output.h>
#include <wlr/types/wlr_output_layout.h>
#include <wlr/types/wlr_xcursor_manager.h>
#include <wlr/xcursor.h>

#include "seat.h"

#define SCALES_MAX 16

static bool has_theme(const struct mc_cursor *cursor, float scale)
{
    struct wlr_xcursor_manager_theme *entry;
    if (cursor->manager != NULL) {
        wl_list_for_each (entry, &cursor->manager->scaled_themes, link) {
            if (entry->scale == scale) {
                return true;
            }
        }
    }
    return false;
}

/* The outputs' scales for which the theme is not loaded. */
static size_t missing_scales(struct mc_seat *seat, float scales_ret[SCALES_MAX])
{
    size_t count = 0;
    struct wlr_output_layout_output *place;
    wl_list_for_each (place, &seat->server->output_layout->outputs, link) {
        bool known = count == SCALES_MAX || has_theme(&seat->cursor, place->output->scale);
        for (size_t i = 0; i < count && !known; i++) {
            known = scales_ret[i] == place->output->scale;
        }
        if (!known) {
            scales_ret[count++] = place->output->scale;
        }
    }
    return count;
}

static void *run_loader(void *data)
{
    struct mc_seat *seat = data;
    struct mc_cursor *cursor = &seat->cursor;
    bool again;
    do {
        int result = mc_seat_load_cursor_theme(seat->server);
        mc_verb_begin(seat->server);
        cursor->loading = false;
        cursor->load_failed = result != 0;
        mc_cursor_apply(seat);
        again = cursor->loading; /* outputs of another scale have come meanwhile */
        mc_verb_end(seat->server);
    } while (again);
    return NULL;
}

static void join_loader(struct mc_cursor *cursor)
{
    if (cursor->loader_started) {
        pthread_join(cursor->loader, NULL);
        cursor->loader_started = false;
    }
}

bool mc_cursor_want_theme(struct mc_seat *seat)
{
    struct mc_cursor *cursor = &seat->cursor;
    float scales[SCALES_MAX];
    size_t count = missing_scales(seat, scales);
    if (count == 0) {
        return cursor->manager != NULL;
    }
    if (seat->server->step) {
        if (cursor->manager == NULL) {
            cursor->manager = wlr_xcursor_manager_create(cursor->theme, cursor->size);
        }
        for (size_t i = 0; i < count && cursor->manager != NULL; i++) {
            wlr_xcursor_manager_load(cursor->manager, scales[i]);
        }
        return cursor->manager != NULL;
    }
    if (!cursor->loading && !cursor->load_failed && !cursor->loader_stopped) {
        if (cursor->loader_started && pthread_equal(cursor->loader, pthread_self())) {
            cursor->loading = true; /* it is itself that asks: once more */
            return false;
        }
        join_loader(cursor);
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED); /* SCHED_OTHER, whoever we are */
        cursor->loader_started = pthread_create(&cursor->loader, &attributes, run_loader, seat) == 0;
        cursor->loading = cursor->loader_started;
        pthread_attr_destroy(&attributes);
    }
    return false;
}

static void drop_manager(struct mc_cursor *cursor)
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
    mc_cursor_take_off(server->seat); /* it may be one of the old theme's */
    drop_manager(cursor);
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
    if (cursor->manager == NULL) {
        cursor->manager = wlr_xcursor_manager_create(cursor->theme, cursor->size);
    }
    struct wlr_xcursor_manager_theme *entry = calloc(1, sizeof(*entry));
    if (cursor->manager == NULL || entry == NULL || has_theme(cursor, scale)) {
        free(entry);
        return false;
    }
    entry->scale = scale;
    entry->theme = theme;
    wl_list_insert(&cursor->manager->scaled_themes, &entry->link);
    return true;
}

static bool is_theme(const struct mc_cursor *cursor, const char *name, uint32_t size)
{
    bool same_name =
        name == NULL || cursor->theme == NULL ? name == cursor->theme : strcmp(name, cursor->theme) == 0;
    return same_name && cursor->size == size;
}

int mc_seat_load_cursor_theme(struct mc_server *server)
{
    float scales[SCALES_MAX];
    mc_verb_begin(server);
    struct mc_cursor *cursor = &server->seat->cursor;
    char *name = cursor->theme != NULL ? strdup(cursor->theme) : NULL;
    uint32_t size = cursor->size;
    size_t count = missing_scales(server->seat, scales);
    mc_verb_end(server);

    int result = 0;
    for (size_t i = 0; i < count; i++) {
        struct wlr_xcursor_theme *theme = wlr_xcursor_theme_load(name, (int)((float)size * scales[i]));
        if (theme == NULL) {
            result = -ENOENT;
            continue;
        }
        mc_verb_begin(server);
        bool taken = is_theme(cursor, name, size) && add_theme(cursor, scales[i], theme);
        mc_verb_end(server);
        if (!taken) {
            wlr_xcursor_theme_destroy(theme);
        }
    }
    free(name);
    return result;
}

void mc_cursor_stop_loader(struct mc_seat *seat)
{
    seat->cursor.loader_stopped = true;
    join_loader(&seat->cursor);
}

void mc_cursor_drop_theme(struct mc_cursor *cursor)
{
    drop_manager(cursor);
    free(cursor->theme);
    cursor->theme = NULL;
}

struct wlr_xcursor_image *mc_seat_default_cursor(struct mc_server *server)
{
    struct mc_cursor *cursor = &server->seat->cursor;
    if (cursor->manager == NULL) {
        cursor->manager = wlr_xcursor_manager_create(cursor->theme, cursor->size);
    }
    if (cursor->manager == NULL || !wlr_xcursor_manager_load(cursor->manager, 1)) {
        return NULL;
    }
    struct wlr_xcursor *xcursor = wlr_xcursor_manager_get_xcursor(cursor->manager, MC_CURSOR_DEFAULT, 1);
    return xcursor != NULL && xcursor->image_count > 0 ? xcursor->images[0] : NULL;
}
