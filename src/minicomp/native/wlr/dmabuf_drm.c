/* wl_drm, version 2: Mesa's own protocol from before linux-dmabuf. Xwayland before 23, libva and Mesa before
 * 21 do not accelerate without it. Buffers come as one dma-buf with an implicit modifier, and go the same way
 * as those of linux-dmabuf; sharing by kernel-wide names (create_buffer) is refused, as wlroots does.
 *
 * The protocol is in no package, is small and does not change any more: its tables are written out here. */
#include "dmabuf.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wayland-server-protocol.h>
#include <wlr/render/wlr_renderer.h>
#include <xf86drm.h>

#include "linux-dmabuf-unstable-v1-server-protocol.h"
#include "server.h"

#define WL_DRM_VERSION 2
#define WL_DRM_CAPABILITY_PRIME 1u

enum wl_drm_error { WL_DRM_INVALID_FORMAT = 1, WL_DRM_INVALID_NAME = 2 };
enum wl_drm_event { WL_DRM_DEVICE = 0, WL_DRM_FORMAT = 1, WL_DRM_AUTHENTICATED = 2, WL_DRM_CAPABILITIES = 3 };

static const struct wl_interface *no_types[11];
static const struct wl_interface *buffer_types[11] = {&wl_buffer_interface};

static const struct wl_message requests[] = {
    {"authenticate", "u", no_types},
    {"create_buffer", "nuiiuu", buffer_types},
    {"create_planar_buffer", "nuiiuiiiiii", buffer_types},
    {"create_prime_buffer", "2nhiiuiiiiii", buffer_types},
};

static const struct wl_message events[] = {
    {"device", "s", no_types},
    {"format", "u", no_types},
    {"authenticated", "", no_types},
    {"capabilities", "2u", no_types},
};

static const struct wl_interface drm_interface = {
    .name = "wl_drm",
    .version = WL_DRM_VERSION,
    .method_count = sizeof(requests) / sizeof(requests[0]),
    .methods = requests,
    .event_count = sizeof(events) / sizeof(events[0]),
    .events = events,
};

/* In the order of the requests. */
struct drm_implementation {
    void (*authenticate)(struct wl_client *client, struct wl_resource *resource, uint32_t magic);
    void (*create_buffer)(struct wl_client *client, struct wl_resource *resource, uint32_t id, uint32_t name,
                          int32_t width, int32_t height, uint32_t stride, uint32_t format);
    void (*create_planar_buffer)(struct wl_client *client, struct wl_resource *resource, uint32_t id,
                                 uint32_t name, int32_t width, int32_t height, uint32_t format,
                                 int32_t offset0, int32_t stride0, int32_t offset1, int32_t stride1,
                                 int32_t offset2, int32_t stride2);
    void (*create_prime_buffer)(struct wl_client *client, struct wl_resource *resource, uint32_t id,
                                int32_t fd, int32_t width, int32_t height, uint32_t format, int32_t offset0,
                                int32_t stride0, int32_t offset1, int32_t stride1, int32_t offset2,
                                int32_t stride2);
};

static void handle_authenticate(struct wl_client *client, struct wl_resource *resource, uint32_t magic)
{
    (void)client;
    (void)magic; /* a render node needs none */
    wl_resource_post_event(resource, WL_DRM_AUTHENTICATED);
}

static void handle_create_buffer(struct wl_client *client, struct wl_resource *resource, uint32_t id,
                                 uint32_t name, int32_t width, int32_t height, uint32_t stride,
                                 uint32_t format)
{
    wl_resource_post_error(resource, WL_DRM_INVALID_NAME, "global names are not taken: send a dma-buf");
}

static void handle_create_planar_buffer(struct wl_client *client, struct wl_resource *resource, uint32_t id,
                                        uint32_t name, int32_t width, int32_t height, uint32_t format,
                                        int32_t offset0, int32_t stride0, int32_t offset1, int32_t stride1,
                                        int32_t offset2, int32_t stride2)
{
    wl_resource_post_error(resource, WL_DRM_INVALID_NAME, "global names are not taken: send a dma-buf");
}

