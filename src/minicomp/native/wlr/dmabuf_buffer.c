/* A dma-buf as a wlr_buffer: imported by the renderer, or mapped and read by the CPU.
 *
 * A mapped buffer is mapped once, read-only. That needs no SIGBUS handler as wl_shm does: a dma-buf's size
 * never changes, and mapping past its end fails at once (dma_buf_mmap in the kernel; udmabuf takes only
 * memory that is sealed against shrinking).
 *
 * Every reading is between DMA_BUF_IOCTL_SYNC's start and end, which makes caches coherent. wlroots begins
 * and ends an access for each damaged rectangle; in a frame the first begin starts, and the frame's end ends.
 * Start also waits for the buffer's writers. dmabuf_fence.c has done that before the commit was applied; a
 * client that sets its GPU to work on it once more gets the torn picture it asked for, and nobody waits with
 * it.
 *
 * Locks are wlroots': a texture that reads from the buffer holds one (pixman's until the surface has another
 * buffer, GLES2's while it copies), a scanned-out frame too. wl_buffer.release goes out with the last of
 * them. */
#include "dmabuf.h"

#include <errno.h>
#include <linux/dma-buf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <wayland-server-protocol.h>

#include "server.h"

static const struct wlr_buffer_impl buffer_impl;
static const struct wl_buffer_interface wl_buffer_impl;

struct mc_dmabuf_buffer *mc_dmabuf_buffer_from(struct wlr_buffer *wlr_buffer)
{
    if (wlr_buffer->impl != &buffer_impl) {
        return NULL;
    }
    struct mc_dmabuf_buffer *buffer = wl_container_of(wlr_buffer, buffer, base);
    return buffer;
}

/* ---- reading ---- */

static bool sync_ioctl(const struct mc_dmabuf_buffer *buffer, uint64_t flags)
{
    struct dma_buf_sync sync = {.flags = flags | DMA_BUF_SYNC_READ};
    int result;
    do {
        result = ioctl(buffer->attributes.fd[0], DMA_BUF_IOCTL_SYNC, &sync);
    } while (result < 0 && (errno == EINTR || errno == EAGAIN));
    return result == 0;
}

static bool start_reading(struct mc_dmabuf_buffer *buffer)
{
    if (buffer->syncing || mc_dmabuf_is_written(buffer->attributes.fd[0])) {
        return true;
    }
    if (!sync_ioctl(buffer, DMA_BUF_SYNC_START)) {
        return false;
    }
    buffer->syncing = true;
    if (buffer->dmabuf != NULL) {
        buffer->dmabuf->counts.syncs++;
        wl_list_insert(&buffer->dmabuf->reading, &buffer->reading_link);
    }
    return true;
}

static void stop_reading(struct mc_dmabuf_buffer *buffer)
{
    if (!buffer->syncing) {
        return;
    }
    buffer->syncing = false;
    wl_list_remove(&buffer->reading_link);
    wl_list_init(&buffer->reading_link);
    if (!sync_ioctl(buffer, DMA_BUF_SYNC_END) && buffer->dmabuf != NULL) {
        mc_log(buffer->dmabuf->server, MC_LOG_WARNING, "a dma-buf's reading could not be ended: %s",
               strerror(errno));
    }
}

static bool begin_access(struct wlr_buffer *wlr_buffer, uint32_t flags, void **data_ret, uint32_t *format_ret,
                         size_t *stride_ret)
{
    struct mc_dmabuf_buffer *buffer = mc_dmabuf_buffer_from(wlr_buffer);
    if (buffer->map == NULL || (flags & WLR_BUFFER_DATA_PTR_ACCESS_WRITE) != 0 || !start_reading(buffer)) {
        return false;
    }
    if (buffer->dmabuf != NULL) {
        buffer->dmabuf->counts.reads++;
    }
    *data_ret = (uint8_t *)buffer->map + buffer->attributes.offset[0];
    *format_ret = buffer->attributes.format;
    *stride_ret = buffer->attributes.stride[0];
    return true;
}

static void end_access(struct wlr_buffer *wlr_buffer)
{
    struct mc_dmabuf_buffer *buffer = mc_dmabuf_buffer_from(wlr_buffer);
    if (buffer->dmabuf == NULL || !buffer->dmabuf->in_frame) {
        stop_reading(buffer);
    }
}

void mc_dmabuf_frame_begin(struct mc_server *server)
{
    if (server->dmabuf != NULL) {
        server->dmabuf->in_frame = true;
    }
}

void mc_dmabuf_frame_end(struct mc_server *server)
{
    struct mc_dmabuf *dmabuf = server->dmabuf;
    if (dmabuf == NULL) {
        return;
    }
    dmabuf->in_frame = false;
    struct mc_dmabuf_buffer *buffer, *next;
    wl_list_for_each_safe (buffer, next, &dmabuf->reading, reading_link) {
        stop_reading(buffer);
    }
}

/* ---- for wlroots ---- */

/* EGL imports by this; of a mapped buffer it must not know, or it would be asked again for what it refused.
 * Pixman never asks, but KMS does, to scan the buffer out. */
