/* One output's frames: from "something changed" over composing and the flip to "presented".
 *
 * The states are pure/redraw.h's. In this mode (render.thread = false) all of it runs on the loop thread, as
 * soon as it can: at the end of the dispatch that brought the damage, or when the previous flip is done. */
#include <drm_fourcc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <wlr/render/wlr_renderer.h>
#include <wlr/types/wlr_matrix.h>
#include <wlr/types/wlr_output.h>
#include <wlr/types/wlr_output_damage.h>
#include <wlr/types/wlr_presentation_time.h>
#include <wlr/types/wlr_surface.h>
#include <wlr/util/region.h>

#include "server.h"
#include "vdisplay.h"

#define DEFAULT_REFRESH_MHZ 60000
#define KMS_REFUSED 1u
#define PRESENTED_ORIGIN_SHIFT 4
#define PRESENTED_DISCARDED (1u << 6)
#define PRESENTED_SEQ_SHIFT 8
#define ORIGIN_NOW 0u
#define ORIGIN_HARDWARE 1u
#define ORIGIN_MODELLED 2u

struct mc_draw_item {
    struct wlr_scene_node *node;
    struct wlr_box box; /* output-local, after scale, before transform */
    bool opaque;        /* paints every pixel of its box */
};

static uint64_t refresh_ns(const struct mc_output *output)
{
    int32_t mhz = output->wlr_output->refresh;
    return 1000000000000ull / (uint64_t)(mhz > 0 ? mhz : DEFAULT_REFRESH_MHZ);
}

/* The vblank that a frame begun at t_ns would make, seen from the last one that is known. */
static uint64_t predict_vblank(const struct mc_output *output, uint64_t t_ns)
{
    uint64_t period_ns = refresh_ns(output);
    t_ns += mc_vdisplay_latch_ns(output->wlr_output);
    if (output->last_present_ns == 0) {
        return t_ns + period_ns;
    }
    if (t_ns <= output->last_present_ns) {
        return output->last_present_ns;
    }
    uint64_t periods = (t_ns - output->last_present_ns + period_ns - 1) / period_ns;
    return output->last_present_ns + periods * period_ns;
}

/* ---- composing ---- */

static bool intersects(const struct wlr_box *a, int x1, int y1, int x2, int y2)
{
    return a->x < x2 && a->y < y2 && a->x + a->width > x1 && a->y + a->height > y1;
}

static bool contains(const struct wlr_box *a, const pixman_box32_t *rect)
{
    return a->x <= rect->x1 && a->y <= rect->y1 && a->x + a->width >= rect->x2 &&
           a->y + a->height >= rect->y2;
}

static bool surface_is_opaque(struct wlr_surface *surface)
{
    pixman_box32_t whole = {0, 0, surface->current.width, surface->current.height};
    return pixman_region32_contains_rectangle(&surface->opaque_region, &whole) == PIXMAN_REGION_IN;
}

/* As wlr_scene rounds, so that neighbours at fractional scales share an edge. */
static int scale_length(int length, int offset, float scale)
{
    return (int)(roundf((float)(offset + length) * scale) - roundf((float)offset * scale));
}

static void add_item(struct mc_output *output, struct wlr_scene_node *node, int ox, int oy, int width,
                     int height, bool opaque)
{
    struct mc_server *server = output->server;
    float scale = output->wlr_output->scale;
    struct wlr_box box = {
        .x = (int)roundf((float)ox * scale),
        .y = (int)roundf((float)oy * scale),
        .width = scale_length(width, ox, scale),
        .height = scale_length(height, oy, scale),
    };
    int output_width, output_height;
    wlr_output_transformed_resolution(output->wlr_output, &output_width, &output_height);
    if (!intersects(&box, 0, 0, output_width, output_height)) {
        return;
    }
    if (server->draw_count == server->draw_capacity) {
        size_t capacity = server->draw_capacity == 0 ? 64 : server->draw_capacity * 2;
        struct mc_draw_item *items = realloc(server->draw_items, capacity * sizeof(*items));
        if (items == NULL) {
            return; /* a frame without the topmost surfaces beats none */
        }
        server->draw_items = items;
        server->draw_capacity = capacity;
    }
    server->draw_items[server->draw_count++] = (struct mc_draw_item){node, box, opaque};
}

