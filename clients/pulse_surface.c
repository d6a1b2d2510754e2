/* See pulse_surface.h. */
#include "pulse_surface.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "pulse_feedback.h"

#define BAR_WIDTH_PX 8
#define TAG_SIZE_PX 16
#define SUBSURFACE_COLUMNS 4
#define BAR_COLOUR 0xffffffu

struct rectangle {
    int x, y, width, height;
};

static void start_frame(struct pulse_surface *surface, uint64_t callback_ns, uint64_t due_ns);

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* ---- drawing ---- */

/* Up and down between 64 and 191 in steps of 4, so that neighbouring frames differ to the eye. */
static uint32_t triangle(uint64_t position)
{
    uint64_t step = position % 64;
    return 64 + 4 * (uint32_t)(step < 32 ? step : 63 - step);
}

static uint32_t frame_colour(const struct pulse_surface *surface, uint64_t seq)
{
    if (surface->pulse->options.colour_given) {
        return surface->pulse->options.colour;
    }
    uint64_t position = seq + surface->index * 16;
    return triangle(position) << 16 | triangle(position + 21) << 8 | triangle(position + 42);
}

static struct rectangle damage_rectangle(const struct pulse_surface *surface)
{
    const struct pulse_options *options = &surface->pulse->options;
    int width = surface->window.width, height = surface->window.height;
    if (options->damage != PULSE_DAMAGE_RECTANGLE) {
        return (struct rectangle){0, 0, width, height};
    }
    int damage_width = smaller(options->damage_width, width),
        damage_height = smaller(options->damage_height, height);
    return (struct rectangle){(width - damage_width) / 2, (height - damage_height) / 2, damage_width,
                              damage_height};
}

static void draw(const struct pulse_surface *surface, struct shm_buffer *buffer, struct rectangle area)
{
    int stride_px = surface->window.width;
    uint32_t colour = frame_colour(surface, surface->seq);
    if (buffer->fresh) {
        /* Outside the damage all buffers must hold the same, or the damage we announce would be a lie. */
        shm_buffer_fill(buffer, stride_px, 0, 0, surface->window.width, surface->window.height,
                        frame_colour(surface, 0));
        buffer->fresh = false;
    }
    shm_buffer_fill(buffer, stride_px, area.x, area.y, area.width, area.height, colour);
    int bar_x = (int)(surface->seq * BAR_WIDTH_PX % (uint64_t)area.width);
    shm_buffer_fill(buffer, stride_px, area.x + bar_x, area.y, smaller(BAR_WIDTH_PX, area.width - bar_x),
                    area.height, BAR_COLOUR);
    shm_buffer_fill(buffer, stride_px, area.x, area.y, smaller(TAG_SIZE_PX, area.width),
                    smaller(TAG_SIZE_PX, area.height), (uint32_t)(surface->seq & 0xffffff));
}

/* Synchronized: these commits take effect with the window's own, so that one frame shows all of them. */
static void commit_subsurfaces(struct pulse_surface *surface)
{
    int width = surface->window.width / SUBSURFACE_COLUMNS / 2,
        height = surface->window.height / SUBSURFACE_COLUMNS / 2;
    width = width > 0 ? width : 1;
    height = height > 0 ? height : 1;
    for (uint64_t i = 0; i < surface->pulse->options.subsurfaces; i++) {
        struct pulse_subsurface *sub = &surface->subsurfaces[i];
        shm_pool_resize(&sub->pool, width, height);
        struct shm_buffer *buffer = shm_pool_take(&sub->pool);
        if (buffer == NULL) {
            surface->pulse->buffer_waits++; /* it keeps its last content for this frame */
            continue;
        }
        int column = (int)(i % SUBSURFACE_COLUMNS), row = (int)(i / SUBSURFACE_COLUMNS % SUBSURFACE_COLUMNS);
        wl_subsurface_set_position(sub->role, column * surface->window.width / SUBSURFACE_COLUMNS + width / 2,
                                   row * surface->window.height / SUBSURFACE_COLUMNS + height / 2);
        shm_buffer_fill(buffer, width, 0, 0, width, height, ~frame_colour(surface, surface->seq) & 0xffffff);
        wl_surface_attach(sub->surface, buffer->wl_buffer, 0, 0);
        wl_surface_damage_buffer(sub->surface, 0, 0, width, height);
        wl_surface_commit(sub->surface);
    }
}

