/* Frame callbacks: when each surface is asked for its next frame.
 *
 * With pacing a surface is asked so late that its answer, as long as it usually takes, lands just before the
 * frame that will show it begins; with mode asap at once. Runs on whichever thread renders, lock held. */
#include <wlr/types/wlr_output.h>
#include <wlr/types/wlr_surface.h>

#include "server.h"

struct walk {
    struct mc_output *output;
    uint64_t now_ns;
    uint64_t shown_vblank_ns; /* planning: the vblank whose picture is settled; 0 when sending */
    uint64_t earliest_ns;     /* of what remains to be sent; 0: nothing */
    bool fallback;            /* surfaces on no output are this output's business */
};

static void send(struct walk *walk, struct mc_surface *surface)
{
    struct mc_server *server = walk->output->server;
    uint64_t count = (uint64_t)wl_list_length(&surface->surface->current.frame_callback_list);
    struct timespec when = mc_timespec(walk->now_ns);
    wlr_surface_send_frame_done(surface->surface, &when);
    surface->callback_due_ns = 0;
    surface->callback_sent_ns = walk->now_ns;
    wl_list_remove(&surface->link);
    wl_list_insert(&server->surfaces, &surface->link);
    mc_trace_now(&server->trace, MC_POINT_FRAME_CALLBACK, walk->output->id, walk->output->frame_id,
                 surface->id, count, 0);
}

static void visit(struct walk *walk, struct wlr_scene_surface *scene_surface)
{
    struct mc_output *output = walk->output;
    /* A surface that is on no output (a popup dragged off the edge) is paced by the first one. */
    bool ours = scene_surface->primary_output == output->wlr_output ||
                (walk->fallback && scene_surface->primary_output == NULL);
    struct mc_surface *surface = mc_surface_from(scene_surface->surface);
    if (!ours || surface == NULL || wl_list_empty(&scene_surface->surface->current.frame_callback_list)) {
        return;
    }
    if (walk->shown_vblank_ns != 0 && surface->callback_due_ns == 0) {
        surface->ask =
            mc_pacing_ask(&output->pacing, &surface->response, walk->now_ns, walk->shown_vblank_ns);
        surface->callback_due_ns = surface->ask.at_ns;
    }
    uint64_t due_ns = surface->callback_due_ns;
    if (due_ns == 0) {
        return; /* asked for since the last frame: planned with the next */
    }
    if (due_ns <= walk->now_ns + MC_EARLY_NS) {
        send(walk, surface);
    } else if (walk->earliest_ns == 0 || due_ns < walk->earliest_ns) {
        walk->earliest_ns = due_ns;
    }
}

static void descend(struct walk *walk, struct wlr_scene_node *node)
{
    if (!node->state.enabled) {
        return;
    }
    if (node->type == WLR_SCENE_NODE_SURFACE) {
        visit(walk, wlr_scene_surface_from_node(node));
    }
    struct wlr_scene_node *child;
    wl_list_for_each (child, &node->state.children, state.link) {
        descend(walk, child);
    }
}

static void run(struct mc_output *output, uint64_t shown_vblank_ns)
{
    struct mc_server *server = output->server;
    struct mc_output *first = wl_container_of(server->outputs.next, first, link);
    struct walk walk = {
        .output = output,
        .now_ns = mc_server_now_ns(server),
        .shown_vblank_ns = shown_vblank_ns,
        .fallback = first == output,
    };
    descend(&walk, &server->scene->node);
    output->callback_ns = walk.earliest_ns;
    mc_deadline_changed(output);
}

void mc_callbacks_plan(struct mc_output *output, uint64_t shown_vblank_ns)
{
    run(output, shown_vblank_ns != 0 ? shown_vblank_ns : 1);
}

void mc_callbacks_send_due(struct mc_output *output)
{
    if (output->callback_ns != 0 && output->callback_ns <= mc_server_now_ns(output->server) + MC_EARLY_NS) {
        run(output, 0);
    }
}
