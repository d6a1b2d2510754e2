/* Scenarios with true dma-bufs: their bounds, their lifetime, their fences. */
#include <drm_fourcc.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dmabuf_bad.h"

/* ---- bounds ---- */

static void create_with(struct bad *bad, uint32_t offset, uint32_t stride, int width, int height)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    zwp_linux_buffer_params_v1_add(params, bad->memory.fd, 0, offset, stride, 0, 0);
    zwp_linux_buffer_params_v1_create(params, width, height, DRM_FORMAT_XRGB8888, 0);
}

static void run_too_small(struct bad *bad)
{
    create_with(bad, 0, 4096, 1024, 1024);
}

static void run_one_row_too_many(struct bad *bad)
{
    create_with(bad, 0, BAD_STRIDE, BAD_WIDTH_PX, (int)(bad->memory.bytes / BAD_STRIDE) + 1);
}

static void run_offset_past_end(struct bad *bad)
{
    create_with(bad, (uint32_t)bad->memory.bytes + 4096, BAD_STRIDE, BAD_WIDTH_PX, BAD_HEIGHT_PX);
}

static void run_offset_overflow(struct bad *bad)
{
    create_with(bad, UINT32_MAX - 3, UINT32_MAX - 3, 1, INT32_MAX);
}

static void run_stride_zero(struct bad *bad)
{
    create_with(bad, 0, 0, BAD_WIDTH_PX, BAD_HEIGHT_PX);
}

static void run_stride_too_small(struct bad *bad)
{
    create_with(bad, 0, BAD_STRIDE - 4, BAD_WIDTH_PX, BAD_HEIGHT_PX);
}

static void run_stride_unaligned(struct bad *bad)
{
    create_with(bad, 0, BAD_STRIDE + 2, BAD_WIDTH_PX, BAD_HEIGHT_PX / 2);
}

static void run_huge_size(struct bad *bad)
{
    create_with(bad, 0, BAD_STRIDE, INT32_MAX, INT32_MAX);
}

static void run_overlap(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    bad_add(params, bad->memory.fd, 0);
    zwp_linux_buffer_params_v1_add(params, bad->memory.fd, 1, BAD_STRIDE, BAD_STRIDE, 0, 0);
    zwp_linux_buffer_params_v1_create(params, BAD_WIDTH_PX, BAD_HEIGHT_PX / 2, DRM_FORMAT_XRGB8888, 0);
}

static void run_overlap_nv12(struct bad *bad)
{
    uint64_t modifier = DRM_FORMAT_MOD_INVALID;
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    for (uint32_t plane = 0; plane < 2; plane++) {
        zwp_linux_buffer_params_v1_add(params, bad->memory.fd, plane, plane * BAD_STRIDE, BAD_STRIDE,
                                       (uint32_t)(modifier >> 32), (uint32_t)modifier);
    }
    zwp_linux_buffer_params_v1_create(params, BAD_WIDTH_PX, BAD_HEIGHT_PX / 2, DRM_FORMAT_NV12, 0);
}

/* A renderer on the CPU that believed these two would read past the memory's end. */
static void run_rows_past_end(struct bad *bad)
{
    int width = 8192;
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    if (!bad_open_window(bad)) {
        return;
    }
    zwp_linux_buffer_params_v1_add(params, bad->memory.fd, 0, 0, 8, (uint32_t)(DRM_FORMAT_MOD_INVALID >> 32),
                                   (uint32_t)DRM_FORMAT_MOD_INVALID);
    bad_show(bad, zwp_linux_buffer_params_v1_create_immed(params, width, 64, DRM_FORMAT_ABGR16161616F, 0));
    bad_let_it_compose(bad);
}

static void run_chroma_past_end(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    uint32_t modifier_hi = (uint32_t)(DRM_FORMAT_MOD_INVALID >> 32),
             modifier_lo = (uint32_t)DRM_FORMAT_MOD_INVALID;
    uint32_t end = (uint32_t)bad->memory.bytes;
    if (!bad_open_window(bad)) {
        return;
    }
    /* As much luma as there is memory, and of the chroma one row. */
    zwp_linux_buffer_params_v1_add(params, bad->memory.fd, 0, 0, 64, modifier_hi, modifier_lo);
    zwp_linux_buffer_params_v1_add(params, bad->memory.fd, 1, end - 64, 64, modifier_hi, modifier_lo);
    bad_show(bad,
             zwp_linux_buffer_params_v1_create_immed(params, 64, (int)(end / 64) - 1, DRM_FORMAT_NV12, 0));
    bad_let_it_compose(bad);
}

/* ---- lifetime ---- */

