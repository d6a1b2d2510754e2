/* linux-dmabuf, our own: what its files share.
 *
 * wlroots offers zwp_linux_dmabuf_v1 only where the renderer imports dma-bufs, and then takes nothing else.
 * Ours offers what EGL imports, and besides linear RGB buffers that the CPU reads through a mapping: all that
 * pixman needs, and for GLES2 what EGL refuses (udmabuf, dma-heap).
 *
 *   dmabuf.c           the global, its formats, the verbs
 *   dmabuf_formats.c   what is known of pixel formats
 *   dmabuf_feedback.c  version 4's format table
 *   dmabuf_params.c    a client's parameters, plane by plane
 *   dmabuf_drm.c       wl_drm, which older clients use to the same end
 *   dmabuf_check.c     every check of what was said, and the way from there to a buffer
 *   dmabuf_buffer.c    the wlr_buffer: its fds, its mapping, when it is read
 *   dmabuf_fence.c     commits of buffers that are still being written
 *
 * An fd is owned by the params it was added to, then by the buffer made of them; each is counted for its
 * client (mc_client_hold_fds) as long as it is open. Loop thread or a verb, lock held, unless said otherwise.
 */
#ifndef MC_DMABUF_H
#define MC_DMABUF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <wayland-server-core.h>
#include <wlr/render/dmabuf.h>
#include <wlr/types/wlr_buffer.h>

#include "dmabuf_verbs.h"

struct mc_server;
struct wlr_surface;

/* How a pair of format and modifier can become a picture. */
enum mc_dmabuf_way {
    MC_DMABUF_IMPORT = 1, /* by the renderer (EGL) */
    MC_DMABUF_MAP = 2,    /* by the CPU; the modifier says linear, or nothing and nobody else could know */
};

/* One entry of the format table, as the protocol lays it out. */
struct mc_dmabuf_pair {
    uint32_t format;
    uint32_t padding;
    uint64_t modifier;
};
_Static_assert(sizeof(struct mc_dmabuf_pair) == 16, "zwp_linux_dmabuf_feedback_v1.format_table");

struct mc_dmabuf {
    struct mc_server *server;
    struct wlr_renderer *renderer;         /* borrowed */
    struct wl_global *global, *drm_global; /* zwp_linux_dmabuf_v1, and wl_drm or NULL */
    char *drm_device;                      /* owned; the path that wl_drm names */
    uint32_t version;

    /* Owned. The first `imported` pairs are what the renderer imports, the others are only mapped. */
    struct mc_dmabuf_pair *pairs;
    size_t pair_count, imported;
    dev_t device; /* feedback's main device; only with version 4 */
    int table_fd; /* owned; -1 without feedback */

    struct wl_list buffers; /* mc_dmabuf_buffer.link */
    struct wl_list reading; /* mc_dmabuf_buffer.reading_link: between SYNC start and end */
    struct wl_list waits;   /* mc_dmabuf_wait.link */
    bool in_frame;
    struct mc_dmabuf_counts counts;
};

struct mc_dmabuf_buffer {
    struct wlr_buffer base;
    struct wl_list link;                     /* mc_dmabuf.buffers */
    struct mc_dmabuf *dmabuf;                /* NULL once the global is gone */
    struct wl_resource *resource;            /* the wl_buffer; NULL once the client destroyed it */
    uint64_t client;                         /* handle of whom the fds are counted for */
    struct wlr_dmabuf_attributes attributes; /* owns the fds */
    void *map;                               /* read-only, from the file's start; NULL: imported */
    size_t map_bytes;
    bool syncing; /* DMA_BUF_IOCTL_SYNC was started */
    struct wl_list reading_link;
    struct wl_listener release;
};

/* ---- dmabuf.c ---- */

/* Which ways there are for a pair: bits of mc_dmabuf_way; 0: not offered. */
unsigned mc_dmabuf_ways(const struct mc_dmabuf *dmabuf, uint32_t format, uint64_t modifier);
bool mc_dmabuf_knows_format(const struct mc_dmabuf *dmabuf, uint32_t format);