static void collect(struct mc_output *output, struct wlr_scene_node *node, int ox, int oy)
{
    if (!node->state.enabled) {
        return;
    }
    ox += node->state.x;
    oy += node->state.y;
    if (node->type == WLR_SCENE_NODE_SURFACE) {
        struct wlr_surface *surface = wlr_scene_surface_from_node(node)->surface;
        if (wlr_surface_has_buffer(surface)) {
            add_item(output, node, ox, oy, surface->current.width, surface->current.height,
                     surface_is_opaque(surface));
        }
    } else if (node->type == WLR_SCENE_NODE_RECT) {
        struct wlr_scene_rect *rect = (struct wlr_scene_rect *)node;
        add_item(output, node, ox, oy, rect->width, rect->height, rect->color[3] >= 1.0f);
    } /* buffer nodes: we make none */
    struct wlr_scene_node *child;
    wl_list_for_each (child, &node->state.children, state.link) {
        collect(output, child, ox, oy);
    }
}

static void draw_item(struct mc_output *output, const struct mc_draw_item *item)
{
    struct wlr_output *wlr_output = output->wlr_output;
    struct wlr_renderer *renderer = wlr_output->renderer;
    if (item->node->type == WLR_SCENE_NODE_RECT) {
        struct wlr_scene_rect *rect = (struct wlr_scene_rect *)item->node;
        wlr_render_rect(renderer, &item->box, rect->color, wlr_output->transform_matrix);
        return;
    }
    struct wlr_surface *surface = wlr_scene_surface_from_node(item->node)->surface;
    struct wlr_texture *texture = wlr_surface_get_texture(surface);
    if (texture == NULL) {
        return;
    }
    float matrix[9];
    enum wl_output_transform transform = wlr_output_transform_invert(surface->current.transform);
    wlr_matrix_project_box(matrix, &item->box, transform, 0.0f, wlr_output->transform_matrix);
    struct wlr_fbox source;
    wlr_surface_get_buffer_source_box(surface, &source);
    wlr_render_subtexture_with_matrix(renderer, texture, &source, matrix, 1.0f);
}

static void scissor(struct wlr_output *wlr_output, const pixman_box32_t *rect)
{
    struct wlr_box box = {rect->x1, rect->y1, rect->x2 - rect->x1, rect->y2 - rect->y1};
    int width, height;
    wlr_output_transformed_resolution(wlr_output, &width, &height);
    wlr_box_transform(&box, &box, wlr_output_transform_invert(wlr_output->transform), width, height);
    wlr_renderer_scissor(wlr_output->renderer, &box);
}

/* The whole frame as it goes to the display, in buffer orientation, XRGB8888. Allocates: only when asked for.
 */
static void capture(struct mc_output *output)
{
    uint32_t width = (uint32_t)output->wlr_output->width, height = (uint32_t)output->wlr_output->height;
    uint8_t *pixels = malloc((size_t)width * height * 4);
    uint32_t flags = 0;
    output->capture_wanted = false;
    if (pixels == NULL || !wlr_renderer_read_pixels(output->wlr_output->renderer, DRM_FORMAT_XRGB8888, &flags,
                                                    width * 4, width, height, 0, 0, 0, 0, pixels)) {
        mc_log(output->server, MC_LOG_WARNING, "output %s: its pixels cannot be read",
               output->wlr_output->name);
        free(pixels);
        return;
    }
    if ((flags & WLR_RENDERER_READ_PIXELS_Y_INVERT) != 0) {
        for (uint32_t top = 0, bottom = height - 1; top < bottom; top++, bottom--) {
            for (uint32_t i = 0; i < width * 4; i++) {
                uint8_t byte = pixels[top * width * 4 + i];
                pixels[top * width * 4 + i] = pixels[bottom * width * 4 + i];
                pixels[bottom * width * 4 + i] = byte;
            }
        }
    }
    output->capture = pixels;
    output->capture_width = (int32_t)width;
    output->capture_height = (int32_t)height;
}

/* Each damaged rectangle is painted from the topmost item that covers it whole: what lies below is not
 * visible, and the background is cleared only where nothing covers it. */
