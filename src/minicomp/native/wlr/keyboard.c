/* Keyboards: the hub that all ordinary keyboards feed, virtual keyboards with keymaps of their own, and where
 * each key goes: to a binding, to the input method, or to the focused client. A release goes where its press
 * went. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wlr/types/wlr_input_method_v2.h>
#include <xkbcommon/xkbcommon.h>

#include "seat.h"

/* ---- keys on their way ---- */

static struct mc_held_key *find_held(struct mc_seat *seat, struct wlr_keyboard *keyboard, uint32_t keycode)
{
    for (size_t i = 0; i < seat->held_key_count; i++) {
        struct mc_held_key *held = &seat->held_keys[i];
        if (held->keyboard == keyboard && held->keycode == keycode) {
            return held;
        }
    }
    return NULL;
}

size_t mc_keyboard_held(struct mc_seat *seat, uint32_t keycodes_ret[MC_KEYS_HELD_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < seat->held_key_count; i++) {
        bool known = seat->held_keys[i].target != MC_KEY_CLIENT;
        for (size_t j = 0; j < count && !known; j++) {
            known = keycodes_ret[j] == seat->held_keys[i].keycode;
        }
        if (!known) {
            keycodes_ret[count++] = seat->held_keys[i].keycode;
        }
    }
    return count;
}

struct wlr_keyboard *mc_keyboard_current(struct mc_seat *seat)
{
    struct wlr_keyboard *keyboard = wlr_seat_get_keyboard(seat->wlr_seat);
    if (keyboard == NULL && mc_keyboard_ensure_keymap(seat)) {
        wlr_seat_set_keyboard(seat->wlr_seat, &seat->hub_device);
        keyboard = &seat->hub;
    }
    return keyboard;
}

static void send_key(struct mc_seat *seat, struct wlr_input_device *device, enum mc_key_target target,
                     const struct wlr_event_keyboard_key *event)
{
    struct wlr_input_method_keyboard_grab_v2 *grab;
    switch (target) {
    case MC_KEY_EATEN:
        break;
    case MC_KEY_CLIENT:
        wlr_seat_set_keyboard(seat->wlr_seat, device);
        wlr_seat_keyboard_notify_key(seat->wlr_seat, event->time_msec, event->keycode, event->state);
        mc_seat_delivered(seat, MC_INPUT_KEY, seat->wlr_seat->keyboard_state.focused_surface);
        break;
    case MC_KEY_INPUT_METHOD:
        grab = mc_ime_grab(seat, device->keyboard);
        if (grab != NULL) {
            wlr_input_method_keyboard_grab_v2_set_keyboard(grab, device->keyboard);
            wlr_input_method_keyboard_grab_v2_send_key(grab, event->time_msec, event->keycode, event->state);
        }
        break;
    }
}

static void route_key(struct mc_seat *seat, struct wlr_input_device *device,
                      const struct wlr_event_keyboard_key *event)
{
    struct wlr_keyboard *keyboard = device->keyboard;
    struct mc_held_key *held = find_held(seat, keyboard, event->keycode);
    if (event->state != WL_KEYBOARD_KEY_STATE_PRESSED) {
        if (held != NULL) {
            enum mc_key_target target = held->target;
            *held = seat->held_keys[--seat->held_key_count];
            send_key(seat, device, target, event);
        }
        return;
    }
    if (held != NULL || seat->held_key_count == MC_KEYS_HELD_MAX || keyboard->keymap == NULL) {
        return;
    }
    enum mc_key_target target = MC_KEY_CLIENT;
    if (mc_bindings_key(seat, keyboard, event->keycode)) {
        target = MC_KEY_EATEN;
    } else if (mc_ime_grab(seat, keyboard) != NULL) {
        target = MC_KEY_INPUT_METHOD;
    }
    seat->held_keys[seat->held_key_count++] = (struct mc_held_key){keyboard, event->keycode, target};
    send_key(seat, device, target, event);
}

static void route_modifiers(struct mc_seat *seat, struct wlr_input_device *device)
{
    struct wlr_input_method_keyboard_grab_v2 *grab = mc_ime_grab(seat, device->keyboard);
    if (grab != NULL) {
        wlr_input_method_keyboard_grab_v2_set_keyboard(grab, device->keyboard);
        wlr_input_method_keyboard_grab_v2_send_modifiers(grab, &device->keyboard->modifiers);
        return;
    }
    wlr_seat_set_keyboard(seat->wlr_seat, device);
    wlr_seat_keyboard_notify_modifiers(seat->wlr_seat, &device->keyboard->modifiers);
}

