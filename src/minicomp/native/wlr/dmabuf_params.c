/* zwp_linux_buffer_params_v1: what a client says about its dma-bufs, checked before anything believes it.
 *
 * Obvious mistakes are the protocol errors that linux-dmabuf names, which end the client; what it could not
 * know is `failed`, or invalid_wl_buffer where it did not wait for an answer (create_immed). Either way the
 * fds are closed: they belong to the params until a buffer takes them, and go with them. */
#include "dmabuf.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <wlr/render/wlr_renderer.h>
#include <wlr/render/wlr_texture.h>

#include "linux-dmabuf-unstable-v1-server-protocol.h"
#include "server.h"

#ifndef DMA_BUF_MAGIC
#define DMA_BUF_MAGIC 0x444d4142 /* linux/magic.h since 5.14 */
#endif

#define MAX_MAPPED_PX 32767u /* pixman's coordinates are 16.16 fixed point */
#define MAPPED_ALIGNMENT 4u  /* pixman counts rows in words of 32 bits; GL_UNPACK_ALIGNMENT is 4 */
#define NO_ERROR UINT32_MAX

#define ALL_FLAGS                                                                                            \
    (ZWP_LINUX_BUFFER_PARAMS_V1_FLAGS_Y_INVERT | ZWP_LINUX_BUFFER_PARAMS_V1_FLAGS_INTERLACED |               \
     ZWP_LINUX_BUFFER_PARAMS_V1_FLAGS_BOTTOM_FIRST)

struct params {
    struct mc_dmabuf *dmabuf;
    uint64_t client;                         /* handle of whom the fds are counted for */
    struct wlr_dmabuf_attributes attributes; /* owns the fds; those that are not set are -1 */
    bool has_modifier, used;
};

/* Why params become no buffer: a protocol error, or (NO_ERROR) a failure. */
struct refusal {
    uint32_t error;
    char text[160];
};

__attribute__((format(printf, 3, 4))) static bool refuse(struct refusal *refusal, uint32_t error,
                                                         const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(refusal->text, sizeof(refusal->text), format, arguments);
    va_end(arguments);
    refusal->error = error;
    return false;
}

/* ---- checks ---- */

/* Planes 0 to n-1 are there, each once. */
static bool check_planes(const struct wlr_dmabuf_attributes *attributes, struct refusal *refusal)
{
    if (attributes->n_planes == 0) {
        return refuse(refusal, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INCOMPLETE, "no dma-buf was added");
    }
    for (int i = 0; i < attributes->n_planes; i++) {
        if (attributes->fd[i] < 0) {
            return refuse(refusal, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INCOMPLETE,
                          "plane %d is missing, a later one was added", i);
        }
    }
    return true;
}

static bool is_linear(uint64_t modifier)
{
    return modifier == DRM_FORMAT_MOD_LINEAR || modifier == DRM_FORMAT_MOD_INVALID;
}

static bool check_format(const struct params *params, uint32_t version, uint32_t flags, unsigned *ways_ret,
                         struct refusal *refusal)
{
    const struct wlr_dmabuf_attributes *attributes = &params->attributes;
    if ((flags & ~(uint32_t)ALL_FLAGS) != 0) {
        return refuse(refusal, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INVALID_FORMAT, "unknown flags 0x%" PRIx32,
                      flags);
    }
    if (!mc_dmabuf_knows_format(params->dmabuf, attributes->format)) {
        return refuse(refusal, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INVALID_FORMAT,
                      "format 0x%08" PRIx32 " is not offered", attributes->format);
    }
    *ways_ret = mc_dmabuf_ways(params->dmabuf, attributes->format, attributes->modifier);
    if (*ways_ret == 0) {
        /* Before version 4 clients were not told to keep to what is advertised. */
        bool told = version >= ZWP_LINUX_DMABUF_V1_GET_DEFAULT_FEEDBACK_SINCE_VERSION;
        return refuse(refusal, told ? (uint32_t)ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INVALID_FORMAT : NO_ERROR,
                      "format 0x%08" PRIx32 " is not offered with modifier 0x%016" PRIx64, attributes->format,
                      attributes->modifier);
    }
    if (mc_dmabuf_pixel_bytes(attributes->format) > 0 && is_linear(attributes->modifier) &&
        attributes->n_planes > 1) {
        return refuse(refusal, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INCOMPLETE,
                      "%d planes for a format that has one", attributes->n_planes);
    }
    if (flags != 0) {
        return refuse(refusal, NO_ERROR, "inverted and interlaced contents are not supported");
    }
    return true;
}