static void paint(struct mc_output *output, pixman_region32_t *damage)
{
    struct mc_server *server = output->server;
    struct wlr_output *wlr_output = output->wlr_output;
    wlr_renderer_begin(wlr_output->renderer, (uint32_t)wlr_output->width, (uint32_t)wlr_output->height);
    int count;
    pixman_box32_t *rects = pixman_region32_rectangles(damage, &count);
    for (int i = 0; i < count; i++) {
        size_t first = server->draw_count;
        while (first > 0) {
            const struct mc_draw_item *item = &server->draw_items[first - 1];
            if (item->opaque && contains(&item->box, &rects[i])) {
                break;
            }
            first--;
        }
        scissor(wlr_output, &rects[i]);
        if (first == 0) {
            wlr_renderer_clear(wlr_output->renderer, server->background);
        } else {
            first--;
        }
        for (size_t n = first; n < server->draw_count; n++) {
            const struct mc_draw_item *item = &server->draw_items[n];
            if (intersects(&item->box, rects[i].x1, rects[i].y1, rects[i].x2, rects[i].y2)) {
                draw_item(output, item);
            }
        }
    }
    wlr_renderer_scissor(wlr_output->renderer, NULL);
    wlr_output_render_software_cursors(wlr_output, damage);
    if (output->capture_wanted) {
        capture(output);
    }
    wlr_renderer_end(wlr_output->renderer);
}

/* Everything on this output becomes part of the frame, whether the damage touched it or not. */
static void latch_surfaces(struct mc_output *output)
{
    struct mc_server *server = output->server;
    for (size_t i = 0; i < server->draw_count; i++) {
        if (server->draw_items[i].node->type != WLR_SCENE_NODE_SURFACE) {
            continue;
        }
        struct wlr_scene_surface *scene_surface = wlr_scene_surface_from_node(server->draw_items[i].node);
        if (scene_surface->primary_output != output->wlr_output) {
            continue;
        }
        wlr_presentation_surface_sampled_on_output(server->presentation, scene_surface->surface,
                                                   output->wlr_output);
        struct mc_surface *surface = mc_surface_from(scene_surface->surface);
        if (surface != NULL && surface->latched != surface->commits) {
            surface->latched = surface->commits;
            mc_trace_now(&server->trace, MC_POINT_SURFACE_LATCHED, output->id, output->frame_id, surface->id,
                         surface->commits, 0);
        }
    }
}

static bool attach_and_paint(struct mc_output *output)
{
    struct wlr_output *wlr_output = output->wlr_output;
    struct wlr_output_damage *tracker = output->scene_output->damage;
    pixman_region32_t damage;
    pixman_region32_init(&damage);
    bool needs_frame;
    bool ok = wlr_output_damage_attach_render(tracker, &needs_frame, &damage);
    if (ok) {
        paint(output, &damage);
        int width, height;
        wlr_output_transformed_resolution(wlr_output, &width, &height);
        /* `damage` reaches back to the buffer's age; the display wants to know what changed since the last.
         */
        wlr_region_transform(&damage, &tracker->current, wlr_output_transform_invert(wlr_output->transform),
                             width, height);
        wlr_output_set_damage(wlr_output, &damage);
    }
    pixman_region32_fini(&damage);
    return ok;
}

static uint32_t saturate(uint64_t value)
{
    return value > 255 ? 255 : (uint32_t)value;
}

static void trace_sched(struct mc_output *output)
{
    struct mc_server *server = output->server;
    if (!mc_trace_on(&server->trace)) {
        return;
    }
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    uint64_t cpu_ns =
        ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * MC_NSEC_PER_SEC +
        ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * MC_NSEC_PER_USEC;
    uint64_t nvcsw = (uint64_t)usage.ru_nvcsw, nivcsw = (uint64_t)usage.ru_nivcsw;
    uint64_t minflt = (uint64_t)usage.ru_minflt, majflt = (uint64_t)usage.ru_majflt;
    if (server->last_cpu_ns != 0) {
        uint32_t flags = saturate(nvcsw - server->last_nvcsw) | saturate(nivcsw - server->last_nivcsw) << 8 |
                         saturate(minflt - server->last_minflt) << 16 |
                         saturate(majflt - server->last_majflt) << 24;
        mc_trace_now(&server->trace, MC_POINT_SCHED, output->id, output->frame_id, 0,
                     cpu_ns - server->last_cpu_ns, flags);
    }
    server->last_cpu_ns = cpu_ns;
    server->last_nvcsw = nvcsw;
    server->last_nivcsw = nivcsw;
    server->last_minflt = minflt;
    server->last_majflt = majflt;
}

/* ---- frame callbacks ---- */

