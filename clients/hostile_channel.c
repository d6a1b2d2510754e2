/* What scenarios do through: sending, round trips and a first window, none of which can hang. See hostile.h.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "hostile.h"

#define MAX_RAW_FDS 28

static bool wait_for(struct hostile *hostile, short events, uint64_t give_up_ns)
{
    uint64_t now_ns = monotonic_now_ns();
    struct pollfd fd = {.fd = wl_display_get_fd(hostile->connection.display), .events = events};
    int timeout_ms = now_ns >= give_up_ns ? 0 : (int)((give_up_ns - now_ns) / NS_PER_MS) + 1;
    return poll(&fd, 1, timeout_ms) > 0;
}

bool hostile_push(struct hostile *hostile, bool read_answers)
{
    struct wl_display *display = hostile->connection.display;
    uint64_t give_up_ns = monotonic_now_ns() + HOSTILE_STALL_S * NS_PER_S;
    for (;;) {
        if (read_answers && wait_for(hostile, POLLIN, 0) && wl_display_dispatch(display) < 0) {
            return false;
        }
        if (wl_display_flush(display) >= 0) {
            return true;
        }
        if (errno != EAGAIN) {
            /* The other end is closed; the reason, if there is one, is still to be read. */
            while (wait_for(hostile, POLLIN, give_up_ns) && wl_display_dispatch(display) >= 0) {
            }
            return false;
        }
        if (monotonic_now_ns() >= give_up_ns) {
            return false;
        }
        wait_for(hostile, read_answers ? POLLIN | POLLOUT : POLLOUT, give_up_ns);
    }
}

static void handle_sync_done(void *data, struct wl_callback *callback, uint32_t serial)
{
    (void)callback, (void)serial;
    *(bool *)data = true;
}

static const struct wl_callback_listener sync_listener = {.done = handle_sync_done};

bool hostile_roundtrip(struct hostile *hostile)
{
    struct wl_display *display = hostile->connection.display;
    bool done = false;
    struct wl_callback *callback = wl_display_sync(display);
    wl_callback_add_listener(callback, &sync_listener, &done);
    uint64_t give_up_ns = monotonic_now_ns() + HOSTILE_STALL_S * NS_PER_S;
    bool alive = hostile_push(hostile, true);
    while (alive && !done && monotonic_now_ns() < give_up_ns) {
        if (wl_display_dispatch_pending(display) > 0) {
            continue;
        }
        if (wait_for(hostile, POLLIN, give_up_ns)) {
            alive = wl_display_dispatch(display) >= 0;
        }
    }
    wl_callback_destroy(callback);
    return alive && done;
}

bool hostile_send_raw(struct hostile *hostile, const void *bytes, size_t length, int fd, int fd_count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(MAX_RAW_FDS * sizeof(int))];
    } control = {0};
    struct iovec data = {.iov_base = (void *)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (fd_count > 0) {
        fd_count = fd_count < MAX_RAW_FDS ? fd_count : MAX_RAW_FDS;
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE((size_t)fd_count * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN((size_t)fd_count * sizeof(int));
        for (int i = 0; i < fd_count; i++) {
            memcpy(CMSG_DATA(&control.header) + (size_t)i * sizeof(int), &fd, sizeof(int));
        }
    }
    if (!hostile_push(hostile, false)) {
        return false; /* what libwayland holds goes first */
    }
    uint64_t give_up_ns = monotonic_now_ns() + HOSTILE_STALL_S * NS_PER_S;
    int socket = wl_display_get_fd(hostile->connection.display);
    while (data.iov_len > 0) {
        ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            data.iov_base = (char *)data.iov_base + sent;
            data.iov_len -= (size_t)sent;
            message.msg_control = NULL; /* the fds went with the first byte */
            message.msg_controllen = 0;
        } else if ((errno != EAGAIN && errno != ETOOMANYREFS) || monotonic_now_ns() >= give_up_ns) {
            return false;
        } else {
            wait_for(hostile, POLLOUT, give_up_ns);
        }
    }
    return true;
}

static void handle_configured(void *data)
{
    struct hostile *hostile = data;
    hostile->configured = true;
}

static void handle_closed(void *data)
{
    (void)data;
}

static const struct window_events window_events = {.configured = handle_configured, .closed = handle_closed};

bool hostile_show_window(struct hostile *hostile)
{
    uint64_t give_up_ns = monotonic_now_ns() + HOSTILE_STALL_S * NS_PER_S;
    while (!hostile->configured) {
        if (!hostile_roundtrip(hostile)) {
            return false;
        }
        if (monotonic_now_ns() >= give_up_ns) {
            hostile->undone = "the compositor sent no configure";
            return false;
        }
        usleep(1000);
    }
    shm_pool_resize(&hostile->pool, hostile->window.width, hostile->window.height);
    struct shm_buffer *buffer;
    while ((buffer = shm_pool_take(&hostile->pool)) == NULL) {
        if (errno != EBUSY || monotonic_now_ns() >= give_up_ns) {
            hostile->undone =
                errno == EBUSY ? "the compositor released no buffer" : "cannot allocate a buffer";
            return false;
        }
        if (!hostile_roundtrip(hostile)) {
            return false;
        }
        usleep(1000);
    }
    shm_buffer_fill(buffer, hostile->pool.width, 0, 0, hostile->pool.width, hostile->pool.height, 0xa02020);
    wl_surface_attach(hostile->window.surface, buffer->wl_buffer, 0, 0);
    wl_surface_damage_buffer(hostile->window.surface, 0, 0, hostile->pool.width, hostile->pool.height);
    wl_surface_commit(hostile->window.surface);
    return hostile_roundtrip(hostile);
}

bool hostile_map_window(struct hostile *hostile)
{
    struct connection *connection = &hostile->connection;
    hostile->configured = false;
    shm_pool_init(&hostile->pool, connection->shm, NULL, NULL);
    window_init(&hostile->window, connection, 200, 150, "minicomp.hostile", "hostile", false, &window_events,
                hostile);
    return hostile_show_window(hostile);
}
