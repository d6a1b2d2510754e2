/* The server's life and its verbs, as Python sees them. Verbs take the lock themselves and return 0 or
 * -errno; -ENOENT is "that object is gone". */
#ifndef MC_SERVER_VERBS_H
#define MC_SERVER_VERBS_H

struct mc_server;
struct mc_event;
struct wlr_allocator;
struct wlr_renderer;
struct wlr_output_manager_v1;

/* A server with its lock, queue and lists; nothing of wlroots yet. NULL when memory is short. lock_inherit:
 * the lock inherits priorities (PTHREAD_PRIO_INHERIT). */
struct mc_server *mc_server_create(bool lock_inherit);
/* After mc_server_set_parts: scene trees, listeners, protocol logger. 0 or -errno. */
int mc_server_attach(struct mc_server *server);
/* Detaches every listener and frees outputs, windows and seat. The loop thread must have ended; call before
 * the wlroots objects are destroyed. Safe to call twice. */
void mc_server_detach(struct mc_server *server);
void mc_server_destroy(struct mc_server *server);
/* The scene graph, after mc_server_detach and after the output layout. */
void mc_scene_destroy(struct mc_server *server);

/* Starts the loop thread. terminate_fd: a duplicate of libwayland's termination eventfd, now owned, or -1.
 * wait_kind: enum mc_wait_kind, in the order of loop.wait. -EPERM or -ENOSYS where io_uring is refused. */
int mc_loop_start(struct mc_server *server, int terminate_fd, int wait_kind, uint32_t sq_idle_ms);
/* Asks the loop thread to end and joins it. */
void mc_loop_stop(struct mc_server *server);
/* Lets the loop thread dispatch idle sources and flush clients; any thread, lock held or not. */
void mc_loop_kick(struct mc_server *server);
/* A render thread; before the backend starts. Without it the loop thread renders. Not with the step clock. */
int mc_render_start(struct mc_server *server);
void mc_render_stop(struct mc_server *server);
/* When frames begin: mode as enum mc_pacing_mode (0 asap, 1 fixed, 2 adaptive). For outputs that live and
 * that come. */
int mc_server_set_pacing(struct mc_server *server, int mode, uint64_t fixed_ns, double target_miss_rate);
/* Whether the loop thread, too, sends callbacks and composes when they are due, or earlier when all clients
 * have answered (real clock). The render thread then wakes up for what is not done a moment later. At first
 * the loop thread does not. */
void mc_server_set_early(struct mc_server *server, bool early);
/* Readable once the loop thread has returned, asked to or not. */
int mc_loop_ended_fd(struct mc_server *server);
/* Every verb begins and ends with these; they also trace waits. The end kicks the loop thread. */
void mc_verb_begin(struct mc_server *server);
void mc_verb_end(struct mc_server *server);
/* In place of mc_verb_end where nothing was changed: the loop thread need not wake up. */
void mc_look_end(struct mc_server *server);

/* What Python created, handed over before mc_server_attach. */
struct mc_parts {
    struct wl_display *display;
    struct wlr_backend *backend;
    struct wlr_renderer *renderer;
    struct wlr_allocator *allocator;
    struct wlr_compositor *compositor;
    struct wlr_scene *scene;
    struct wlr_output_layout *output_layout;
    struct wlr_seat *wlr_seat;
    struct wlr_cursor *cursor;
    bool step;
    uint64_t step_start_ns;
};
void mc_server_set_parts(struct mc_server *server, const struct mc_parts *parts);
/* wp_presentation and the scene's feedback; before the backend starts. 0 or -ENOMEM. */
int mc_presentation_create(struct mc_server *server);

/* What pywlroots does not bind: the pixman renderer without a search for GPUs first (which logs errors where
 * there is none), the allocator's end, a way back to the compositor that was handed over. */
struct wlr_renderer *mc_pixman_renderer_create(void);
void mc_allocator_destroy(struct wlr_allocator *allocator);
struct wlr_compositor *mc_server_compositor(struct mc_server *server);

/* Grows whenever an output, client or surface comes or goes, or an output changes. */
uint64_t mc_server_changes(struct mc_server *server);
int mc_queue_fd(struct mc_server *server);
size_t mc_server_pop(struct mc_server *server, struct mc_event *events_ret, size_t max, bool *overflow_ret);
/* How long the oldest event has been waiting for the policy, in ns. */
uint64_t mc_server_policy_lag_ns(struct mc_server *server);
/* The colour shown where nothing is. */
void mc_server_set_background(struct mc_server *server, float red, float green, float blue);