/* Whether the file is a dma-buf: they live in a file system of their own, which nothing else can claim to be.
 */
static bool is_dmabuf(int fd)
{
    struct statfs info;
    return fstatfs(fd, &info) == 0 && info.f_type == DMA_BUF_MAGIC;
}

/* offset + stride * height within the dma-buf, in arithmetic that cannot overflow: 32 + 32 * 31 bits. */
static bool check_plane(const struct wlr_dmabuf_attributes *attributes, int i, struct refusal *refusal)
{
    if (!is_dmabuf(attributes->fd[i])) {
        return refuse(refusal, NO_ERROR, "plane %d is not a dma-buf", i);
    }
    off_t end = lseek(attributes->fd[i], 0, SEEK_END); /* a dma-buf has no position that this could change */
    if (end < 0) {
        return refuse(refusal, NO_ERROR, "plane %d: %s", i, strerror(errno));
    }
    uint64_t size = (uint64_t)end, offset = attributes->offset[i], stride = attributes->stride[i];
    uint64_t row = (uint64_t)attributes->width * mc_dmabuf_pixel_bytes(attributes->format);
    if (stride == 0 || (is_linear(attributes->modifier) && stride < row)) {
        return refuse(refusal, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_OUT_OF_BOUNDS,
                      "plane %d: a stride of %" PRIu64 " bytes is less than a row's %" PRIu64, i, stride,
                      row);
    }
    /* Further planes may have fewer rows: how many is for the renderer to know. */
    uint64_t rows = i == 0 && is_linear(attributes->modifier) ? (uint64_t)attributes->height : 1;
    if (offset + stride * rows > size) {
        return refuse(refusal, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_OUT_OF_BOUNDS,
                      "plane %d: offset %" PRIu64 " + stride %" PRIu64 " * %" PRIu64
                      " rows is past the dma-buf's end at %" PRIu64,
                      i, offset, stride, rows, size);
    }
    return true;
}

/* Linear planes in one dma-buf (one inode each) do not lie in one another. Nobody else looks: the picture
 * would be nonsense, and a buffer that is drawn into would damage itself. */
static bool check_overlap(const struct wlr_dmabuf_attributes *attributes, struct refusal *refusal)
{
    struct stat first, other;
    if (attributes->n_planes == 1 || !is_linear(attributes->modifier)) {
        return true;
    }
    if (fstat(attributes->fd[0], &first) != 0) {
        return refuse(refusal, NO_ERROR, "plane 0: %s", strerror(errno));
    }
    uint64_t begin = attributes->offset[0];
    uint64_t end = begin + (uint64_t)attributes->stride[0] * (uint64_t)attributes->height;
    for (int i = 1; i < attributes->n_planes; i++) {
        if (fstat(attributes->fd[i], &other) != 0) {
            return refuse(refusal, NO_ERROR, "plane %d: %s", i, strerror(errno));
        }
        uint64_t offset = attributes->offset[i];
        if (first.st_ino == other.st_ino && offset < end && offset + attributes->stride[i] > begin) {
            return refuse(refusal, NO_ERROR, "plane %d overlaps plane 0", i);
        }
    }
    return true;
}

/* Whether the CPU can read it where it is. */
static bool check_mapped(const struct wlr_dmabuf_attributes *attributes, struct refusal *refusal)
{
    uint32_t bytes = mc_dmabuf_pixel_bytes(attributes->format);
    if ((uint32_t)attributes->width > MAX_MAPPED_PX || (uint32_t)attributes->height > MAX_MAPPED_PX) {
        return refuse(refusal, NO_ERROR, "%dx%d is larger than %ux%u", attributes->width, attributes->height,
                      MAX_MAPPED_PX, MAX_MAPPED_PX);
    }
    if (attributes->stride[0] % MAPPED_ALIGNMENT != 0 || attributes->offset[0] % bytes != 0) {
        return refuse(refusal, NO_ERROR,
                      "stride %" PRIu32 " must be a multiple of %u, offset %" PRIu32 " of %" PRIu32,
                      attributes->stride[0], MAPPED_ALIGNMENT, attributes->offset[0], bytes);
    }
    return true;
}

