/* Handing the shell protocols' managers, created in Python or here, to the native plane. Each attach is done
 * at most once, between mc_server_attach and mc_server_detach; the managers are borrowed. 0 or -errno. */
#ifndef MC_PROTOCOLS_VERBS_H
#define MC_PROTOCOLS_VERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mc_server;
struct wlr_xdg_shell;
struct wlr_layer_shell_v1;
struct wlr_xdg_decoration_manager_v1;
struct wlr_server_decoration_manager;
struct wlr_foreign_toplevel_manager_v1;
struct wlr_output_power_manager_v1;
struct wlr_output_manager_v1;
struct wlr_idle;
struct wlr_idle_inhibit_manager_v1;

int mc_xdg_shell_attach(struct mc_server *server, struct wlr_xdg_shell *xdg_shell);
int mc_layer_shell_attach(struct mc_server *server, struct wlr_layer_shell_v1 *layer_shell);
/* xdg-decoration and KDE's; either may be NULL. */
int mc_decoration_attach(struct mc_server *server, struct wlr_xdg_decoration_manager_v1 *xdg,
                         struct wlr_server_decoration_manager *kde);
/* Server side (the default) means no decorations at all: we draw none. Windows that exist are told too. */
int mc_decoration_set_server_side(struct mc_server *server, bool server_side);
int mc_foreign_toplevel_attach(struct mc_server *server, struct wlr_foreign_toplevel_manager_v1 *manager);
/* Creates the xdg_activation_v1 global, which pywlroots does not bind, and attaches it. */
int mc_activation_create(struct mc_server *server);
/* A token for a program that minicomp starts (XDG_ACTIVATION_TOKEN): good for one activation within 30 s.
 * -ENODEV without mc_activation_create, -ERANGE when it does not fit. */
int mc_activation_token(struct mc_server *server, char *token_ret, size_t size);
int mc_output_power_attach(struct mc_server *server, struct wlr_output_power_manager_v1 *manager);
int mc_output_management_attach(struct mc_server *server, struct wlr_output_manager_v1 *manager);
/* idle may be NULL: then inhibitors are counted and told, nothing else. */
int mc_idle_attach(struct mc_server *server, struct wlr_idle *idle,
                   struct wlr_idle_inhibit_manager_v1 *inhibit);

#endif
