/* The seat of echo: every input event becomes one struct echo_event, handed over at once.
 *
 * Follows capabilities as devices come and go. The caller owns the struct, which must not move.
 */
#ifndef CLIENTS_ECHO_INPUT_H
#define CLIENTS_ECHO_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/connection.h"
#include "common/json_log.h"

enum echo_kind { ECHO_KEY, ECHO_BUTTON, ECHO_MOTION, ECHO_AXIS, ECHO_TOUCH, ECHO_KIND_COUNT };

extern const char *const echo_kind_names[ECHO_KIND_COUNT];

struct echo_event {
    enum echo_kind kind;
    const char *state; /* pressed, released, down, up, motion, scroll; static text */
    char sym[64];      /* the keysym's name under the compositor's keymap and modifiers; "" if not a key */
    uint32_t code;     /* evdev code of key or button; axis number; touch id */
    double x, y;       /* surface coordinates; axis: y is the distance */
    uint32_t event_ms; /* the event's own stamp, in the compositor's time base */
    uint64_t received_ns;
};

struct echo_input {
    struct connection *connection;
    struct json_log *log; /* focus, capabilities and repeat records */
    struct wl_seat *seat;
    struct wl_keyboard *keyboard;
    struct wl_pointer *pointer;
    struct wl_touch *touch;
    struct xkb_context *xkb_context;
    struct xkb_keymap *keymap;
    struct xkb_state *xkb_state;
    double pointer_x, pointer_y;
    void (*event)(void *data, const struct echo_event *event);
    void *data;
};

/* Returns false when there is no memory for xkb (reported). */
bool echo_input_init(struct echo_input *input, struct connection *connection, struct json_log *log,
                     void (*event)(void *data, const struct echo_event *event), void *data);
void echo_input_finish(struct echo_input *input);

#endif
