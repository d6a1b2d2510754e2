/* Keyboard focus: which window or layer surface has it. The policy decides; this carries it out.
 *
 * wlr_seat's own enter is used rather than its grab-aware one: an xdg_popup grab in wlroots 0.15 leaves the
 * keyboard where it was, which is right within the popup's client, and a popup of another client is
 * dismissed. Drags are left alone, what should have focus gets it when they end. */
#include <errno.h>
#include <wlr/types/wlr_xdg_shell.h>

#include "seat.h"

static struct wlr_surface *surface_of(struct mc_server *server, uint64_t handle)
{
    if (mc_handle_kind(handle) == MC_HANDLE_LAYER) {
        struct mc_layer *layer = mc_layer_from_handle(server, handle);
        return layer != NULL ? mc_layer_surface(layer) : NULL;
    }
    struct mc_window *window = mc_window_from_handle(server, handle);
    return window != NULL ? mc_window_surface(window) : NULL;
}

static void set_activated(struct mc_server *server, uint64_t handle, bool activated)
{
    struct mc_window *window = mc_window_from_handle(server, handle);
    if (window != NULL) {
        mc_window_set_activated(window, activated);
    }
}

/* The client whose popups have the grab, or NULL. */
static struct wl_client *popup_client(struct mc_seat *seat)
{
    struct wlr_seat_keyboard_grab *grab = seat->wlr_seat->keyboard_state.grab;
    if (seat->wlr_seat->drag != NULL || !wlr_seat_keyboard_has_grab(seat->wlr_seat)) {
        return NULL;
    }
    struct wlr_xdg_popup_grab *popup_grab = grab->data; /* wlroots has grabs for drags and popups only */
    return popup_grab->client;
}

void mc_focus_apply(struct mc_seat *seat)
{
    struct wlr_surface *surface = seat->focus != 0 ? surface_of(seat->server, seat->focus) : NULL;
    if (seat->wlr_seat->drag != NULL || seat->wlr_seat->keyboard_state.focused_surface == surface) {
        return;
    }
    struct wl_client *popups = popup_client(seat);
    if (popups != NULL && (surface == NULL || wl_resource_get_client(surface->resource) != popups)) {
        wlr_seat_keyboard_end_grab(seat->wlr_seat);
    }
    if (surface == NULL) {
        wlr_seat_keyboard_clear_focus(seat->wlr_seat);
        return;
    }
    struct wlr_keyboard *keyboard = mc_keyboard_current(seat);
    uint32_t keycodes[MC_KEYS_HELD_MAX];
    size_t count = mc_keyboard_held(seat, keycodes);
    wlr_seat_keyboard_enter(seat->wlr_seat, surface, keycodes, count,
                            keyboard != NULL ? &keyboard->modifiers : NULL);
}

int mc_seat_set_focus(struct mc_server *server, uint64_t handle)
{
    struct mc_seat *seat = server->seat;
    if (handle != 0) {
        if (mc_window_from_handle(server, handle) == NULL && mc_layer_from_handle(server, handle) == NULL) {
            return -ENOENT;
        }
        if (surface_of(server, handle) == NULL) {
            return -EAGAIN;
        }
    }
    uint64_t old = seat->focus;
    seat->focus = handle;
    if (old != handle) {
        set_activated(server, old, false);
        set_activated(server, handle, true);
    }
    mc_focus_apply(seat);
    return 0;
}

uint64_t mc_seat_get_focus(struct mc_server *server)
{
    return server->seat != NULL ? server->seat->focus : 0;
}

void mc_focus_forget(struct mc_seat *seat, uint64_t handle)
{
    if (seat->focus == handle) {
        mc_seat_set_focus(seat->server, 0);
    }
}

static int focus(struct mc_server *server, uint64_t handle, enum mc_handle_kind kind)
{
    mc_verb_begin(server);
    int result = mc_handle_kind(handle) == kind ? mc_seat_set_focus(server, handle) : -ENOENT;
    mc_verb_end(server);
    return result;
}

int mc_seat_focus_window(struct mc_server *server, uint64_t handle)
{
    return focus(server, handle, MC_HANDLE_WINDOW);
}

int mc_seat_focus_layer(struct mc_server *server, uint64_t handle)
{
    return focus(server, handle, MC_HANDLE_LAYER);
}

int mc_seat_focus_none(struct mc_server *server)
{
    return focus(server, 0, MC_HANDLE_NONE);
}

uint64_t mc_seat_focused(struct mc_server *server)
{
    mc_verb_begin(server);
    uint64_t handle = mc_seat_get_focus(server);
    mc_verb_end(server);
    return handle;
}

static void handle_keyboard_grab_end(struct wl_listener *listener, void *data)
{
    /* A drag calls this before it forgets itself (wlr_seat.drag): selection.c applies the focus again after
     * it. */
    struct mc_seat *seat = wl_container_of(listener, seat, keyboard_grab_end);
    mc_focus_apply(seat);
    mc_seat_repick(seat->server);
}

static void handle_keyboard_focus_change(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, keyboard_focus_change);
    struct wlr_seat_keyboard_focus_change_event *event = data;
    mc_ime_focus(seat, event->new_surface);
    mc_constraints_update(seat);
}

void mc_focus_init(struct mc_seat *seat)
{
    mc_listen(&seat->wlr_seat->events.keyboard_grab_end, &seat->keyboard_grab_end, handle_keyboard_grab_end);
    mc_listen(&seat->wlr_seat->keyboard_state.events.focus_change, &seat->keyboard_focus_change,
              handle_keyboard_focus_change);
}

void mc_focus_finish(struct mc_seat *seat)
{
    mc_unlisten(&seat->keyboard_grab_end);
    mc_unlisten(&seat->keyboard_focus_change);
}