/* ---- the hub ---- */

static void handle_hub_key(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, hub_key);
    route_key(seat, &seat->hub_device, data);
}

static void handle_hub_modifiers(struct wl_listener *listener, void *data)
{
    struct mc_seat *seat = wl_container_of(listener, seat, hub_modifiers);
    route_modifiers(seat, &seat->hub_device);
}

static bool feeds_hub(const struct mc_device *device)
{
    return device->device->type == WLR_INPUT_DEVICE_KEYBOARD && !device->is_virtual &&
           !device->has_own_keymap;
}

/* How many keyboards hold a key down. wlr_keyboard keeps that list even without a keymap. */
static int count_holders(struct mc_seat *seat, uint32_t keycode)
{
    int count = 0;
    struct mc_device *device;
    wl_list_for_each (device, &seat->devices, link) {
        const struct wlr_keyboard *keyboard = feeds_hub(device) ? device->device->keyboard : NULL;
        for (size_t i = 0; keyboard != NULL && i < keyboard->num_keycodes; i++) {
            count += keyboard->keycodes[i] == keycode;
        }
    }
    return count;
}

static void feed_hub(struct mc_seat *seat, uint32_t time_ms, uint32_t keycode)
{
    bool is_down = false;
    for (size_t i = 0; i < seat->hub.num_keycodes; i++) {
        is_down = is_down || seat->hub.keycodes[i] == keycode;
    }
    bool wanted = count_holders(seat, keycode) > 0;
    if (wanted != is_down) {
        struct wlr_event_keyboard_key event = {
            .time_msec = time_ms,
            .keycode = keycode,
            .update_state = true,
            .state = wanted ? WL_KEYBOARD_KEY_STATE_PRESSED : WL_KEYBOARD_KEY_STATE_RELEASED,
        };
        wlr_keyboard_notify_key(&seat->hub, &event);
    }
}

static void hub_led_update(struct wlr_keyboard *keyboard, uint32_t leds)
{
    struct mc_seat *seat = wl_container_of(keyboard, seat, hub);
    struct mc_device *device;
    wl_list_for_each (device, &seat->devices, link) {
        if (feeds_hub(device)) {
            wlr_keyboard_led_update(device->device->keyboard, leds);
        }
    }
}

/* Both are part of struct mc_seat. */
static void hub_keyboard_destroy(struct wlr_keyboard *keyboard)
{
}

static void hub_device_destroy(struct wlr_input_device *device)
{
}

static const struct wlr_keyboard_impl hub_impl = {.destroy = hub_keyboard_destroy,
                                                  .led_update = hub_led_update};
static const struct wlr_input_device_impl hub_device_impl = {.destroy = hub_device_destroy};

/* ---- devices ---- */

static void handle_key(struct wl_listener *listener, void *data)
{
    struct mc_device *device = wl_container_of(listener, device, key);
    struct wlr_event_keyboard_key *event = data;
    mc_seat_stamp(device->seat->server, MC_INPUT_KEY, event->time_msec);
    if (feeds_hub(device)) {
        feed_hub(device->seat, event->time_msec, event->keycode);
    } else {
        route_key(device->seat, device->device, event);
    }
}

static void handle_modifiers(struct wl_listener *listener, void *data)
{
    struct mc_device *device = wl_container_of(listener, device, modifiers);
    route_modifiers(device->seat, device->device);
}

void mc_keyboard_add(struct mc_device *device)
{
    struct mc_seat *seat = device->seat;
    struct wlr_keyboard *keyboard = device->device->keyboard;
    mc_listen(&keyboard->events.key, &device->key, handle_key);
    if (feeds_hub(device)) {
        mc_keyboard_ensure_keymap(seat);
        uint32_t leds = 0;
        for (uint32_t i = 0; i < WLR_LED_COUNT && seat->hub.xkb_state != NULL; i++) {
            leds |=
                (uint32_t)(xkb_state_led_index_is_active(seat->hub.xkb_state, seat->hub.led_indexes[i]) > 0)
                << i;
        }
        wlr_keyboard_led_update(keyboard, leds);
    } else {
        mc_listen(&keyboard->events.modifiers, &device->modifiers, handle_modifiers);
    }
}

