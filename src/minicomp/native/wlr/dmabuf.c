/* zwp_linux_dmabuf_v1: the global, what it offers, and the verbs. dmabuf.h has the whole picture. */
#include "dmabuf.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <wlr/backend.h>
#include <wlr/render/drm_format_set.h>
#include <wlr/render/wlr_renderer.h>

#include "linux-dmabuf-unstable-v1-server-protocol.h"
#include "server.h"

#define VERSION_WITHOUT_DEVICE 3
#define VERSION_WITH_FEEDBACK 4

static bool in_pairs(const struct mc_dmabuf *dmabuf, size_t end, uint32_t format, uint64_t modifier)
{
    for (size_t i = 0; i < end; i++) {
        if (dmabuf->pairs[i].format == format && dmabuf->pairs[i].modifier == modifier) {
            return true;
        }
    }
    return false;
}

bool mc_dmabuf_knows_format(const struct mc_dmabuf *dmabuf, uint32_t format)
{
    for (size_t i = 0; i < dmabuf->pair_count; i++) {
        if (dmabuf->pairs[i].format == format) {
            return true;
        }
    }
    return false;
}

/* DRM_FORMAT_MOD_INVALID is "whatever the driver chose". Where the renderer imports, it asks the driver, and
 * what it refuses may be tiled. Without such a renderer nothing can be asked and linear is what is meant. */
unsigned mc_dmabuf_ways(const struct mc_dmabuf *dmabuf, uint32_t format, uint64_t modifier)
{
    if (!in_pairs(dmabuf, dmabuf->pair_count, format, modifier)) {
        return 0;
    }
    unsigned ways = in_pairs(dmabuf, dmabuf->imported, format, modifier) ? MC_DMABUF_IMPORT : 0;
    bool linear =
        modifier == DRM_FORMAT_MOD_LINEAR || (modifier == DRM_FORMAT_MOD_INVALID && dmabuf->imported == 0);
    if (linear && mc_dmabuf_is_mapped_format(format)) {
        ways |= MC_DMABUF_MAP;
    }
    return ways;
}

/* ---- what is offered ---- */

static bool add_pair(struct mc_dmabuf *dmabuf, size_t *capacity, uint32_t format, uint64_t modifier)
{
    if (in_pairs(dmabuf, dmabuf->pair_count, format, modifier)) {
        return true;
    }
    if (dmabuf->pair_count == *capacity) {
        size_t more = *capacity == 0 ? 64 : *capacity * 2;
        struct mc_dmabuf_pair *pairs = realloc(dmabuf->pairs, more * sizeof(*pairs));
        if (pairs == NULL) {
            return false;
        }
        dmabuf->pairs = pairs;
        *capacity = more;
    }
    dmabuf->pairs[dmabuf->pair_count++] = (struct mc_dmabuf_pair){.format = format, .modifier = modifier};
    return true;
}

static bool renderer_draws(struct wlr_renderer *renderer, uint32_t format)
{
    size_t count = 0;
    const uint32_t *formats = wlr_renderer_get_shm_texture_formats(renderer, &count);
    for (size_t i = 0; i < count; i++) {
        if (formats[i] == format) {
            return true;
        }
    }
    return false;
}

static bool collect_pairs(struct mc_dmabuf *dmabuf)
{
    size_t capacity = 0;
    const struct wlr_drm_format_set *imported = wlr_renderer_get_dmabuf_texture_formats(dmabuf->renderer);
    for (size_t i = 0; imported != NULL && i < imported->len; i++) {
        const struct wlr_drm_format *format = imported->formats[i];
        for (size_t j = 0; j < format->len; j++) {
            if (!add_pair(dmabuf, &capacity, format->format, format->modifiers[j])) {
                return false;
            }
        }
    }
    dmabuf->imported = dmabuf->pair_count;
    for (size_t i = 0; i < MC_DMABUF_MAPPED_FORMATS; i++) {
        uint32_t format = mc_dmabuf_mapped_formats[i];
        if (!renderer_draws(dmabuf->renderer, format)) {
            continue;
        }
        if (!add_pair(dmabuf, &capacity, format, DRM_FORMAT_MOD_LINEAR) ||
            (dmabuf->imported == 0 && !add_pair(dmabuf, &capacity, format, DRM_FORMAT_MOD_INVALID))) {
            return false;
        }
    }
    return true;
}

/* Xwayland before 23 takes an explicit LINEAR over the driver's own choice (xserver issue 1166), so wlroots
 * keeps from it a format whose only explicit modifier is LINEAR. Where nothing is imported LINEAR is the
 * truth. */
static bool hides_linear(const struct mc_dmabuf *dmabuf, uint32_t format)
{
    size_t modifiers = 0;
    for (size_t i = 0; i < dmabuf->pair_count; i++) {
        modifiers += dmabuf->pairs[i].format == format;
    }
    return modifiers == 2 && in_pairs(dmabuf, dmabuf->imported, format, DRM_FORMAT_MOD_INVALID) &&
           in_pairs(dmabuf, dmabuf->pair_count, format, DRM_FORMAT_MOD_LINEAR);
}

