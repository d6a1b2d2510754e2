/* A client's own connection: connecting, the globals that our clients use, and one event loop.
 *
 * The loop waits on the Wayland socket, on SIGTERM/SIGINT (a signalfd) and on one absolute deadline;
 * everything is called on the one thread of the program. The caller owns the struct; connection_finish
 * releases what connection_connect acquired and may be called twice.
 */
#ifndef CLIENTS_COMMON_CONNECTION_H
#define CLIENTS_COMMON_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <wayland-client.h>

#include "common/exit_codes.h"

struct connection {
    const char *program; /* prefix of messages; borrowed */
    struct wl_display *display;
    struct wl_registry *registry;
    struct wl_compositor *compositor;
    struct wl_subcompositor *subcompositor; /* NULL where not offered; so are the ones below */
    struct wl_shm *shm;
    struct xdg_wm_base *wm_base;
    struct wp_presentation *presentation;
    struct wp_viewporter *viewporter;
    uint32_t seat_name,
        seat_version;             /* the first wl_seat, which whoever wants input binds; 0: none offered */
    clockid_t presentation_clock; /* the clock of wp_presentation's stamps; CLOCK_MONOTONIC until told */
    int signal_fd;
    bool stop_requested; /* SIGTERM or SIGINT arrived */
};

/* Connects (WAYLAND_SOCKET, or WAYLAND_DISPLAY in XDG_RUNTIME_DIR), trying again for up to wait_s
 * seconds while there is no compositor, and binds what is offered with two round trips. From here on
 * SIGTERM and SIGINT are seen by connection_wait only, and SIGPIPE is ignored.
 * On failure it has said why on stderr. */
enum exit_code connection_connect(struct connection *connection, const char *program, double wait_s);

/* Only wl_display_connect and one wl_registry round trip, for measuring start-up. */
enum exit_code connection_connect_bare(struct connection *connection, const char *program, double wait_s);

void connection_finish(struct connection *connection);

/* Says on stderr which global is missing; for globals that a client cannot do without. */
enum exit_code connection_require(struct connection *connection, const void *global, const char *interface);

/* Flushes, waits until events, a signal or deadline_ns (CLOCK_MONOTONIC; 0: none) and dispatches the events.
 * Returns EXIT_DISCONNECTED, with the reason on stderr, when the connection is gone. */
enum exit_code connection_wait(struct connection *connection, uint64_t deadline_ns);

/* Sends what is queued, without waiting; what does not fit in the socket goes out in connection_wait. */
void connection_flush(struct connection *connection);

/* A presentation stamp in CLOCK_MONOTONIC. Where the compositor presents on another clock, both clocks
 * are read now, so that their drift since the stamp (microseconds at most) is the error. */
uint64_t connection_presented_ns(const struct connection *connection, uint32_t tv_sec_hi, uint32_t tv_sec_lo,
                                 uint32_t tv_nsec);

#endif
