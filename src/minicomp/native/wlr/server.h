/* The native plane's root object: what Python set up through pywlroots, and what C adds to it.
 *
 * Ownership: Python creates and destroys the wlroots objects (compositor/server.py), C borrows them and owns
 * its listeners, outputs, windows and threads. Everything here is touched only with `lock` held, except the
 * fields marked otherwise. Verbs (mc_<area>_<verb>, called by Python on any thread) take the lock themselves;
 * handlers (handle_*) run on the loop thread, which holds it. No Python is ever called from here. */
#ifndef MC_SERVER_H
#define MC_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <wayland-server-core.h>
#include <wlr/types/wlr_scene.h>

#include "../pure/clock.h"
#include "../pure/events.h"
#include "../pure/handles.h"
#include "../pure/lock.h"
#include "../pure/logring.h"
#include "../pure/memory.h"
#include "../pure/pacing.h"
#include "../pure/queue.h"
#include "../pure/ration.h"
#include "../pure/redraw.h"
#include "../pure/trace.h"
#include "../pure/vblank.h"
#include "../pure/wait.h"
#include "server_verbs.h"
#include "threads.h"

struct mc_output;
struct mc_seat;
struct mc_stack_item;

/* How an output shows the pointer. */
enum mc_cursor_plane {
    MC_CURSOR_UNKNOWN = 0,
    MC_CURSOR_HARDWARE = 1, /* a KMS plane: moving it costs no frame */
    MC_CURSOR_SOFTWARE = 2, /* composed into frames */
};

/* Scene trees, bottom to top. A window's popups live in its own tree. */
enum mc_stack {
    MC_STACK_BACKGROUND = 0, /* layer-shell background */
    MC_STACK_BOTTOM = 1,     /* layer-shell bottom */
    MC_STACK_WINDOWS = 2,
    MC_STACK_TOP = 3,        /* layer-shell top */
    MC_STACK_FULLSCREEN = 4, /* full-screen windows cover panels */
    MC_STACK_UNMANAGED = 5,  /* X11 override-redirect: menus, tooltips */
    MC_STACK_OVERLAY = 6,    /* layer-shell overlay: lock screens, on-screen keyboards */
    MC_STACK_DRAG = 7,       /* drag icons */
    MC_STACK_COUNT = 8,
};

struct mc_idle_clock;

struct mc_pacing_settings {
    enum mc_pacing_mode mode;
    uint64_t fixed_ns;
    double target_miss_rate;
};

struct mc_limits {
    uint32_t fds_per_client;      /* file descriptors a client may send within a second, or have us hold */
    uint32_t surfaces_per_client; /* live wl_surfaces */
    uint32_t unread_bytes;        /* events sent but not read; the socket's buffer */
    double time_share;            /* of the loop thread's time, for one client's requests; 1: no ration */
};

/* Whose requests are being dispatched, and who has to wait with further ones (ration.c). */
struct mc_rationing {
    struct mc_client *turn; /* NULL: nobody's */
    uint64_t turn_ns;       /* since when */
    uint32_t requests;      /* so far */
    struct wl_list muted;   /* mc_client.muted_link, longest first */
    uint64_t due_ns;        /* when these are served at the latest; 0: there are none */
    bool put_off;           /* that has been put off once, for a frame that is about to be handed over */
    bool impossible;        /* the kernel does not say what is watched */
};

/* A timerfd on the monotonic clock. */
struct mc_deadline_timer {
    int fd;            /* owned; -1: none */
    uint64_t armed_ns; /* what it is set to; 0: it is not, or has fired */
};

struct mc_server {
    /* Created by Python; all borrowed, all set before mc_server_start. */
    struct wl_display *display;
    struct wlr_backend *backend;
    struct wlr_renderer *renderer;
    struct wlr_allocator *allocator;
    struct wlr_allocator *cursor_allocator; /* cursor_plane.c; NULL until one is needed */
    struct wlr_compositor *compositor;
    struct wlr_scene *scene;
    struct wlr_output_layout *output_layout;
    struct wlr_presentation *presentation;
    struct wlr_seat *wlr_seat;
    struct wlr_cursor *cursor;

    struct mc_lock
        gate; /* policy threads, and the loop thread while it works, take this before `lock`: see yield */
    struct mc_lock lock;
    struct mc_memory memory;   /* any thread: frame buffers, rings, stacks */
    struct mc_trace trace;     /* any thread */
    struct mc_queue queue;     /* any thread */
    struct mc_handles handles; /* what Python may name */

