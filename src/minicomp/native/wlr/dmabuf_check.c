/* From attributes that a client named to a buffer: every check, before anything believes them.
 *
 * wlroots looks at less: it takes any file for a dma-buf, planes that overlap, and by wl_drm offsets and
 * strides past the end, which a software renderer then reads. */
#include "dmabuf.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
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

#define ALL_FLAGS                                                                                            \
    (ZWP_LINUX_BUFFER_PARAMS_V1_FLAGS_Y_INVERT | ZWP_LINUX_BUFFER_PARAMS_V1_FLAGS_INTERLACED |               \
     ZWP_LINUX_BUFFER_PARAMS_V1_FLAGS_BOTTOM_FIRST)

__attribute__((format(printf, 3, 4))) static bool refuse(struct mc_dmabuf_refusal *refusal, uint32_t error,
                                                         const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(refusal->text, sizeof(refusal->text), format, arguments);
    va_end(arguments);
    refusal->error = error;
    return false;
}

/* Planes 0 to n-1 are there, each once. */
static bool check_planes(const struct wlr_dmabuf_attributes *attributes, struct mc_dmabuf_refusal *refusal)
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

static bool check_format(const struct mc_dmabuf *dmabuf, const struct wlr_dmabuf_attributes *attributes,
                         uint32_t flags, bool strict, unsigned *ways_ret, struct mc_dmabuf_refusal *refusal)
{
    if ((flags & ~(uint32_t)ALL_FLAGS) != 0) {
        return refuse(refusal, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INVALID_FORMAT, "unknown flags 0x%" PRIx32,
                      flags);
    }
    if (!mc_dmabuf_knows_format(dmabuf, attributes->format)) {
        return refuse(refusal, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INVALID_FORMAT,
                      "format 0x%08" PRIx32 " is not offered", attributes->format);
    }
    *ways_ret = mc_dmabuf_ways(dmabuf, attributes->format, attributes->modifier);
    if (*ways_ret == 0) {
        return refuse(refusal,
                      strict ? (uint32_t)ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INVALID_FORMAT : MC_DMABUF_FAILED,
                      "format 0x%08" PRIx32 " is not offered with modifier 0x%016" PRIx64, attributes->format,
                      attributes->modifier);
    }
    if (mc_dmabuf_is_mapped_format(attributes->format) && is_linear(attributes->modifier) &&
        attributes->n_planes > 1) {
        return refuse(refusal, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INCOMPLETE,
                      "%d planes for a format that has one", attributes->n_planes);
    }
    if (flags != 0) {
        return refuse(refusal, MC_DMABUF_FAILED, "inverted and interlaced contents are not supported");
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
static bool check_plane(const struct wlr_dmabuf_attributes *attributes, int i,
                        struct mc_dmabuf_refusal *refusal)
{
    if (!is_dmabuf(attributes->fd[i])) {
        return refuse(refusal, MC_DMABUF_FAILED, "plane %d is not a dma-buf", i);
    }
    off_t end = lseek(attributes->fd[i], 0, SEEK_END); /* a dma-buf has no position that this could change */
    if (end < 0) {
        return refuse(refusal, MC_DMABUF_FAILED, "plane %d: %s", i, strerror(errno));
    }
    uint64_t size = (uint64_t)end, offset = attributes->offset[i], stride = attributes->stride[i];
    bool linear = is_linear(attributes->modifier);
    uint64_t row = i == 0 ? (uint64_t)attributes->width * mc_dmabuf_pixel_bytes(attributes->format) : 1;
    if (stride == 0 || (linear && stride < row)) {
        return refuse(refusal, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_OUT_OF_BOUNDS,
                      "plane %d: a stride of %" PRIu64 " bytes is less than a row's %" PRIu64, i, stride,
                      row);
    }
    uint64_t rows = linear ? mc_dmabuf_plane_rows(attributes->format, i, (uint32_t)attributes->height) : 1;
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
static bool check_overlap(const struct wlr_dmabuf_attributes *attributes, struct mc_dmabuf_refusal *refusal)
{
    struct stat first, other;
    if (attributes->n_planes == 1 || !is_linear(attributes->modifier)) {
        return true;
    }
    if (fstat(attributes->fd[0], &first) != 0) {
        return refuse(refusal, MC_DMABUF_FAILED, "plane 0: %s", strerror(errno));
    }
    uint64_t begin = attributes->offset[0];
    uint64_t end = begin + (uint64_t)attributes->stride[0] * (uint64_t)attributes->height;
    for (int i = 1; i < attributes->n_planes; i++) {
        if (fstat(attributes->fd[i], &other) != 0) {
            return refuse(refusal, MC_DMABUF_FAILED, "plane %d: %s", i, strerror(errno));
        }
        uint64_t offset = attributes->offset[i];
        if (first.st_ino == other.st_ino && offset < end && offset + attributes->stride[i] > begin) {
            return refuse(refusal, MC_DMABUF_FAILED, "plane %d overlaps plane 0", i);
        }
    }
    return true;
}

/* Whether the CPU can read it where it is. */
static bool check_mapped(const struct wlr_dmabuf_attributes *attributes, struct mc_dmabuf_refusal *refusal)
{
    uint32_t bytes = mc_dmabuf_pixel_bytes(attributes->format);
    if ((uint32_t)attributes->width > MAX_MAPPED_PX || (uint32_t)attributes->height > MAX_MAPPED_PX) {
        return refuse(refusal, MC_DMABUF_FAILED, "%dx%d is larger than %ux%u", attributes->width,
                      attributes->height, MAX_MAPPED_PX, MAX_MAPPED_PX);
    }
    if (attributes->stride[0] % MAPPED_ALIGNMENT != 0 || attributes->offset[0] % bytes != 0) {
        return refuse(refusal, MC_DMABUF_FAILED,
                      "stride %" PRIu32 " must be a multiple of %u, offset %" PRIu32 " of %" PRIu32,
                      attributes->stride[0], MAPPED_ALIGNMENT, attributes->offset[0], bytes);
    }
    return true;
}

static bool check(const struct mc_dmabuf *dmabuf, const struct wlr_dmabuf_attributes *attributes,
                  uint32_t flags, bool strict, unsigned *ways_ret, struct mc_dmabuf_refusal *refusal)
{
    if (!check_planes(attributes, refusal)) {
        return false;
    }
    if (attributes->width < 1 || attributes->height < 1) {
        return refuse(refusal, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INVALID_DIMENSIONS, "%dx%d",
                      attributes->width, attributes->height);
    }
    if (!check_format(dmabuf, attributes, flags, strict, ways_ret, refusal)) {
        return false;
    }
    for (int i = 0; i < attributes->n_planes; i++) {
        if (!check_plane(attributes, i, refusal)) {
            return false;
        }
    }
    return check_overlap(attributes, refusal);
}

/* Imported if the renderer takes it, else mapped: how many bytes to map. */
static bool find_way(struct mc_dmabuf *dmabuf, struct wlr_dmabuf_attributes *attributes, unsigned ways,
                     size_t *map_bytes_ret, struct mc_dmabuf_refusal *refusal)
{
    struct wlr_texture *texture = NULL;
    *map_bytes_ret = 0;
    if ((ways & MC_DMABUF_IMPORT) != 0) {
        mc_log_expect_errors(true);
        texture = wlr_texture_from_dmabuf(dmabuf->renderer, attributes);
        mc_log_expect_errors(false);
    }
    if (texture != NULL) {
        wlr_texture_destroy(texture); /* every surface's commit imports it anew */
        return true;
    }
    if ((ways & MC_DMABUF_MAP) == 0) {
        return refuse(refusal, MC_DMABUF_FAILED, "the renderer cannot import it");
    }
    *map_bytes_ret = attributes->offset[0] + (size_t)attributes->stride[0] * (size_t)attributes->height;
    return check_mapped(attributes, refusal);
}

struct mc_dmabuf_buffer *mc_dmabuf_buffer_make(struct mc_dmabuf *dmabuf, struct wl_client *client,
                                               uint64_t client_handle, uint32_t id,
                                               struct wlr_dmabuf_attributes *attributes, uint32_t flags,
                                               bool strict, struct mc_dmabuf_refusal *refusal_ret)
{
    unsigned ways = 0;
    size_t map_bytes;
    struct mc_dmabuf_buffer *buffer = NULL;
    if (check(dmabuf, attributes, flags, strict, &ways, refusal_ret) &&
        find_way(dmabuf, attributes, ways, &map_bytes, refusal_ret)) {
        int error = 0;
        buffer = mc_dmabuf_buffer_create(dmabuf, client, id, client_handle, attributes, map_bytes, &error);
        if (buffer == NULL) {
            refuse(refusal_ret, MC_DMABUF_FAILED, "%s", strerror(error));
        }
    }
    if (buffer == NULL) {
        dmabuf->counts.refused++;
        mc_log(dmabuf->server, MC_LOG_DEBUG, "a dma-buf was refused: %s", refusal_ret->text);
        return NULL;
    }
    for (int i = 0; i < attributes->n_planes; i++) {
        attributes->fd[i] = -1; /* the buffer's now, and so is their count */
    }
    attributes->n_planes = 0;
    return buffer;
}
