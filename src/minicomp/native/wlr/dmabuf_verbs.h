/* linux-dmabuf: clients' GPU, camera and video memory as buffers, imported by the renderer or read by the
 * CPU. */
#ifndef MC_DMABUF_VERBS_H
#define MC_DMABUF_VERBS_H

#include <stdbool.h>
#include <stdint.h>

struct mc_server;
struct wl_display;
struct wlr_backend;
struct wlr_renderer;

/* Every buffer protocol of the renderer: wl_shm, and our zwp_linux_dmabuf_v1 and (where EGL imports) wl_drm
 * in the place of wlroots' own, so this is called instead of wlr_renderer_init_wl_display. Before the first
 * client. backend and renderer are borrowed. 0 or -errno; what was made goes with mc_dmabuf_destroy and the
 * display.
 */
int mc_dmabuf_create(struct mc_server *server, struct wl_display *display, struct wlr_backend *backend,
                     struct wlr_renderer *renderer);
/* After mc_server_detach, before the renderer is destroyed. Safe to call twice, and without create. */
void mc_dmabuf_destroy(struct mc_server *server);

struct mc_dmabuf_counts {
    uint32_t version;  /* of the global; 0: none */
    uint32_t offered;  /* format and modifier pairs in its table */
    uint32_t buffers;  /* alive, also those whose wl_buffer is gone but that are still shown */
    uint32_t mapped;   /* of these, read by the CPU */
    uint32_t held_fds; /* of all clients: in params and in buffers */
    uint64_t mapped_bytes;
    uint64_t refused;     /* params that became no buffer, protocol errors included */
    uint64_t syncs;       /* DMA_BUF_IOCTL_SYNC start..end pairs */
    uint64_t reads;       /* times a renderer asked for a mapped buffer's pixels */
    uint64_t fence_waits; /* commits that were put off until the buffer's writers had finished */
};
void mc_dmabuf_get_counts(struct mc_server *server, struct mc_dmabuf_counts *counts_ret);

#endif