    struct wlr_scene_tree *stack[MC_STACK_COUNT];
    float background[4]; /* shown where nothing is: red, green, blue, alpha, each 0..1 */

    struct wl_list outputs; /* mc_output.link */
    uint16_t next_output_id;
    struct wl_list clients;          /* mc_client.link */
    struct mc_clients *client_rules; /* owned; client.c */
    uint32_t next_client_id;
    uint32_t withheld, releasing; /* sum over clients, also those that are going away */
    struct wl_list
        surfaces; /* mc_surface.link; first those that have not answered their callback, latest first */
    uint32_t next_surface_id;
    struct wl_list windows;           /* mc_window.link, newest first */
    struct wl_list layers;            /* mc_layer.link */
    struct mc_shell *shell;           /* owned; windows.c, shell.h */
    struct wlr_idle *idle;            /* borrowed; NULL while not offered; protocols.c */
    struct mc_idle_clock *idle_clock; /* owned; idle.c; NULL until a time-out is set */
    struct mc_seat *seat;             /* owned; input.c */
    struct mc_limits limits;
    struct mc_rationing ration;
    struct wl_list to_flush;  /* mc_client.flush_link */
    uint64_t flushed_ns;      /* when all clients were */
    _Atomic uint64_t changes; /* any thread: what is named in a run file may be new */
    struct mc_dmabuf *dmabuf; /* owned; dmabuf.h; NULL while there is no linux-dmabuf */

    /* While a wl_surface.commit is being applied: whose. wlr_scene raises needs_frame for every commit with a
     * frame callback; this tells such a wish from a real need. Cleared by whatever happens next. */
    struct mc_surface *committing;
    bool callback_wish;    /* some mc_output.callback_wish is set */
    bool release_may_wait; /* it asks for a callback: the buffer it replaces is not needed before that */

    /* Modelled clock (step): ~0 means real time. */
    bool step;
    uint64_t step_now_ns;
    struct wl_list timers; /* mc_timer.link: armed timers, step clock only */

    /* What composing one frame visits; grown when the scene grows, never freed between frames. */
    struct mc_draw_item *draw_items;
    size_t draw_capacity, draw_count;

    struct mc_pacing_settings pacing; /* of outputs that appear from now on */
    bool early;                       /* the loop thread does what is due: mc_server_set_early */

    uint64_t deadline_ns; /* the earliest of all outputs; 0: none */
    bool rearm;           /* it may be another one since a timer was set */

    /* Render thread; none with render.thread = false. */
    pthread_t render_thread;
    bool render_running; /* set before the backend starts, so without a race */
    _Atomic bool render_stop;
    struct mc_deadline_timer render_timer;
    uint64_t render_woke_ns; /* the render thread's own */

    struct mc_threads threads;

    /* Loop thread. */
    pthread_t loop_thread;
    bool loop_running;
    _Atomic uint64_t asked, answered; /* any thread: signs of life, idle_verbs.h */
    struct mc_deadline_timer policy_alarm;
    struct mc_wait wait;
    struct mc_deadline_timer loop_timer;
    int ended_fd;     /* eventfd: the loop thread has returned */
    int wake_fd;      /* eventfd: a verb ran, idle sources or unsent events may be waiting */
    int terminate_fd; /* libwayland's own, duplicated: wl_display_terminate was called */
    _Atomic bool stop;
    uint64_t refused_since_ns; /* the DRM device takes no frame; 0: it does (device_lost.c) */

    struct wl_protocol_logger *protocol_logger;
    struct wl_listener new_output, new_surface, client_created, backend_destroy, drm_destroy, layout_change;
    struct wlr_egl *egl; /* the GLES2 renderer's, or NULL */
};

/* ---- the lock and the loop (loop.c); life, loop and clock as Python sees them are in server_verbs.h ---- */

/* The lock alone, traced; for the native threads. Unlocking lets go of the EGL context. */
void mc_server_lock(struct mc_server *server);
void mc_server_unlock(struct mc_server *server);
/* Between two requests of a dispatch: does what is due, or lets the render thread in when it waits, and
 * nobody else. */
void mc_server_yield(struct mc_server *server);

/* ---- time (timer.c) ---- */

/* A one-shot timer on the compositor's clock with ns resolution; fires on the loop thread, or on the thread
 * that advances the step clock, lock held either way. */
