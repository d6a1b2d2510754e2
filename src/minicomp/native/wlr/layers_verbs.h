/* Layer-shell surfaces (panels, backgrounds, lock screens, on-screen keyboards) as Python sees them. The
 * policy arranges them: it reads what each asks for, answers with a size, and places it. Verbs as in
 * windows_verbs.h. */
#ifndef MC_LAYERS_VERBS_H
#define MC_LAYERS_VERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mc_server;

struct mc_layer_info {
    uint64_t handle, output, client; /* output: its handle, 0 when it is just going away */
    int32_t pid;
    char name_space[128];
    uint32_t layer;         /* enum zwlr_layer_shell_v1_layer: background 0, bottom 1, top 2, overlay 3 */
    uint32_t anchor;        /* enum zwlr_layer_surface_v1_anchor bits: top 1, bottom 2, left 4, right 8 */
    int32_t exclusive_zone; /* layout units; 0: keep clear of others' zones; -1: ignore them */
    int32_t margin_top, margin_right, margin_bottom, margin_left;
    int32_t desired_width, desired_height; /* 0: as wide (high) as the anchored edges are apart */
    uint32_t keyboard_interactivity;       /* 0 none, 1 exclusive, 2 on demand */
    int32_t x, y, width, height;           /* where it is, layout coordinates */
    bool waiting;                          /* its initial commit waits for mc_layer_configure */
    bool mapped;
};

/* Also says that the policy has read the state: only then is the next change told. */
int mc_layer_get_info(struct mc_server *server, uint64_t handle, struct mc_layer_info *info_ret);
/* Fills up to max handles, oldest first: earlier surfaces get their exclusive zone first. How many there are.
 */
size_t mc_layers_list(struct mc_server *server, uint64_t *handles_ret, size_t max);
/* Sends nothing when the client has that size already and has not asked anew. */
int mc_layer_configure(struct mc_server *server, uint64_t handle, int width, int height);
int mc_layer_place_at(struct mc_server *server, uint64_t handle, int lx, int ly);
int mc_layer_close(struct mc_server *server, uint64_t handle);

#endif
