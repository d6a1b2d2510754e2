/* Scenarios with zwp_linux_buffer_params_v1: what is told is wrong. */
#include <drm_fourcc.h>
#include <unistd.h>

#include "dmabuf_bad.h"

#define UNKNOWN_FORMAT 0x12345678u
#define UNKNOWN_MODIFIER_LOW 0x1234u

static void create(struct zwp_linux_buffer_params_v1 *params)
{
    zwp_linux_buffer_params_v1_create(params, BAD_WIDTH_PX, BAD_HEIGHT_PX, DRM_FORMAT_XRGB8888, 0);
}

static void create_of(struct bad *bad, int fd)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    bad_add(params, fd, 0);
    create(params);
}

static void run_not_a_dmabuf(struct bad *bad)
{
    create_of(bad, bad->memfd);
}

static void run_not_a_dmabuf_immed(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    bad_add(params, bad->memfd, 0);
    zwp_linux_buffer_params_v1_create_immed(params, BAD_WIDTH_PX, BAD_HEIGHT_PX, DRM_FORMAT_XRGB8888, 0);
}

static void run_pipe(struct bad *bad)
{
    int ends[2];
    if (pipe(ends) != 0) {
        bad->undone = "no pipe";
        return;
    }
    create_of(bad, ends[0]);
}

static void run_own_socket(struct bad *bad)
{
    create_of(bad, wl_display_get_fd(bad->connection->display));
}

static void run_zero_planes(struct bad *bad)
{
    create(bad_params(bad));
}

static void run_plane_gap(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    bad_add(params, bad->memfd, 0);
    bad_add(params, bad->memfd, 2);
    create(params);
}

static void run_no_plane_0(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    bad_add(params, bad->memfd, 1);
    create(params);
}

static void run_five_planes(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    for (uint32_t plane = 0; plane < 5; plane++) {
        bad_add(params, bad->memfd, plane);
    }
    create(params);
}

static void run_plane_index_huge(struct bad *bad)
{
    bad_add(bad_params(bad), bad->memfd, UINT32_MAX);
}

static void run_add_twice(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    bad_add(params, bad->memfd, 0);
    bad_add(params, bad->memfd, 0);
}

static void run_mixed_modifiers(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    bad_add(params, bad->memfd, 0);
    zwp_linux_buffer_params_v1_add(params, bad->memfd, 1, 0, BAD_STRIDE, 0, UNKNOWN_MODIFIER_LOW);
}

static void run_create_twice(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    bad_add(params, bad->memfd, 0);
    create(params);
    create(params);
}

static void run_add_after_create(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    bad_add(params, bad->memfd, 0);
    create(params);
    bad_add(params, bad->memfd, 1);
}

static void run_unknown_format(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    bad_add(params, bad->memfd, 0);
    zwp_linux_buffer_params_v1_create(params, BAD_WIDTH_PX, BAD_HEIGHT_PX, UNKNOWN_FORMAT, 0);
}

static void run_unknown_modifier(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    zwp_linux_buffer_params_v1_add(params, bad->memfd, 0, 0, BAD_STRIDE, 0x00123456, UNKNOWN_MODIFIER_LOW);
    create(params);
}

static void run_unknown_flags(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    bad_add(params, bad->memfd, 0);
    zwp_linux_buffer_params_v1_create(params, BAD_WIDTH_PX, BAD_HEIGHT_PX, DRM_FORMAT_XRGB8888, 0x80);
}

static void run_inverted(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    bad_add(params, bad->memfd, 0);
    zwp_linux_buffer_params_v1_create(params, BAD_WIDTH_PX, BAD_HEIGHT_PX, DRM_FORMAT_XRGB8888,
                                      ZWP_LINUX_BUFFER_PARAMS_V1_FLAGS_Y_INVERT);
}

static void run_zero_size(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    bad_add(params, bad->memfd, 0);
    zwp_linux_buffer_params_v1_create(params, 0, BAD_HEIGHT_PX, DRM_FORMAT_XRGB8888, 0);
}

static void run_negative_size(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    bad_add(params, bad->memfd, 0);
    zwp_linux_buffer_params_v1_create(params, BAD_WIDTH_PX, INT32_MIN, DRM_FORMAT_XRGB8888, 0);
}

static void run_no_fd(struct bad *bad)
{
    struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
    if (!channel_push(&bad->channel)) {
        return;
    }
    /* zwp_linux_buffer_params_v1.add without what makes it one: object, size and opcode 1, five numbers. */
    uint32_t message[] = {wl_proxy_get_id((struct wl_proxy *)params), 28u << 16 | 1u, 0, 0, BAD_STRIDE, 0, 0};
    if (write(wl_display_get_fd(bad->connection->display), message, sizeof(message)) !=
        (ssize_t)sizeof(message)) {
        bad->undone = "the message could not be written";
    }
}