static bool check(struct params *params, uint32_t version, uint32_t flags, unsigned *ways_ret,
                  struct refusal *refusal)
{
    const struct wlr_dmabuf_attributes *attributes = &params->attributes;
    if (!check_planes(attributes, refusal)) {
        return false;
    }
    if (attributes->width < 1 || attributes->height < 1) {
        return refuse(refusal, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INVALID_DIMENSIONS, "%dx%d",
                      attributes->width, attributes->height);
    }
    if (!check_format(params, version, flags, ways_ret, refusal)) {
        return false;
    }
    for (int i = 0; i < attributes->n_planes; i++) {
        if (!check_plane(attributes, i, refusal)) {
            return false;
        }
    }
    return check_overlap(attributes, refusal);
}

/* ---- requests ---- */

static const struct zwp_linux_buffer_params_v1_interface params_impl;

static void close_fds(struct params *params)
{
    for (int i = 0; i < WLR_DMABUF_MAX_PLANES; i++) {
        if (params->attributes.fd[i] >= 0) {
            close(params->attributes.fd[i]);
            params->attributes.fd[i] = -1;
        }
    }
    mc_client_hold_fds(params->dmabuf->server, params->client, -params->attributes.n_planes);
    params->attributes.n_planes = 0;
}

static void handle_resource_destroy(struct wl_resource *resource)
{
    struct params *params = wl_resource_get_user_data(resource);
    close_fds(params);
    free(params);
}

static void handle_destroy(struct wl_client *client, struct wl_resource *resource)
{
    (void)client;
    wl_resource_destroy(resource);
}

static void handle_add(struct wl_client *client, struct wl_resource *resource, int32_t fd, uint32_t plane,
                       uint32_t offset, uint32_t stride, uint32_t modifier_hi, uint32_t modifier_lo)
{
    (void)client;
    struct params *params = wl_resource_get_user_data(resource);
    struct wlr_dmabuf_attributes *attributes = &params->attributes;
    uint64_t modifier = (uint64_t)modifier_hi << 32 | modifier_lo;
    if (params->used) {
        wl_resource_post_error(resource, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_ALREADY_USED,
                               "a buffer was already made of these params");
    } else if (plane >= WLR_DMABUF_MAX_PLANES) {
        wl_resource_post_error(resource, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_PLANE_IDX,
                               "plane %" PRIu32 " of at most %d", plane, WLR_DMABUF_MAX_PLANES);
    } else if (attributes->fd[plane] >= 0) {
        wl_resource_post_error(resource, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_PLANE_SET,
                               "plane %" PRIu32 " was added twice", plane);
    } else if (params->has_modifier && modifier != attributes->modifier) {
        wl_resource_post_error(resource, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INVALID_FORMAT,
                               "plane %" PRIu32 " has another modifier than the planes before", plane);
    } else {
        params->has_modifier = true;
        attributes->modifier = modifier;
        attributes->fd[plane] = fd;
        attributes->offset[plane] = offset;
        attributes->stride[plane] = stride;
        attributes->n_planes++;
        mc_client_hold_fds(params->dmabuf->server, params->client, 1);
        return;
    }
    close(fd);
}