static void send_formats(const struct mc_dmabuf *dmabuf, struct wl_resource *resource)
{
    bool with_modifiers = wl_resource_get_version(resource) >= ZWP_LINUX_DMABUF_V1_MODIFIER_SINCE_VERSION;
    for (size_t i = 0; i < dmabuf->pair_count; i++) {
        uint32_t format = dmabuf->pairs[i].format;
        uint64_t modifier = dmabuf->pairs[i].modifier;
        if (!with_modifiers) {
            if (modifier == DRM_FORMAT_MOD_INVALID) {
                zwp_linux_dmabuf_v1_send_format(resource, format);
            }
        } else if (modifier != DRM_FORMAT_MOD_LINEAR || !hides_linear(dmabuf, format)) {
            zwp_linux_dmabuf_v1_send_modifier(resource, format, (uint32_t)(modifier >> 32),
                                              (uint32_t)modifier);
        }
    }
}

/* ---- the global ---- */

static void handle_destroy(struct wl_client *client, struct wl_resource *resource)
{
    (void)client;
    wl_resource_destroy(resource);
}

static const struct zwp_linux_dmabuf_v1_interface dmabuf_impl = {
    .destroy = handle_destroy,
    .create_params = mc_dmabuf_create_params,
    .get_default_feedback = mc_dmabuf_get_default_feedback,
    .get_surface_feedback = mc_dmabuf_get_surface_feedback,
};

static void bind_global(struct wl_client *client, void *data, uint32_t version, uint32_t id)
{
    struct mc_dmabuf *dmabuf = data;
    struct wl_resource *resource =
        wl_resource_create(client, &zwp_linux_dmabuf_v1_interface, (int)version, id);
    if (resource == NULL) {
        wl_client_post_no_memory(client);
        return;
    }
    wl_resource_set_implementation(resource, &dmabuf_impl, dmabuf, NULL);
    if (version < ZWP_LINUX_DMABUF_V1_GET_DEFAULT_FEEDBACK_SINCE_VERSION) {
        send_formats(dmabuf, resource);
    }
}

/* The device that buffers should be allocated on; false without one. */
static bool find_device(struct wlr_backend *backend, struct wlr_renderer *renderer, dev_t *device_ret)
{
    int fd = wlr_renderer_get_drm_fd(renderer);
    if (fd < 0) {
        fd = wlr_backend_get_drm_fd(backend);
    }
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        return false;
    }
    *device_ret = info.st_rdev;
    return true;
}

int mc_dmabuf_create(struct mc_server *server, struct wl_display *display, struct wlr_backend *backend,
                     struct wlr_renderer *renderer)
{
    if (!wlr_renderer_init_wl_shm(renderer, display)) {
        return -ENOMEM;
    }
    struct mc_dmabuf *dmabuf = calloc(1, sizeof(*dmabuf));
    if (dmabuf == NULL) {
        return -ENOMEM;
    }
    dmabuf->server = server;
    dmabuf->renderer = renderer;
    dmabuf->table_fd = -1;
    wl_list_init(&dmabuf->buffers);
    wl_list_init(&dmabuf->reading);
    wl_list_init(&dmabuf->waits);
    server->dmabuf = dmabuf;
    if (!collect_pairs(dmabuf)) {
        mc_dmabuf_destroy(server);
        return -ENOMEM;
    }
    bool has_device = find_device(backend, renderer, &dmabuf->device);
    dmabuf->version = has_device ? VERSION_WITH_FEEDBACK : VERSION_WITHOUT_DEVICE;
    int error = has_device ? mc_dmabuf_feedback_init(dmabuf) : 0;
    if (error == 0) {
        mc_dmabuf_buffers_register();
        dmabuf->global = wl_global_create(display, &zwp_linux_dmabuf_v1_interface, (int)dmabuf->version,
                                          dmabuf, bind_global);
        error = dmabuf->global == NULL ? -ENOMEM : mc_dmabuf_drm_init(dmabuf, display);
    }
    if (error != 0) {
        mc_dmabuf_destroy(server);
    }
    return error;
}

void mc_dmabuf_destroy(struct mc_server *server)
{
    struct mc_dmabuf *dmabuf = server->dmabuf;
    if (dmabuf == NULL) {
        return;
    }
    mc_dmabuf_frame_end(server);
    mc_dmabuf_waits_finish(dmabuf);
    /* An output may still hold what it last scanned out. */
    struct mc_dmabuf_buffer *buffer, *next;
    wl_list_for_each_safe (buffer, next, &dmabuf->buffers, link) {
        wl_list_remove(&buffer->link);
        wl_list_init(&buffer->link);
        buffer->dmabuf = NULL;
    }
    if (dmabuf->global != NULL) {
        wl_global_destroy(dmabuf->global);
    }
    mc_dmabuf_drm_finish(dmabuf);
    mc_dmabuf_feedback_finish(dmabuf);
    free(dmabuf->pairs);
    free(dmabuf);
    server->dmabuf = NULL;
}

void mc_dmabuf_get_counts(struct mc_server *server, struct mc_dmabuf_counts *counts_ret)
{
    *counts_ret = (struct mc_dmabuf_counts){0};
    mc_verb_begin(server);
    if (server->dmabuf != NULL) {
        *counts_ret = server->dmabuf->counts;
        counts_ret->version = server->dmabuf->version;
        counts_ret->offered = (uint32_t)server->dmabuf->pair_count;
    }
    struct mc_client *client;
    wl_list_for_each (client, &server->clients, link) {
        counts_ret->held_fds += client->held_fds;
    }
    mc_verb_end(server);
}
