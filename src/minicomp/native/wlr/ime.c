/* The relay between clients' text inputs (text-input-v3) and the input method (input-method-v2), after
 * sway's.
 *
 * A text input is told of keyboard focus (enter) only while an input method runs. One that is enabled then is
 * the active one: its state goes to the method at each commit, what the method commits goes to it. */
#include <errno.h>
#include <stdlib.h>
#include <wlr/types/wlr_virtual_keyboard_v1.h>

#include "ime.h"

static void send_state(struct mc_ime *ime)
{
    const struct wlr_text_input_v3 *input = ime->active->input;
    const struct wlr_text_input_v3_state *state = &input->current;
    if (input->active_features & WLR_TEXT_INPUT_V3_FEATURE_SURROUNDING_TEXT) {
        wlr_input_method_v2_send_surrounding_text(ime->method, state->surrounding.text,
                                                  state->surrounding.cursor, state->surrounding.anchor);
    }
    wlr_input_method_v2_send_text_change_cause(ime->method, state->text_change_cause);
    if (input->active_features & WLR_TEXT_INPUT_V3_FEATURE_CONTENT_TYPE) {
        wlr_input_method_v2_send_content_type(ime->method, state->content_type.hint,
                                              state->content_type.purpose);
    }
    wlr_input_method_v2_send_done(ime->method);
    mc_ime_popups_place(ime);
}

static void deactivate(struct mc_ime *ime)
{
    if (ime->active != NULL) {
        ime->active = NULL;
        wlr_input_method_v2_send_deactivate(ime->method);
        wlr_input_method_v2_send_done(ime->method);
    }
}

static void update(struct mc_text_input *text_input)
{
    struct mc_ime *ime = text_input->ime;
    const struct wlr_text_input_v3 *input = text_input->input;
    if (ime->method == NULL || input->focused_surface == NULL || !input->current_enabled) {
        return;
    }
    if (ime->active != text_input) {
        deactivate(ime);
        ime->active = text_input;
        wlr_input_method_v2_send_activate(ime->method);
    }
    send_state(ime);
}

/* ---- text inputs ---- */

static void handle_enable(struct wl_listener *listener, void *data)
{
    struct mc_text_input *text_input = wl_container_of(listener, text_input, enable);
    update(text_input);
}

static void handle_commit(struct wl_listener *listener, void *data)
{
    /* wlroots calls it a commit, not an enable, when a client enables again without having disabled. */
    struct mc_text_input *text_input = wl_container_of(listener, text_input, commit);
    update(text_input);
}

static void handle_disable(struct wl_listener *listener, void *data)
{
    struct mc_text_input *text_input = wl_container_of(listener, text_input, disable);
    if (text_input->ime->active == text_input) {
        deactivate(text_input->ime);
    }
}

static void text_input_destroy(struct mc_text_input *text_input)
{
    if (text_input->ime->active == text_input) {
        deactivate(text_input->ime);
    }
    mc_unlisten(&text_input->enable);
    mc_unlisten(&text_input->commit);
    mc_unlisten(&text_input->disable);
    mc_unlisten(&text_input->destroy);
    wl_list_remove(&text_input->link);
    free(text_input);
}

static void handle_text_input_destroy(struct wl_listener *listener, void *data)
{
    struct mc_text_input *text_input = wl_container_of(listener, text_input, destroy);
    text_input_destroy(text_input);
}

static void focus_one(struct mc_text_input *text_input, struct wlr_surface *surface)
{
    struct wlr_text_input_v3 *input = text_input->input;
    if (input->focused_surface != NULL && input->focused_surface != surface) {
        wlr_text_input_v3_send_leave(input);
    }
    if (surface != NULL && text_input->ime->method != NULL && input->focused_surface == NULL &&
        wl_resource_get_client(input->resource) == wl_resource_get_client(surface->resource)) {
        wlr_text_input_v3_send_enter(input, surface);
    }
}

void mc_ime_focus(struct mc_seat *seat, struct wlr_surface *surface)
{
    struct mc_ime *ime = seat->ime;
    if (ime == NULL) {
        return;
    }
    if (ime->active != NULL && (surface == NULL || ime->active->input->focused_surface != surface)) {
        deactivate(ime);
    }
    struct mc_text_input *text_input;
    wl_list_for_each (text_input, &ime->text_inputs, link) {
        focus_one(text_input, surface);
    }
}

static void handle_new_text_input(struct wl_listener *listener, void *data)
{
    struct mc_ime *ime = wl_container_of(listener, ime, new_text_input);
    struct wlr_text_input_v3 *input = data;
    struct mc_text_input *text_input = calloc(1, sizeof(*text_input));
    if (text_input == NULL) {
        return;
    }
    text_input->ime = ime;
    text_input->input = input;
    wl_list_insert(&ime->text_inputs, &text_input->link);
    mc_listen(&input->events.enable, &text_input->enable, handle_enable);
    mc_listen(&input->events.commit, &text_input->commit, handle_commit);
    mc_listen(&input->events.disable, &text_input->disable, handle_disable);
    mc_listen(&input->events.destroy, &text_input->destroy, handle_text_input_destroy);
    focus_one(text_input, ime->seat->wlr_seat->keyboard_state.focused_surface);
}

/* ---- the method ---- */

static void handle_method_commit(struct wl_listener *listener, void *data)
{
    struct mc_ime *ime = wl_container_of(listener, ime, method_commit);
    const struct wlr_input_method_v2_state *state = &ime->method->current;
    if (ime->active == NULL) {
        return;
    }
    struct wlr_text_input_v3 *input = ime->active->input;
    if (state->preedit.text != NULL) {
        wlr_text_input_v3_send_preedit_string(input, state->preedit.text, state->preedit.cursor_begin,
                                              state->preedit.cursor_end);
    }
    if (state->commit_text != NULL) {
        wlr_text_input_v3_send_commit_string(input, state->commit_text);
    }
    if (state->delete.before_length != 0 || state->delete.after_length != 0) {
        wlr_text_input_v3_send_delete_surrounding_text(input, state->delete.before_length,
                                                       state->delete.after_length);
    }
    wlr_text_input_v3_send_done(input);
}

