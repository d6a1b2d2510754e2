/* Composing one frame of an output: what is visible, painted back to front where it changed.
 *
 * Called with the lock held by whichever thread renders. Our own walk over wlr_scene's nodes adds to wlroots'
 * what this project is about: which surface's content became part of which frame, and nothing painted that is
 * covered. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <wlr/render/pixman.h>
#include <wlr/render/wlr_renderer.h>
#include <wlr/types/wlr_matrix.h>
#include <wlr/types/wlr_output.h>
#include <wlr/types/wlr_output_damage.h>
#include <wlr/types/wlr_presentation_time.h>
#include <wlr/types/wlr_surface.h>
#include <wlr/util/region.h>

#include "dmabuf.h"
#include "server.h"
#include "vdisplay.h"

struct mc_draw_item {
    struct wlr_scene_node *node;
    struct wlr_box box; /* output-local, after scale, before transform */
    bool opaque;        /* paints every pixel of its box */
    bool cropped;       /* shows a part of its buffer (wp_viewport.set_source) */
};

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

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
                     int height, bool opaque, bool cropped)
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
    server->draw_items[server->draw_count++] = (struct mc_draw_item){node, box, opaque, cropped};
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
                     surface_is_opaque(surface), surface->current.viewport.has_src);
        }
    } else if (node->type == WLR_SCENE_NODE_RECT) {
        struct wlr_scene_rect *rect = (struct wlr_scene_rect *)node;
        add_item(output, node, ox, oy, rect->width, rect->height, rect->color[3] >= 1.0f, false);
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
    if ((source.x != 0 || source.y != 0) && wlr_renderer_is_pixman(renderer)) {
        /* wlroots 0.15's pixman renderer reads the source's size and forgets its offset: shift the picture
         * instead. */
        wlr_matrix_translate(matrix, (float)(-source.x / source.width), (float)(-source.y / source.height));
        source.x = source.y = 0;
    }
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

/* What a damaged rectangle and an item have in common. */
static pixman_box32_t part_of(const struct wlr_box *box, const pixman_box32_t *rect)
{
    return (pixman_box32_t){
        .x1 = rect->x1 > box->x ? rect->x1 : box->x,
        .y1 = rect->y1 > box->y ? rect->y1 : box->y,
        .x2 = min_int(rect->x2, box->x + box->width),
        .y2 = min_int(rect->y2, box->y + box->height),
    };
}

/* Whether one item above that one alone hides a part of it: windows that lie on each other in a pile. */
static bool is_covered(const struct mc_server *server, size_t item, const pixman_box32_t *part)
{
    for (size_t n = item + 1; n < server->draw_count; n++) {
        if (server->draw_items[n].opaque && contains(&server->draw_items[n].box, part)) {
            return true;
        }
    }
    return false;
}

/* Each damaged rectangle is painted from the topmost item that covers it whole: what lies below is not
 * visible, and the background is cleared only where nothing covers it. Of the items above that one, those are
 * left out whose part of the rectangle another one hides. */
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
            if (!intersects(&item->box, rects[i].x1, rects[i].y1, rects[i].x2, rects[i].y2)) {
                continue;
            }
            pixman_box32_t part = part_of(&item->box, &rects[i]);
            if (is_covered(server, n, &part)) {
                continue;
            }
            /* Past a texture's edge pixman leaves its fast paths, for all of the rectangle; and what its
             * renderer in wlroots is given a part of (wp_viewport.set_source) it paints whole. */
            bool narrowed = !contains(&item->box, &rects[i]);
            if (narrowed) {
                scissor(wlr_output, &part);
            }
            draw_item(output, item);
            if (narrowed) {
                scissor(wlr_output, &rects[i]);
            }
        }
    }
    wlr_renderer_scissor(wlr_output->renderer, NULL);
    wlr_output_render_software_cursors(wlr_output, damage);
    if (output->capture_wanted) {
        mc_capture_frame(output);
    }
    wlr_renderer_end(wlr_output->renderer);
}

