/* X11 windows through Xwayland. */
#ifndef MC_XWAYLAND_VERBS_H
#define MC_XWAYLAND_VERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mc_server;
struct wlr_xwayland;

/* Borrowed; as protocols_verbs.h. Gives Xwayland the seat and a cursor. 0 or -errno. */
int mc_xwayland_attach(struct mc_server *server, struct wlr_xwayland *xwayland);
/* At the end, instead of wlr_xwayland_destroy: the loop thread must have ended, the server be attached still.
 */
void mc_xwayland_destroy(struct mc_server *server, struct wlr_xwayland *xwayland);

#endif
