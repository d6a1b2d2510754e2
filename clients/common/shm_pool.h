/* A window's wl_shm buffers (XRGB8888): taken when free, returned by wl_buffer.release.
 *
 * Starts with two buffers; a further one is allocated when none is free, up to SHM_POOL_MAX. Their
 * memory is shm_memory.h's. The caller owns the struct shm_pool; the pool owns its buffers.
 * A buffer that is busy when the pool is resized is destroyed on its release. shm_pool_finish destroys all
 * of them; call it after the surface is gone, when nothing reads them any more.
 */
#ifndef CLIENTS_COMMON_SHM_POOL_H
#define CLIENTS_COMMON_SHM_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wayland-client.h>

#include "common/shm_memory.h"

#define SHM_POOL_MAX 4

struct shm_pool;

struct shm_buffer {
    struct shm_pool *pool;
    struct wl_buffer *wl_buffer;
    struct shm_block *block;
    uint32_t *pixels; /* width * height, no padding */
    size_t bytes;
    bool busy;
    bool retired;        /* of an earlier size and still busy */
    struct wl_list link; /* struct shm_pool.retired */
    bool fresh;          /* allocated, nothing drawn yet: the whole of it is to be drawn */
};

struct shm_pool {
    struct wl_shm *shm;
    int width, height;
    struct shm_buffer *buffers[SHM_POOL_MAX];
    struct wl_list retired;
    enum shm_backing backing;     /* may be set after shm_pool_init */
    struct shm_block *block;      /* that further buffers are to be in, where they share one; or NULL */
    void (*released)(void *data); /* a buffer became free; may be NULL */
    void *data;
};

void shm_pool_init(struct shm_pool *pool, struct wl_shm *shm, void (*released)(void *data), void *data);
void shm_pool_finish(struct shm_pool *pool);

/* Sets the size of buffers from now on; no-op when it is unchanged. */
void shm_pool_resize(struct shm_pool *pool, int width, int height);

/* A free buffer, marked busy, or NULL: all SHM_POOL_MAX are busy (errno EBUSY) or allocation failed. */
struct shm_buffer *shm_pool_take(struct shm_pool *pool);

/* Fills a rectangle, which must lie inside the buffer, with one colour (0xRRGGBB). */
void shm_buffer_fill(struct shm_buffer *buffer, int stride_px, int x, int y, int width, int height,
                     uint32_t colour);

#endif
