/* The small protocols around windows: decorations, activation, idle inhibition, output power and output
 * management. Each turns requests into events for the policy, or follows a flag that the policy set. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wlr/types/wlr_idle.h>
#include <wlr/types/wlr_idle_inhibit_v1.h>
#include <wlr/types/wlr_layer_shell_v1.h>
#include <wlr/types/wlr_output_management_v1.h>
#include <wlr/types/wlr_output_power_management_v1.h>
#include <wlr/types/wlr_server_decoration.h>
#include <wlr/types/wlr_xdg_activation_v1.h>
#include <wlr/types/wlr_xdg_decoration_v1.h>

#include "idle.h"
#include "protocols_verbs.h"
#include "shell.h"

/* ---- decorations ---- */

struct decoration {
    struct wl_list link; /* mc_shell.decorations */
    struct mc_shell *shell;
    struct wlr_xdg_toplevel_decoration_v1 *decoration;
    struct wl_listener request_mode, destroy;
};

static void decoration_apply(struct decoration *decoration)
{
    bool client_side = decoration->shell->client_side_decorations;
    wlr_xdg_toplevel_decoration_v1_set_mode(decoration->decoration,
                                            client_side ? WLR_XDG_TOPLEVEL_DECORATION_V1_MODE_CLIENT_SIDE
                                                        : WLR_XDG_TOPLEVEL_DECORATION_V1_MODE_SERVER_SIDE);
}

static void decoration_destroy(struct decoration *decoration)
{
    mc_unlisten(&decoration->request_mode);
    mc_unlisten(&decoration->destroy);
    wl_list_remove(&decoration->link);
    free(decoration);
}

static void handle_request_mode(struct wl_listener *listener, void *data)
{
    struct decoration *decoration = wl_container_of(listener, decoration, request_mode);
    decoration_apply(decoration);
}

static void handle_decoration_destroy(struct wl_listener *listener, void *data)
{
    struct decoration *decoration = wl_container_of(listener, decoration, destroy);
    decoration_destroy(decoration);
}

static void handle_new_decoration(struct wl_listener *listener, void *data)
{
    struct mc_shell *shell = wl_container_of(listener, shell, new_decoration);
    struct wlr_xdg_toplevel_decoration_v1 *xdg = data;
    struct decoration *decoration = calloc(1, sizeof(*decoration));
    if (decoration == NULL) {
        wl_resource_post_no_memory(xdg->resource);
        return;
    }
    decoration->shell = shell;
    decoration->decoration = xdg;
    wl_list_insert(&shell->decorations, &decoration->link);
    mc_listen(&xdg->events.request_mode, &decoration->request_mode, handle_request_mode);
    mc_listen(&xdg->events.destroy, &decoration->destroy, handle_decoration_destroy);
    decoration_apply(decoration);
}

static void apply_kde_mode(struct mc_shell *shell)
{
    if (shell->kde_decorations != NULL) {
        wlr_server_decoration_manager_set_default_mode(shell->kde_decorations,
                                                       shell->client_side_decorations
                                                           ? WLR_SERVER_DECORATION_MANAGER_MODE_CLIENT
                                                           : WLR_SERVER_DECORATION_MANAGER_MODE_SERVER);
    }
}

int mc_decoration_attach(struct mc_server *server, struct wlr_xdg_decoration_manager_v1 *xdg,
                         struct wlr_server_decoration_manager *kde)
{
    mc_verb_begin(server);
    struct mc_shell *shell = server->shell;
    if (xdg != NULL) {
        mc_listen(&xdg->events.new_toplevel_decoration, &shell->new_decoration, handle_new_decoration);
    }
    shell->kde_decorations = kde;
    apply_kde_mode(shell);
    mc_verb_end(server);
    return 0;
}

int mc_decoration_set_server_side(struct mc_server *server, bool server_side)
{
    mc_verb_begin(server);
    struct mc_shell *shell = server->shell;
    if (shell->client_side_decorations == server_side) {
        shell->client_side_decorations = !server_side;
        apply_kde_mode(shell);
        struct decoration *decoration;
        wl_list_for_each (decoration, &shell->decorations, link) {
            decoration_apply(decoration);
        }
    }
    mc_verb_end(server);
    return 0;
}

/* ---- activation ---- */