/* ---- committing ---- */

static void handle_frame_done(void *data, struct wl_callback *callback, uint32_t time_ms)
{
    struct pulse_surface *surface = data;
    uint64_t callback_ns = monotonic_now_ns();
    (void)time_ms;
    wl_callback_destroy(callback);
    surface->callback = NULL;
    surface->pulse->callbacks++;
    start_frame(surface, callback_ns, 0);
}

static const struct wl_callback_listener frame_listener = {.done = handle_frame_done};

static void commit_frame(struct pulse_surface *surface, const struct pulse_frame *frame)
{
    struct pulse *pulse = surface->pulse;
    if (pulse->options.mode == PULSE_MODE_CALLBACK) {
        surface->callback = wl_surface_frame(surface->window.surface);
        wl_callback_add_listener(surface->callback, &frame_listener, surface);
    }
    struct pulse_feedback *feedback = pulse_feedback_request(pulse, surface->window.surface);
    if (feedback == NULL) {
        pulse->failed = true;
        return;
    }
    uint64_t commit_ns = monotonic_now_ns();
    wl_surface_commit(surface->window.surface);
    connection_flush(&pulse->connection);

    pulse->commits++;
    pulse->first_commit_ns = pulse->first_commit_ns == 0 ? commit_ns : pulse->first_commit_ns;
    pulse->last_commit_ns = commit_ns;
    feedback->frame = *frame;
    feedback->frame.commit_ns = commit_ns;
    pulse_feedback_committed(feedback);
}

static void start_frame(struct pulse_surface *surface, uint64_t callback_ns, uint64_t due_ns)
{
    struct pulse *pulse = surface->pulse;
    if (pulse->ending || pulse->failed || pulse_surface_is_done(surface)) {
        return;
    }
    struct shm_buffer *buffer = NULL;
    if (surface->needs_content || pulse->options.damage != PULSE_DAMAGE_NONE) {
        buffer = shm_pool_take(&surface->pool);
        if (buffer == NULL && errno == EBUSY) {
            pulse->buffer_waits++;
            surface->waiting = true;
            surface->waiting_callback_ns = callback_ns;
            surface->waiting_due_ns = due_ns;
            return;
        }
        if (buffer == NULL) {
            fprintf(stderr, "pulse: cannot allocate a %dx%d buffer: %s\n", surface->window.width,
                    surface->window.height, strerror(errno));
            pulse->failed = true;
            return;
        }
    }
    surface->seq++;
    double work_us = pulse_work_draw(&pulse->options.work, &pulse->work_state);
    pulse_work_burn(work_us);
    if (buffer != NULL) {
        struct rectangle area = damage_rectangle(surface);
        draw(surface, buffer, area);
        commit_subsurfaces(surface);
        wl_surface_attach(surface->window.surface, buffer->wl_buffer, 0, 0);
        if (surface->needs_content) {
            wl_surface_damage_buffer(surface->window.surface, 0, 0, surface->window.width,
                                     surface->window.height);
            surface->needs_content = false;
        } else {
            wl_surface_damage_buffer(surface->window.surface, area.x, area.y, area.width, area.height);
        }
    }
    struct pulse_frame frame = {
        .surface_index = surface->index,
        .seq = surface->seq,
        .callback_ns = callback_ns,
        .due_ns = due_ns,
        .work_us = (uint64_t)work_us,
    };
    commit_frame(surface, &frame);
}

