/* Buffers for the display's cursor plane under the pixman renderer.
 *
 * wlroots 0.15 takes linear buffers only for a cursor plane, and finds none: its dumb buffers, which pixman
 * draws into, say INVALID (unknown) where they are linear by definition (drm_mode_create_dumb). So each
 * output gets the swapchain for its cursor from us, with the same buffers, called by their name. What the
 * driver refuses all the same is drawn in software, as before. Called with the lock held. */
#include <drm_fourcc.h>
#include <stdlib.h>
#include <wlr/backend/drm.h>
#include <wlr/interfaces/wlr_output.h>
#include <wlr/render/allocator.h>
#include <wlr/render/dmabuf.h>
#include <wlr/render/drm_format_set.h>
#include <wlr/types/wlr_buffer.h>

#include "server.h"

/* Exported by libwlroots, declared in its private render/swapchain.h. The output destroys its swapchains. */
struct wlr_swapchain *wlr_swapchain_create(struct wlr_allocator *allocator, int width, int height,
                                           const struct wlr_drm_format *format);

/* What only wlroots' allocator of dumb buffers has: memory that KMS shows and the CPU writes. */
#define DUMB_CAPS (WLR_BUFFER_CAP_DMABUF | WLR_BUFFER_CAP_DATA_PTR)

struct plane_allocator {
    struct wlr_allocator base;
    struct wlr_allocator *dumb;
};

struct plane_buffer {
    struct wlr_buffer base;
    struct wlr_buffer *dumb; /* ours alone */
};

static void buffer_destroy(struct wlr_buffer *wlr_buffer)
{
    struct plane_buffer *buffer = wl_container_of(wlr_buffer, buffer, base);
    wlr_buffer_drop(buffer->dumb);
    free(buffer);
}

static bool buffer_get_dmabuf(struct wlr_buffer *wlr_buffer, struct wlr_dmabuf_attributes *attributes_ret)
{
    struct plane_buffer *buffer = wl_container_of(wlr_buffer, buffer, base);
    if (!wlr_buffer_get_dmabuf(buffer->dumb, attributes_ret)) {
        return false;
    }
    attributes_ret->modifier = DRM_FORMAT_MOD_LINEAR;
    return true;
}

static bool buffer_begin_access(struct wlr_buffer *wlr_buffer, uint32_t flags, void **data_ret,
                                uint32_t *format_ret, size_t *stride_ret)
{
    struct plane_buffer *buffer = wl_container_of(wlr_buffer, buffer, base);
    return wlr_buffer_begin_data_ptr_access(buffer->dumb, flags, data_ret, format_ret, stride_ret);
}

static void buffer_end_access(struct wlr_buffer *wlr_buffer)
{
    struct plane_buffer *buffer = wl_container_of(wlr_buffer, buffer, base);
    wlr_buffer_end_data_ptr_access(buffer->dumb);
}

static const struct wlr_buffer_impl buffer_impl = {
    .destroy = buffer_destroy,
    .get_dmabuf = buffer_get_dmabuf,
    .begin_data_ptr_access = buffer_begin_access,
    .end_data_ptr_access = buffer_end_access,
};

static struct wlr_buffer *create_buffer(struct wlr_allocator *wlr_allocator, int width, int height,
                                        const struct wlr_drm_format *format)
{
    struct plane_allocator *allocator = wl_container_of(wlr_allocator, allocator, base);
    struct plane_buffer *buffer = calloc(1, sizeof(*buffer));
    if (buffer == NULL) {
        return NULL;
    }
    buffer->dumb = wlr_allocator_create_buffer(allocator->dumb, width, height, format);
    if (buffer->dumb == NULL) {
        free(buffer);
        return NULL;
    }
    wlr_buffer_init(&buffer->base, &buffer_impl, width, height);
    return &buffer->base;
}

static void allocator_destroy(struct wlr_allocator *wlr_allocator)
{
    struct plane_allocator *allocator = wl_container_of(wlr_allocator, allocator, base);
    free(allocator);
}

static const struct wlr_allocator_interface allocator_impl = {
    .create_buffer = create_buffer,
    .destroy = allocator_destroy,
};

static struct wlr_allocator *plane_allocator_of(struct mc_server *server)
{
    if (server->cursor_allocator == NULL) {
        struct plane_allocator *allocator = calloc(1, sizeof(*allocator));
        if (allocator != NULL) {
            wlr_allocator_init(&allocator->base, &allocator_impl, DUMB_CAPS);
            allocator->dumb = server->allocator;
            server->cursor_allocator = &allocator->base;
        }
    }
    return server->cursor_allocator;
}

void mc_cursor_plane_prepare(struct mc_server *server, struct wlr_output *wlr_output)
{
    if (wlr_output->cursor_swapchain != NULL || server->allocator->buffer_caps != DUMB_CAPS ||
        !wlr_output_is_drm(wlr_output) || wlr_output->impl->get_cursor_size == NULL) {
        return;
    }
    struct wlr_allocator *allocator = plane_allocator_of(server);
    struct wlr_drm_format argb = {.format = DRM_FORMAT_ARGB8888};
    int width, height; /* what the driver says: wlroots makes a swapchain of its own for any other size */
    wlr_output->impl->get_cursor_size(wlr_output, &width, &height);
    if (allocator != NULL) {
        wlr_output->cursor_swapchain = wlr_swapchain_create(allocator, width, height, &argb);
    }
}

void mc_cursor_plane_finish(struct mc_server *server)
{
    wlr_allocator_destroy(server->cursor_allocator);
    server->cursor_allocator = NULL;
}