static void handle_request_activate(struct wl_listener *listener, void *data)
{
    struct mc_shell *shell = wl_container_of(listener, shell, request_activate);
    struct wlr_xdg_activation_v1_request_activate_event *event = data;
    /* wlroots has checked the token's serial and focus if it names a seat. One that names none proves
     * nothing, except when it is ours. */
    bool ours = event->token->data == shell;
    struct mc_node_tag *tag = mc_surface_tag(event->surface);
    if ((event->token->seat != NULL || ours) && tag != NULL && tag->kind == MC_HANDLE_WINDOW) {
        mc_push(shell->server, MC_EVENT_WINDOW_REQUEST_ACTIVATE, tag->handle, 2, 0);
    }
}

int mc_activation_create(struct mc_server *server)
{
    mc_verb_begin(server);
    struct mc_shell *shell = server->shell;
    struct wlr_xdg_activation_v1 *activation = wlr_xdg_activation_v1_create(server->display);
    if (activation != NULL) {
        shell->activation = activation;
        mc_listen(&activation->events.request_activate, &shell->request_activate, handle_request_activate);
    }
    mc_verb_end(server);
    return activation != NULL ? 0 : -ENOMEM;
}

int mc_activation_token(struct mc_server *server, char *token_ret, size_t size)
{
    mc_verb_begin(server);
    struct mc_shell *shell = server->shell;
    int result = -ENODEV;
    if (shell->activation != NULL) {
        struct wlr_xdg_activation_token_v1 *token = wlr_xdg_activation_token_v1_create(shell->activation);
        if (token == NULL) {
            result = -ENOMEM;
        } else {
            token->data = shell;
            int length = snprintf(token_ret, size, "%s", wlr_xdg_activation_token_v1_get_name(token));
            result = (size_t)length < size ? 0 : -ERANGE;
        }
    }
    mc_verb_end(server);
    return result;
}

/* ---- idle ---- */

struct inhibitor {
    struct wl_list link; /* mc_shell.inhibitors */
    struct mc_shell *shell;
    struct wlr_idle_inhibitor_v1 *inhibitor;
    struct wl_listener destroy;
};

/* "The inhibitor is in effect while the surface is visible." */
static bool is_visible(struct mc_server *server, struct wlr_surface *surface)
{
    struct mc_node_tag *tag = mc_surface_tag(surface);
    if (tag == NULL || !wlr_surface_has_buffer(surface)) {
        return false;
    }
    struct mc_window *window = mc_window_from_handle(server, tag->handle);
    if (window != NULL) {
        return window->mapped && window->shown;
    }
    struct wlr_surface *main = mc_layer_surface(mc_layer_from_handle(server, tag->handle));
    return wlr_layer_surface_v1_from_wlr_surface(main)->mapped;
}

void mc_inhibitors_count(struct mc_shell *shell)
{
    int active = 0;
    struct inhibitor *inhibitor;
    wl_list_for_each (inhibitor, &shell->inhibitors, link) {
        active += is_visible(shell->server, inhibitor->inhibitor->surface);
    }
    if (active == shell->inhibitors_active) {
        return;
    }
    shell->inhibitors_active = active;
    mc_idle_inhibit(shell->server, active > 0);
    if (shell->server->idle != NULL) {
        wlr_idle_set_enabled(shell->server->idle, NULL, active == 0);
    }
    mc_push(shell->server, MC_EVENT_INHIBITORS, 0, active, 0);
}

static void inhibitor_destroy(struct inhibitor *inhibitor)
{
    mc_unlisten(&inhibitor->destroy);
    wl_list_remove(&inhibitor->link);
    free(inhibitor);
}

static void handle_inhibitor_destroy(struct wl_listener *listener, void *data)
{
    struct inhibitor *inhibitor = wl_container_of(listener, inhibitor, destroy);
    struct mc_shell *shell = inhibitor->shell;
    inhibitor_destroy(inhibitor);
    mc_inhibitors_count(shell);
}