/* Everything on this output becomes part of the frame, whether the damage touched it or not. */
void mc_compose_latch(struct mc_output *output)
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
        if (surface != NULL && surface->feedback_pending) {
            surface->feedback_pending = false;
            output->flight_feedback = true;
        }
        if (surface != NULL && surface->latched != surface->commits) {
            surface->latched = surface->commits;
            if (surface->commit_ns != 0 &&
                (output->flight_content_ns == 0 || surface->commit_ns < output->flight_content_ns)) {
                output->flight_content_ns = surface->commit_ns;
            }
            surface->commit_ns = 0;
            mc_trace_now(&server->trace, MC_POINT_SURFACE_LATCHED, output->id, output->frame_id, surface->id,
                         surface->commits, 0);
        }
    }
}

/* The buffer of a surface that alone is to be seen, pixel for pixel, or NULL. What it does not say itself (a
 * software cursor, a capture under way, a display that cannot take it) wlr_output_test asks. */
static struct wlr_buffer *scanout_candidate(struct mc_output *output)
{
    struct mc_server *server = output->server;
    struct wlr_output *wlr_output = output->wlr_output;
    if (server->draw_count == 0 || output->capture_wanted || mc_vdisplay_is_output(wlr_output) ||
        mc_server_now_ns(server) < output->scanout_after_ns) {
        return NULL;
    }
    const struct mc_draw_item *top = &server->draw_items[server->draw_count - 1];
    int width, height;
    wlr_output_transformed_resolution(wlr_output, &width, &height);
    if (top->node->type != WLR_SCENE_NODE_SURFACE || !top->opaque || top->cropped || top->box.x != 0 ||
        top->box.y != 0 || top->box.width != width || top->box.height != height) {
        return NULL;
    }
    struct wlr_surface *surface = wlr_scene_surface_from_node(top->node)->surface;
    struct wlr_dmabuf_attributes attributes;
    if (surface->buffer == NULL || surface->current.transform != wlr_output->transform ||
        !wlr_buffer_get_dmabuf(&surface->buffer->base, &attributes)) {
        return NULL;
    }
    return &surface->buffer->base;
}

/* Hands the client's own buffer to the display where it takes it: KMS keeps it locked, so that the client is
 * told of its release only after the flip that takes it off. */
static bool scan_out(struct mc_output *output)
{
    struct wlr_buffer *buffer = scanout_candidate(output);
    bool ok = false;
    if (buffer != NULL) {
        wlr_output_attach_buffer(output->wlr_output, buffer);
        ok = wlr_output_test(output->wlr_output);
        if (!ok) {
            wlr_output_rollback(output->wlr_output);
        }
    }
    if (output->scanned_out && !ok) {
        wlr_output_damage_add_whole(output->scene_output->damage); /* our own buffers know nothing of what was
                                                                      shown meanwhile */
    }
    if (output->scanned_out != ok) {
        mc_log(output->server, MC_LOG_DEBUG, "output %s: %s", output->wlr_output->name,
               ok ? "scans out a client's buffer" : "composed again");
    }
    output->scanned_out = ok;
    return ok;
}

bool mc_compose(struct mc_output *output)
{
    struct mc_server *server = output->server;
    server->draw_count = 0;
    collect(output, &server->scene->node, -output->scene_output->x, -output->scene_output->y);
    if (scan_out(output)) {
        return true;
    }
    struct wlr_output *wlr_output = output->wlr_output;
    struct wlr_output_damage *tracker = output->scene_output->damage;
    pixman_region32_t damage;
    pixman_region32_init(&damage);
    bool needs_frame;
    bool ok = wlr_output_damage_attach_render(tracker, &needs_frame, &damage);
    if (ok) {
        int width, height;
        wlr_output_transformed_resolution(wlr_output, &width, &height);
        if (server->memory.settings.released != MC_MEMORY_KEEP) {
            /* The buffer came back without its contents: nothing of its last frame can be kept. */
            pixman_region32_union_rect(&damage, &damage, 0, 0, (unsigned int)width, (unsigned int)height);
        }
        mc_dmabuf_frame_begin(output->server);
        paint(output, &damage);
        mc_dmabuf_frame_end(output->server);
        /* `damage` reaches back to the buffer's age; the display wants to know what changed since the last.
         */
        wlr_region_transform(&damage, &tracker->current, wlr_output_transform_invert(wlr_output->transform),
                             width, height);
        wlr_output_set_damage(wlr_output, &damage);
    }
    pixman_region32_fini(&damage);
    return ok;
}