static void run_fd_closed_early(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    if (!bad_open_window(bad)) {
        return;
    }
    bad_add(params, bad->memory.fd, 0);
    memory_free(&bad->memory); /* before anything was sent: libwayland has its own duplicate */
    bad_show(bad, zwp_linux_buffer_params_v1_create_immed(params, BAD_WIDTH_PX, BAD_HEIGHT_PX,
                                                          DRM_FORMAT_XRGB8888, 0));
    bad->created++;
    bad_let_it_compose(bad);
}

static void run_destroy_while_attached(struct bad *bad)
{
    struct wl_buffer *buffer = bad_open_window(bad) ? bad_good_buffer(bad) : NULL;
    if (buffer != NULL) {
        bad_show(bad, buffer);
        wl_buffer_destroy(buffer);
        memory_free(&bad->memory);
        bad_let_it_compose(bad);
        wl_surface_damage(bad->window.surface, 0, 0, INT32_MAX, INT32_MAX);
        wl_surface_commit(bad->window.surface); /* it is still what the surface shows */
        bad_let_it_compose(bad);
    }
}

static void run_destroy_before_commit(struct bad *bad)
{
    struct wl_buffer *buffer = bad_open_window(bad) ? bad_good_buffer(bad) : NULL;
    if (buffer != NULL) {
        wl_surface_attach(bad->window.surface, buffer, 0, 0);
        wl_buffer_destroy(buffer);
        wl_surface_damage_buffer(bad->window.surface, 0, 0, INT32_MAX, INT32_MAX);
        wl_surface_commit(bad->window.surface);
        bad_let_it_compose(bad);
    }
}

static void run_destroy_in_rapid_turn(struct bad *bad)
{
    if (!bad_open_window(bad)) {
        return;
    }
    for (uint64_t i = 0; i < bad->count; i++) {
        struct wl_buffer *buffer = bad_good_buffer(bad);
        if (buffer == NULL) {
            return;
        }
        bad_show(bad, buffer);
        wl_buffer_destroy(buffer);
    }
    bad_let_it_compose(bad);
}

static void run_dies_while_shown(struct bad *bad)
{
    struct wl_buffer *buffer = bad_open_window(bad) ? bad_good_buffer(bad) : NULL;
    if (buffer != NULL) {
        bad_show(bad, buffer);
        bad_let_it_compose(bad);
        _exit(EXIT_OK);
    }
}

/* The pages of a udmabuf cannot be taken away from who reads it. */
static void run_shrink(struct bad *bad)
{
    int memfd = memfd_create("dmabuf-shrink", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
    off_t bytes = (off_t)BAD_STRIDE * BAD_HEIGHT_PX;
    struct udmabuf_create create = {.memfd = (uint32_t)memfd, .size = (uint64_t)bytes};
    if (memfd < 0 || device < 0 || ftruncate(memfd, bytes) != 0) {
        bad->undone = "there is no /dev/udmabuf";
        return;
    }
    if (ioctl(device, UDMABUF_CREATE, &create) >= 0) {
        bad->undone = "udmabuf took memory that is not sealed against shrinking";
        return;
    }
    fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK);
    memory_free(&bad->memory);
    bad->memory.fd = ioctl(device, UDMABUF_CREATE, &create);
    struct wl_buffer *buffer = bad->memory.fd >= 0 && bad_open_window(bad) ? bad_good_buffer(bad) : NULL;
    if (buffer == NULL) {
        bad->undone = "no udmabuf could be shown";
        return;
    }
    bad_show(bad, buffer);
    if (ftruncate(memfd, 0) == 0) {
        bad->undone = "sealed memory was truncated";
        return;
    }
    fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, bytes);
    bad_let_it_compose(bad);
    wl_surface_damage(bad->window.surface, 0, 0, INT32_MAX, INT32_MAX);
    wl_surface_commit(bad->window.surface);
    bad_let_it_compose(bad);
}

static void run_many_buffers(struct bad *bad)
{
    for (uint64_t i = 0; i < bad->count; i++) {
        struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
        bad_add(params, bad->memory.fd, 0);
        zwp_linux_buffer_params_v1_create_immed(params, BAD_WIDTH_PX, BAD_HEIGHT_PX, DRM_FORMAT_XRGB8888, 0);
        zwp_linux_buffer_params_v1_destroy(params);
        if (i % 16 == 15 && !channel_push(&bad->channel)) {
            return;
        }
    }
}

/* ---- fences ---- */

static bool attach_fence(struct bad *bad)
{
    bool done = memory_attach_fence(&bad->memory) != 0;
    bad->undone = done ? NULL : "no fence can be attached: --allocator dumb --device must name a vgem card";
    return done;
}