/* There is no soft refusal in this protocol. */
static void handle_create_prime_buffer(struct wl_client *client, struct wl_resource *resource, uint32_t id,
                                       int32_t fd, int32_t width, int32_t height, uint32_t format,
                                       int32_t offset0, int32_t stride0, int32_t offset1, int32_t stride1,
                                       int32_t offset2, int32_t stride2)
{
    struct mc_dmabuf *dmabuf = wl_resource_get_user_data(resource);
    struct mc_client *owner = mc_client_from(dmabuf->server, client);
    uint64_t handle = owner != NULL ? owner->handle : 0;
    struct wlr_dmabuf_attributes attributes = {
        .width = width,
        .height = height,
        .format = format,
        .modifier = DRM_FORMAT_MOD_INVALID,
        .n_planes = 1,
        .offset = {(uint32_t)offset0}, /* what was negative is past any end */
        .stride = {(uint32_t)stride0},
        .fd = {fd, -1, -1, -1},
    };
    struct mc_dmabuf_refusal refusal = {0};
    mc_client_hold_fds(dmabuf->server, handle, 1);
    if (mc_dmabuf_buffer_make(dmabuf, client, handle, id, &attributes, 0, true, &refusal) == NULL) {
        close(fd);
        mc_client_hold_fds(dmabuf->server, handle, -1);
        bool by_format = refusal.error == ZWP_LINUX_BUFFER_PARAMS_V1_ERROR_INVALID_FORMAT;
        wl_resource_post_error(resource, by_format ? WL_DRM_INVALID_FORMAT : WL_DRM_INVALID_NAME, "%s",
                               refusal.text);
    }
}

static const struct drm_implementation drm_implementation = {
    .authenticate = handle_authenticate,
    .create_buffer = handle_create_buffer,
    .create_planar_buffer = handle_create_planar_buffer,
    .create_prime_buffer = handle_create_prime_buffer,
};

static void bind_global(struct wl_client *client, void *data, uint32_t version, uint32_t id)
{
    struct mc_dmabuf *dmabuf = data;
    struct wl_resource *resource = wl_resource_create(client, &drm_interface, (int)version, id);
    if (resource == NULL) {
        wl_client_post_no_memory(client);
        return;
    }
    wl_resource_set_implementation(resource, &drm_implementation, dmabuf, NULL);
    wl_resource_post_event(resource, WL_DRM_DEVICE, dmabuf->drm_device);
    if (version >= WL_DRM_VERSION) {
        wl_resource_post_event(resource, WL_DRM_CAPABILITIES, WL_DRM_CAPABILITY_PRIME);
    }
    for (size_t i = 0; i < dmabuf->imported; i++) {
        if (dmabuf->pairs[i].modifier == DRM_FORMAT_MOD_INVALID) {
            wl_resource_post_event(resource, WL_DRM_FORMAT, dmabuf->pairs[i].format);
        }
    }
}

int mc_dmabuf_drm_init(struct mc_dmabuf *dmabuf, struct wl_display *display)
{
    int fd = wlr_renderer_get_drm_fd(dmabuf->renderer);
    if (dmabuf->imported == 0 || fd < 0) {
        return 0;
    }
    dmabuf->drm_device = drmGetRenderDeviceNameFromFd(fd);
    if (dmabuf->drm_device == NULL) {
        dmabuf->drm_device = drmGetDeviceNameFromFd2(fd);
    }
    if (dmabuf->drm_device == NULL) {
        return 0; /* a device without a name is of no use to clients */
    }
    dmabuf->drm_global = wl_global_create(display, &drm_interface, WL_DRM_VERSION, dmabuf, bind_global);
    return dmabuf->drm_global == NULL ? -ENOMEM : 0;
}

void mc_dmabuf_drm_finish(struct mc_dmabuf *dmabuf)
{
    if (dmabuf->drm_global != NULL) {
        wl_global_destroy(dmabuf->drm_global);
        dmabuf->drm_global = NULL;
    }
    free(dmabuf->drm_device);
    dmabuf->drm_device = NULL;
}