static void handle_released(void *data)
{
    struct pulse_surface *surface = data;
    if (surface->waiting) {
        surface->waiting = false;
        start_frame(surface, surface->waiting_callback_ns, surface->waiting_due_ns);
    }
}

/* ---- the window ---- */

static void handle_configured(void *data)
{
    struct pulse_surface *surface = data;
    struct window *window = &surface->window;
    bool first = !surface->configured;
    surface->configured = true;
    if (first || surface->pool.width != window->width || surface->pool.height != window->height) {
        shm_pool_resize(&surface->pool, window->width, window->height);
        surface->needs_content = true;
    }
    /* Later configures are answered by the next frame; period mode draws only when its time comes. */
    if (first && surface->pulse->options.mode == PULSE_MODE_CALLBACK) {
        start_frame(surface, 0, 0);
    }
}

static void handle_closed(void *data)
{
    struct pulse_surface *surface = data;
    surface->closed = true; /* destroyed by pulse's loop: libwayland is still dispatching this object */
}

static const struct window_events window_events = {.configured = handle_configured, .closed = handle_closed};

bool pulse_surface_init(struct pulse_surface *surface, struct pulse *pulse, uint64_t index)
{
    const struct pulse_options *options = &pulse->options;
    char title[256];
    *surface = (struct pulse_surface){.pulse = pulse, .index = index};
    if (options->surfaces > 1) {
        snprintf(title, sizeof(title), "%s %llu", options->title, (unsigned long long)index + 1);
    } else {
        snprintf(title, sizeof(title), "%s", options->title);
    }
    shm_pool_init(&surface->pool, pulse->connection.shm, handle_released, surface);
    surface->pool.backing = pulse->options.pool;
    if (options->subsurfaces > 0) {
        surface->subsurfaces = calloc(options->subsurfaces, sizeof(*surface->subsurfaces));
        if (surface->subsurfaces == NULL) {
            fputs("pulse: no memory for subsurfaces\n", stderr);
            return false;
        }
    }
    window_init(&surface->window, &pulse->connection, options->width, options->height, options->app_id, title,
                options->fullscreen, &window_events, surface);
    for (uint64_t i = 0; i < options->subsurfaces; i++) {
        struct pulse_subsurface *sub = &surface->subsurfaces[i];
        sub->surface = wl_compositor_create_surface(pulse->connection.compositor);
        sub->role = wl_subcompositor_get_subsurface(pulse->connection.subcompositor, sub->surface,
                                                    surface->window.surface);
        shm_pool_init(&sub->pool, pulse->connection.shm, NULL, NULL);
        sub->pool.backing = pulse->options.pool;
    }
    return true;
}

void pulse_surface_finish(struct pulse_surface *surface)
{
    if (surface->window.surface == NULL) {
        free(surface->subsurfaces);
        surface->subsurfaces = NULL;
        return;
    }
    if (surface->callback != NULL) {
        wl_callback_destroy(surface->callback);
        surface->callback = NULL;
    }
    for (uint64_t i = 0; i < surface->pulse->options.subsurfaces; i++) {
        wl_subsurface_destroy(surface->subsurfaces[i].role);
        wl_surface_destroy(surface->subsurfaces[i].surface);
        shm_pool_finish(&surface->subsurfaces[i].pool);
    }
    free(surface->subsurfaces);
    surface->subsurfaces = NULL;
    window_finish(&surface->window);
    shm_pool_finish(&surface->pool);
}

void pulse_surface_tick(struct pulse_surface *surface, uint64_t due_ns)
{
    if (!surface->configured) {
        return;
    }
    if (surface->waiting) {
        surface->pulse->skipped++;
    } else {
        start_frame(surface, 0, due_ns);
    }
}

bool pulse_surface_is_done(const struct pulse_surface *surface)
{
    uint64_t frames = surface->pulse->options.frames;
    return surface->closed || (frames != 0 && surface->seq >= frames);
}