static void run_fence_never(struct bad *bad)
{
    struct wl_buffer *buffer = bad_open_window(bad) ? bad_good_buffer(bad) : NULL;
    if (buffer == NULL || !attach_fence(bad)) {
        return;
    }
    for (uint64_t i = 0; i < bad->count; i++) {
        bad_show(bad, buffer);
        if (i % 64 == 63 && !channel_push(&bad->channel)) {
            return;
        }
    }
    bad_let_it_compose(bad);
}

static void run_fence_after_commit(struct bad *bad)
{
    struct wl_buffer *buffer = bad_open_window(bad) ? bad_good_buffer(bad) : NULL;
    if (buffer == NULL) {
        return;
    }
    bad_show(bad, buffer);
    if (!channel_roundtrip(&bad->channel) || !attach_fence(bad)) {
        return;
    }
    bad_let_it_compose(bad); /* the compositor reads it again whenever something over it changes */
}

#define ERROR(name) BAD_ERROR, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_##name, 0

const struct bad_scenario bad_buffer_scenarios[] = {
    {"too-small", BAD_NEEDS_DMABUF, ERROR(OUT_OF_BOUNDS), "a picture of 4 MiB in two pages", run_too_small},
    {"one-row-too-many", BAD_NEEDS_DMABUF, ERROR(OUT_OF_BOUNDS), "a picture one row longer than its memory",
     run_one_row_too_many},
    {"offset-past-end", BAD_NEEDS_DMABUF, ERROR(OUT_OF_BOUNDS), "an offset past the end",
     run_offset_past_end},
    {"offset-overflow", BAD_NEEDS_DMABUF, ERROR(OUT_OF_BOUNDS),
     "offset, stride and height that overflow 64 bits' half", run_offset_overflow},
    {"stride-zero", BAD_NEEDS_DMABUF, ERROR(OUT_OF_BOUNDS), "a stride of 0", run_stride_zero},
    {"stride-too-small", BAD_NEEDS_DMABUF, ERROR(OUT_OF_BOUNDS), "a stride less than a row",
     run_stride_too_small},
    {"stride-unaligned", BAD_NEEDS_DMABUF, BAD_FAILED, 0, 0, "a stride that is no multiple of 4",
     run_stride_unaligned},
    {"huge-size", BAD_NEEDS_DMABUF, ERROR(OUT_OF_BOUNDS), "2147483647 x 2147483647 pixels", run_huge_size},
    {"rows-past-end", BAD_NEEDS_DMABUF, BAD_REFUSED, 0, 0,
     "16-bit float rows of 64 KiB at a stride of 8 bytes", run_rows_past_end},
    {"chroma-past-end", BAD_NEEDS_DMABUF, BAD_REFUSED, 0, 0,
     "NV12 with one row of chroma for a picture of many", run_chroma_past_end},
    {"overlap", BAD_NEEDS_DMABUF, ERROR(INCOMPLETE), "two planes, one in the other, for a format of one",
     run_overlap},
    {"overlap-nv12", BAD_NEEDS_DMABUF, BAD_REFUSED, 0, 0, "NV12 with its planes in one another",
     run_overlap_nv12},
    {"fd-closed-early", BAD_NEEDS_DMABUF, BAD_SURVIVES, 0, 0,
     "closes and unmaps its memory before the request is sent", run_fd_closed_early},
    {"destroy-while-attached", BAD_NEEDS_DMABUF, BAD_SURVIVES, 0, 0,
     "destroys the buffer that is shown, and its memory", run_destroy_while_attached},
    {"destroy-before-commit", BAD_NEEDS_DMABUF, BAD_SURVIVES, 0, 0,
     "destroys a buffer between attach and commit", run_destroy_before_commit},
    {"destroy-in-turn", BAD_NEEDS_DMABUF, BAD_SURVIVES, 0, 100,
     "shows a new buffer and destroys it at once, again", run_destroy_in_rapid_turn},
    {"dies-while-shown", BAD_NEEDS_DMABUF, BAD_DIES, 0, 0, "exits while its buffer is shown",
     run_dies_while_shown},
    {"shrink", BAD_NEEDS_DMABUF, BAD_SURVIVES, 0, 0, "truncates and punches holes into a udmabuf's memory",
     run_shrink},
    {"many-buffers", BAD_NEEDS_DMABUF, BAD_KILLED, 0, 10000, "buffers of one dma-buf, none destroyed",
     run_many_buffers},
    {"fence-never", BAD_NEEDS_DMABUF, BAD_EITHER, 0, 1000,
     "commits of a buffer that is never written to the end (vgem)", run_fence_never},
    {"fence-after-commit", BAD_NEEDS_DMABUF, BAD_SURVIVES, 0, 0,
     "has it written again when it is shown already (vgem)", run_fence_after_commit},
    {0},
};
