/* zwp_linux_dmabuf_feedback_v1: which device, formats and modifiers to allocate for.
 *
 * Two tranches at most: what the renderer imports, then what the CPU reads. They never change while we run,
 * so the parameters are sent once, and feedback for a surface is the same as the default. */
#include "dmabuf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "linux-dmabuf-unstable-v1-server-protocol.h"
#include "server.h"

static void handle_destroy(struct wl_client *client, struct wl_resource *resource)
{
    (void)client;
    wl_resource_destroy(resource);
}

static const struct zwp_linux_dmabuf_feedback_v1_interface feedback_impl = {.destroy = handle_destroy};

static void send_tranche(struct wl_resource *resource, const struct mc_dmabuf *dmabuf, size_t first,
                         size_t end)
{
    if (first == end) {
        return;
    }
    dev_t device = dmabuf->device;
    struct wl_array devices = {.size = sizeof(device), .data = &device};
    zwp_linux_dmabuf_feedback_v1_send_tranche_target_device(resource, &devices);
    zwp_linux_dmabuf_feedback_v1_send_tranche_flags(resource, 0);
    struct wl_array indices;
    wl_array_init(&indices);
    for (size_t i = first; i < end; i++) {
        uint16_t *index = wl_array_add(&indices, sizeof(*index));
        if (index == NULL) {
            wl_resource_post_no_memory(resource);
            break;
        }
        *index = (uint16_t)i;
    }
    zwp_linux_dmabuf_feedback_v1_send_tranche_formats(resource, &indices);
    wl_array_release(&indices);
    zwp_linux_dmabuf_feedback_v1_send_tranche_done(resource);
}

void mc_dmabuf_get_default_feedback(struct wl_client *client, struct wl_resource *manager, uint32_t id)
{
    struct mc_dmabuf *dmabuf = wl_resource_get_user_data(manager);
    struct wl_resource *resource = wl_resource_create(client, &zwp_linux_dmabuf_feedback_v1_interface,
                                                      wl_resource_get_version(manager), id);
    if (resource == NULL) {
        wl_client_post_no_memory(client);
        return;
    }
    wl_resource_set_implementation(resource, &feedback_impl, NULL, NULL);
    dev_t device = dmabuf->device;
    struct wl_array devices = {.size = sizeof(device), .data = &device};
    zwp_linux_dmabuf_feedback_v1_send_main_device(resource, &devices);
    zwp_linux_dmabuf_feedback_v1_send_format_table(resource, dmabuf->table_fd,
                                                   (uint32_t)(dmabuf->pair_count * sizeof(dmabuf->pairs[0])));
    send_tranche(resource, dmabuf, 0, dmabuf->imported);
    send_tranche(resource, dmabuf, dmabuf->imported, dmabuf->pair_count);
    zwp_linux_dmabuf_feedback_v1_send_done(resource);
}

void mc_dmabuf_get_surface_feedback(struct wl_client *client, struct wl_resource *manager, uint32_t id,
                                    struct wl_resource *surface)
{
    (void)surface;
    mc_dmabuf_get_default_feedback(client, manager, id);
}

/* One file for all clients: sealed, so that none can change it for the others. */
int mc_dmabuf_feedback_init(struct mc_dmabuf *dmabuf)
{
    int fd = memfd_create("linux-dmabuf-formats", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return -errno;
    }
    size_t bytes = dmabuf->pair_count * sizeof(dmabuf->pairs[0]);
    ssize_t written = write(fd, dmabuf->pairs, bytes);
    if (written != (ssize_t)bytes ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
        int error = written < 0 || written == (ssize_t)bytes ? -errno : -ENOSPC;
        close(fd);
        return error;
    }
    dmabuf->table_fd = fd;
    return 0;
}

void mc_dmabuf_feedback_finish(struct mc_dmabuf *dmabuf)
{
    if (dmabuf->table_fd >= 0) {
        close(dmabuf->table_fd);
        dmabuf->table_fd = -1;
    }
}
