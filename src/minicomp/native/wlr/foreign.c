/* wlr-foreign-toplevel-management: what taskbars see of our windows, and what they ask for.
 *
 * A handle exists while its window is mapped. Everything is compared with what was told before, so syncing
 * often is cheap. */
#include <stdlib.h>
#include <wlr/types/wlr_foreign_toplevel_management_v1.h>
#include <wlr/types/wlr_output_layout.h>

#include "protocols_verbs.h"
#include "shell.h"

struct mc_foreign {
    struct mc_window *window;
    struct wlr_foreign_toplevel_handle_v1 *handle; /* owned */
    struct wl_listener request_maximize, request_minimize, request_fullscreen, request_activate,
        request_close;
};

static void push(struct mc_foreign *foreign, enum mc_event_kind kind, int64_t a, int64_t b)
{
    mc_push(foreign->window->server, kind, foreign->window->tag.handle, a, b);
}

static void handle_request_maximize(struct wl_listener *listener, void *data)
{
    struct mc_foreign *foreign = wl_container_of(listener, foreign, request_maximize);
    struct wlr_foreign_toplevel_handle_v1_maximized_event *event = data;
    push(foreign, MC_EVENT_WINDOW_REQUEST_MAXIMIZE, event->maximized, 0);
}

static void handle_request_minimize(struct wl_listener *listener, void *data)
{
    struct mc_foreign *foreign = wl_container_of(listener, foreign, request_minimize);
    struct wlr_foreign_toplevel_handle_v1_minimized_event *event = data;
    push(foreign, MC_EVENT_WINDOW_REQUEST_MINIMIZE, event->minimized, 0);
}

static void handle_request_fullscreen(struct wl_listener *listener, void *data)
{
    struct mc_foreign *foreign = wl_container_of(listener, foreign, request_fullscreen);
    struct wlr_foreign_toplevel_handle_v1_fullscreen_event *event = data;
    push(foreign, MC_EVENT_WINDOW_REQUEST_FULLSCREEN, event->fullscreen,
         (int64_t)mc_output_handle(foreign->window->server, event->output));
}

static void handle_request_activate(struct wl_listener *listener, void *data)
{
    struct mc_foreign *foreign = wl_container_of(listener, foreign, request_activate);
    push(foreign, MC_EVENT_WINDOW_REQUEST_ACTIVATE, 1, 0);
}

static void handle_request_close(struct wl_listener *listener, void *data)
{
    struct mc_foreign *foreign = wl_container_of(listener, foreign, request_close);
    push(foreign, MC_EVENT_WINDOW_REQUEST_CLOSE, 0, 0);
}

static void sync_outputs(struct mc_window *window, struct wlr_foreign_toplevel_handle_v1 *handle)
{
    struct wlr_box box, overlap;
    mc_window_get_geometry(window, &box);
    struct mc_output *output;
    wl_list_for_each (output, &window->server->outputs, link) {
        struct wlr_box *area = wlr_output_layout_get_box(window->server->output_layout, output->wlr_output);
        if (window->shown && area != NULL && wlr_box_intersection(&overlap, &box, area)) {
            wlr_foreign_toplevel_handle_v1_output_enter(handle, output->wlr_output);
        } else {
            wlr_foreign_toplevel_handle_v1_output_leave(handle, output->wlr_output);
        }
    }
}

void mc_foreign_sync(struct mc_window *window)
{
    if (window->foreign == NULL) {
        return;
    }
    struct wlr_foreign_toplevel_handle_v1 *handle = window->foreign->handle;
    uint32_t states = window->kind == MC_WINDOW_XDG ? mc_xdg_states(window) : mc_x11_states(window);
    struct mc_window *parent = mc_window_parent(window);
    wlr_foreign_toplevel_handle_v1_set_maximized(handle, (states & MC_WINDOW_MAXIMIZED) != 0);
    wlr_foreign_toplevel_handle_v1_set_fullscreen(handle, (states & MC_WINDOW_FULLSCREEN) != 0);
    wlr_foreign_toplevel_handle_v1_set_minimized(handle, window->minimized);
    wlr_foreign_toplevel_handle_v1_set_activated(handle, window->activated);
    wlr_foreign_toplevel_handle_v1_set_parent(
        handle, parent != NULL && parent->foreign != NULL ? parent->foreign->handle : NULL);
    sync_outputs(window, handle);
}

void mc_foreign_sync_text(struct mc_window *window)
{
    if (window->foreign == NULL) {
        return;
    }
    wlr_foreign_toplevel_handle_v1_set_title(window->foreign->handle, mc_window_title(window));
    wlr_foreign_toplevel_handle_v1_set_app_id(window->foreign->handle, mc_window_app_id(window));
}

void mc_foreign_create(struct mc_window *window)
{
    struct wlr_foreign_toplevel_manager_v1 *manager = window->server->shell->foreign_toplevels;
    if (manager == NULL || window->foreign != NULL) {
        return;
    }
    struct mc_foreign *foreign = calloc(1, sizeof(*foreign));
    struct wlr_foreign_toplevel_handle_v1 *handle =
        foreign != NULL ? wlr_foreign_toplevel_handle_v1_create(manager) : NULL;
    if (handle == NULL) {
        free(foreign); /* short of memory: taskbars miss a window, nothing worse */
        return;
    }
    foreign->window = window;
    foreign->handle = handle;
    window->foreign = foreign;
    mc_listen(&handle->events.request_maximize, &foreign->request_maximize, handle_request_maximize);
    mc_listen(&handle->events.request_minimize, &foreign->request_minimize, handle_request_minimize);
    mc_listen(&handle->events.request_fullscreen, &foreign->request_fullscreen, handle_request_fullscreen);
    mc_listen(&handle->events.request_activate, &foreign->request_activate, handle_request_activate);
    mc_listen(&handle->events.request_close, &foreign->request_close, handle_request_close);
    mc_foreign_sync_text(window);
    mc_foreign_sync(window);
}

void mc_foreign_destroy(struct mc_window *window)
{
    struct mc_foreign *foreign = window->foreign;
    if (foreign == NULL) {
        return;
    }
    window->foreign = NULL;
    mc_unlisten(&foreign->request_maximize);
    mc_unlisten(&foreign->request_minimize);
    mc_unlisten(&foreign->request_fullscreen);
    mc_unlisten(&foreign->request_activate);
    mc_unlisten(&foreign->request_close);
    wlr_foreign_toplevel_handle_v1_destroy(foreign->handle);
    free(foreign);
}

int mc_foreign_toplevel_attach(struct mc_server *server, struct wlr_foreign_toplevel_manager_v1 *manager)
{
    mc_verb_begin(server);
    server->shell->foreign_toplevels = manager;
    mc_verb_end(server);
    return 0;
}