int mc_server_trace_start(struct mc_server *server, int fd, uint32_t ring_records);
void mc_server_trace_stop(struct mc_server *server);
/* Now on the compositor's clock: real, or modelled with the step clock. */
uint64_t mc_server_now_ns(struct mc_server *server);
/* Moves the step clock forward to until_ns, firing timers in order. -EINVAL without the step clock. */
int mc_clock_advance(struct mc_server *server, uint64_t until_ns);
/* When the step clock's next timer is due (a vblank, a frame's planned start, a frame callback, ...); 0:
 * none. */
uint64_t mc_clock_next_ns(struct mc_server *server);

struct mc_counters {
    uint64_t frames, failed_commits, callback_only; /* all outputs that live */
    uint64_t records_written, records_dropped;
    int32_t trace_error; /* errno that ended the trace, or 0 */
    uint32_t clients, surfaces, outputs;
    uint64_t lock_longest_hold_ns[3], lock_longest_wait_ns[3], lock_contended[3], lock_acquired[3];
};
void mc_server_counters(struct mc_server *server, struct mc_counters *counters_ret);

/* ---- clients and what they may see ---- */

/* The privileged globals: interface names; bit n of a client's grants is for names[n]. At most 32. */
int mc_clients_set_privileged(struct mc_server *server, const char *const *names, size_t count);
/* A rule for clients that connect by a socket: the first one that fits decides; none: no grants. uid -1 and
 * exe or socket NULL fit everything. Rules are copied. */
int mc_clients_add_rule(struct mc_server *server, int64_t uid, const char *exe, const char *socket,
                        uint32_t grants);
void mc_clients_clear_rules(struct mc_server *server);
/* What the app, and what it starts, may see in addition to what the rules give. Between mc_verb_begin and
 * mc_verb_end, as the app is started: its first connection must not be judged before. The caller does not
 * reap pid while clients can connect. */
void mc_clients_set_app(struct mc_server *server, int32_t pid, uint32_t grants);
/* A client on one end of a socket pair: its identity is certain. The fd is owned by the client from now on,
 * also when this fails. Its handle, or 0. */
uint64_t mc_client_create(struct mc_server *server, int fd, uint32_t grants);
int mc_client_kill(struct mc_server *server, uint64_t handle);

struct mc_client_info {
    uint64_t handle;
    uint32_t id, grants, surfaces;
    int32_t pid;
    uint32_t uid;
    uint32_t times_muted; /* it had used up its ration */
};
/* Fills up to max; how many there are. */
size_t mc_clients_list(struct mc_server *server, struct mc_client_info *infos_ret, size_t max);
/* Of clients that connect from now on. unread_bytes: events sent but not read, past which it is disconnected.
 * time_share: of the loop thread's time, for the requests of one client; 1: no ration. */
void mc_clients_set_limits(struct mc_server *server, uint32_t fds_per_client, uint32_t surfaces_per_client,
                           uint32_t unread_bytes, double time_share);

struct mc_surface_info {
    uint32_t id, client_id;
    int32_t client_pid;
    char role[32];
};
size_t mc_surfaces_list(struct mc_server *server, struct mc_surface_info *infos_ret, size_t max);

/* ---- outputs ---- */

struct mc_output_config {
    bool enabled;
    bool keep_place;       /* while it is not enabled: clients see it as before, and it lies where it lay */
    int32_t width, height; /* 0, 0: preferred mode */
    int32_t refresh_mhz;   /* 0: the mode's own or, of several, the highest */
    bool highest_refresh;  /* of the modes of that size */
    float scale;
    int32_t transform; /* enum wl_output_transform */
    bool automatic_position;
    int32_t x, y; /* layout coordinates */
    bool adaptive_sync;
};
/* -EINVAL: the display refused it; -EBUSY: a flip is under way, ask again in a moment. Nothing changed. */
int mc_output_configure(struct mc_server *server, uint64_t handle, const struct mc_output_config *config);

struct mc_output_mode {
    int32_t width, height, refresh_mhz;
    bool preferred;
};
/* The monitor's modes, as it lists them. Fills up to max; how many there are. */
size_t mc_output_modes(struct mc_server *server, uint64_t handle, struct mc_output_mode *modes_ret,
                       size_t max);

/* Whether mc_output_configure would succeed (-EBUSY as there); changes nothing. */
int mc_output_test(struct mc_server *server, uint64_t handle, const struct mc_output_config *config);