void mc_keyboard_remove(struct mc_device *device)
{
    struct mc_seat *seat = device->seat;
    struct wlr_keyboard *keyboard = device->device->keyboard;
    uint32_t now_ms = mc_seat_now_ms(seat);
    mc_unlisten(&device->key);
    mc_unlisten(&device->modifiers);
    if (feeds_hub(device)) { /* it is off the list of devices already: what only it held is released */
        for (size_t i = 0; i < keyboard->num_keycodes; i++) {
            feed_hub(seat, now_ms, keyboard->keycodes[i]);
        }
        return;
    }
    for (size_t i = seat->held_key_count; i-- > 0;) {
        if (seat->held_keys[i].keyboard == keyboard) {
            struct wlr_event_keyboard_key event = {
                .time_msec = now_ms,
                .keycode = seat->held_keys[i].keycode,
                .state = WL_KEYBOARD_KEY_STATE_RELEASED,
            };
            route_key(seat, device->device, &event);
        }
    }
    if (seat->hub_ready) { /* clients get the keymap of the real keyboards back */
        wlr_seat_set_keyboard(seat->wlr_seat, &seat->hub_device);
    }
}

/* ---- keymap ---- */

static bool use_keymap(struct mc_seat *seat, struct xkb_keymap *keymap)
{
    if (keymap == NULL || !wlr_keyboard_set_keymap(&seat->hub, keymap)) {
        return false;
    }
    if (!seat->hub_ready) {
        seat->hub_ready = true;
        wlr_seat_set_keyboard(seat->wlr_seat, &seat->hub_device);
    }
    return true;
}

bool mc_keyboard_ensure_keymap(struct mc_seat *seat)
{
    if (!seat->hub_ready) {
        struct xkb_keymap *keymap = xkb_keymap_new_from_names(seat->xkb, NULL, XKB_KEYMAP_COMPILE_NO_FLAGS);
        if (!use_keymap(seat, keymap)) {
            mc_log(seat->server, MC_LOG_ERROR, "xkbcommon has no default keymap: is xkb-data installed?");
        }
        xkb_keymap_unref(keymap);
    }
    return seat->hub_ready;
}

int mc_seat_set_keymap(struct mc_server *server, const char *keymap_text)
{
    mc_verb_begin(server);
    struct mc_seat *seat = server->seat;
    struct xkb_keymap *keymap = xkb_keymap_new_from_string(seat->xkb, keymap_text, XKB_KEYMAP_FORMAT_TEXT_V1,
                                                           XKB_KEYMAP_COMPILE_NO_FLAGS);
    bool done = use_keymap(seat, keymap);
    xkb_keymap_unref(keymap);
    mc_verb_end(server);
    return done ? 0 : -EINVAL;
}

int mc_seat_set_xkb_names(struct mc_server *server, const char *rules, const char *model, const char *layout,
                          const char *variant, const char *options)
{
    mc_verb_begin(server);
    struct mc_seat *seat = server->seat;
    struct xkb_rule_names names = {rules, model, layout, variant, options};
    struct xkb_keymap *keymap = xkb_keymap_new_from_names(seat->xkb, &names, XKB_KEYMAP_COMPILE_NO_FLAGS);
    bool done = use_keymap(seat, keymap);
    xkb_keymap_unref(keymap);
    mc_verb_end(server);
    return done ? 0 : -EINVAL;
}

/* What it holds down is released first: the hub's keys and its own are counted apart. */
static void leave_hub(struct mc_device *device)
{
    struct mc_seat *seat = device->seat;
    struct wlr_keyboard *keyboard = device->device->keyboard;
    if (device->has_own_keymap) {
        return;
    }
    device->has_own_keymap = true;
    for (size_t i = 0; i < keyboard->num_keycodes; i++) {
        feed_hub(seat, mc_seat_now_ms(seat), keyboard->keycodes[i]);
    }
    wlr_keyboard_set_repeat_info(keyboard, seat->hub.repeat_info.rate, seat->hub.repeat_info.delay);
    mc_listen(&keyboard->events.modifiers, &device->modifiers, handle_modifiers);
}

