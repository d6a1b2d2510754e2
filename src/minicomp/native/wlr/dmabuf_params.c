/* zwp_linux_buffer_params_v1: what a client says about its dma-bufs, plane by plane.
 *
 * Obvious mistakes are the protocol errors that linux-dmabuf names, which end the client; what it could not
 * know is `failed`, or invalid_wl_buffer where it did not wait for an answer (create_immed). Either way the
 * fds are closed: they belong to the params until a buffer takes them, and go with them. */
#include "dmabuf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "linux-dmabuf-unstable-v1-server-protocol.h"
#include "server.h"

struct params {
    struct mc_dmabuf *dmabuf;
    uint64_t client;                         /* handle of whom the fds are counted for */
    struct wlr_dmabuf_attributes attributes; /* owns the fds; those that are not set are -1 */
    bool has_modifier, used;
};

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
    /* Before version 4 clients were not told to keep to the pairs that are offered. */
    bool strict = wl_resource_get_version(resource) >= ZWP_LINUX_DMABUF_V1_GET_DEFAULT_FEEDBACK_SINCE_VERSION;
    struct mc_dmabuf_refusal refusal = {0};
    struct mc_dmabuf_buffer *buffer = mc_dmabuf_buffer_make(params->dmabuf, client, params->client, id,
                                                            &params->attributes, flags, strict, &refusal);
    if (buffer != NULL) {
        if (id == 0) {
            zwp_linux_buffer_params_v1_send_created(resource, buffer->resource);
        }
        return;
    }
    close_fds(params);
    if (refusal.error != MC_DMABUF_FAILED) {
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