static void send_callbacks(struct mc_output *output, struct wlr_scene_node *node, uint64_t now_ns,
                           bool fallback)
{
    if (!node->state.enabled) {
        return;
    }
    if (node->type == WLR_SCENE_NODE_SURFACE) {
        struct wlr_scene_surface *scene_surface = wlr_scene_surface_from_node(node);
        struct wl_list *callbacks = &scene_surface->surface->current.frame_callback_list;
        /* A surface that is on no output (a popup dragged off the edge) is paced by the first one. */
        bool ours = scene_surface->primary_output == output->wlr_output ||
                    (fallback && scene_surface->primary_output == NULL);
        if (ours && !wl_list_empty(callbacks)) {
            struct mc_surface *surface = mc_surface_from(scene_surface->surface);
            uint64_t count = (uint64_t)wl_list_length(callbacks);
            struct timespec when = mc_timespec(now_ns);
            wlr_surface_send_frame_done(scene_surface->surface, &when);
            mc_trace_now(&output->server->trace, MC_POINT_FRAME_CALLBACK, output->id, output->frame_id,
                         surface != NULL ? surface->id : 0, count, 0);
        }
    }
    struct wlr_scene_node *child;
    wl_list_for_each (child, &node->state.children, state.link) {
        send_callbacks(output, child, now_ns, fallback);
    }
}

static void send_all_callbacks(struct mc_output *output)
{
    struct mc_server *server = output->server;
    struct mc_output *first = wl_container_of(server->outputs.next, first, link);
    send_callbacks(output, &server->scene->node, mc_server_now_ns(server), first == output);
}

/* ---- the redraw loop ---- */

static void compose_and_commit(struct mc_output *output)
{
    struct mc_server *server = output->server;
    struct wlr_output *wlr_output = output->wlr_output;
    uint32_t frame_id = ++output->frame_id;
    mc_trace_now(&server->trace, MC_POINT_COMPOSE_BEGIN, output->id, frame_id, 0, 0, 0);
    server->draw_count = 0;
    collect(output, &server->scene->node, -output->scene_output->x, -output->scene_output->y);
    bool ok = attach_and_paint(output);
    mc_trace_now(&server->trace, MC_POINT_COMPOSE_END, output->id, frame_id, 0, 0, 0);
    if (ok) {
        latch_surfaces(output);
        mc_trace_now(&server->trace, MC_POINT_KMS_COMMIT_BEGIN, output->id, frame_id, 0, 0, 0);
        output->flip_vblank_ns = predict_vblank(output, mc_server_now_ns(server));
        ok = wlr_output_commit(wlr_output);
        mc_trace_now(&server->trace, MC_POINT_KMS_COMMIT_END, output->id, frame_id, 0, 0,
                     ok ? 0 : KMS_REFUSED);
    } else {
        wlr_output_rollback(wlr_output);
    }
    trace_sched(output);
    if (ok) {
        output->frames++;
        mc_redraw_committed(&output->redraw);
        send_all_callbacks(output);
    } else {
        output->failed_commits++;
        mc_redraw_failed(&output->redraw);
        mc_timer_arm(&output->timer, predict_vblank(output, mc_server_now_ns(server) + 1));
    }
}

static void redraw(struct mc_output *output)
{
    struct mc_server *server = output->server;
    struct wlr_output *wlr_output = output->wlr_output;
    if (output->redraw.state != MC_REDRAW_QUEUED || wlr_output->frame_pending) {
        return;
    }
    if (!wlr_output->enabled || output->scene_output == NULL) {
        mc_redraw_reset(&output->redraw);
        return;
    }
    mc_trace_now(&server->trace, MC_POINT_RENDER_WAKE, output->id, output->frame_id + 1, 0,
                 output->planned_ns, 0);
    if (wlr_output->needs_frame || pixman_region32_not_empty(&output->scene_output->damage->current)) {
        compose_and_commit(output);
        return;
    }
    /* Only frame callbacks are wanted: a flip would burn a buffer to show the same picture. They go out when
     * the flip would have been on the screen. */
    output->callback_only++;
    mc_redraw_estimate(&output->redraw);
    mc_timer_arm(&output->timer, predict_vblank(output, mc_server_now_ns(server) + 1));
}

static void handle_timer(void *data, uint64_t deadline_ns)
{
    struct mc_output *output = data;
    mc_commit_over(output->server);
    if (output->redraw.state == MC_REDRAW_WAIT_ESTIMATED) {
        output->last_present_ns = deadline_ns; /* the estimate keeps the vblank grid */
        output->redraw.reasons = 0;            /* callbacks wanted meanwhile are sent now, too */
        mc_redraw_done(&output->redraw);
        send_all_callbacks(output);
    } else {
        redraw(output); /* the commit was refused at the last vblank */
    }
}

