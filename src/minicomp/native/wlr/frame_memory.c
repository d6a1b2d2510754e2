/* Frame buffers of the modelled display under the pixman renderer: pure/memory.h's pages as wlr_buffers.
 *
 * In place of wlroots' shm allocator, whose tmpfs files nobody here ever passes on: private anonymous memory
 * takes every advice of knobs.memory.* and knobs.thp.*, a tmpfs mapping does not (MADV_FREE is refused on
 * it). Buffers are made and destroyed with the lock held. On KMS the buffers are the driver's. */
#include <drm_fourcc.h>
#include <stdlib.h>
#include <wlr/types/wlr_buffer.h>
#include <wlr/render/allocator.h>
#include <wlr/render/drm_format_set.h>

#include "memory_verbs.h"
#include "server.h"

#define BYTES_PER_PIXEL 4

struct frame_allocator {
    struct wlr_allocator base;
    struct mc_memory *memory; /* the server's, which outlives us */
};

struct frame_buffer {
    struct wlr_buffer base;
    struct mc_memory *memory;
    void *pixels;
    size_t mapped_bytes, stride;
    uint32_t format;
    struct wl_listener release;
};

static void buffer_destroy(struct wlr_buffer *wlr_buffer)
{
    struct frame_buffer *buffer = wl_container_of(wlr_buffer, buffer, base);
    mc_unlisten(&buffer->release);
    mc_memory_unmap(buffer->memory, buffer->pixels, buffer->mapped_bytes);
    free(buffer);
}

static bool buffer_begin_access(struct wlr_buffer *wlr_buffer, uint32_t flags, void **data_ret,
                                uint32_t *format_ret, size_t *stride_ret)
{
    (void)flags;
    struct frame_buffer *buffer = wl_container_of(wlr_buffer, buffer, base);
    *data_ret = buffer->pixels;
    *format_ret = buffer->format;
    *stride_ret = buffer->stride;
    return true;
}

static void buffer_end_access(struct wlr_buffer *wlr_buffer)
{
    (void)wlr_buffer;
}

static const struct wlr_buffer_impl buffer_impl = {
    .destroy = buffer_destroy,
    .begin_data_ptr_access = buffer_begin_access,
    .end_data_ptr_access = buffer_end_access,
};

static void handle_release(struct wl_listener *listener, void *data)
{
    (void)data;
    struct frame_buffer *buffer = wl_container_of(listener, buffer, release);
    mc_memory_release(buffer->memory, buffer->pixels, buffer->mapped_bytes);
}

static bool has_four_bytes_per_pixel(uint32_t format)
{
    switch (format) {
    case DRM_FORMAT_XRGB8888:
    case DRM_FORMAT_ARGB8888:
    case DRM_FORMAT_XBGR8888:
    case DRM_FORMAT_ABGR8888:
        return true;
    default:
        return false;
    }
}

static struct wlr_buffer *create_buffer(struct wlr_allocator *wlr_allocator, int width, int height,
                                        const struct wlr_drm_format *format)
{
    struct frame_allocator *allocator = wl_container_of(wlr_allocator, allocator, base);
    struct frame_buffer *buffer = NULL;
    if (has_four_bytes_per_pixel(format->format)) {
        buffer = calloc(1, sizeof(*buffer));
    }
    if (buffer == NULL) {
        return NULL;
    }
    buffer->memory = allocator->memory;
    buffer->format = format->format;
    buffer->stride = (size_t)width * BYTES_PER_PIXEL;
    buffer->pixels = mc_memory_map(allocator->memory, MC_MEMORY_FRAME, buffer->stride * (size_t)height,
                                   &buffer->mapped_bytes);
    if (buffer->pixels == NULL) {
        free(buffer);
        return NULL;
    }
    wlr_buffer_init(&buffer->base, &buffer_impl, width, height);
    mc_listen(&buffer->base.events.release, &buffer->release, handle_release);
    return &buffer->base;
}

static void allocator_destroy(struct wlr_allocator *wlr_allocator)
{
    struct frame_allocator *allocator = wl_container_of(wlr_allocator, allocator, base);
    free(allocator);
}

static const struct wlr_allocator_interface allocator_impl = {
    .create_buffer = create_buffer,
    .destroy = allocator_destroy,
};

struct wlr_allocator *mc_frame_allocator_create(struct mc_server *server)
{
    struct frame_allocator *allocator = calloc(1, sizeof(*allocator));
    if (allocator == NULL) {
        return NULL;
    }
    wlr_allocator_init(&allocator->base, &allocator_impl, WLR_BUFFER_CAP_DATA_PTR);
    allocator->memory = &server->memory;
    return &allocator->base;
}

void mc_memory_configure(struct mc_server *server, const struct mc_memory_settings *settings)
{
    server->memory.settings = *settings;
}

uint32_t mc_memory_regions(struct mc_server *server, struct mc_memory_region *regions_ret, uint32_t max,
                           struct mc_memory_counts *counts_ret)
{
    return mc_memory_look(&server->memory, regions_ret, max, counts_ret);
}
