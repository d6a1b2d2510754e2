/* See shm_pool.h. */
#include "common/shm_pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void destroy_buffer(struct shm_buffer *buffer)
{
    if (buffer->retired) {
        wl_list_remove(&buffer->link);
    }
    wl_buffer_destroy(buffer->wl_buffer);
    shm_block_leave(buffer->block);
    free(buffer);
}

static void handle_release(void *data, struct wl_buffer *wl_buffer)
{
    struct shm_buffer *buffer = data;
    (void)wl_buffer;
    buffer->busy = false;
    if (buffer->retired) {
        destroy_buffer(buffer);
    } else if (buffer->pool->released != NULL) {
        buffer->pool->released(buffer->pool->data);
    }
}

static const struct wl_buffer_listener buffer_listener = {.release = handle_release};

/* The block that the next buffer is to be in, used once more for it; NULL with errno. */
static struct shm_block *take_block(struct shm_pool *pool, size_t bytes)
{
    if (!shm_backing_is_shared(pool->backing)) {
        return shm_block_create(pool->shm, pool->backing, bytes);
    }
    if (pool->block == NULL) {
        pool->block = shm_block_create(pool->shm, pool->backing, SHM_POOL_MAX * bytes);
        if (pool->block == NULL) {
            return NULL;
        }
    }
    shm_block_use(pool->block);
    return pool->block;
}

static struct shm_buffer *create_buffer(struct shm_pool *pool)
{
    struct shm_buffer *buffer = calloc(1, sizeof(*buffer));
    if (buffer == NULL) {
        return NULL;
    }
    buffer->pool = pool;
    buffer->fresh = true;
    buffer->bytes = (size_t)pool->width * (size_t)pool->height * sizeof(uint32_t);
    struct shm_block *block = buffer->block = take_block(pool, buffer->bytes);
    if (block == NULL) {
        int reason = errno;
        free(buffer);
        errno = reason;
        return NULL;
    }
    buffer->pixels = (uint32_t *)(void *)(block->data + block->used);
    buffer->wl_buffer = wl_shm_pool_create_buffer(block->wl_pool, (int32_t)block->used, pool->width,
                                                  pool->height, pool->width * 4, WL_SHM_FORMAT_XRGB8888);
    block->used += buffer->bytes;
    wl_buffer_add_listener(buffer->wl_buffer, &buffer_listener, buffer);
    return buffer;
}

void shm_pool_init(struct shm_pool *pool, struct wl_shm *shm, void (*released)(void *data), void *data)
{
    memset(pool, 0, sizeof(*pool));
    wl_list_init(&pool->retired);
    pool->shm = shm;
    pool->released = released;
    pool->data = data;
}

static void retire_buffers(struct shm_pool *pool)
{
    shm_block_leave(pool->block);
    pool->block = NULL;
    for (int i = 0; i < SHM_POOL_MAX; i++) {
        struct shm_buffer *buffer = pool->buffers[i];
        pool->buffers[i] = NULL;
        if (buffer != NULL && buffer->busy) {
            buffer->retired = true;
            wl_list_insert(&pool->retired, &buffer->link);
        } else if (buffer != NULL) {
            destroy_buffer(buffer);
        }
    }
}

void shm_pool_finish(struct shm_pool *pool)
{
    retire_buffers(pool);
    struct shm_buffer *buffer, *next;
    wl_list_for_each_safe (buffer, next, &pool->retired, link) {
        destroy_buffer(buffer);
    }
}

void shm_pool_resize(struct shm_pool *pool, int width, int height)
{
    if (width == pool->width && height == pool->height) {
        return;
    }
    retire_buffers(pool);
    pool->width = width;
    pool->height = height;
    /* Two at once: the second one is needed before the first is released, allocating it then costs a frame.
     */
    for (int i = 0; i < 2; i++) {
        pool->buffers[i] = create_buffer(pool);
    }
}

struct shm_buffer *shm_pool_take(struct shm_pool *pool)
{
    for (int i = 0; i < SHM_POOL_MAX; i++) {
        if (pool->buffers[i] == NULL && (pool->buffers[i] = create_buffer(pool)) == NULL) {
            return NULL;
        }
        if (!pool->buffers[i]->busy) {
            pool->buffers[i]->busy = true;
            return pool->buffers[i];
        }
    }
    errno = EBUSY;
    return NULL;
}

void shm_buffer_fill(struct shm_buffer *buffer, int stride_px, int x, int y, int width, int height,
                     uint32_t colour)
{
    uint32_t *first = buffer->pixels + (ptrdiff_t)y * stride_px + x;
    for (int column = 0; column < width; column++) {
        first[column] = colour;
    }
    for (int row = 1; row < height; row++) {
        memcpy(first + (ptrdiff_t)row * stride_px, first, (size_t)width * sizeof(uint32_t));
    }
}
