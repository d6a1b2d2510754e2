/* Scenarios with wl_drm, the way to the same end from before linux-dmabuf. The protocol's tables are written
 * out: no package has its XML. */
#include <drm_fourcc.h>
#include <string.h>

#include "dmabuf_bad.h"

#define WL_DRM_CREATE_PRIME_BUFFER 3

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
static const struct wl_interface drm_interface = {.name = "wl_drm",
                                                  .version = 2,
                                                  .method_count = 4,
                                                  .methods = requests,
                                                  .event_count = 4,
                                                  .events = events};

static void handle_global(void *data, struct wl_registry *registry, uint32_t name, const char *interface,
                          uint32_t version)
{
    if (strcmp(interface, "wl_drm") == 0 && version >= 2) {
        *(struct wl_proxy **)data = wl_registry_bind(registry, name, &drm_interface, 2);
    }
}

static void ignore_global_remove(void *data, struct wl_registry *registry, uint32_t name)
{
    (void)data;
    (void)registry;
    (void)name;
}

static const struct wl_registry_listener registry_listener = {handle_global, ignore_global_remove};

static struct wl_proxy *bind_drm(struct bad *bad)
{
    struct wl_proxy *drm = NULL;
    struct wl_registry *registry = wl_display_get_registry(bad->connection->display);
    wl_registry_add_listener(registry, &registry_listener, &drm);
    channel_roundtrip(&bad->channel);
    wl_registry_destroy(registry);
    if (drm == NULL) {
        bad->undone = "the compositor does not offer wl_drm";
    }
    return drm;
}

static struct wl_buffer *create(struct wl_proxy *drm, int fd, int width, int height, int32_t offset,
                                int32_t stride)
{
    return (struct wl_buffer *)wl_proxy_marshal_flags(drm, WL_DRM_CREATE_PRIME_BUFFER, &wl_buffer_interface,
                                                      2, 0, NULL, fd, width, height, DRM_FORMAT_XRGB8888,
                                                      offset, stride, 0, 0, 0, 0);
}

static void run_good(struct bad *bad)
{
    struct wl_proxy *drm = bind_drm(bad);
    if (drm != NULL && bad_open_window(bad)) {
        bad_show(bad, create(drm, bad->memory.fd, BAD_WIDTH_PX, BAD_HEIGHT_PX, 0, BAD_STRIDE));
        bad->created++;
        bad_let_it_compose(bad);
    }
}

static void run_past_end(struct bad *bad)
{
    struct wl_proxy *drm = bind_drm(bad);
    if (drm != NULL && bad_open_window(bad)) {
        bad_show(bad, create(drm, bad->memory.fd, 1024, 1024, 0, 4096));
        bad_let_it_compose(bad);
    }
}

static void run_negative_offset(struct bad *bad)
{
    struct wl_proxy *drm = bind_drm(bad);
    if (drm != NULL && bad_open_window(bad)) {
        bad_show(bad, create(drm, bad->memory.fd, BAD_WIDTH_PX, BAD_HEIGHT_PX, -4096, BAD_STRIDE));
        bad_let_it_compose(bad);
    }
}

static void run_not_a_dmabuf(struct bad *bad)
{
    struct wl_proxy *drm = bind_drm(bad);
    if (drm != NULL) {
        create(drm, bad->memfd, BAD_WIDTH_PX, BAD_HEIGHT_PX, 0, BAD_STRIDE);
    }
}

static void run_many(struct bad *bad)
{
    struct wl_proxy *drm = bind_drm(bad);
    for (uint64_t i = 0; drm != NULL && i < bad->count; i++) {
        create(drm, bad->memory.fd, BAD_WIDTH_PX, BAD_HEIGHT_PX, 0, BAD_STRIDE);
        if (i % 16 == 15 && !channel_push(&bad->channel)) {
            return;
        }
    }
}

const struct bad_scenario bad_drm_scenarios[] = {
    {"drm-good", BAD_NEEDS_WL_DRM, BAD_SURVIVES, 0, 0, "shows a good buffer: nothing bad about it", run_good},
    {"drm-past-end", BAD_NEEDS_WL_DRM, BAD_KILLED, 0, 0, "a picture of 4 MiB in two pages", run_past_end},
    {"drm-negative-offset", BAD_NEEDS_WL_DRM, BAD_KILLED, 0, 0, "an offset of -4096", run_negative_offset},
    {"drm-not-a-dmabuf", BAD_NEEDS_WL_DRM, BAD_KILLED, 0, 0, "a memfd in place of a dma-buf",
     run_not_a_dmabuf},
    {"drm-many-buffers", BAD_NEEDS_WL_DRM, BAD_KILLED, 0, 10000, "buffers of one dma-buf, none destroyed",
     run_many},
    {0},
};
