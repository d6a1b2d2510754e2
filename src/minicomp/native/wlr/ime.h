/* Input methods, shared by ime.c (text and focus) and ime_popup.c (candidate windows) only. */
#ifndef MC_IME_H
#define MC_IME_H

#include <wlr/types/wlr_input_method_v2.h>
#include <wlr/types/wlr_text_input_v3.h>

#include "seat.h"

/* A client's text input; owned by struct mc_ime. */
struct mc_text_input {
    struct wl_list link; /* mc_ime.text_inputs */
    struct mc_ime *ime;
    struct wlr_text_input_v3 *input;
    struct wl_listener enable, commit, disable, destroy;
};

struct mc_ime {
    struct mc_seat *seat;
    struct wlr_text_input_manager_v3 *text_input_manager;
    struct wlr_input_method_manager_v2 *input_method_manager;
    struct wl_list text_inputs;         /* mc_text_input.link */
    struct wl_list popups;              /* mc_ime_popup.link */
    struct wlr_input_method_v2 *method; /* NULL: none is running */
    struct mc_text_input *active;       /* the one the method serves now, or NULL */
    struct wl_listener new_text_input, new_method;
    struct wl_listener method_commit, method_popup, method_grab, method_destroy, grab_destroy;
};

void mc_ime_popup_add(struct mc_ime *ime, struct wlr_input_popup_surface_v2 *surface);
/* The text cursor moved or another text input is active. */
void mc_ime_popups_place(struct mc_ime *ime);
void mc_ime_popups_finish(struct mc_ime *ime);

#endif
