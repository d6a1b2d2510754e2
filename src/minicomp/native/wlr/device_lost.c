/* The display device: notices that it is gone, or of no use any more, and ends the loop.
 *
 * Three signs: libwayland's own flag (libseat's end, loop.c), the DRM backend's end (its device was removed),
 * and a device that refuses every commit although the session is active (a GPU that was reset). Before the
 * last one is believed, the cursor leaves its plane. */
#include <wlr/backend.h>
#include <wlr/backend/drm.h>
#include <wlr/backend/multi.h>
#include <wlr/backend/session.h>
#include <wlr/types/wlr_output.h>

#include "server.h"

/* A commit that is refused is tried again at the next vblank; a modeset elsewhere may take a second. */
#define GIVE_UP_AFTER_NS (10 * MC_NSEC_PER_SEC)
/* wlroots never tests whether a frame with the cursor on its plane is taken. */
#define DOUBT_CURSOR_AFTER_NS MC_NSEC_PER_SEC

/* The multi-backend of a TTY session outlives its parts: a display device that is unplugged, or whose driver
 * goes, takes the DRM backend with it and nobody else notices. */
static void handle_drm_destroy(struct wl_listener *listener, void *data)
{
    struct mc_server *server = wl_container_of(listener, server, drm_destroy);
    mc_unlisten(&server->drm_destroy);
    wl_display_terminate(server->display);
}

/* The first one renders; what others drive is nothing but their outputs. */
static void watch_drm(struct wlr_backend *backend, void *data)
{
    struct mc_server *server = data;
    if (wlr_backend_is_drm(backend) && server->drm_destroy.link.next == NULL) {
        mc_listen(&backend->events.destroy, &server->drm_destroy, handle_drm_destroy);
    }
}

void mc_device_watch(struct mc_server *server)
{
    if (wlr_backend_is_multi(server->backend)) {
        wlr_multi_for_each_backend(server->backend, watch_drm, server);
    }
}

void mc_device_unwatch(struct mc_server *server)
{
    mc_unlisten(&server->drm_destroy);
}

static void draw_cursors_in_software(struct mc_server *server)
{
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        if (output->wlr_output->hardware_cursor != NULL && !output->cursor_locked) {
            output->cursor_locked = true;
            mc_log(server, MC_LOG_WARNING,
                   "output %s: refuses frames with the cursor on its plane; drawing it in software",
                   output->wlr_output->name);
            wlr_output_lock_software_cursors(output->wlr_output, true);
        }
    }
}

void mc_device_refused(struct mc_server *server)
{
    struct wlr_session *session =
        server->drm_destroy.link.next != NULL ? wlr_backend_get_session(server->backend) : NULL;
    if (session == NULL || !session->active) {
        server->refused_since_ns = 0;
        return;
    }
    uint64_t now_ns = mc_now_ns();
    if (server->refused_since_ns == 0) {
        server->refused_since_ns = now_ns;
    } else if (now_ns - server->refused_since_ns > GIVE_UP_AFTER_NS) {
        server->refused_since_ns = now_ns; /* said once: the loop ends now */
        mc_log(server, MC_LOG_ERROR, "the display device has refused every frame for %d s",
               (int)(GIVE_UP_AFTER_NS / MC_NSEC_PER_SEC));
        wl_display_terminate(server->display);
    } else if (now_ns - server->refused_since_ns > DOUBT_CURSOR_AFTER_NS) {
        draw_cursors_in_software(server);
    }
}
