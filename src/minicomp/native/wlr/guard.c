/* Requests with which one client could bring down wlroots 0.15.1, and everybody with it. Each case names the
 * function that goes wrong; later wlroots versions have fixed most of them. */
#include "guard.h"

#include <stdlib.h>
#include <string.h>
#include <wlr/types/wlr_layer_shell_v1.h>
#include <wlr/types/wlr_xdg_shell.h>

#include "shell.h"

#define MAX_WAITING_COMMITS 8192

static bool is_class(struct wl_resource *resource, const char *name)
{
    return strcmp(wl_resource_get_class(resource), name) == 0;
}

/* xdg_toplevel.set_parent: wlr_xdg_toplevel_set_parent listens for the parent's unmap only, which never comes
 * from one that is not mapped: its memory is used after it is gone. "Setting a parent which is not mapped is
 * equivalent to setting a null parent", so that is what it becomes. */
static void guard_set_parent(union wl_argument *arguments)
{
    struct wl_resource *resource = (struct wl_resource *)arguments[0].o;
    struct wlr_xdg_surface *parent =
        resource != NULL ? wlr_xdg_surface_from_toplevel_resource(resource) : NULL;
    if (parent != NULL && !parent->mapped) {
        arguments[0].o = NULL;
    }
}

/* xdg_popup.grab twice: xdg_popup_handle_grab inserts the popup into its list twice. */
static void guard_grab(struct wl_resource *resource)
{
    struct wlr_xdg_surface *surface = wlr_xdg_surface_from_popup_resource(resource);
    if (surface != NULL && surface->popup->seat != NULL) {
        wl_list_remove(&surface->popup->grab_link);
        surface->popup->seat = NULL;
    }
}

/* zwlr_layer_surface_v1.get_popup for a popup that was dismissed, has a parent or is shown already:
 * layer_surface_handle_get_popup uses NULL, or inserts it into a second list. An inert layer surface is
 * ignored there, so it is closed first. */
static void guard_layer_popup(struct wl_resource *resource, const union wl_argument *arguments)
{
    struct wlr_layer_surface_v1 *layer = wl_resource_get_user_data(resource);
    struct wlr_xdg_surface *surface =
        wlr_xdg_surface_from_popup_resource((struct wl_resource *)arguments[0].o);
    if (layer != NULL && (surface == NULL || surface->popup->parent != NULL || surface->popup->committed)) {
        wl_resource_post_error(resource, ZWLR_LAYER_SURFACE_V1_ERROR_INVALID_SURFACE_STATE,
                               "the popup is gone, has a parent or is shown already");
        wlr_layer_surface_v1_destroy(layer);
    }
}

/* xdg_surface.ack_configure of a configure that was under way when the client unmapped its window:
 * unmap_xdg_surface forgets those, and the handler takes the ack for a wrong one. Clients do this when they
 * close while the focus moves. It is put back for the handler to find. */
static void guard_ack(struct wl_resource *resource, uint32_t serial)
{
    struct wlr_xdg_surface *surface = wlr_xdg_surface_from_resource(resource);
    if (surface == NULL || surface->role != WLR_XDG_SURFACE_ROLE_TOPLEVEL ||
        !mc_xdg_forgot(surface, serial)) {
        return;
    }
    struct wlr_xdg_surface_configure *configure;
    wl_list_for_each (configure, &surface->configure_list, link) {
        if (configure->serial == serial) {
            return;
        }
    }
    configure = calloc(1, sizeof(*configure));
    struct wlr_xdg_toplevel_configure *toplevel = calloc(1, sizeof(*toplevel));
    if (configure == NULL || toplevel == NULL) {
        free(configure);
        free(toplevel);
        wl_resource_post_no_memory(resource);
        return;
    }
    configure->surface = surface;
    configure->serial = serial;
    configure->toplevel_configure = toplevel;
    wl_list_insert(&surface->configure_list, &configure->link);
}

void mc_guard_request(const struct wl_protocol_logger_message *message)
{
    const char *name = message->message->name;
    if (strcmp(name, "set_parent") == 0 && is_class(message->resource, "xdg_toplevel")) {
        /* libwayland's own argument array, which it passes to the handler next. */
        guard_set_parent((union wl_argument *)message->arguments);
    } else if (strcmp(name, "ack_configure") == 0 && is_class(message->resource, "xdg_surface")) {
        guard_ack(message->resource, message->arguments[0].u);
    } else if (strcmp(name, "grab") == 0 && is_class(message->resource, "xdg_popup")) {
        guard_grab(message->resource);
    } else if (strcmp(name, "get_popup") == 0 && is_class(message->resource, "zwlr_layer_surface_v1")) {
        guard_layer_popup(message->resource, message->arguments);
    }
}

/* surface_handle_commit keeps every commit that waits: for the parent of a synchronized subsurface, for the
 * fence of an earlier buffer. A client that is answered nothing stops committing; one that does not fills our
 * memory. */
void mc_guard_commit(struct mc_client *client, struct wlr_surface *surface)
{
    if (client != NULL && wl_list_length(&surface->cached) > MAX_WAITING_COMMITS) {
        mc_client_kill_now(client, "too many commits that wait for a parent's commit or for a buffer");
    }
}

/* wl_surface.destroy before the role object: the requests of an xdg_toplevel, and whatever takes one as
 * argument, use its surface without looking. "The client must destroy its role object first", else it goes.
 * While a client disconnects, its objects go in any order and libwayland drops the error. */
void mc_guard_surface_destroyed(struct wlr_surface *surface)
{
    if (!wlr_surface_is_xdg_surface(surface) || surface->role_data == NULL) {
        return;
    }
    struct wlr_xdg_surface *xdg = wlr_xdg_surface_from_wlr_surface(surface);
    if (xdg->role == WLR_XDG_SURFACE_ROLE_TOPLEVEL) {
        wl_resource_post_error(xdg->client->resource, XDG_WM_BASE_ERROR_DEFUNCT_SURFACES,
                               "wl_surface@%u was destroyed before its xdg_toplevel",
                               wl_resource_get_id(surface->resource));
    }
}
