/* Keys and buttons that belong to the policy: a table that Python fills, matched as sway does.
 *
 * A key matches by the symbol it makes with all modifiers applied ("exclam", without Shift), by its plain
 * symbol
 * ("Shift+1"), or by its plain symbol in the first layout, so that Super+Q works while a Cyrillic one is
 * active. */
#include <errno.h>
#include <stdlib.h>
#include <wlr/backend.h>
#include <wlr/backend/session.h>
#include <wlr/types/wlr_keyboard_shortcuts_inhibit_v1.h>
#include <xkbcommon/xkbcommon.h>

#include "seat.h"

static const struct mc_binding *find_binding(struct mc_seat *seat, bool is_button, uint32_t modifiers,
                                             uint32_t code)
{
    struct mc_binding *binding;
    wl_list_for_each (binding, &seat->bindings, link) {
        if (binding->is_button == is_button && binding->modifiers == modifiers && binding->code == code) {
            return binding;
        }
    }
    return NULL;
}

static const struct mc_binding *find_any(struct mc_seat *seat, uint32_t modifiers,
                                         const xkb_keysym_t *symbols, int count)
{
    for (int i = 0; i < count; i++) {
        const struct mc_binding *binding = find_binding(seat, false, modifiers, symbols[i]);
        if (binding != NULL) {
            return binding;
        }
    }
    return NULL;
}

static bool switch_vt(struct mc_seat *seat, const xkb_keysym_t *symbols, int count)
{
    for (int i = 0; i < count && seat->vt_switching; i++) {
        if (symbols[i] >= XKB_KEY_XF86Switch_VT_1 && symbols[i] <= XKB_KEY_XF86Switch_VT_12) {
            struct wlr_session *session = wlr_backend_get_session(seat->server->backend);
            if (session == NULL) {
                return false;
            }
            wlr_session_change_vt(session, symbols[i] - XKB_KEY_XF86Switch_VT_1 + 1);
            return true;
        }
    }
    return false;
}

static bool is_inhibited(struct mc_seat *seat)
{
    const struct wlr_surface *focused = seat->wlr_seat->keyboard_state.focused_surface;
    struct wlr_keyboard_shortcuts_inhibitor_v1 *inhibitor;
    if (seat->shortcuts_inhibit == NULL || focused == NULL) {
        return false;
    }
    wl_list_for_each (inhibitor, &seat->shortcuts_inhibit->inhibitors, link) {
        if (inhibitor->active && inhibitor->surface == focused) {
            return true;
        }
    }
    return false;
}

bool mc_bindings_key(struct mc_seat *seat, struct wlr_keyboard *keyboard, uint32_t keycode)
{
    xkb_keycode_t key = keycode + 8; /* xkb's numbers are X11's */
    const xkb_keysym_t *symbols;
    int count = xkb_state_key_get_syms(keyboard->xkb_state, key, &symbols);
    if (switch_vt(seat, symbols, count)) {
        return true;
    }
    if (wl_list_empty(&seat->bindings) || is_inhibited(seat)) {
        return false;
    }
    uint32_t modifiers = wlr_keyboard_get_modifiers(keyboard);
    uint32_t consumed_mask =
        xkb_state_key_get_consumed_mods2(keyboard->xkb_state, key, XKB_CONSUMED_MODE_XKB);
    uint32_t consumed = 0;
    for (int i = 0; i < WLR_MODIFIER_COUNT; i++) {
        if (keyboard->mod_indexes[i] != XKB_MOD_INVALID && consumed_mask & 1u << keyboard->mod_indexes[i]) {
            consumed |= 1u << i;
        }
    }
    const struct mc_binding *binding = find_any(seat, modifiers & ~consumed, symbols, count);
    xkb_layout_index_t layout = xkb_state_key_get_layout(keyboard->xkb_state, key);
    if (binding == NULL) {
        count = xkb_keymap_key_get_syms_by_level(keyboard->keymap, key, layout, 0, &symbols);
        binding = find_any(seat, modifiers, symbols, count);
    }
    if (binding == NULL && layout != 0) {
        count = xkb_keymap_key_get_syms_by_level(keyboard->keymap, key, 0, 0, &symbols);
        binding = find_any(seat, modifiers, symbols, count);
    }
    if (binding != NULL) {
        mc_push(seat->server, MC_EVENT_BINDING, 0, binding->number, 0);
    }
    return binding != NULL;
}

