/* What the window side's files share: windows.c, xdg.c, xwayland.c, popups.c, layers.c, foreign.c and
 * protocols.c. Nobody else includes it; windows.h is for the others. All of it with the compositor lock held.
 */
#ifndef MC_SHELL_H
#define MC_SHELL_H

#include <wlr/types/wlr_xdg_shell.h>
#include <wlr/util/box.h>

#include "server.h"
#include "windows.h"
#include "windows_verbs.h"

struct wlr_xwayland;
struct wlr_xwayland_surface;
struct wlr_layer_surface_v1;

/* mc_server.shell; owned. */
struct mc_shell {
    struct mc_server *server;
    struct wl_list popups;       /* mc_popup.link */
    struct wl_list decorations;  /* protocols.c */
    struct wl_list inhibitors;   /* protocols.c */
    struct wl_list x11_surfaces; /* xwayland.c: managed or not, mapped or not */
    bool client_side_decorations;
    struct wlr_server_decoration_manager *kde_decorations; /* borrowed, may be NULL, as the next three */
    struct wlr_foreign_toplevel_manager_v1 *foreign_toplevels;
    struct wlr_xdg_activation_v1 *activation;
    struct wlr_xwayland *xwayland;
    int inhibitors_active;
    struct wl_listener layout_change;
    struct wl_listener new_xdg_surface, new_layer_surface, new_decoration, request_activate, power_mode,
        outputs_apply, outputs_test, new_inhibitor, xwayland_ready, new_x11_surface;
};

/* Told to the policy and not yet read by it: a client that changes its title in a loop costs one event. */
enum mc_window_unread {
    MC_UNREAD_TITLE = 1,
    MC_UNREAD_APP_ID = 2,
    MC_UNREAD_PARENT = 4,
    MC_UNREAD_SIZE = 8,
};

/* An interactive resize: keeps the edges opposite to those that are dragged where they are, whatever size the
 * client commits, and has one configure under way at a time. */
struct mc_window_drag {
    uint32_t edges;    /* enum wlr_edges; 0: none */
    int right, bottom; /* layout coordinates that stay */
    int width, height; /* wanted */
    uint32_t serial;   /* of the last configure sent */
    bool in_flight;    /* the client has not committed it yet */
};

struct mc_window {
    struct mc_node_tag tag; /* first: tree->node.data points here */
    struct wl_list link;    /* mc_server.windows */
    struct mc_server *server;
    enum mc_window_kind kind;
    struct wlr_xdg_surface *xdg;      /* kind xdg: lives as long as the window */
    struct wlr_xwayland_surface *x11; /* kind x11: likewise */
    /* Owned; at the geometry's corner in layout coordinates, as the stack trees are at 0, 0. Popups are in
     * it. */
    struct wlr_scene_tree *tree;
    enum mc_window_level level;
    bool mapped, shown, activated, minimized;
    uint32_t unread;   /* enum mc_window_unread bits */
    int width, height; /* geometry at the last commit */
    struct mc_window_drag drag;
    struct mc_foreign *foreign; /* owned; NULL while unmapped or without taskbars; foreign.c */

    /* xdg.c: while the initial commit waits for the policy, a timer that takes the place of wlroots'
     * scheduled configure (wlr_xdg_surface.configure_idle). */
    struct wl_event_source *held;
    bool in_grace;        /* while held: events to its client are withheld (mc_client_withhold) */
    bool unmap_commit;    /* the commit being applied is the one that unmapped it */
    bool initial_pending; /* unmapped: the next commit is an initial one */
    bool ever_unmapped;
    uint32_t forgotten_serial; /* wlroots forgot the configures up to this one when it was unmapped */
    struct wl_listener map, unmap, destroy, commit, request_maximize, request_fullscreen, request_minimize,
        request_move, request_resize, request_menu, set_title, set_app_id, set_parent;
};

/* ---- windows.c ---- */

/* A hidden window in the registry, with its handle and tree; NULL when memory is short. */
struct mc_window *mc_window_create(struct mc_server *server, enum mc_window_kind kind);
/* Unlinks and frees it; the policy is told. Its listeners must be gone. */
void mc_window_destroy(struct mc_window *window);
/* It has content, or has none any more. */
void mc_window_mapped(struct mc_window *window);
void mc_window_unmapped(struct mc_window *window);
/* Its content was committed: looks for a new size. */
void mc_window_committed(struct mc_window *window, bool tree_changed);
/* Pushes an event of which at most one may be unread. */
void mc_window_tell(struct mc_window *window, enum mc_window_unread what, enum mc_event_kind kind, int64_t a,
                    int64_t b);
const char *mc_window_title(struct mc_window *window);
const char *mc_window_app_id(struct mc_window *window);
struct mc_window *mc_window_parent(struct mc_window *window);
/* A pointer or finger of the seat is down on it: clients may ask for a move or resize only then. */
bool mc_window_is_pressed(struct mc_window *window);
uint64_t mc_output_handle(struct mc_server *server, struct wlr_output *wlr_output);

/* ---- xdg.c ---- */

void mc_xdg_handle_new_surface(struct wl_listener *listener, void *data);
void mc_xdg_configure(struct mc_window *window, int width, int height, uint32_t states);
uint32_t mc_xdg_states(struct mc_window *window);
void mc_xdg_send_drag(struct mc_window *window, bool resizing);
/* A configure that was under way when the window was unmapped, which wlroots has forgotten: the client may
 * still ack it. */
bool mc_xdg_forgot(struct wlr_xdg_surface *xdg, uint32_t serial);
/* Detaches from wlroots' object, which may outlive the window. */
void mc_xdg_detach(struct mc_window *window);

/* ---- xwayland.c ---- */

void mc_x11_configure(struct mc_window *window, int width, int height, uint32_t states);
uint32_t mc_x11_states(struct mc_window *window);
void mc_x11_moved(struct mc_window *window);
void mc_x11_finish(struct mc_shell *shell);

/* ---- popups.c ---- */

void mc_popup_create(struct mc_shell *shell, struct wlr_xdg_surface *xdg);
void mc_popups_finish(struct mc_shell *shell);

/* ---- layers.c ---- */

void mc_layer_handle_new_surface(struct wl_listener *listener, void *data);
/* Where popups of a layer surface go, and what they are constrained to. */
struct wlr_scene_node *mc_layer_node(struct wlr_layer_surface_v1 *layer_surface);
void mc_layers_finish(struct mc_server *server);

/* ---- foreign.c: taskbars ---- */

void mc_foreign_create(struct mc_window *window);
void mc_foreign_destroy(struct mc_window *window);
/* Tells taskbars what changed; cheap when nothing did. */
void mc_foreign_sync(struct mc_window *window);
void mc_foreign_sync_text(struct mc_window *window);

/* ---- protocols.c ---- */

/* A surface was mapped, unmapped, shown or hidden: inhibitors may count or not any more. */
void mc_inhibitors_count(struct mc_shell *shell);
void mc_protocols_finish(struct mc_shell *shell);

#endif
