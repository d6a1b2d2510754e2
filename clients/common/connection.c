/* See connection.h. */
#include "common/connection.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "presentation-time-client-protocol.h"
#include "viewporter-client-protocol.h"
#include "xdg-shell-client-protocol.h"

#define CONNECT_RETRY_NS (1 * NS_PER_MS)

static void handle_ping(void *data, struct xdg_wm_base *wm_base, uint32_t serial)
{
    (void)data;
    xdg_wm_base_pong(wm_base, serial);
}

static const struct xdg_wm_base_listener wm_base_listener = {.ping = handle_ping};

static void handle_clock_id(void *data, struct wp_presentation *presentation, uint32_t clock)
{
    struct connection *connection = data;
    (void)presentation;
    connection->presentation_clock = (clockid_t)clock;
}

static const struct wp_presentation_listener presentation_listener = {.clock_id = handle_clock_id};

static void *bind_global(struct wl_registry *registry, uint32_t name, const struct wl_interface *interface,
                         uint32_t offered, uint32_t wanted)
{
    return wl_registry_bind(registry, name, interface, offered < wanted ? offered : wanted);
}

static void handle_global(void *data, struct wl_registry *registry, uint32_t name, const char *interface,
                          uint32_t version)
{
    struct connection *connection = data;
    if (strcmp(interface, wl_compositor_interface.name) == 0 && version >= 4) {
        /* Version 4 brings damage_buffer, which all our clients use. */
        connection->compositor = bind_global(registry, name, &wl_compositor_interface, version, 4);
    } else if (strcmp(interface, wl_subcompositor_interface.name) == 0) {
        connection->subcompositor = bind_global(registry, name, &wl_subcompositor_interface, version, 1);
    } else if (strcmp(interface, wl_shm_interface.name) == 0) {
        connection->shm = bind_global(registry, name, &wl_shm_interface, version, 1);
    } else if (strcmp(interface, xdg_wm_base_interface.name) == 0) {
        connection->wm_base = bind_global(registry, name, &xdg_wm_base_interface, version, 2);
        xdg_wm_base_add_listener(connection->wm_base, &wm_base_listener, NULL);
    } else if (strcmp(interface, wp_presentation_interface.name) == 0) {
        connection->presentation = bind_global(registry, name, &wp_presentation_interface, version, 1);
        wp_presentation_add_listener(connection->presentation, &presentation_listener, connection);
    } else if (strcmp(interface, wp_viewporter_interface.name) == 0) {
        connection->viewporter = bind_global(registry, name, &wp_viewporter_interface, version, 1);
    } else if (strcmp(interface, wl_seat_interface.name) == 0 && connection->seat_version == 0) {
        connection->seat_name = name;
        connection->seat_version = version;
    }
}

static void handle_global_remove(void *data, struct wl_registry *registry, uint32_t name)
{
    (void)data;
    (void)registry;
    (void)name;
}

static const struct wl_registry_listener registry_listener = {
    .global = handle_global,
    .global_remove = handle_global_remove,
};

static void ignore_global(void *data, struct wl_registry *registry, uint32_t name, const char *interface,
                          uint32_t version)
{
    (void)data;
    (void)registry;
    (void)name;
    (void)interface;
    (void)version;
}

static const struct wl_registry_listener bare_listener = {
    .global = ignore_global,
    .global_remove = handle_global_remove,
};

static enum exit_code report_disconnect(struct connection *connection)
{
    const struct wl_interface *interface = NULL;
    uint32_t id = 0;
    int error = wl_display_get_error(connection->display);
    /* Errors on wl_display itself have other errnos than EPROTO, such as EINVAL. */
    uint32_t code = error != 0 ? wl_display_get_protocol_error(connection->display, &interface, &id) : 0;
    if (interface != NULL || error == EPROTO) {
        fprintf(stderr, "%s: protocol error %u on %s@%u\n", connection->program, code,
                interface != NULL ? interface->name : "(destroyed object)", id);
    } else {
        fprintf(stderr, "%s: the compositor closed the connection: %s\n", connection->program,
                strerror(error != 0 ? error : errno));
    }
    return EXIT_DISCONNECTED;
}

static enum exit_code open_display(struct connection *connection, const char *program, double wait_s)
{
    memset(connection, 0, sizeof(*connection));
    connection->program = program;
    connection->presentation_clock = CLOCK_MONOTONIC;
    connection->signal_fd = -1;

    uint64_t give_up_ns = monotonic_now_ns() + (uint64_t)(wait_s * (double)NS_PER_S);
    while ((connection->display = wl_display_connect(NULL)) == NULL) {
        int error = errno;
        if (monotonic_now_ns() >= give_up_ns) {
            const char *name = getenv("WAYLAND_DISPLAY");
            fprintf(stderr, "%s: cannot connect to a compositor (WAYLAND_DISPLAY=%s): %s\n", program,
                    name != NULL ? name : "unset, wayland-0", strerror(error));
            return EXIT_NO_COMPOSITOR;
        }
        struct timespec pause = {.tv_nsec = CONNECT_RETRY_NS};
        nanosleep(&pause, NULL);
    }
    connection->registry = wl_display_get_registry(connection->display);
    return EXIT_OK;
}

