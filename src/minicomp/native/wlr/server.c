/* The server's life: what is created first is destroyed last, and every step may be the last one reached. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <wlr/backend.h>
#include <wlr/render/allocator.h>
#include <wlr/render/gles2.h>
#include <wlr/render/pixman.h>
#include <wlr/interfaces/wlr_output.h>
#include <wlr/types/wlr_presentation_time.h>

#include "idle.h"
#include "input.h"
#include "server.h"
#include "windows.h"

#define DEFAULT_BACKGROUND 0.05f
#define DEFAULT_MISS_RATE 0.001

struct mc_server *mc_server_create(bool lock_inherit)
{
    struct mc_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        return NULL;
    }
    server->terminate_fd = server->render_timer.fd = -1;
    int timer_error = mc_deadline_timer_open(&server->loop_timer, TFD_NONBLOCK);
    int alarm_error = mc_deadline_timer_open(&server->policy_alarm, TFD_NONBLOCK);
    server->pacing.target_miss_rate = DEFAULT_MISS_RATE;
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    wl_list_init(&server->outputs);
    wl_list_init(&server->clients);
    wl_list_init(&server->to_flush);
    wl_list_init(&server->ration.muted);
    wl_list_init(&server->surfaces);
    wl_list_init(&server->windows);
    wl_list_init(&server->layers);
    wl_list_init(&server->timers);
    mc_memory_init(&server->memory);
    mc_trace_init(&server->trace);
    server->trace.memory = &server->memory;
    server->background[0] = server->background[1] = server->background[2] = DEFAULT_BACKGROUND;
    server->background[3] = 1.0f;
    server->queue.fd = -1;
    if (!mc_lock_init(&server->gate, lock_inherit)) {
        free(server);
        return NULL;
    }
    if (!mc_lock_init(&server->lock, lock_inherit)) {
        mc_lock_finish(&server->gate);
        free(server);
        return NULL;
    }
    if (server->wake_fd < 0 || server->ended_fd < 0 || timer_error != 0 || alarm_error != 0 ||
        mc_queue_init(&server->queue) != 0 || mc_clients_init(server) != 0) {
        mc_server_destroy(server);
        return NULL;
    }
    return server;
}

void mc_server_set_parts(struct mc_server *server, const struct mc_parts *parts)
{
    server->display = parts->display;
    server->backend = parts->backend;
    server->renderer = parts->renderer;
    server->allocator = parts->allocator;
    server->compositor = parts->compositor;
    server->scene = parts->scene;
    server->output_layout = parts->output_layout;
    server->wlr_seat = parts->wlr_seat;
    server->cursor = parts->cursor;
    server->step = parts->step;
    server->step_now_ns = parts->step_start_ns;
}

int mc_presentation_create(struct mc_server *server)
{
    server->presentation = wlr_presentation_create(server->display, server->backend);
    if (server->presentation == NULL) {
        return -ENOMEM;
    }
    wlr_scene_set_presentation(server->scene, server->presentation);
    return 0;
}

static void handle_backend_destroy(struct wl_listener *listener, void *data)
{
    (void)data;
    struct mc_server *server = wl_container_of(listener, server, backend_destroy);
    mc_unlisten(&server->backend_destroy);
    server->backend = NULL;
}

int mc_server_attach(struct mc_server *server)
{
    if (wlr_renderer_is_gles2(server->renderer)) {
        server->egl = wlr_gles2_renderer_get_egl(server->renderer);
    }
    for (int i = 0; i < MC_STACK_COUNT; i++) {
        server->stack[i] = wlr_scene_tree_create(&server->scene->node);
        if (server->stack[i] == NULL) {
            return -ENOMEM;
        }
    }
    int error = mc_surfaces_attach(server);
    if (error != 0) {
        return error;
    }
    mc_clients_attach(server);
    mc_outputs_attach(server);
    mc_listen(&server->backend->events.destroy, &server->backend_destroy, handle_backend_destroy);
    mc_device_watch(server);
    error = mc_windows_init(server);
    if (error == 0) {
        error = mc_seat_init(server);
    }
    return error;
}

void mc_server_detach(struct mc_server *server)
{
    mc_unlisten(&server->backend_destroy);
    mc_device_unwatch(server);
    mc_idle_finish(server);
    if (server->client_rules != NULL && server->display != NULL) {
        mc_clients_detach(server);
    }
    mc_windows_finish(server);
    mc_seat_finish(server);
    mc_outputs_detach(server);
    mc_surfaces_detach(server);
}

void mc_scene_destroy(struct mc_server *server)
{
    if (server->scene != NULL) {
        wlr_scene_node_destroy(&server->scene->node);
        server->scene = NULL;
    }
}

void mc_server_destroy(struct mc_server *server)
{
    if (server == NULL) {
        return;
    }
    mc_trace_stop(&server->trace);
    mc_clients_finish(server);
    mc_handles_finish(&server->handles);
    mc_queue_finish(&server->queue);
    mc_lock_finish(&server->lock);
    mc_lock_finish(&server->gate);
    mc_wait_close(&server->wait); /* open still when the loop thread did not start */
    int fds[] = {server->wake_fd,         server->ended_fd,      server->terminate_fd,
                 server->render_timer.fd, server->loop_timer.fd, server->policy_alarm.fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    mc_cursor_plane_finish(server);
    free(server->draw_items);
    mc_memory_finish(&server->memory);
    free(server);
}

