/* Scenarios with wl_shm: memory that is not what it was said to be. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hostile.h"

#define HUGE_PX 30000

static int create_memory(off_t bytes)
{
    int fd = memfd_create("hostile", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, bytes) < 0) {
        fprintf(stderr, "hostile: cannot make %lld bytes of shared memory: %s\n", (long long)bytes,
                strerror(errno));
        _exit(EXIT_LOCAL);
    }
    return fd;
}

static void show_buffer(struct hostile *hostile, struct wl_buffer *buffer)
{
    wl_surface_attach(hostile->window.surface, buffer, 0, 0);
    wl_surface_damage_buffer(hostile->window.surface, 0, 0, INT32_MAX, INT32_MAX);
    wl_surface_commit(hostile->window.surface);
}

static void run_truncated_pool(struct hostile *hostile)
{
    int side_px = 512, bytes = side_px * side_px * 4;
    if (!hostile_map_window(hostile)) {
        return;
    }
    int fd = create_memory(bytes);
    struct wl_shm_pool *pool = wl_shm_create_pool(hostile->connection.shm, fd, bytes);
    struct wl_buffer *buffer =
        wl_shm_pool_create_buffer(pool, 0, side_px, side_px, side_px * 4, WL_SHM_FORMAT_XRGB8888);
    hostile_roundtrip(hostile); /* mapped while it had its size */
    if (ftruncate(fd, 4096) < 0) {
        _exit(EXIT_LOCAL);
    }
    show_buffer(hostile, buffer);
    /* The compositor reads it when it composes, which may be a frame later. */
    for (int i = 0; i < 20 && hostile_roundtrip(hostile); i++) {
        usleep(20000);
    }
}

static void run_short_pool(struct hostile *hostile)
{
    if (hostile_map_window(hostile)) {
        /* The pool claims 1 MiB of a 4 KiB file: mapping succeeds, reading past the end faults. */
        struct wl_shm_pool *pool = wl_shm_create_pool(hostile->connection.shm, create_memory(4096), 1 << 20);
        show_buffer(hostile, wl_shm_pool_create_buffer(pool, 0, 512, 512, 2048, WL_SHM_FORMAT_XRGB8888));
        for (int i = 0; i < 20 && hostile_roundtrip(hostile); i++) {
            usleep(20000);
        }
    }
}

static void run_zero_size(struct hostile *hostile)
{
    struct wl_shm_pool *pool = wl_shm_create_pool(hostile->connection.shm, create_memory(4096), 4096);
    wl_shm_pool_create_buffer(pool, 0, 0, 0, 0, WL_SHM_FORMAT_XRGB8888);
}

static void run_huge(struct hostile *hostile)
{
    if (!hostile_map_window(hostile)) {
        return;
    }
    /* 30000 x 30000 in 16 bits is 1.8 GB: within a pool's 31 bits; the memory is never touched by us. */
    int bytes = HUGE_PX * HUGE_PX * 2;
    int fd = create_memory(bytes);
    struct wl_shm_pool *pool = wl_shm_create_pool(hostile->connection.shm, fd, bytes);
    show_buffer(hostile,
                wl_shm_pool_create_buffer(pool, 0, HUGE_PX, HUGE_PX, HUGE_PX * 2, WL_SHM_FORMAT_RGB565));
    for (int i = 0; i < 10 && hostile_roundtrip(hostile); i++) {
        usleep(20000);
    }
}

static void run_stride_overflow(struct hostile *hostile)
{
    struct wl_shm_pool *pool = wl_shm_create_pool(hostile->connection.shm, create_memory(4096), 4096);
    wl_shm_pool_create_buffer(pool, 0, 1, INT32_MAX, INT32_MAX, WL_SHM_FORMAT_XRGB8888);
}

static void run_offset_past_end(struct hostile *hostile)
{
    struct wl_shm_pool *pool = wl_shm_create_pool(hostile->connection.shm, create_memory(4096), 4096);
    wl_shm_pool_create_buffer(pool, 4000, 16, 16, 64, WL_SHM_FORMAT_XRGB8888);
}

static void run_bad_format(struct hostile *hostile)
{
    struct wl_shm_pool *pool = wl_shm_create_pool(hostile->connection.shm, create_memory(4096), 4096);
    wl_shm_pool_create_buffer(pool, 0, 16, 16, 64, 0x12345678);
}

static void run_pool_from_pipe(struct hostile *hostile)
{
    int ends[2];
    if (pipe(ends) < 0) {
        _exit(EXIT_LOCAL);
    }
    wl_shm_create_pool(hostile->connection.shm, ends[0], 4096);
}

static void run_pool_size_zero(struct hostile *hostile)
{
    wl_shm_create_pool(hostile->connection.shm, create_memory(4096), 0);
}

static void run_pool_shrinks(struct hostile *hostile)
{
    struct wl_shm_pool *pool = wl_shm_create_pool(hostile->connection.shm, create_memory(8192), 8192);
    wl_shm_pool_resize(pool, 4096);
}

static void run_buffer_destroyed(struct hostile *hostile)
{
    if (hostile_map_window(hostile)) {
        int bytes = 200 * 150 * 4;
        struct wl_shm_pool *pool = wl_shm_create_pool(hostile->connection.shm, create_memory(bytes), bytes);
        struct wl_buffer *buffer = wl_shm_pool_create_buffer(pool, 0, 200, 150, 800, WL_SHM_FORMAT_XRGB8888);
        wl_shm_pool_destroy(pool);
        wl_surface_attach(hostile->window.surface, buffer, 0, 0);
        wl_surface_damage_buffer(hostile->window.surface, 0, 0, 200, 150);
        wl_surface_commit(hostile->window.surface);
        wl_buffer_destroy(buffer); /* the surface's content becomes undefined, no more */
        for (int i = 0; i < 5 && hostile_roundtrip(hostile); i++) {
            usleep(20000);
            wl_surface_damage_buffer(hostile->window.surface, 0, 0, 200, 150);
            wl_surface_commit(hostile->window.surface);
        }
    }
}

const struct hostile_scenario hostile_buffer_scenarios[] = {
    {"truncated-pool", HOSTILE_KILLED, 0, 0, "shrinks the file under a pool, then commits a buffer of it",
     run_truncated_pool},
    {"short-pool", HOSTILE_KILLED, 0, 0, "a pool larger than its file, committed", run_short_pool},
    {"zero-size", HOSTILE_KILLED, 0, 0, "a buffer of 0x0", run_zero_size},
    {"huge", HOSTILE_EITHER, 0, 0, "shows a buffer of 30000x30000 (1.8 GB, RGB565)", run_huge},
    {"stride-overflow", HOSTILE_KILLED, 0, 0, "stride times height overflows 32 bits", run_stride_overflow},
    {"offset-past-end", HOSTILE_KILLED, 0, 0, "a buffer that ends after its pool", run_offset_past_end},
    {"bad-format", HOSTILE_KILLED, 0, 0, "a pixel format that does not exist", run_bad_format},
    {"pool-from-pipe", HOSTILE_KILLED, 0, 0, "a pool on a pipe, which cannot be mapped", run_pool_from_pipe},
    {"pool-size-zero", HOSTILE_KILLED, 0, 0, "a pool of 0 bytes", run_pool_size_zero},
    {"pool-shrinks", HOSTILE_KILLED, 0, 0, "resizes a pool to less than it had", run_pool_shrinks},
    {"buffer-destroyed", HOSTILE_SURVIVES, 0, 0, "destroys the buffer that a window shows",
     run_buffer_destroyed},
    {0},
};