/* ---- dmabuf_formats.c ---- */

#define MC_DMABUF_MAPPED_FORMATS 5
extern const uint32_t mc_dmabuf_mapped_formats[MC_DMABUF_MAPPED_FORMATS];
bool mc_dmabuf_is_mapped_format(uint32_t format);
/* Of one pixel in the first plane; at least 1. */
uint32_t mc_dmabuf_pixel_bytes(uint32_t format);
/* How many rows a linear plane has at least. */
uint32_t mc_dmabuf_plane_rows(uint32_t format, int plane, uint32_t height);

/* ---- dmabuf_feedback.c ---- */

int mc_dmabuf_feedback_init(struct mc_dmabuf *dmabuf);
void mc_dmabuf_feedback_finish(struct mc_dmabuf *dmabuf);
void mc_dmabuf_get_default_feedback(struct wl_client *client, struct wl_resource *resource, uint32_t id);
void mc_dmabuf_get_surface_feedback(struct wl_client *client, struct wl_resource *resource, uint32_t id,
                                    struct wl_resource *surface);

/* ---- dmabuf_params.c ---- */

void mc_dmabuf_create_params(struct wl_client *client, struct wl_resource *resource, uint32_t id);

/* ---- dmabuf_drm.c ---- */

/* wl_drm, for renderers that import on a device; elsewhere nothing. 0 or -ENOMEM. */
int mc_dmabuf_drm_init(struct mc_dmabuf *dmabuf, struct wl_display *display);
void mc_dmabuf_drm_finish(struct mc_dmabuf *dmabuf);

/* ---- dmabuf_check.c ---- */

#define MC_DMABUF_FAILED UINT32_MAX

/* Why attributes become no buffer: a zwp_linux_buffer_params_v1 error, or MC_DMABUF_FAILED where the client
 * could not have known. */
struct mc_dmabuf_refusal {
    uint32_t error;
    char text[160];
};

/* A buffer of whatever a client says: all of it is checked. Takes the fds and their count out of
 * `attributes`, or returns NULL and the reason, and takes nothing. strict: only pairs that are offered. */
struct mc_dmabuf_buffer *mc_dmabuf_buffer_make(struct mc_dmabuf *dmabuf, struct wl_client *client,
                                               uint64_t client_handle, uint32_t id,
                                               struct wlr_dmabuf_attributes *attributes, uint32_t flags,
                                               bool strict, struct mc_dmabuf_refusal *refusal_ret);

/* ---- dmabuf_buffer.c ---- */

/* Teaches wlroots to find our buffers in a wl_buffer; once per process is enough. */
void mc_dmabuf_buffers_register(void);
/* A buffer of attributes that were checked, mapped if `map_bytes` is not 0, with the wl_buffer `id` (0: a new
 * server-side one). Takes over the fds and their count, unless it fails: NULL, nothing was taken. */
struct mc_dmabuf_buffer *mc_dmabuf_buffer_create(struct mc_dmabuf *dmabuf, struct wl_client *client,
                                                 uint32_t id, uint64_t client_handle,
                                                 const struct wlr_dmabuf_attributes *attributes,
                                                 size_t map_bytes, int *error_ret);
/* The buffer behind a wlr_buffer, or NULL when it is not one of ours. */
struct mc_dmabuf_buffer *mc_dmabuf_buffer_from(struct wlr_buffer *buffer);

/* Around everything that paints one frame, lock held throughout: mapped buffers that are read in between are
 * synchronised with their writers once, not for each damaged rectangle. */
void mc_dmabuf_frame_begin(struct mc_server *server);
void mc_dmabuf_frame_end(struct mc_server *server);

/* ---- dmabuf_fence.c ---- */

/* Whether somebody still writes to a dma-buf, by its fences. */
bool mc_dmabuf_is_written(int fd);
/* A wl_surface.commit is about to be dispatched. */
void mc_dmabuf_before_commit(struct mc_server *server, struct wlr_surface *surface);
void mc_dmabuf_waits_finish(struct mc_dmabuf *dmabuf);

#endif