static bool get_dmabuf(struct wlr_buffer *wlr_buffer, struct wlr_dmabuf_attributes *attributes_ret)
{
    struct mc_dmabuf_buffer *buffer = mc_dmabuf_buffer_from(wlr_buffer);
    bool importing = buffer->dmabuf != NULL && buffer->dmabuf->imported > 0;
    if (buffer->map != NULL && importing) {
        return false;
    }
    *attributes_ret = buffer->attributes;
    return true;
}

static void destroy(struct wlr_buffer *wlr_buffer)
{
    struct mc_dmabuf_buffer *buffer = mc_dmabuf_buffer_from(wlr_buffer);
    struct mc_dmabuf *dmabuf = buffer->dmabuf;
    stop_reading(buffer);
    if (buffer->map != NULL) {
        munmap(buffer->map, buffer->map_bytes);
    }
    if (dmabuf != NULL) {
        dmabuf->counts.buffers--;
        dmabuf->counts.mapped -= buffer->map != NULL;
        dmabuf->counts.mapped_bytes -= buffer->map_bytes;
        mc_client_hold_fds(dmabuf->server, buffer->client, -buffer->attributes.n_planes);
    }
    wlr_dmabuf_attributes_finish(&buffer->attributes);
    wl_list_remove(&buffer->release.link);
    wl_list_remove(&buffer->link);
    free(buffer);
}

static const struct wlr_buffer_impl buffer_impl = {
    .destroy = destroy,
    .get_dmabuf = get_dmabuf,
    .begin_data_ptr_access = begin_access,
    .end_data_ptr_access = end_access,
};

static bool is_instance(struct wl_resource *resource)
{
    return wl_resource_instance_of(resource, &wl_buffer_interface, &wl_buffer_impl);
}

static struct wlr_buffer *from_resource(struct wl_resource *resource)
{
    struct mc_dmabuf_buffer *buffer = wl_resource_get_user_data(resource);
    return &buffer->base;
}

void mc_dmabuf_buffers_register(void)
{
    static const struct wlr_buffer_resource_interface resource_interface = {
        .name = "mc_dmabuf_buffer",
        .is_instance = is_instance,
        .from_resource = from_resource,
    };
    wlr_buffer_register_resource_interface(&resource_interface);
}

/* ---- for the client ---- */

static void handle_destroy(struct wl_client *client, struct wl_resource *resource)
{
    (void)client;
    wl_resource_destroy(resource);
}

static const struct wl_buffer_interface wl_buffer_impl = {.destroy = handle_destroy};

static void handle_resource_destroy(struct wl_resource *resource)
{
    struct mc_dmabuf_buffer *buffer = wl_resource_get_user_data(resource);
    buffer->resource = NULL;
    wlr_buffer_drop(&buffer->base); /* it lives on while it is locked: shown, or about to be */
}

static void handle_release(struct wl_listener *listener, void *data)
{
    (void)data;
    struct mc_dmabuf_buffer *buffer = wl_container_of(listener, buffer, release);
    if (buffer->resource != NULL) {
        wl_buffer_send_release(buffer->resource);
    }
}

struct mc_dmabuf_buffer *mc_dmabuf_buffer_create(struct mc_dmabuf *dmabuf, struct wl_client *client,
                                                 uint32_t id, uint64_t client_handle,
                                                 const struct wlr_dmabuf_attributes *attributes,
                                                 size_t map_bytes, int *error_ret)
{
    void *map = NULL;
    if (map_bytes > 0) {
        map = mmap(NULL, map_bytes, PROT_READ, MAP_SHARED, attributes->fd[0], 0);
        if (map == MAP_FAILED) {
            *error_ret = errno; /* an exporter without mmap, or no address space */
            return NULL;
        }
    }
    struct mc_dmabuf_buffer *buffer = calloc(1, sizeof(*buffer));
    struct wl_resource *resource =
        buffer != NULL ? wl_resource_create(client, &wl_buffer_interface, 1, id) : NULL;
    if (resource == NULL) {
        *error_ret = ENOMEM;
        if (map != NULL) {
            munmap(map, map_bytes);
        }
        free(buffer);
        return NULL;
    }
    wlr_buffer_init(&buffer->base, &buffer_impl, attributes->width, attributes->height);
    buffer->dmabuf = dmabuf;
    buffer->client = client_handle;
    buffer->attributes = *attributes;
    buffer->map = map;
    buffer->map_bytes = map_bytes;
    wl_list_init(&buffer->reading_link);
    wl_list_insert(&dmabuf->buffers, &buffer->link);
    mc_listen(&buffer->base.events.release, &buffer->release, handle_release);
    buffer->resource = resource;
    wl_resource_set_implementation(resource, &wl_buffer_impl, buffer, handle_resource_destroy);
    dmabuf->counts.buffers++;
    dmabuf->counts.mapped += map != NULL;
    dmabuf->counts.mapped_bytes += map_bytes;
    return buffer;
}