static void queue_frame(struct mc_output *output, uint32_t reasons)
{
    struct mc_server *server = output->server;
    if ((output->redraw.reasons & reasons) == reasons) {
        return;
    }
    bool first = output->redraw.reasons == 0;
    bool started = mc_redraw_queue(&output->redraw, reasons);
    if (!first && !started) {
        return;
    }
    uint64_t now_ns = mc_server_now_ns(server);
    bool flying = output->redraw.state == MC_REDRAW_WAIT_PRESENT;
    output->planned_ns = flying && output->flip_vblank_ns > now_ns ? output->flip_vblank_ns : now_ns;
    uint64_t vblank_ns = predict_vblank(output, output->planned_ns + (flying ? 1 : 0));
    mc_trace_now(&server->trace, MC_POINT_FRAME_QUEUED, output->id, output->frame_id + 1, 0, vblank_ns,
                 output->redraw.reasons);
    mc_trace_now(&server->trace, MC_POINT_FRAME_PLANNED, output->id, output->frame_id + 1, 0,
                 output->planned_ns, 0);
}

static void handle_needs_frame(struct wl_listener *listener, void *data)
{
    (void)data;
    struct mc_output *output = wl_container_of(listener, output, needs_frame);
    const struct mc_surface *committing = output->server->committing;
    if (committing != NULL ? committing->needs_flip
                           : output->scene_output != NULL &&
                                 pixman_region32_not_empty(&output->scene_output->damage->current)) {
        queue_frame(output, MC_REDRAW_DAMAGE);
    } else if (committing != NULL) {
        /* wlr_scene raised it for a frame callback alone. It is taken back when the commit is over, not here:
         * other listeners of this signal would raise it again. */
        output->callback_wish = output->server->callback_wish = true;
        queue_frame(output, MC_REDRAW_CALLBACK);
    } else {
        queue_frame(output, MC_REDRAW_CAPTURE);
    }
}

void mc_commit_over(struct mc_server *server)
{
    server->committing = NULL;
    if (!server->callback_wish) {
        return;
    }
    server->callback_wish = false;
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        if (output->callback_wish) {
            output->callback_wish = false;
            output->wlr_output->needs_frame = false;
        }
    }
}

/* wlroots emits frame when a flip is done, and from an idle source when a frame was asked for. */
static void handle_frame(struct wl_listener *listener, void *data)
{
    (void)data;
    struct mc_output *output = wl_container_of(listener, output, frame);
    mc_commit_over(output->server);
    if (output->redraw.state == MC_REDRAW_WAIT_PRESENT && !output->wlr_output->frame_pending) {
        mc_redraw_done(&output->redraw);
    }
    redraw(output);
}

static void handle_present(struct wl_listener *listener, void *data)
{
    struct mc_output *output = wl_container_of(listener, output, present);
    const struct wlr_output_event_present *event = data;
    struct mc_server *server = output->server;
    mc_commit_over(server);
    uint32_t flags = event->flags & 0xf;
    uint64_t vblank_ns = 0;
    if (event->presented) {
        vblank_ns = (uint64_t)event->when->tv_sec * MC_NSEC_PER_SEC + (uint64_t)event->when->tv_nsec;
        output->last_present_ns = vblank_ns;
        uint32_t origin = mc_vdisplay_is_output(output->wlr_output)           ? ORIGIN_MODELLED
                          : (event->flags & WLR_OUTPUT_PRESENT_HW_CLOCK) != 0 ? ORIGIN_HARDWARE
                                                                              : ORIGIN_NOW;
        flags |= origin << PRESENTED_ORIGIN_SHIFT | (uint32_t)event->seq << PRESENTED_SEQ_SHIFT;
    } else {
        flags |= PRESENTED_DISCARDED;
    }
    mc_trace_now(&server->trace, MC_POINT_PRESENTED, output->id, output->frame_id, 0, vblank_ns, flags);
}

int mc_frame_init(struct mc_output *output)
{
    int error = mc_timer_init(&output->timer, output->server, handle_timer, output);
    if (error != 0) {
        return error;
    }
    mc_listen(&output->wlr_output->events.frame, &output->frame, handle_frame);
    mc_listen(&output->wlr_output->events.needs_frame, &output->needs_frame, handle_needs_frame);
    mc_listen(&output->wlr_output->events.present, &output->present, handle_present);
    return 0;
}

void mc_frame_finish(struct mc_output *output)
{
    mc_timer_finish(&output->timer);
    mc_unlisten(&output->frame);
    mc_unlisten(&output->needs_frame);
    mc_unlisten(&output->present);
}