static void handle_new_inhibitor(struct wl_listener *listener, void *data)
{
    struct mc_shell *shell = wl_container_of(listener, shell, new_inhibitor);
    struct wlr_idle_inhibitor_v1 *wlr_inhibitor = data;
    struct inhibitor *inhibitor = calloc(1, sizeof(*inhibitor));
    if (inhibitor == NULL) {
        wl_resource_post_no_memory(wlr_inhibitor->resource);
        return;
    }
    inhibitor->shell = shell;
    inhibitor->inhibitor = wlr_inhibitor;
    wl_list_insert(&shell->inhibitors, &inhibitor->link);
    mc_listen(&wlr_inhibitor->events.destroy, &inhibitor->destroy, handle_inhibitor_destroy);
    mc_inhibitors_count(shell);
}

int mc_idle_attach(struct mc_server *server, struct wlr_idle *idle,
                   struct wlr_idle_inhibit_manager_v1 *inhibit)
{
    mc_verb_begin(server);
    server->idle = idle;
    mc_listen(&inhibit->events.new_inhibitor, &server->shell->new_inhibitor, handle_new_inhibitor);
    mc_verb_end(server);
    return 0;
}

/* ---- outputs ---- */

static void handle_power_mode(struct wl_listener *listener, void *data)
{
    struct mc_shell *shell = wl_container_of(listener, shell, power_mode);
    struct wlr_output_power_v1_set_mode_event *event = data;
    mc_push(shell->server, MC_EVENT_OUTPUT_POWER, mc_output_handle(shell->server, event->output),
            event->mode == ZWLR_OUTPUT_POWER_V1_MODE_ON, 0);
}

int mc_output_power_attach(struct mc_server *server, struct wlr_output_power_manager_v1 *manager)
{
    mc_verb_begin(server);
    mc_listen(&manager->events.set_mode, &server->shell->power_mode, handle_power_mode);
    mc_verb_end(server);
    return 0;
}

/* The policy owns the configuration from here, unless the queue is full. */
static void hand_over(struct mc_shell *shell, struct wlr_output_configuration_v1 *config, bool test)
{
    if (!mc_queue_push(&shell->server->queue, MC_EVENT_OUTPUT_CONFIG, 0, (int64_t)(uintptr_t)config, test)) {
        wlr_output_configuration_v1_send_failed(config);
        wlr_output_configuration_v1_destroy(config);
    }
}

static void handle_outputs_apply(struct wl_listener *listener, void *data)
{
    struct mc_shell *shell = wl_container_of(listener, shell, outputs_apply);
    hand_over(shell, data, false);
}

static void handle_outputs_test(struct wl_listener *listener, void *data)
{
    struct mc_shell *shell = wl_container_of(listener, shell, outputs_test);
    hand_over(shell, data, true);
}

int mc_output_management_attach(struct mc_server *server, struct wlr_output_manager_v1 *manager)
{
    mc_verb_begin(server);
    mc_listen(&manager->events.apply, &server->shell->outputs_apply, handle_outputs_apply);
    mc_listen(&manager->events.test, &server->shell->outputs_test, handle_outputs_test);
    mc_verb_end(server);
    return 0;
}

/* ---- the shells themselves ---- */

int mc_xdg_shell_attach(struct mc_server *server, struct wlr_xdg_shell *xdg_shell)
{
    mc_verb_begin(server);
    mc_listen(&xdg_shell->events.new_surface, &server->shell->new_xdg_surface, mc_xdg_handle_new_surface);
    mc_verb_end(server);
    return 0;
}

int mc_layer_shell_attach(struct mc_server *server, struct wlr_layer_shell_v1 *layer_shell)
{
    mc_verb_begin(server);
    mc_listen(&layer_shell->events.new_surface, &server->shell->new_layer_surface,
              mc_layer_handle_new_surface);
    mc_verb_end(server);
    return 0;
}

void mc_protocols_finish(struct mc_shell *shell)
{
    mc_unlisten(&shell->new_decoration);
    mc_unlisten(&shell->request_activate);
    mc_unlisten(&shell->power_mode);
    mc_unlisten(&shell->outputs_apply);
    mc_unlisten(&shell->outputs_test);
    mc_unlisten(&shell->new_inhibitor);
    struct decoration *decoration, *next_decoration;
    wl_list_for_each_safe (decoration, next_decoration, &shell->decorations, link) {
        decoration_destroy(decoration);
    }
    struct inhibitor *inhibitor, *next_inhibitor;
    wl_list_for_each_safe (inhibitor, next_inhibitor, &shell->inhibitors, link) {
        inhibitor_destroy(inhibitor);
    }
    shell->server->idle = NULL;
}