enum exit_code connection_connect_bare(struct connection *connection, const char *program, double wait_s)
{
    enum exit_code result = open_display(connection, program, wait_s);
    if (result != EXIT_OK) {
        return result;
    }
    wl_registry_add_listener(connection->registry, &bare_listener, NULL);
    return wl_display_roundtrip(connection->display) < 0 ? report_disconnect(connection) : EXIT_OK;
}

enum exit_code connection_connect(struct connection *connection, const char *program, double wait_s)
{
    enum exit_code result = open_display(connection, program, wait_s);
    if (result != EXIT_OK) {
        return result;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    connection->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (connection->signal_fd < 0) {
        fprintf(stderr, "%s: signalfd: %s\n", program, strerror(errno));
        return EXIT_LOCAL;
    }
    /* The default slack of 50 us would be part of every timed commit. */
    prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul);

    wl_registry_add_listener(connection->registry, &registry_listener, connection);
    /* The second round trip brings the events of the objects bound in the first: clock_id, capabilities. */
    if (wl_display_roundtrip(connection->display) < 0 || wl_display_roundtrip(connection->display) < 0) {
        return report_disconnect(connection);
    }
    return EXIT_OK;
}

enum exit_code connection_require(struct connection *connection, const void *global, const char *interface)
{
    if (global != NULL) {
        return EXIT_OK;
    }
    fprintf(stderr, "%s: the compositor does not offer %s\n", connection->program, interface);
    return EXIT_NO_COMPOSITOR;
}

void connection_finish(struct connection *connection)
{
    if (connection->signal_fd >= 0) {
        close(connection->signal_fd);
        connection->signal_fd = -1;
    }
    if (connection->display == NULL) {
        return;
    }
    if (connection->viewporter != NULL) {
        wp_viewporter_destroy(connection->viewporter);
    }
    if (connection->presentation != NULL) {
        wp_presentation_destroy(connection->presentation);
    }
    if (connection->wm_base != NULL) {
        xdg_wm_base_destroy(connection->wm_base);
    }
    if (connection->shm != NULL) {
        wl_shm_destroy(connection->shm);
    }
    if (connection->subcompositor != NULL) {
        wl_subcompositor_destroy(connection->subcompositor);
    }
    if (connection->compositor != NULL) {
        wl_compositor_destroy(connection->compositor);
    }
    wl_registry_destroy(connection->registry);
    wl_display_flush(connection->display);
    wl_display_disconnect(connection->display);
    connection->display = NULL;
}

void connection_flush(struct connection *connection)
{
    wl_display_flush(connection->display);
}

enum exit_code connection_wait(struct connection *connection, uint64_t deadline_ns)
{
    struct wl_display *display = connection->display;
    while (wl_display_prepare_read(display) != 0) {
        if (wl_display_dispatch_pending(display) < 0) {
            return report_disconnect(connection);
        }
    }
    short wanted = POLLIN;
    if (wl_display_flush(display) < 0) {
        if (errno == EAGAIN) {
            wanted |= POLLOUT;
        } else if (errno != EPIPE) {
            wl_display_cancel_read(display);
            return report_disconnect(connection);
        } /* after EPIPE the protocol error that caused it is still to be read */
    }
    struct pollfd fds[] = {
        {.fd = wl_display_get_fd(display), .events = wanted},
        {.fd = connection->signal_fd, .events = POLLIN},
    };
    struct timespec timeout = {0};
    if (deadline_ns != 0) {
        uint64_t now_ns = monotonic_now_ns();
        uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
        timeout.tv_sec = (time_t)(left_ns / NS_PER_S);
        timeout.tv_nsec = (long)(left_ns % NS_PER_S);
    }
    int ready = ppoll(fds, 2, deadline_ns != 0 ? &timeout : NULL, NULL);
    if (ready > 0 && (fds[1].revents & POLLIN) != 0) {
        struct signalfd_siginfo info;
        if (read(connection->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
            connection->stop_requested = true;
        }
    }
    if (ready > 0 && (fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
        if (wl_display_read_events(display) < 0) {
            /* What was read before the error is dispatched first: it may hold frames to be logged. */
            wl_display_dispatch_pending(display);
            return report_disconnect(connection);
        }
    } else {
        wl_display_cancel_read(display);
    }
    return wl_display_dispatch_pending(display) < 0 ? report_disconnect(connection) : EXIT_OK;
}

uint64_t connection_presented_ns(const struct connection *connection, uint32_t tv_sec_hi, uint32_t tv_sec_lo,
                                 uint32_t tv_nsec)
{
    uint64_t stamp_ns = (((uint64_t)tv_sec_hi << 32) + tv_sec_lo) * NS_PER_S + tv_nsec;
    if (connection->presentation_clock == CLOCK_MONOTONIC) {
        return stamp_ns;
    }
    uint64_t other_now_ns = clock_now_ns(connection->presentation_clock);
    return monotonic_now_ns() - other_now_ns + stamp_ns;
}
