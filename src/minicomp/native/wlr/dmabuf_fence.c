/* Commits of buffers that somebody is still writing to.
 *
 * A client may commit before its GPU has finished; the dma-buf then carries the writers' fences. Reading
 * would wait for them with the compositor lock held, and everybody with us. So such a commit is put off: its
 * state stays cached in the surface (as for synchronized subsurfaces) until the dma-buf polls readable. The
 * surface shows its last content meanwhile, and its frame callbacks come after. */
#include "dmabuf.h"

#include <poll.h>
#include <stdlib.h>
#include <wlr/types/wlr_surface.h>

#include "server.h"

struct mc_dmabuf_wait {
    struct wl_list link; /* mc_dmabuf.waits */
    struct mc_dmabuf *dmabuf;
    struct wlr_surface *surface;
    uint32_t seq; /* of the state that is put off */
    uint64_t client;
    struct wl_event_source *source; /* libwayland duplicates the fd it watches: one more of the client's */
    struct wl_listener surface_destroy;
};

bool mc_dmabuf_is_written(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    return poll(&poller, 1, 0) == 0;
}

static void wait_destroy(struct mc_dmabuf_wait *wait)
{
    wl_event_source_remove(wait->source);
    mc_client_hold_fds(wait->dmabuf->server, wait->client, -1);
    wl_list_remove(&wait->surface_destroy.link);
    wl_list_remove(&wait->link);
    free(wait);
}

static int handle_readable(int fd, uint32_t mask, void *data)
{
    (void)fd;
    (void)mask; /* errors too: the exporter is gone, there is nothing to wait for */
    struct mc_dmabuf_wait *wait = data;
    struct wlr_surface *surface = wait->surface;
    uint32_t seq = wait->seq;
    mc_commit_over(wait->dmabuf->server);
    wait_destroy(wait);
    wlr_surface_unlock_cached(surface, seq);
    return 0;
}

static void handle_surface_destroy(struct wl_listener *listener, void *data)
{
    (void)data;
    struct mc_dmabuf_wait *wait = wl_container_of(listener, wait, surface_destroy);
    wait_destroy(wait);
}

void mc_dmabuf_before_commit(struct mc_server *server, struct wlr_surface *surface)
{
    struct mc_dmabuf *dmabuf = server->dmabuf;
    if (dmabuf == NULL || (surface->pending.committed & WLR_SURFACE_STATE_BUFFER) == 0 ||
        surface->pending.buffer == NULL) {
        return;
    }
    struct mc_dmabuf_buffer *buffer = mc_dmabuf_buffer_from(surface->pending.buffer);
    if (buffer == NULL || !mc_dmabuf_is_written(buffer->attributes.fd[0])) {
        return;
    }
    struct mc_dmabuf_wait *wait = calloc(1, sizeof(*wait));
    if (wait == NULL) {
        return; /* shown at once, perhaps half drawn */
    }
    wait->source = wl_event_loop_add_fd(wl_display_get_event_loop(server->display), buffer->attributes.fd[0],
                                        WL_EVENT_READABLE, handle_readable, wait);
    if (wait->source == NULL) {
        free(wait);
        return;
    }
    wait->dmabuf = dmabuf;
    wait->surface = surface;
    wait->client = buffer->client;
    wait->seq = wlr_surface_lock_pending(surface);
    mc_listen(&surface->events.destroy, &wait->surface_destroy, handle_surface_destroy);
    wl_list_insert(&dmabuf->waits, &wait->link);
    dmabuf->counts.fence_waits++;
    mc_client_hold_fds(server, wait->client, 1);
}

void mc_dmabuf_waits_finish(struct mc_dmabuf *dmabuf)
{
    struct mc_dmabuf_wait *wait, *next;
    wl_list_for_each_safe (wait, next, &dmabuf->waits, link) {
        wait_destroy(wait);
    }
}
