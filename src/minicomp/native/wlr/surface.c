/* Surfaces: an identity for the trace, and the stamps from a client's request to its applied commit.
 *
 * libwayland's protocol logger runs after a request has been read from the socket and before it is
 * dispatched: its stamp is "demarshalled". For wl_surface.commit, what lies between it and the surface's
 * commit event is the import of the buffer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wayland-server-protocol.h>
#include <wlr/types/wlr_compositor.h>
#include <wlr/types/wlr_output.h>
#include <wlr/types/wlr_surface.h>

#include "dmabuf.h"
#include "guard.h"
#include "server.h"

#define WL_SURFACE_COMMIT_OPCODE 6
#define WP_PRESENTATION_FEEDBACK_OPCODE 1
#define WL_BUFFER_RELEASE_EVENT 0

/* A client that takes longer was not drawing, it had nothing to draw. */
#define LONGEST_RESPONSE_NS (100 * MC_NSEC_PER_MSEC)

/* Flags of SURFACE_COMMIT. */
#define COMMIT_BUFFER 1u
#define COMMIT_DAMAGE 2u
#define COMMIT_CALLBACK 4u
#define COMMIT_FEEDBACK 8u

static void handle_commit(struct wl_listener *listener, void *data)
{
    (void)data;
    struct mc_surface *surface = wl_container_of(listener, surface, commit);
    struct mc_server *server = surface->server;
    struct wlr_surface_state *state = &surface->surface->current;
    surface->commits++;
    uint32_t flags = 0;
    if ((state->committed & WLR_SURFACE_STATE_BUFFER) != 0) {
        flags |= COMMIT_BUFFER;
    }
    if (pixman_region32_not_empty(&surface->surface->buffer_damage)) {
        flags |= COMMIT_DAMAGE;
    }
    if (!wl_list_empty(&state->frame_callback_list)) {
        flags |= COMMIT_CALLBACK;
    }
    if (surface->feedback_wanted) {
        flags |= COMMIT_FEEDBACK;
    }
    if (surface->commit_ns == 0 && (flags & (COMMIT_BUFFER | COMMIT_DAMAGE)) != 0) {
        surface->commit_ns = mc_server_now_ns(server);
    }
    if (surface->callback_sent_ns != 0 && (flags & (COMMIT_BUFFER | COMMIT_DAMAGE)) != 0) {
        uint64_t now_ns = mc_server_now_ns(server), called_ns = surface->callback_sent_ns;
        surface->callback_sent_ns = 0;
        wl_list_remove(&surface->link);
        wl_list_insert(server->surfaces.prev, &surface->link);
        if (now_ns - called_ns < LONGEST_RESPONSE_NS) {
            mc_response_answered(&surface->response, &surface->ask, called_ns, now_ns,
                                 mc_pacing_late_rate(server->pacing.target_miss_rate));
        }
    }
    mc_trace_now(&server->trace, MC_POINT_SURFACE_COMMIT, 0, 0, surface->id, surface->commits, flags);
    server->committing = surface;
    /* Presentation feedback needs a flip, damage or not; a frame callback alone does not. */
    surface->needs_flip = surface->feedback_wanted || (flags & COMMIT_DAMAGE) != 0;
    if (surface->feedback_wanted && (flags & COMMIT_DAMAGE) == 0) {
        struct wlr_surface_output *on;
        wl_list_for_each (on, &surface->surface->current_outputs, link) {
            wlr_output_schedule_frame(on->output);
        }
    }
    surface->feedback_pending |= surface->feedback_wanted;
    surface->feedback_wanted = false;
}

static void handle_destroy(struct wl_listener *listener, void *data)
{
    (void)data;
    struct mc_surface *surface = wl_container_of(listener, surface, destroy);
    mc_guard_surface_destroyed(surface->surface);
    if (surface->server->committing == surface) {
        surface->server->committing = NULL;
    }
    if (surface->client != NULL) {
        surface->client->surfaces--;
    }
    surface->surface->data = NULL;
    wl_list_remove(&surface->link);
    mc_unlisten(&surface->commit);
    mc_unlisten(&surface->destroy);
    free(surface);
}