int mc_device_set_xkb_names(struct mc_server *server, uint64_t handle, const char *rules, const char *model,
                            const char *layout, const char *variant, const char *options)
{
    /* Compiled without the lock, as it takes milliseconds; so not with the seat's context. */
    struct xkb_context *context = xkb_context_new(XKB_CONTEXT_NO_FLAGS);
    if (context == NULL) {
        return -ENOMEM;
    }
    xkb_context_set_log_level(context, XKB_LOG_LEVEL_CRITICAL);
    struct xkb_rule_names names = {rules, model, layout, variant, options};
    struct xkb_keymap *keymap = xkb_keymap_new_from_names(context, &names, XKB_KEYMAP_COMPILE_NO_FLAGS);
    mc_verb_begin(server);
    struct mc_device *device = mc_handles_get(&server->handles, MC_HANDLE_DEVICE, handle);
    int result = device == NULL ? -ENOENT : 0;
    if (device != NULL && (keymap == NULL || !(feeds_hub(device) || device->has_own_keymap))) {
        result = -EINVAL;
    }
    if (result == 0) {
        leave_hub(device);
        result = wlr_keyboard_set_keymap(device->device->keyboard, keymap) ? 0 : -ENOMEM;
        wlr_keyboard_led_update(device->device->keyboard, 0); /* they were the hub's */
    }
    xkb_keymap_unref(keymap);
    xkb_context_unref(context);
    mc_verb_end(server);
    return result;
}

bool mc_keymap_compiles(const char *rules, const char *model, const char *layout, const char *variant,
                        const char *options)
{
    struct xkb_context *context = xkb_context_new(XKB_CONTEXT_NO_FLAGS);
    if (context == NULL) {
        return false;
    }
    xkb_context_set_log_level(context, XKB_LOG_LEVEL_CRITICAL);
    struct xkb_rule_names names = {rules, model, layout, variant, options};
    struct xkb_keymap *keymap = xkb_keymap_new_from_names(context, &names, XKB_KEYMAP_COMPILE_NO_FLAGS);
    bool compiles = keymap != NULL;
    xkb_keymap_unref(keymap);
    xkb_context_unref(context);
    return compiles;
}

uint32_t mc_keysym_from_name(const char *name)
{
    return xkb_keysym_from_name(name, XKB_KEYSYM_CASE_INSENSITIVE);
}

uint32_t mc_keysym_from_char(uint32_t codepoint)
{
    return xkb_utf32_to_keysym(codepoint);
}

int mc_seat_set_repeat(struct mc_server *server, int32_t rate_hz, int32_t delay_ms)
{
    if (rate_hz < 0 || delay_ms < 0) {
        return -EINVAL;
    }
    mc_verb_begin(server);
    wlr_keyboard_set_repeat_info(&server->seat->hub, rate_hz, delay_ms);
    mc_verb_end(server);
    return 0;
}

/* ---- life ---- */

/* xkbcommon would write its complaints to standard error, ten lines for one wrong name. When it makes no
 * keymap the policy side finds out which name it was (keymap.py); what it goes on without only these lines
 * tell. */
static void log_xkb(struct xkb_context *context, enum xkb_log_level level, const char *format, va_list args)
{
    struct mc_seat *seat = xkb_context_get_user_data(context);
    char text[MC_LOG_TEXT_MAX];
    vsnprintf(text, sizeof(text), format, args);
    text[strcspn(text, "\n")] = '\0';
    bool goes_on = level <= XKB_LOG_LEVEL_ERROR && strstr(text, "ignored") != NULL;
    mc_log(seat->server, goes_on ? MC_LOG_WARNING : MC_LOG_DEBUG, "xkbcommon: %s", text);
}

int mc_keyboard_init(struct mc_seat *seat)
{
    seat->xkb = xkb_context_new(XKB_CONTEXT_NO_FLAGS);
    if (seat->xkb == NULL) {
        return -ENOMEM;
    }
    xkb_context_set_user_data(seat->xkb, seat);
    xkb_context_set_log_fn(seat->xkb, log_xkb);
    wlr_keyboard_init(&seat->hub, &hub_impl);
    wlr_input_device_init(&seat->hub_device, WLR_INPUT_DEVICE_KEYBOARD, &hub_device_impl, "minicomp seat", 0,
                          0);
    seat->hub_device.keyboard = &seat->hub;
    mc_listen(&seat->hub.events.key, &seat->hub_key, handle_hub_key);
    mc_listen(&seat->hub.events.modifiers, &seat->hub_modifiers, handle_hub_modifiers);
    mc_seat_add_capability(seat, WL_SEAT_CAPABILITY_KEYBOARD); /* also without any: clients insist on one */
    return 0;
}

void mc_keyboard_finish(struct mc_seat *seat)
{
    if (seat->hub_device.keyboard != NULL) {
        mc_unlisten(&seat->hub_key);
        mc_unlisten(&seat->hub_modifiers);
        wlr_input_device_destroy(&seat->hub_device); /* and the hub in it; wlr_seat lets go of both */
        seat->hub_device.keyboard = NULL;
    }
    xkb_context_unref(seat->xkb);
    seat->xkb = NULL;
}