struct mc_timer {
    struct mc_server *server;
    void (*fire)(void *data, uint64_t deadline_ns);
    void *data;
    uint64_t deadline_ns; /* 0: not armed */
    int fd;               /* timerfd, owned; -1 with the step clock */
    struct wl_event_source *source;
    struct wl_list link; /* mc_server.timers while armed with the step clock */
};

int mc_timer_init(struct mc_timer *timer, struct mc_server *server,
                  void (*fire)(void *data, uint64_t deadline_ns), void *data);
void mc_timer_finish(struct mc_timer *timer);
void mc_timer_arm(struct mc_timer *timer, uint64_t deadline_ns);
void mc_timer_disarm(struct mc_timer *timer);

/* ---- surfaces and clients (surface.c, client.c) ---- */

/* What libwayland has registered with epoll for a client's requests. */
struct mc_client_watch {
    int fd;
    uint64_t data;
    bool known; /* looked up */
};

struct mc_client {
    struct wl_list link;       /* mc_server.clients */
    struct wl_list flush_link; /* mc_server.to_flush; empty: it was sent nothing that cannot wait */
    struct mc_server *server;
    struct wl_client *client;
    uint64_t handle;
    uint32_t id;     /* in the trace */
    uint32_t grants; /* bits of privileged globals it may see; decided once, at connection */
    int32_t pid;
    uint32_t uid;
    uint32_t surfaces; /* live */
    uint32_t fds_in_window;
    uint64_t fd_window_ns; /* start of the current one-second window */
    bool killed;
    uint32_t held_fds;              /* open on its behalf */
    struct wl_event_source *ending; /* idle: it goes at the end of this dispatch */
    struct mc_ration ration;        /* filled_ns 0: it has sent nothing yet */
    struct mc_client_watch watch;
    struct wl_list muted_link; /* mc_server.ration.muted; empty: its requests are read as they come */
    uint64_t cost_ns;          /* what it used when it was muted */
    uint64_t muted_ns;         /* when that was */
    bool told;                 /* it was said in the log that it floods us */
    uint32_t times_muted;
    uint32_t muted_in_row; /* with more in its socket, and without having been quiet in between */
    /* Windows that wait for the policy's first answer; of those, the ones whose answer is on its way. */
    uint32_t withheld, releasing;
    struct wl_listener destroy;
};

/* The mc_client of a wl_client; NULL only when memory was short as it connected. */
struct mc_client *mc_client_from(struct mc_server *server, struct wl_client *client);
/* Tells the client why and disconnects it once its turn is over. */
void mc_client_kill_now(struct mc_client *client, const char *reason);
void mc_client_count_fds(struct mc_client *client, uint32_t count);
/* More (or fewer) fds that we hold open for a client, by its handle. It is disconnected past its limit, or
 * when all clients together hold too many and it the most. */
void mc_client_hold_fds(struct mc_server *server, uint64_t handle, int32_t change);
int mc_clients_init(struct mc_server *server);
void mc_clients_attach(struct mc_server *server);
void mc_clients_detach(struct mc_server *server);
void mc_clients_finish(struct mc_server *server);
/* Keeps back what is sent to a client, so that it arrives together with the answer that the policy is working
 * on; calls nest, each with true is followed by one with false. */
void mc_client_withhold(struct mc_server *server, struct wl_client *wl_client, bool withhold);
/* It was sent an event that is to be flushed when this work is over. */
void mc_client_has_event(struct mc_server *server, struct wl_client *wl_client);
/* Sends what clients were told. Loop thread only: it can destroy clients and run their listeners. */
void mc_clients_flush(struct mc_server *server);
/* From any thread: destroys nothing, and leaves what a full socket does not take to the loop thread. */
void mc_clients_flush_safely(struct mc_server *server);

/* ---- rations (ration.c) ---- */

/* Requests of another client begin, or of one after something else. */
void mc_ration_turn_of(struct mc_server *server, struct wl_client *wl_client);

/* The client's next request is about to be dispatched. */
static inline void mc_ration_request(struct mc_server *server, struct wl_client *wl_client)
{
    const struct mc_client *turn = server->ration.turn;
    if (turn == NULL || turn->client != wl_client) {
        mc_ration_turn_of(server, wl_client);
    }
    server->ration.requests++;
}
/* What comes now is no client's work. */
void mc_ration_turn_over(struct mc_server *server);
/* A frame was handed to its display: in a moment who had to wait is served. Either thread. */
void mc_ration_handed_over(struct mc_output *output);
/* Serves who has waited for long enough without one. Loop thread. */
void mc_ration_run(struct mc_server *server);
void mc_ration_client_gone(struct mc_client *client);