/* ---- wlr-output-management ---- */

struct mc_output_wish {
    uint64_t output;
    struct mc_output_config config;
};
/* What the client asks for in MC_EVENT_OUTPUT_CONFIG's configuration; how many were filled in. */
size_t mc_output_management_wishes(struct mc_server *server, uint64_t configuration,
                                   struct mc_output_wish *wishes_ret, size_t max);
/* Answers it, once: the configuration is gone afterwards. */
void mc_output_management_answer(struct mc_server *server, uint64_t configuration, bool succeeded);
/* Tells clients how the outputs are now; after every change. */
int mc_output_management_publish(struct mc_server *server, struct wlr_output_manager_v1 *manager);

struct mc_pacing_info {
    uint64_t budget_ns; /* how long before its vblank a frame begins */
    uint64_t cost_ns, latch_low_ns, latch_high_ns, safety_ns, period_ns;
    uint64_t frames, misses, probe_misses;
    uint64_t early_frames; /* of all composed ones: by mc_server_set_early, before their planned start */
    int32_t mode;          /* enum mc_pacing_mode */
    uint64_t fixed_ns;
    double target_miss_rate;
    /* Of the last 64 frames, in us, ascending: from planned start to the commit's return, and from the
     * client's commit of the oldest content in it to presented. */
    uint32_t cost_us[64], shown_us[64], cost_count, shown_count;
};
int mc_output_pacing(struct mc_server *server, uint64_t handle, struct mc_pacing_info *info_ret);

struct mc_output_info {
    uint64_t handle;
    uint16_t id;
    char name[32], make[56], model[32], serial[32];
    bool enabled; /* it is lit */
    bool placed;  /* it is in the layout, lit or asleep */
    bool adaptive_sync, modelled;
    bool hardware_cursor;        /* the picture it shows now is on a plane of its own */
    int32_t x, y, width, height; /* layout coordinates */
    int32_t mode_width, mode_height, refresh_mhz, phys_width_mm, phys_height_mm;
    float scale;
    int32_t transform;
    uint64_t latch_ns; /* modelled displays only */
    uint64_t frames, failed_commits, callback_only, last_present_ns;
    int32_t usable_x, usable_y, usable_width, usable_height;
};
int mc_output_get_info(struct mc_server *server, uint64_t handle, struct mc_output_info *info_ret);
/* Fills up to max handles; how many there are. */
size_t mc_outputs_list(struct mc_server *server, uint64_t *handles_ret, size_t max);
/* The area left by panels, in layout coordinates; popups and maximized windows keep to it. */
int mc_output_set_usable(struct mc_server *server, uint64_t handle, int x, int y, int width, int height);

/* Copies the next composed frame of an output, which is composed in any case. -EINVAL: it is switched off. */
int mc_output_capture(struct mc_server *server, uint64_t handle);
/* The copy: width * height * 4 bytes of XRGB8888 in buffer orientation (before the output's transform).
 * -EAGAIN: not composed yet; -ENOSPC: the sizes are returned, the copy kept; -EIO: none was asked for, or
 * reading failed. */
int mc_output_capture_take(struct mc_server *server, uint64_t handle, uint8_t *pixels_ret, size_t size,
                           int32_t *width_ret, int32_t *height_ret);

/* ---- the modelled display ---- */

struct wlr_backend *mc_vdisplay_create(struct mc_server *server, struct wl_display *display);
/* Plugs in a monitor; connector 0 is the first free one (HEADLESS-1, ...), and the same connector has the
 * same name each time. latch_ns: how long before a vblank a commit must arrive. 0, -EEXIST, -EINVAL or
 * -ENOMEM. */
int mc_vdisplay_plug(struct mc_server *server, int connector, int width, int height, int refresh_mhz,
                     uint64_t latch_ns);
int mc_vdisplay_unplug(struct mc_server *server, int connector);
/* The next `count` flips are shown `vblanks` late, or (vblanks = 0) refused at commit. */
int mc_vdisplay_inject_fault(struct mc_server *server, int connector, int vblanks, int count);
/* A display that loses its rhythm: every vblank, that of a pending flip too, comes shift_ns later from now
 * on. 0 or -ENOENT. */
int mc_vdisplay_shift(struct mc_server *server, int connector, uint64_t shift_ns);
/* Time of the next vblank at or after t_ns, or 0 when there is no such connector. */
uint64_t mc_vdisplay_next_vblank(struct mc_server *server, int connector, uint64_t t_ns);

#endif