/* All of them held by params that nobody makes a buffer of. */
static void run_many_fds(struct bad *bad)
{
    for (uint64_t i = 0; i < bad->count / 4; i++) {
        struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
        for (uint32_t plane = 0; plane < 4; plane++) {
            bad_add(params, bad->memfd, plane);
        }
        if (i % 4 == 3 && !channel_push(&bad->channel)) {
            return;
        }
    }
}

/* None is held for longer than a moment: only the rate is wrong. */
static void run_params_churn(struct bad *bad)
{
    for (uint64_t i = 0; i < bad->count; i++) {
        struct zwp_linux_buffer_params_v1 *params = bad_params(bad);
        bad_add(params, bad->memfd, 0);
        zwp_linux_buffer_params_v1_destroy(params);
        if (i % 16 == 15 && !channel_push(&bad->channel)) {
            return;
        }
    }
}

static void run_dies_with_params(struct bad *bad)
{
    for (uint32_t i = 0; i < 16; i++) {
        bad_add(bad_params(bad), bad->memfd, i % 4);
    }
    channel_push(&bad->channel);
    _exit(EXIT_OK);
}

#define ERROR(name) BAD_ERROR, ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_##name, 0

const struct bad_scenario bad_params_scenarios[] = {
    {"not-a-dmabuf", BAD_NEEDS_NOTHING, BAD_FAILED, 0, 0, "a memfd in place of a dma-buf", run_not_a_dmabuf},
    {"not-a-dmabuf-immed", BAD_NEEDS_NOTHING, ERROR(INVALID_WL_BUFFER), "the same with create_immed",
     run_not_a_dmabuf_immed},
    {"pipe", BAD_NEEDS_NOTHING, BAD_FAILED, 0, 0, "a pipe in place of a dma-buf", run_pipe},
    {"own-socket", BAD_NEEDS_NOTHING, BAD_FAILED, 0, 0, "its own connection in place of a dma-buf",
     run_own_socket},
    {"zero-planes", BAD_NEEDS_NOTHING, ERROR(INCOMPLETE), "create without any add", run_zero_planes},
    {"plane-gap", BAD_NEEDS_NOTHING, ERROR(INCOMPLETE), "planes 0 and 2", run_plane_gap},
    {"no-plane-0", BAD_NEEDS_NOTHING, ERROR(INCOMPLETE), "plane 1 alone", run_no_plane_0},
    {"five-planes", BAD_NEEDS_NOTHING, ERROR(PLANE_IDX), "planes 0 to 4", run_five_planes},
    {"plane-index-huge", BAD_NEEDS_NOTHING, ERROR(PLANE_IDX), "plane 4294967295", run_plane_index_huge},
    {"add-twice", BAD_NEEDS_NOTHING, ERROR(PLANE_SET), "plane 0 twice", run_add_twice},
    {"mixed-modifiers", BAD_NEEDS_NOTHING, ERROR(INVALID_FORMAT), "two planes with different modifiers",
     run_mixed_modifiers},
    {"create-twice", BAD_NEEDS_NOTHING, ERROR(ALREADY_USED), "create on params that were used",
     run_create_twice},
    {"add-after-create", BAD_NEEDS_NOTHING, ERROR(ALREADY_USED), "add on params that were used",
     run_add_after_create},
    {"unknown-format", BAD_NEEDS_NOTHING, ERROR(INVALID_FORMAT), "a format that nobody knows",
     run_unknown_format},
    {"unknown-modifier", BAD_NEEDS_NOTHING, BAD_REFUSED, 0, 0, "a modifier that was not offered",
     run_unknown_modifier},
    {"unknown-flags", BAD_NEEDS_NOTHING, ERROR(INVALID_FORMAT), "a flag that does not exist",
     run_unknown_flags},
    {"inverted", BAD_NEEDS_NOTHING, BAD_FAILED, 0, 0, "the flag y_invert", run_inverted},
    {"zero-size", BAD_NEEDS_NOTHING, ERROR(INVALID_DIMENSIONS), "a width of 0", run_zero_size},
    {"negative-size", BAD_NEEDS_NOTHING, ERROR(INVALID_DIMENSIONS), "a height of -2147483648",
     run_negative_size},
    {"no-fd", BAD_NEEDS_NOTHING, BAD_KILLED, 0, 0, "an add request without its file descriptor", run_no_fd},
    {"many-fds", BAD_NEEDS_NOTHING, BAD_KILLED, 0, 10000, "file descriptors in params that are never used",
     run_many_fds},
    {"params-churn", BAD_NEEDS_NOTHING, BAD_EITHER, 0, 10000, "params made, filled and destroyed",
     run_params_churn},
    {"dies-with-params", BAD_NEEDS_NOTHING, BAD_DIES, 0, 0, "exits with params half filled",
     run_dies_with_params},
    {0},
};
