/* Scenarios of sheer quantity: requests, answers that are never read, objects, file descriptors. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hostile.h"

#define REQUESTS_PER_PUSH 64 /* fits libwayland's buffer of 4096 bytes */
#define FDS_PER_MESSAGE 28   /* libwayland's own limit */
#define PARKED_BYTES 4000u
#define WL_DISPLAY_ID 1u

static void handle_done(void *data, struct wl_callback *callback, uint32_t serial)
{
    (void)data, (void)serial;
    wl_callback_destroy(callback);
}

static const struct wl_callback_listener done_listener = {.done = handle_done};

static void run_flood_requests(struct hostile *hostile)
{
    for (uint64_t i = 0; i < hostile->count; i++) {
        wl_callback_add_listener(wl_display_sync(hostile->connection.display), &done_listener, NULL);
        if (i % REQUESTS_PER_PUSH == REQUESTS_PER_PUSH - 1 && !hostile_push(hostile, true)) {
            return;
        }
    }
}

static void run_never_read(struct hostile *hostile)
{
    for (uint64_t i = 0; i < hostile->count; i++) {
        wl_display_sync(hostile->connection.display);
        if (i % REQUESTS_PER_PUSH == REQUESTS_PER_PUSH - 1 && !hostile_push(hostile, false)) {
            return;
        }
    }
}

static void run_flood_commits(struct hostile *hostile)
{
    if (!hostile_map_window(hostile)) {
        return;
    }
    for (uint64_t i = 0; i < hostile->count; i++) {
        wl_surface_damage_buffer(hostile->window.surface, 0, 0, 200, 150);
        wl_surface_commit(hostile->window.surface);
        if (i % REQUESTS_PER_PUSH == REQUESTS_PER_PUSH - 1 && !hostile_push(hostile, true)) {
            return;
        }
    }
}

static void run_flood_surfaces(struct hostile *hostile)
{
    for (uint64_t i = 0; i < hostile->count; i++) {
        wl_compositor_create_surface(hostile->connection.compositor);
        if (i % REQUESTS_PER_PUSH == REQUESTS_PER_PUSH - 1 && !hostile_push(hostile, true)) {
            return;
        }
    }
}

static void run_flood_registries(struct hostile *hostile)
{
    for (uint64_t i = 0; i < hostile->count; i++) {
        wl_display_get_registry(hostile->connection.display);
        /* Each is answered by every global: many at once would overrun the socket, which is never-read's
         * case. */
        if (i % 8 == 7 && !hostile_roundtrip(hostile)) {
            return;
        }
    }
}

static int open_any_fd(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        _exit(EXIT_LOCAL);
    }
    return fd;
}

static void run_flood_fds(struct hostile *hostile)
{
    struct wl_surface *surface = wl_compositor_create_surface(hostile->connection.compositor);
    int fd = open_any_fd();
    /* Whole messages that no fd belongs to: the receiver's queue of fds only grows. */
    uint32_t commit[2] = {wl_proxy_get_id((struct wl_proxy *)surface), 8u << 16 | WL_SURFACE_COMMIT};
    for (uint64_t sent = 0; sent < hostile->count; sent += FDS_PER_MESSAGE) {
        if (!hostile_send_raw(hostile, commit, sizeof(commit), fd, FDS_PER_MESSAGE)) {
            return;
        }
    }
}

static void run_park_fds(struct hostile *hostile)
{
    int fd = open_any_fd();
    uint32_t header[2] = {WL_DISPLAY_ID,
                          PARKED_BYTES << 16}; /* a message that comes byte by byte, never whole */
    if (!hostile_send_raw(hostile, header, sizeof(header), -1, 0)) {
        return;
    }
    uint64_t sent = 0;
    for (uint32_t byte = sizeof(header); byte < PARKED_BYTES - 1 && sent < hostile->count; byte++) {
        if (!hostile_send_raw(hostile, "", 1, fd, FDS_PER_MESSAGE)) {
            return;
        }
        sent += FDS_PER_MESSAGE;
    }
}

static void run_flood_pools(struct hostile *hostile)
{
    int fd = memfd_create("hostile", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 4096) < 0) {
        _exit(EXIT_LOCAL);
    }
    for (uint64_t i = 0; i < hostile->count; i++) {
        wl_shm_create_pool(hostile->connection.shm, fd, 4096);
        if (i % 16 == 15 && !hostile_push(hostile, true)) {
            return;
        }
    }
}

const struct hostile_scenario hostile_flood_scenarios[] = {
    {"flood-requests", HOSTILE_SURVIVES, 0, 500000, "wl_display.sync as fast as it goes, answers read",
     run_flood_requests},
    {"never-read", HOSTILE_KILLED, 0, 200000, "the same, but no answer is ever read", run_never_read},
    {"flood-commits", HOSTILE_SURVIVES, 0, 200000, "commits with damage as fast as it goes",
     run_flood_commits},
    {"flood-surfaces", HOSTILE_EITHER, 0, 20000, "surfaces without a role", run_flood_surfaces},
    {"flood-registries", HOSTILE_SURVIVES, 0, 2000, "wl_display.get_registry again and again",
     run_flood_registries},
    {"flood-fds", HOSTILE_KILLED, 0, 50000, "28 fds with every wl_surface.commit, which takes none",
     run_flood_fds},
    {"park-fds", HOSTILE_KILLED, 0, 50000, "28 fds with every byte of a message that never ends",
     run_park_fds},
    {"flood-pools", HOSTILE_EITHER, 0, 100000, "wl_shm pools of 4 KiB, none destroyed", run_flood_pools},
    {0},
};
