/* Scenarios that break the wire format or the core protocol's rules. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "hostile.h"
#include "viewporter-client-protocol.h"

#define WL_DISPLAY_ID 1u

/* A message header: object, then size in bytes << 16 | opcode. */
static void send_header(struct hostile *hostile, uint32_t object, uint32_t size, uint32_t opcode)
{
    uint32_t words[3] = {object, size << 16 | opcode, 0};
    hostile_send_raw(hostile, words, sizeof(words), -1, 0);
}

static void run_bad_object(struct hostile *hostile)
{
    send_header(hostile, 0x00deadu, 12, 0);
}

static void run_bad_opcode(struct hostile *hostile)
{
    send_header(hostile, WL_DISPLAY_ID, 12, 77);
}

static void run_bad_header(struct hostile *hostile)
{
    send_header(hostile, WL_DISPLAY_ID, 4, WL_DISPLAY_SYNC); /* shorter than a header */
}

static void run_oversized_message(struct hostile *hostile)
{
    static uint32_t words[65532 / 4]; /* the largest size that fits the field; libwayland's buffer is 4096 */
    words[0] = WL_DISPLAY_ID;
    words[1] = 65532u << 16 | WL_DISPLAY_SYNC;
    hostile_send_raw(hostile, words, sizeof(words), -1, 0);
}

static void run_reused_id(struct hostile *hostile)
{
    uint32_t words[3] = {WL_DISPLAY_ID, 12u << 16 | WL_DISPLAY_SYNC, WL_DISPLAY_ID};
    hostile_send_raw(hostile, words, sizeof(words), -1, 0);
}

static void run_bad_scale(struct hostile *hostile)
{
    struct wl_surface *surface = wl_compositor_create_surface(hostile->connection.compositor);
    wl_surface_set_buffer_scale(surface, -1);
    wl_surface_commit(surface);
}

static void run_bad_transform(struct hostile *hostile)
{
    struct wl_surface *surface = wl_compositor_create_surface(hostile->connection.compositor);
    wl_surface_set_buffer_transform(surface, 99);
    wl_surface_commit(surface);
}

static void run_zero_viewport(struct hostile *hostile)
{
    if (hostile_map_window(hostile)) {
        struct wp_viewport *viewport =
            wp_viewporter_get_viewport(hostile->connection.viewporter, hostile->window.surface);
        wp_viewport_set_destination(viewport, 0, 0);
        wl_surface_commit(hostile->window.surface);
    }
}

static void run_huge_viewport(struct hostile *hostile)
{
    if (hostile_map_window(hostile)) {
        struct wp_viewport *viewport =
            wp_viewporter_get_viewport(hostile->connection.viewporter, hostile->window.surface);
        wp_viewport_set_destination(viewport, 30000, 30000);
        wl_surface_damage_buffer(hostile->window.surface, 0, 0, INT32_MAX, INT32_MAX);
        wl_surface_commit(hostile->window.surface);
    }
}

static void run_odd_damage(struct hostile *hostile)
{
    if (hostile_map_window(hostile)) {
        wl_surface_damage_buffer(hostile->window.surface, INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX);
        wl_surface_damage(hostile->window.surface, INT32_MIN, INT32_MIN, INT32_MAX, INT32_MAX);
        wl_surface_damage(hostile->window.surface, 10, 10, -5, -5);
        wl_surface_commit(hostile->window.surface);
    }
}

static void run_subsurface_cycle(struct hostile *hostile)
{
    struct wl_surface *a = wl_compositor_create_surface(hostile->connection.compositor);
    struct wl_surface *b = wl_compositor_create_surface(hostile->connection.compositor);
    wl_subcompositor_get_subsurface(hostile->connection.subcompositor, a, b);
    wl_subcompositor_get_subsurface(hostile->connection.subcompositor, b, a);
}

static void run_die_mid_message(struct hostile *hostile)
{
    if (!hostile_map_window(hostile)) {
        return;
    }
    uint32_t words[2] = {WL_DISPLAY_ID, 12u << 16 | WL_DISPLAY_SYNC}; /* the new id never comes */
    hostile_send_raw(hostile, words, 6, -1, 0);
    _exit(EXIT_OK);
}

static void run_die_after_attach(struct hostile *hostile)
{
    if (!hostile_map_window(hostile)) {
        return;
    }
    struct shm_buffer *buffer = shm_pool_take(&hostile->pool);
    if (buffer != NULL) {
        wl_callback_destroy(wl_surface_frame(hostile->window.surface));
        wl_surface_attach(hostile->window.surface, buffer->wl_buffer, 0, 0);
        wl_surface_damage_buffer(hostile->window.surface, 0, 0, 200, 150);
        wl_surface_commit(hostile->window.surface);
    }
    hostile_push(hostile, false);
    raise(SIGKILL);
}

const struct hostile_scenario hostile_protocol_scenarios[] = {
    {"bad-object", HOSTILE_KILLED, 0, 0, "a request on an object that does not exist", run_bad_object},
    {"bad-opcode", HOSTILE_KILLED, 0, 0, "a request number that wl_display does not have", run_bad_opcode},
    {"bad-header", HOSTILE_KILLED, 0, 0, "a message that claims to be shorter than its header",
     run_bad_header},
    {"oversized-message", HOSTILE_KILLED, 0, 0, "a message of 65532 bytes", run_oversized_message},
    {"reused-id", HOSTILE_KILLED, 0, 0, "a new object with wl_display's id", run_reused_id},
    {"bad-scale", HOSTILE_KILLED, 0, 0, "buffer scale -1", run_bad_scale},
    {"bad-transform", HOSTILE_KILLED, 0, 0, "buffer transform 99", run_bad_transform},
    {"zero-viewport", HOSTILE_KILLED, HOSTILE_NEEDS_VIEWPORTER, 0, "viewport destination 0x0",
     run_zero_viewport},
    {"huge-viewport", HOSTILE_SURVIVES, HOSTILE_NEEDS_VIEWPORTER, 0, "viewport destination 30000x30000",
     run_huge_viewport},
    {"odd-damage", HOSTILE_SURVIVES, 0, 0, "damage rectangles that overflow or are negative", run_odd_damage},
    {"subsurface-cycle", HOSTILE_KILLED, HOSTILE_NEEDS_SUBSURFACES, 0,
     "two surfaces, each the other's parent", run_subsurface_cycle},
    {"die-mid-message", HOSTILE_DIES, 0, 0, "maps a window, sends 6 bytes of a message, exits with 0",
     run_die_mid_message},
    {"die-after-attach", HOSTILE_DIES, 0, 0, "commits a buffer with a frame callback, then SIGKILLs itself",
     run_die_after_attach},
    {0},
};