struct mc_surface {
    struct wl_list link; /* mc_server.surfaces */
    struct mc_server *server;
    struct wlr_surface *surface; /* surface->data points back here */
    struct mc_client *client;    /* NULL while the client is going away */
    uint32_t id;                 /* in the trace; never reused in a run */
    uint64_t commits;            /* applied so far */
    uint64_t latched;            /* commit number last composed on its primary output */
    uint64_t commit_ns;          /* of the first commit with content since the last was composed; 0: none */
    bool needs_flip;             /* its last commit brought damage or asked for feedback */
    bool feedback_pending;       /* asked for by an applied commit that is not yet part of a frame */
    bool feedback_wanted;        /* wp_presentation.feedback since the last commit */
    uint64_t callback_due_ns;    /* when its frame callbacks are to be sent; 0: not planned */
    uint64_t callback_sent_ns;   /* when they were; 0: it has answered since */
    struct mc_ask ask;           /* what the callback that is planned, or was sent, asks for */
    struct mc_response response; /* from callback to commit */
    struct wl_listener commit, destroy;
};

static inline struct mc_surface *mc_surface_from(struct wlr_surface *surface)
{
    return surface != NULL ? surface->data : NULL;
}

/* The commit that was being applied, if any, is over: to be called first whenever anything else begins (a
 * request, an input event, a verb, a flip). Takes back the needs_frame that wlr_scene raised for callbacks
 * alone, so that a real need raises it anew. */
void mc_commit_over(struct mc_server *server);
int mc_surfaces_attach(struct mc_server *server);
void mc_surfaces_detach(struct mc_server *server);
void mc_surfaces_forget_client(struct mc_client *client);

/* ---- outputs and frames (output.c, frame.c) ---- */

struct mc_output {
    struct wl_list link; /* mc_server.outputs */
    struct mc_server *server;
    struct wlr_output *wlr_output;
    struct wlr_scene_output *scene_output; /* NULL while not in the layout */
    uint64_t handle;
    uint16_t id; /* in the trace */
    struct mc_redraw redraw;
    uint32_t frame_id; /* last composed frame; counts from 1 */
    uint64_t last_present_ns;
    uint64_t frames, failed_commits, callback_only, early_frames;
    struct mc_pacing pacing;
    struct mc_plan plan;          /* of the frame that is queued */
    struct mc_plan flight;        /* of the frame that waits to be shown */
    bool flight_feedback;         /* it shows commits whose clients asked when */
    bool foreign_flip;            /* the flip in flight is a modeset's */
    uint64_t flight_committed_ns; /* when its commit returned; 0: none, or its fate is known */
    uint64_t flight_content_ns;   /* when the oldest content in it was committed by its client; 0: none new */
    struct mc_window_stats shown; /* from there to presented */
    uint64_t callback_ns;         /* when the next frame callback is due; 0: none is planned */
    uint64_t deadline_ns;         /* the earlier of callback_ns and the queued frame's start; 0: none */
    uint64_t held_until_ns;       /* no frame begins before: a mode is to be set (output.c) */
    struct mc_timer deadline;     /* for deadline_ns, with the step clock */
    struct mc_timer estimate;     /* the vblank at which no flip happens */
    struct wlr_box place;         /* in the layout, as the policy was told */
    struct wlr_box usable;        /* layout coordinates, less layer-shell exclusive zones; set by policy */
    bool callback_wish; /* needs_frame was raised by the commit being applied, for a frame callback alone */
    bool scanned_out;   /* the last frame was a client's own buffer */
    uint64_t scanout_after_ns; /* none is tried before */
    bool capture_wanted;       /* the next composed frame is to be copied */
    uint8_t *capture;          /* owned; the copy, until it is taken */
    int32_t capture_width, capture_height;
    enum mc_cursor_plane cursor_plane; /* as last reported */
    bool cursor_locked;                /* to software: there is no plane for it */
    struct wl_listener frame, needs_frame, present, commit, destroy;
};

/* What is due so soon after a wake-up is done with it: another one would cost more than it gains. */
#define MC_EARLY_NS (20 * MC_NSEC_PER_USEC)

struct mc_output *mc_output_from(struct mc_server *server, struct wlr_output *wlr_output);
/* NULL: it is gone. */
struct mc_output *mc_output_by_handle(struct mc_server *server, uint64_t handle);
/* The output under a layout point, else the nearest, else NULL without any. */
struct mc_output *mc_output_at(struct mc_server *server, double lx, double ly);
/* Gives an output buffers for its cursor plane, where wlroots has none (cursor_plane.c); to be called each
 * time it was switched on, which is when wlroots has freed them. Finish: once no output is left. */
