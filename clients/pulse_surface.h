/* One window of pulse: drawing a frame, committing it, hearing when it was shown.
 *
 * Everything runs on the program's one thread, from connection_wait or from pulse's timer. The caller
 * owns the struct, which must not move.
 */
#ifndef CLIENTS_PULSE_SURFACE_H
#define CLIENTS_PULSE_SURFACE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/shm_pool.h"
#include "common/window.h"
#include "pulse_feedback.h"

struct pulse_subsurface {
    struct wl_surface *surface;
    struct wl_subsurface *role;
    struct shm_pool pool;
};

struct pulse_surface {
    struct pulse *pulse;
    uint64_t index; /* counts from 0 */
    struct window window;
    struct shm_pool pool;
    struct pulse_subsurface *subsurfaces; /* owned array of options.subsurfaces */
    struct wl_callback *callback;         /* the frame callback that is outstanding */
    uint64_t seq;                         /* commits so far */
    bool configured, closed;
    bool needs_content; /* nothing of this size was attached yet */
    bool waiting;       /* a frame is due, all buffers are busy */
    uint64_t waiting_callback_ns, waiting_due_ns;
};

/* Returns false when there is no memory (reported). */
bool pulse_surface_init(struct pulse_surface *surface, struct pulse *pulse, uint64_t index);
void pulse_surface_finish(struct pulse_surface *surface); /* may be called twice */

/* Period mode: the time `due_ns` has come. */
void pulse_surface_tick(struct pulse_surface *surface, uint64_t due_ns);

/* Has made all its frames, or is gone. */
bool pulse_surface_is_done(const struct pulse_surface *surface);

#endif