/* The buffer: imported if the renderer takes it, else mapped. */
static struct mc_dmabuf_buffer *make_buffer(struct params *params, struct wl_client *client, uint32_t id,
                                            unsigned ways, struct refusal *refusal)
{
    struct mc_dmabuf *dmabuf = params->dmabuf;
    struct wlr_dmabuf_attributes *attributes = &params->attributes;
    size_t map_bytes = 0;
    struct wlr_texture *texture = NULL;
    if ((ways & MC_DMABUF_IMPORT) != 0) {
        mc_log_expect_errors(true);
        texture = wlr_texture_from_dmabuf(dmabuf->renderer, attributes);
        mc_log_expect_errors(false);
    }
    if (texture != NULL) {
        wlr_texture_destroy(texture); /* every surface's commit imports it anew */
    } else if ((ways & MC_DMABUF_MAP) == 0) {
        refuse(refusal, NO_ERROR, "the renderer cannot import it");
        return NULL;
    } else if (!check_mapped(attributes, refusal)) {
        return NULL;
    } else {
        map_bytes = attributes->offset[0] + (size_t)attributes->stride[0] * (size_t)attributes->height;
    }
    int error = 0;
    struct mc_dmabuf_buffer *buffer =
        mc_dmabuf_buffer_create(dmabuf, client, id, params->client, attributes, map_bytes, &error);
    if (buffer == NULL) {
        refuse(refusal, NO_ERROR, "%s", strerror(error));
        return NULL;
    }
    for (int i = 0; i < attributes->n_planes; i++) {
        attributes->fd[i] = -1; /* the buffer's now, and so is their count */
    }
    attributes->n_planes = 0;
    return buffer;
}

static void create(struct wl_client *client, struct wl_resource *resource, uint32_t id, int32_t width,
                   int32_t height, uint32_t format, uint32_t flags)
{
    struct params *params = wl_resource_get_user_data(resource);
    if (params->used) {
        wl_resource_post_error(resource, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_ALREADY_USED,
                               "a buffer was already made of these params");
        return;
    }
    params->used = true;
    params->attributes.width = width;
    params->attributes.height = height;
    params->attributes.format = format;
    unsigned ways = 0;
    struct refusal refusal = {0};
    struct mc_dmabuf_buffer *buffer = NULL;
    if (check(params, (uint32_t)wl_resource_get_version(resource), flags, &ways, &refusal)) {
        buffer = make_buffer(params, client, id, ways, &refusal);
    }
    if (buffer != NULL) {
        if (id == 0) {
            zwp_linux_buffer_params_v1_send_created(resource, buffer->resource);
        }
        return;
    }
    close_fds(params);
    params->dmabuf->counts.refused++;
    mc_log(params->dmabuf->server, MC_LOG_DEBUG, "a dma-buf was refused: %s", refusal.text);
    if (refusal.error != NO_ERROR) {
        wl_resource_post_error(resource, refusal.error, "%s", refusal.text);
    } else if (id == 0) {
        zwp_linux_buffer_params_v1_send_failed(resource);
    } else {
        wl_resource_post_error(resource, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INVALID_WL_BUFFER, "%s",
                               refusal.text);
    }
}

static void handle_create(struct wl_client *client, struct wl_resource *resource, int32_t width,
                          int32_t height, uint32_t format, uint32_t flags)
{
    create(client, resource, 0, width, height, format, flags);
}

static void handle_create_immed(struct wl_client *client, struct wl_resource *resource, uint32_t id,
                                int32_t width, int32_t height, uint32_t format, uint32_t flags)
{
    create(client, resource, id, width, height, format, flags);
}

static const struct zwp_linux_buffer_params_v1_interface params_impl = {
    .destroy = handle_destroy,
    .add = handle_add,
    .create = handle_create,
    .create_immed = handle_create_immed,
};

void mc_dmabuf_create_params(struct wl_client *client, struct wl_resource *manager, uint32_t id)
{
    struct mc_dmabuf *dmabuf = wl_resource_get_user_data(manager);
    struct params *params = calloc(1, sizeof(*params));
    struct wl_resource *resource = params != NULL
                                       ? wl_resource_create(client, &zwp_linux_buffer_params_v1_interface,
                                                            wl_resource_get_version(manager), id)
                                       : NULL;
    if (resource == NULL) {
        free(params);
        wl_client_post_no_memory(client);
        return;
    }
    struct mc_client *owner = mc_client_from(dmabuf->server, client);
    params->dmabuf = dmabuf;
    params->client = owner != NULL ? owner->handle : 0;
    for (int i = 0; i < WLR_DMABUF_MAX_PLANES; i++) {
        params->attributes.fd[i] = -1;
    }
    wl_resource_set_implementation(resource, &params_impl, params, handle_resource_destroy);
}