void mc_cursor_plane_prepare(struct mc_server *server, struct wlr_output *wlr_output);
void mc_cursor_plane_finish(struct mc_server *server);
void mc_outputs_attach(struct mc_server *server);
void mc_outputs_detach(struct mc_server *server);
/* Paints the output's damage into its next buffer; false when there is none to be had. Then, before
 * the commit: every surface on the output has become part of the frame. */
bool mc_compose(struct mc_output *output);
void mc_compose_latch(struct mc_output *output);
int mc_frame_init(struct mc_output *output);
void mc_frame_finish(struct mc_output *output);
/* Sends the callbacks and composes the frame that are due by now. */
void mc_frame_run_due(struct mc_output *output);
/* The loop thread does what is due, if that is its task; early: composes frames that nobody will add to, too.
 */
void mc_frames_run(struct mc_server *server, bool early);
/* Another mode: what pacing learned of the display is void. */
void mc_frame_mode_changed(struct mc_output *output);
void mc_deadline_changed(struct mc_output *output);
/* The picture shown at this vblank is settled: plans the frame callbacks of all surfaces on the output. */
void mc_callbacks_plan(struct mc_output *output, uint64_t shown_vblank_ns);
void mc_callbacks_send_due(struct mc_output *output);
/* The render thread looks at once whether anything is due. */
void mc_render_wake(struct mc_server *server);
/* Flushes what a frame caused. True when idle sources of wlroots wait for the loop thread. */
bool mc_frames_finish(struct mc_server *server);

/* ---- deadlines (deadlines.c); lock held ---- */

/* Whether what is due is the loop thread's: with render.early, and without a render thread. */
bool mc_loop_renders(const struct mc_server *server);
int mc_deadline_timer_open(struct mc_deadline_timer *timer, int flags);
void mc_deadline_timer_set(struct mc_deadline_timer *timer, uint64_t t_ns);
/* It fires then (1: at once). Any thread, also without the lock; whoever holds that may set it anew. */
void mc_deadline_timer_fire(const struct mc_deadline_timer *timer, uint64_t t_ns);
/* Some output's deadline_ns is another one. */
void mc_deadlines_changed(struct mc_server *server);
/* When a thread's work is over, and on the loop thread between two requests: sets the timer for what was
 * noted. */
void mc_deadlines_apply(struct mc_server *server);

/* Copies the frame that is being composed, as it goes to the display (capture.c). */
void mc_capture_frame(struct mc_output *output);
void mc_capture_drop(struct mc_output *output);
/* Recomputes which outputs every surface is on; wlr_scene misses changes of outputs themselves. */
void mc_scene_refresh_outputs(struct mc_server *server);

/* ---- the display device (device_lost.c) ---- */

void mc_device_watch(struct mc_server *server);
void mc_device_unwatch(struct mc_server *server);
/* A frame was refused. After one that was not, refused_since_ns is 0. */
void mc_device_refused(struct mc_server *server);

/* ---- what a scene node belongs to ---- */

/* The root node of a window's or layer surface's tree has node.data pointing to the object's first member. */
struct mc_node_tag {
    enum mc_handle_kind kind; /* MC_HANDLE_WINDOW or MC_HANDLE_LAYER */
    uint64_t handle;
};

/* The tag of the window or layer surface that a node is part of, or NULL. */
struct mc_node_tag *mc_node_tag_of(struct wlr_scene_node *node);

/* ---- log (log.c) ---- */

void mc_log(struct mc_server *server, enum mc_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Around a try that may fail: what wlroots calls errors on this thread are debug messages meanwhile. */
void mc_log_expect_errors(bool expected);

/* ---- small helpers ---- */

static inline void mc_listen(struct wl_signal *signal, struct wl_listener *listener, wl_notify_func_t notify)
{
    listener->notify = notify;
    wl_signal_add(signal, listener);
}

/* Removes a listener that was connected, or was never (zeroed); safe to call twice. */
static inline void mc_unlisten(struct wl_listener *listener)
{
    if (listener->link.next != NULL) {
        wl_list_remove(&listener->link);
        listener->link.next = listener->link.prev = NULL;
    }
}

static inline void mc_push(struct mc_server *server, enum mc_event_kind kind, uint64_t handle, int64_t a,
                           int64_t b)
{
    mc_queue_push(&server->queue, kind, handle, a, b);
}

#endif