struct wlr_input_method_keyboard_grab_v2 *mc_ime_grab(struct mc_seat *seat, struct wlr_keyboard *keyboard)
{
    struct wlr_input_method_keyboard_grab_v2 *grab =
        seat->ime != NULL && seat->ime->method != NULL ? seat->ime->method->keyboard_grab : NULL;
    if (grab == NULL || keyboard == &seat->hub) {
        return grab;
    }
    /* What the method itself types on a virtual keyboard is not for itself again. */
    struct mc_device *device;
    wl_list_for_each (device, &seat->devices, link) {
        if (device->device->type == WLR_INPUT_DEVICE_KEYBOARD && device->device->keyboard == keyboard) {
            struct wlr_virtual_keyboard_v1 *virtual = wlr_input_device_get_virtual_keyboard(device->device);
            if (virtual != NULL &&
                wl_resource_get_client(virtual->resource) == wl_resource_get_client(grab->resource)) {
                return NULL;
            }
        }
    }
    return grab;
}

static void handle_grab_destroy(struct wl_listener *listener, void *data)
{
    struct mc_ime *ime = wl_container_of(listener, ime, grab_destroy);
    struct wlr_input_method_keyboard_grab_v2 *grab = data;
    mc_unlisten(&ime->grab_destroy);
    if (grab->keyboard != NULL) { /* the client missed what changed meanwhile */
        wlr_seat_keyboard_notify_modifiers(ime->seat->wlr_seat, &grab->keyboard->modifiers);
    }
}

static void handle_method_grab(struct wl_listener *listener, void *data)
{
    struct mc_ime *ime = wl_container_of(listener, ime, method_grab);
    struct wlr_input_method_keyboard_grab_v2 *grab = data;
    wlr_input_method_keyboard_grab_v2_set_keyboard(grab, mc_keyboard_current(ime->seat));
    mc_listen(&grab->events.destroy, &ime->grab_destroy, handle_grab_destroy);
}

static void handle_method_popup(struct wl_listener *listener, void *data)
{
    struct mc_ime *ime = wl_container_of(listener, ime, method_popup);
    mc_ime_popup_add(ime, data);
}

static void method_clear(struct mc_ime *ime)
{
    mc_unlisten(&ime->method_commit);
    mc_unlisten(&ime->method_popup);
    mc_unlisten(&ime->method_grab);
    mc_unlisten(&ime->method_destroy);
    ime->method = NULL;
    ime->active = NULL;
}

static void handle_method_destroy(struct wl_listener *listener, void *data)
{
    struct mc_ime *ime = wl_container_of(listener, ime, method_destroy);
    method_clear(ime);
    struct mc_text_input *text_input;
    wl_list_for_each (text_input, &ime->text_inputs, link) {
        focus_one(text_input, NULL);
    }
}

static void handle_new_method(struct wl_listener *listener, void *data)
{
    struct mc_ime *ime = wl_container_of(listener, ime, new_method);
    struct wlr_input_method_v2 *method = data;
    if (ime->method != NULL) {
        wlr_input_method_v2_send_unavailable(method);
        return;
    }
    ime->method = method;
    mc_listen(&method->events.commit, &ime->method_commit, handle_method_commit);
    mc_listen(&method->events.new_popup_surface, &ime->method_popup, handle_method_popup);
    mc_listen(&method->events.grab_keyboard, &ime->method_grab, handle_method_grab);
    mc_listen(&method->events.destroy, &ime->method_destroy, handle_method_destroy);
    mc_ime_focus(ime->seat, ime->seat->wlr_seat->keyboard_state.focused_surface);
}

/* ---- life ---- */

int mc_ime_create(struct mc_seat *seat, bool text_input, bool input_method)
{
    struct wl_display *display = seat->server->display;
    struct mc_ime *ime = seat->ime;
    if (ime == NULL) {
        ime = seat->ime = calloc(1, sizeof(*ime));
        if (ime == NULL) {
            return -ENOMEM;
        }
        ime->seat = seat;
        wl_list_init(&ime->text_inputs);
        wl_list_init(&ime->popups);
    }
    if (text_input && ime->text_input_manager == NULL) {
        ime->text_input_manager = wlr_text_input_manager_v3_create(display);
        if (ime->text_input_manager == NULL) {
            return -ENOMEM;
        }
        mc_listen(&ime->text_input_manager->events.text_input, &ime->new_text_input, handle_new_text_input);
    }
    if (input_method && ime->input_method_manager == NULL) {
        ime->input_method_manager = wlr_input_method_manager_v2_create(display);
        if (ime->input_method_manager == NULL) {
            return -ENOMEM;
        }
        mc_listen(&ime->input_method_manager->events.input_method, &ime->new_method, handle_new_method);
    }
    return 0;
}

void mc_ime_finish(struct mc_seat *seat)
{
    struct mc_ime *ime = seat->ime;
    if (ime == NULL) {
        return;
    }
    seat->ime = NULL;
    mc_unlisten(&ime->new_text_input);
    mc_unlisten(&ime->new_method);
    mc_unlisten(&ime->grab_destroy);
    mc_ime_popups_finish(ime);
    method_clear(ime);
    struct mc_text_input *text_input, *next;
    wl_list_for_each_safe (text_input, next, &ime->text_inputs, link) {
        text_input_destroy(text_input);
    }
    free(ime);
}