bool mc_bindings_button(struct mc_seat *seat, uint32_t button, uint64_t handle)
{
    struct wlr_keyboard *keyboard = wlr_seat_get_keyboard(seat->wlr_seat);
    uint32_t modifiers = keyboard != NULL ? wlr_keyboard_get_modifiers(keyboard) : 0;
    const struct mc_binding *binding = find_binding(seat, true, modifiers, button);
    if (binding == NULL || is_inhibited(seat)) {
        return false;
    }
    mc_push(seat->server, MC_EVENT_BINDING, handle, binding->number, 0);
    return true;
}

/* ---- the table ---- */

static int add_binding(struct mc_server *server, bool is_button, uint32_t modifiers, uint32_t code,
                       int64_t number)
{
    struct mc_binding *binding = calloc(1, sizeof(*binding));
    if (binding == NULL) {
        return -ENOMEM;
    }
    *binding =
        (struct mc_binding){.modifiers = modifiers, .code = code, .is_button = is_button, .number = number};
    mc_verb_begin(server);
    wl_list_insert(&server->seat->bindings, &binding->link);
    mc_verb_end(server);
    return 0;
}

int mc_seat_bind(struct mc_server *server, uint32_t modifiers, uint32_t keysym, int64_t number)
{
    return add_binding(server, false, modifiers, keysym, number);
}

int mc_seat_bind_button(struct mc_server *server, uint32_t modifiers, uint32_t button, int64_t number)
{
    return add_binding(server, true, modifiers, button, number);
}

static void clear(struct mc_seat *seat)
{
    struct mc_binding *binding, *next;
    wl_list_for_each_safe (binding, next, &seat->bindings, link) {
        wl_list_remove(&binding->link);
        free(binding);
    }
}

void mc_bindings_finish(struct mc_seat *seat)
{
    mc_unlisten(&seat->new_inhibitor);
    clear(seat);
}

void mc_seat_clear_bindings(struct mc_server *server)
{
    mc_verb_begin(server);
    clear(server->seat);
    mc_verb_end(server);
}

void mc_seat_set_vt_switching(struct mc_server *server, bool enabled)
{
    mc_verb_begin(server);
    server->seat->vt_switching = enabled;
    mc_verb_end(server);
}

int mc_seat_change_vt(struct mc_server *server, uint32_t vt)
{
    mc_verb_begin(server);
    struct wlr_session *session = wlr_backend_get_session(server->backend);
    int result = -ENOTSUP;
    if (session != NULL) {
        result = wlr_session_change_vt(session, vt) ? 0 : -EINVAL;
    }
    mc_verb_end(server);
    return result;
}

/* ---- clients that want all keys for themselves: virtual machines, remote desktops ---- */

static void handle_new_inhibitor(struct wl_listener *listener, void *data)
{
    wlr_keyboard_shortcuts_inhibitor_v1_activate(data);
}

int mc_bindings_create_inhibit(struct mc_seat *seat)
{
    if (seat->shortcuts_inhibit == NULL) {
        seat->shortcuts_inhibit = wlr_keyboard_shortcuts_inhibit_v1_create(seat->server->display);
        if (seat->shortcuts_inhibit == NULL) {
            return -ENOMEM;
        }
        mc_listen(&seat->shortcuts_inhibit->events.new_inhibitor, &seat->new_inhibitor, handle_new_inhibitor);
    }
    return 0;
}
