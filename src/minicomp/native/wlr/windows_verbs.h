/* Windows as Python sees them: xdg toplevels and X11 windows behind the same verbs.
 *
 * Every verb takes the lock itself and returns 0 or -errno: -ENOENT is "that window is gone", -EAGAIN "it is
 * not mapped now" (the policy will hear, or has heard already, of the unmap), -EINVAL a mistake of the
 * caller. */
#ifndef MC_WINDOWS_VERBS_H
#define MC_WINDOWS_VERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mc_server;

enum mc_window_kind {
    MC_WINDOW_XDG = 0,
    MC_WINDOW_X11 = 1,
};

/* What mc_window_configure tells the client. "Activated" is not among them, it follows the keyboard focus
 * (mc_seat_focus_window); nor is "resizing", it follows the grab. */
enum mc_window_state {
    MC_WINDOW_MAXIMIZED = 1,
    MC_WINDOW_FULLSCREEN = 2,
    MC_WINDOW_TILED_TOP = 16, /* enum wlr_edges << 4 */
    MC_WINDOW_TILED_BOTTOM = 32,
    MC_WINDOW_TILED_LEFT = 64,
    MC_WINDOW_TILED_RIGHT = 128,
};

/* Between which layer-shell layers a window is. */
enum mc_window_level {
    MC_WINDOW_LEVEL_NORMAL = 0,     /* under panels */
    MC_WINDOW_LEVEL_FULLSCREEN = 1, /* over panels, under lock screens and on-screen keyboards */
};

struct mc_window_info {
    uint64_t handle, parent, client; /* parent: 0 when none */
    int32_t kind;                    /* enum mc_window_kind */
    int32_t pid;                     /* 0 when unknown */
    char title[256], app_id[128];    /* UTF-8, possibly cut in the middle of a character */
    int32_t x, y, width, height;     /* geometry (without shadows) in layout coordinates */
    int32_t min_width, min_height, max_width, max_height; /* 0: no limit */
    int32_t level;                                        /* enum mc_window_level */
    uint32_t states;                                      /* enum mc_window_state bits, as last configured */
    bool waiting; /* its initial commit waits for mc_window_configure */
    bool mapped, shown, activated, minimized;
};

/* Also says that the policy has read title, app-id, parent and size: only then is the next change told. */
int mc_window_get_info(struct mc_server *server, uint64_t handle, struct mc_window_info *info_ret);
/* Fills up to max handles, newest window first; how many there are. */
size_t mc_windows_list(struct mc_server *server, uint64_t *handles_ret, size_t max);

/* Size in layout units, 0 for the client's own choice; states: enum mc_window_state bits. An initial commit
 * is answered, a later call that says nothing new sends nothing. */
int mc_window_configure(struct mc_server *server, uint64_t handle, int width, int height, uint32_t states);
/* A mapped window is hidden until it is shown, and again after each unmap. */
int mc_window_show(struct mc_server *server, uint64_t handle);
int mc_window_hide(struct mc_server *server, uint64_t handle);
/* The geometry's top-left corner, layout coordinates. */
int mc_window_place_at(struct mc_server *server, uint64_t handle, int lx, int ly);
int mc_window_raise(struct mc_server *server, uint64_t handle);
int mc_window_lower(struct mc_server *server, uint64_t handle);
/* Just above another window of the same level; -EINVAL when the levels differ. */
int mc_window_raise_above(struct mc_server *server, uint64_t handle, uint64_t sibling);
int mc_window_set_level(struct mc_server *server, uint64_t handle, int level);
/* What taskbars and X11 see; hiding it is the caller's next verb. */
int mc_window_set_minimized(struct mc_server *server, uint64_t handle, bool minimized);
/* Asks it to close. */
int mc_window_close(struct mc_server *server, uint64_t handle);
/* Disconnects its client: all its windows go. -ENOTSUP for X11 windows: that client would be Xwayland. */
int mc_window_kill_client(struct mc_server *server, uint64_t handle);

#endif