struct wlr_renderer *mc_pixman_renderer_create(void)
{
    return wlr_pixman_renderer_create();
}

void mc_allocator_destroy(struct wlr_allocator *allocator)
{
    wlr_allocator_destroy(allocator);
}

struct wlr_compositor *mc_server_compositor(struct mc_server *server)
{
    return server->compositor;
}

int mc_loop_ended_fd(struct mc_server *server)
{
    return server->ended_fd;
}

uint64_t mc_server_changes(struct mc_server *server)
{
    return atomic_load_explicit(&server->changes, memory_order_relaxed);
}

int mc_queue_fd(struct mc_server *server)
{
    return server->queue.fd;
}

size_t mc_server_pop(struct mc_server *server, struct mc_event *events_ret, size_t max, bool *overflow_ret)
{
    return mc_queue_pop(&server->queue, events_ret, max, overflow_ret);
}

uint64_t mc_server_policy_lag_ns(struct mc_server *server)
{
    return mc_queue_oldest_ns(&server->queue);
}

void mc_server_set_background(struct mc_server *server, float red, float green, float blue)
{
    mc_verb_begin(server);
    server->background[0] = red;
    server->background[1] = green;
    server->background[2] = blue;
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        wlr_output_damage_whole(output->wlr_output);
    }
    mc_verb_end(server);
}

int mc_server_trace_start(struct mc_server *server, int fd, uint32_t ring_records)
{
    return mc_trace_start(&server->trace, fd, ring_records);
}

void mc_server_trace_stop(struct mc_server *server)
{
    mc_trace_stop(&server->trace);
}

void mc_server_counters(struct mc_server *server, struct mc_counters *counters_ret)
{
    mc_verb_begin(server);
    *counters_ret = (struct mc_counters){
        .records_written = atomic_load(&server->trace.written),
        .records_dropped = mc_trace_dropped(&server->trace),
        .trace_error = atomic_load(&server->trace.write_error),
        .clients = (uint32_t)wl_list_length(&server->clients),
        .surfaces = (uint32_t)wl_list_length(&server->surfaces),
        .outputs = (uint32_t)wl_list_length(&server->outputs),
    };
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        counters_ret->frames += output->frames;
        counters_ret->failed_commits += output->failed_commits;
        counters_ret->callback_only += output->callback_only;
    }
    memcpy(counters_ret->lock_longest_hold_ns, server->lock.longest_hold_ns,
           sizeof(server->lock.longest_hold_ns));
    memcpy(counters_ret->lock_longest_wait_ns, server->lock.longest_wait_ns,
           sizeof(server->lock.longest_wait_ns));
    memcpy(counters_ret->lock_contended, server->lock.contended, sizeof(server->lock.contended));
    memcpy(counters_ret->lock_acquired, server->lock.acquired, sizeof(server->lock.acquired));
    mc_look_end(server);
}