static void handle_new_surface(struct wl_listener *listener, void *data)
{
    struct mc_server *server = wl_container_of(listener, server, new_surface);
    struct wlr_surface *wlr_surface = data;
    struct wl_client *wl_client = wl_resource_get_client(wlr_surface->resource);
    struct mc_surface *surface = calloc(1, sizeof(*surface));
    if (surface == NULL) {
        wl_client_post_no_memory(wl_client);
        return;
    }
    surface->server = server;
    surface->surface = wlr_surface;
    surface->id = ++server->next_surface_id;
    surface->client = mc_client_from(server, wl_client);
    wlr_surface->data = surface;
    wl_list_insert(server->surfaces.prev, &surface->link);
    atomic_fetch_add_explicit(&server->changes, 1, memory_order_relaxed);
    /* First in the list, before wlr_scene's: `committing` must be set when wlr_scene asks for a frame. */
    mc_listen(&wlr_surface->events.commit, &surface->commit, handle_commit);
    mc_listen(&wlr_surface->events.destroy, &surface->destroy, handle_destroy);
    if (surface->client != NULL) {
        surface->client->surfaces++;
        uint32_t limit = server->limits.surfaces_per_client;
        if (limit != 0 && surface->client->surfaces > limit) {
            mc_client_kill_now(surface->client, "too many surfaces (limits.surfaces_per_client)");
        }
    }
}

void mc_surfaces_forget_client(struct mc_client *client)
{
    struct mc_surface *surface;
    wl_list_for_each (surface, &client->server->surfaces, link) {
        if (surface->client == client) {
            surface->client = NULL;
        }
    }
}

static uint32_t count_fds(const struct wl_message *message)
{
    uint32_t count = 0;
    for (const char *c = message->signature; *c != '\0'; c++) {
        count += *c == 'h';
    }
    return count;
}

static void handle_message(void *data, enum wl_protocol_logger_type type,
                           const struct wl_protocol_logger_message *message)
{
    struct mc_server *server = data;
    if (type != WL_PROTOCOL_LOGGER_REQUEST) {
        if (!server->release_may_wait ||
            message->message != &wl_buffer_interface.events[WL_BUFFER_RELEASE_EVENT]) {
            mc_client_has_event(server, wl_resource_get_client(message->resource));
        }
        return;
    }
    mc_commit_over(server);
    mc_server_yield(server);
    mc_ration_request(server, wl_resource_get_client(message->resource));
    mc_guard_request(message);
    if (message->message == &wl_surface_interface.methods[WL_SURFACE_COMMIT_OPCODE]) {
        struct mc_surface *surface = mc_surface_from(wlr_surface_from_resource(message->resource));
        if (surface != NULL) {
            mc_trace_now(&server->trace, MC_POINT_COMMIT_REQUEST, 0, 0, surface->id, 0, 0);
            server->release_may_wait = !wl_list_empty(&surface->surface->pending.frame_callback_list);
            mc_guard_commit(surface->client, surface->surface);
            mc_dmabuf_before_commit(server, surface->surface);
        }
        return;
    }
    if (message->message_opcode == WP_PRESENTATION_FEEDBACK_OPCODE &&
        strcmp(wl_resource_get_class(message->resource), "wp_presentation") == 0) {
        struct wl_resource *resource = (struct wl_resource *)message->arguments[0].o;
        struct mc_surface *surface = mc_surface_from(wlr_surface_from_resource(resource));
        if (surface != NULL) {
            surface->feedback_wanted = true;
        }
        return;
    }
    uint32_t fds = count_fds(message->message);
    if (fds > 0) {
        struct mc_client *client = mc_client_from(server, wl_resource_get_client(message->resource));
        if (client != NULL) {
            mc_trace_now(&server->trace, MC_POINT_FD_RECEIVED, 0, 0, client->id, fds, 0);
            mc_client_count_fds(client, fds);
        }
    }
}

int mc_surfaces_attach(struct mc_server *server)
{
    server->protocol_logger = wl_display_add_protocol_logger(server->display, handle_message, server);
    if (server->protocol_logger == NULL) {
        return -ENOMEM;
    }
    mc_listen(&server->compositor->events.new_surface, &server->new_surface, handle_new_surface);
    return 0;
}

void mc_surfaces_detach(struct mc_server *server)
{
    mc_unlisten(&server->new_surface);
    if (server->protocol_logger != NULL) {
        wl_protocol_logger_destroy(server->protocol_logger);
        server->protocol_logger = NULL;
    }
}

size_t mc_surfaces_list(struct mc_server *server, struct mc_surface_info *infos_ret, size_t max)
{
    size_t count = 0;
    mc_verb_begin(server);
    struct mc_surface *surface;
    wl_list_for_each (surface, &server->surfaces, link) {
        if (count < max) {
            struct mc_surface_info *info = &infos_ret[count];
            memset(info, 0, sizeof(*info));
            info->id = surface->id;
            info->client_id = surface->client != NULL ? surface->client->id : 0;
            info->client_pid = surface->client != NULL ? surface->client->pid : 0;
            const struct wlr_surface_role *role = surface->surface->role;
            strncpy(info->role, role != NULL ? role->name : "", sizeof(info->role) - 1);
        }
        count++;
    }
    mc_look_end(server);
    return count;
}
