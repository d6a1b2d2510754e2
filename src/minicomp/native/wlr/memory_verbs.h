/* The compositor's own memory (pure/memory.h) as Python sees it. None of these takes the compositor lock. */
#ifndef MC_MEMORY_VERBS_H
#define MC_MEMORY_VERBS_H

struct mc_server;
struct mc_memory_settings;
struct mc_memory_region;
struct mc_memory_counts;
struct wlr_allocator;

/* Before the allocator, the trace and the threads: what is mapped already stays as it is. */
void mc_memory_configure(struct mc_server *server, const struct mc_memory_settings *settings);
/* Frame buffers for the modelled display under the pixman renderer, in place of wlroots' shm allocator; to be
 * destroyed with mc_allocator_destroy, before the server. NULL when memory is short. */
struct wlr_allocator *mc_frame_allocator_create(struct mc_server *server);
/* What is mapped now, to be looked up in /proc/PID/smaps, and what the kernel said to the advice so far.
 * Copies up to max regions; how many there are. */
uint32_t mc_memory_regions(struct mc_server *server, struct mc_memory_region *regions_ret, uint32_t max,
                           struct mc_memory_counts *counts_ret);

#endif
