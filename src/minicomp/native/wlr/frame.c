/* One output's frames: from "something changed" over composing and the flip to "presented".
 *
 * The states are pure/redraw.h's, the plan (when to begin, for which vblank) is pure/pacing.h's. Whoever
 * renders runs this: the render thread, or with render.thread = false the loop thread; always with the lock
 * held. */
#include <stdlib.h>
#include <sys/resource.h>
#include <wlr/types/wlr_output.h>
#include <wlr/types/wlr_output_damage.h>

#include "server.h"
#include "vdisplay.h"

/* How much earlier than planned a frame may begin when every client that was asked has answered: it saves the
 * wake-up at its start, and makes the vblank the surer. What it costs is that a commit nobody was asked for
 * (input) waits a refresh more when it falls into this time. */
#define ALL_ANSWERED_NS (500 * MC_NSEC_PER_USEC)
#define ALL_ANSWERED_SHARE 16 /* and at most this part of a refresh */

/* A display that refuses what its test allowed is offered no client's buffer for so long. */
#define SCANOUT_PAUSE_NS MC_NSEC_PER_SEC

#define COMPOSE_SCANOUT 1u
#define KMS_REFUSED 1u
#define PRESENTED_ORIGIN_SHIFT 4
#define PRESENTED_DISCARDED (1u << 6)
#define PRESENTED_SEQ_SHIFT 8
#define ORIGIN_NOW 0u
#define ORIGIN_HARDWARE 1u
#define ORIGIN_MODELLED 2u

static uint32_t saturate(uint64_t value)
{
    return value > 255 ? 255 : (uint32_t)value;
}

/* What the composing thread had used at its last frame: loop and render thread each have their own. */
struct usage {
    uint64_t cpu_ns, nvcsw, nivcsw, minflt, majflt;
};
static _Thread_local struct usage last_usage;

static void trace_sched(struct mc_output *output)
{
    struct mc_server *server = output->server;
    if (!mc_trace_on(&server->trace)) {
        return;
    }
    struct rusage rusage;
    getrusage(RUSAGE_THREAD, &rusage);
    struct usage now = {
        .cpu_ns = mc_thread_cpu_ns(),
        .nvcsw = (uint64_t)rusage.ru_nvcsw,
        .nivcsw = (uint64_t)rusage.ru_nivcsw,
        .minflt = (uint64_t)rusage.ru_minflt,
        .majflt = (uint64_t)rusage.ru_majflt,
    };
    if (last_usage.cpu_ns != 0) {
        uint32_t flags =
            saturate(now.nvcsw - last_usage.nvcsw) | saturate(now.nivcsw - last_usage.nivcsw) << 8 |
            saturate(now.minflt - last_usage.minflt) << 16 | saturate(now.majflt - last_usage.majflt) << 24;
        mc_trace_now(&server->trace, MC_POINT_SCHED, output->id, output->frame_id, 0,
                     now.cpu_ns - last_usage.cpu_ns, flags);
    }
    last_usage = now;
}

/* ---- planning ---- */

/* When the planned frame may begin: not while another mode is to be set (output.c). */
static uint64_t begins_ns(const struct mc_output *output)
{
    return mc_max_ns(output->plan.start_ns, output->held_until_ns);
}

/* Wakes whoever renders when the next of the output's deadlines is due. */
void mc_deadline_changed(struct mc_output *output)
{
    uint64_t next_ns = output->callback_ns, start_ns = begins_ns(output);
    if (output->redraw.state == MC_REDRAW_QUEUED && !output->wlr_output->frame_pending &&
        (next_ns == 0 || start_ns < next_ns)) {
        next_ns = start_ns;
    }
    output->deadline_ns = next_ns;
    if (output->redraw.state == MC_REDRAW_WAIT_PRESENT &&
        (output->flight_feedback || next_ns < output->flight.vblank_ns)) {
        mc_vdisplay_hurry(output->wlr_output); /* else this deadline is soon enough to hear of the flip */
    }
    mc_deadlines_changed(output->server);
}

static void trace_planned(struct mc_output *output)
{
    mc_trace_now(&output->server->trace, MC_POINT_FRAME_PLANNED, output->id, output->frame_id + 1, 0,
                 output->plan.start_ns, (uint32_t)(output->plan.budget_ns / MC_NSEC_PER_USEC));
}

/* The state has become QUEUED: settles when the frame begins. */
static void plan_frame(struct mc_output *output, uint64_t shown_vblank_ns)
{
    output->plan = mc_pacing_plan(&output->pacing, mc_server_now_ns(output->server), shown_vblank_ns);
    trace_planned(output);
    mc_deadline_changed(output);
}

static void queue_frame(struct mc_output *output, uint32_t reasons)
{
    struct mc_server *server = output->server;
    if ((output->redraw.reasons & reasons) == reasons) {
        return;
    }
    bool first = output->redraw.reasons == 0;
    bool started = mc_redraw_queue(&output->redraw, reasons);
    if (!first && !started) {
        return;
    }
    if (!started) {
        mc_vdisplay_hurry(output->wlr_output); /* it waits for the flip */
    }
    uint64_t flying_ns = output->redraw.state == MC_REDRAW_WAIT_PRESENT ? output->flight.vblank_ns : 0;
    struct mc_plan plan = mc_pacing_plan(&output->pacing, mc_server_now_ns(server), flying_ns);
    mc_trace_now(&server->trace, MC_POINT_FRAME_QUEUED, output->id, output->frame_id + 1, 0, plan.vblank_ns,
                 output->redraw.reasons);
    if (started) {
        output->plan = plan;
        trace_planned(output);
        mc_deadline_changed(output);
    }
}

/* ---- the redraw loop ---- */

static void compose_and_commit(struct mc_output *output)
{
    struct mc_server *server = output->server;
    struct wlr_output *wlr_output = output->wlr_output;
    uint32_t frame_id = ++output->frame_id;
    mc_trace_now(&server->trace, MC_POINT_COMPOSE_BEGIN, output->id, frame_id, 0, 0, 0);
    output->flight_feedback = false;
    bool ok = mc_compose(output);
    mc_trace_now(&server->trace, MC_POINT_COMPOSE_END, output->id, frame_id, 0, 0,
                 output->scanned_out ? COMPOSE_SCANOUT : 0);
    if (ok) {
        mc_compose_latch(output);
        mc_trace_now(&server->trace, MC_POINT_KMS_COMMIT_BEGIN, output->id, frame_id, 0, 0, 0);
        mc_vdisplay_defer(wlr_output);
        ok = wlr_output_commit(wlr_output);
        mc_trace_now(&server->trace, MC_POINT_KMS_COMMIT_END, output->id, frame_id, 0, 0,
                     ok ? 0 : KMS_REFUSED);
    } else {
        wlr_output_rollback(wlr_output);
    }
    trace_sched(output);
    if (!ok) {
        output->failed_commits++;
        if (output->scanned_out) {
            output->scanout_after_ns = mc_server_now_ns(server) + SCANOUT_PAUSE_NS;
        }
        mc_device_refused(server);
        mc_redraw_failed(&output->redraw);
        /* Again at the next vblank: at once would spin on a display that refuses everything. */
        uint64_t now_ns = mc_server_now_ns(server);
        output->plan =
            (struct mc_plan){.start_ns = mc_vclock_next(&output->pacing.clock, now_ns + 1), .late = true};
        mc_deadline_changed(output);
        return;
    }
    output->frames++;
    server->refused_since_ns = 0;
    output->flight = output->plan;
    output->flight_committed_ns = mc_server_now_ns(server);
    mc_pacing_committed(&output->pacing, &output->flight, output->flight_committed_ns);
    mc_redraw_committed(&output->redraw);
    mc_callbacks_plan(output, output->flight.vblank_ns);
}

static void redraw(struct mc_output *output)
{
    struct mc_server *server = output->server;
    struct wlr_output *wlr_output = output->wlr_output;
    if (output->redraw.state != MC_REDRAW_QUEUED || wlr_output->frame_pending ||
        begins_ns(output) > mc_server_now_ns(server) + MC_EARLY_NS) {
        return;
    }
    if (!wlr_output->enabled || output->scene_output == NULL) {
        mc_redraw_reset(&output->redraw);
        return;
    }
    /* The render thread's stamp is from before it waited for the lock: that wait is a stage of its own. */
    uint64_t woke_ns = mc_thread_source() == MC_SOURCE_RENDER ? server->render_woke_ns : mc_now_ns();
    mc_trace_at(&server->trace, woke_ns, MC_POINT_RENDER_WAKE, output->id, output->frame_id + 1, 0,
                output->plan.start_ns, 0);
    if (wlr_output->needs_frame || pixman_region32_not_empty(&output->scene_output->damage->current)) {
        compose_and_commit(output);
        return;
    }
    /* Only frame callbacks are wanted: a flip would burn a buffer to show the same picture. They are planned
     * as if the flip had been made, from the vblank that it would have made. */
    output->callback_only++;
    mc_redraw_estimate(&output->redraw);
    mc_timer_arm(&output->estimate, mc_vclock_next(&output->pacing.clock, mc_server_now_ns(server) + 1));
}

void mc_frame_run_due(struct mc_output *output)
{
    mc_commit_over(output->server);
    mc_callbacks_send_due(output);
    redraw(output);
    mc_deadline_changed(output);
}

/* Whether a client that was asked for its next frame is still drawing it. */
static bool answers_outstanding(struct mc_server *server, uint64_t now_ns, uint64_t period_ns)
{
    struct mc_surface *surface;
    wl_list_for_each (surface, &server->surfaces, link) {
        if (surface->callback_sent_ns == 0) {
            return false; /* who has answered stands behind who has not */
        }
        if (now_ns - surface->callback_sent_ns < period_ns) {
            return true;
        }
    }
    return false;
}

void mc_server_set_early(struct mc_server *server, bool early)
{
    mc_verb_begin(server);
    server->early = early && !server->step;
    mc_deadlines_changed(server);
    mc_verb_end(server);
}

/* Nobody will add to the queued frame before its planned start, and that is near. */
static bool complete(struct mc_output *output, uint64_t now_ns)
{
    uint64_t period_ns = mc_vclock_period_ns(&output->pacing.clock);
    uint64_t early_ns = period_ns / ALL_ANSWERED_SHARE;
    early_ns = early_ns < ALL_ANSWERED_NS ? early_ns : ALL_ANSWERED_NS;
    return output->pacing.mode == MC_PACING_ADAPTIVE && !output->plan.probe && output->callback_ns == 0 &&
           output->held_until_ns <= now_ns && output->plan.start_ns <= now_ns + early_ns &&
           !answers_outstanding(output->server, now_ns, period_ns);
}

void mc_frames_run(struct mc_server *server, bool early)
{
    if (!mc_loop_renders(server) || server->step) {
        return;
    }
    struct mc_output *output, *next;
    wl_list_for_each_safe (output, next, &server->outputs, link) {
        uint64_t now_ns = mc_now_ns();
        if (early && output->redraw.state == MC_REDRAW_QUEUED && !output->wlr_output->frame_pending &&
            now_ns < output->plan.start_ns && complete(output, now_ns)) {
            output->plan.start_ns = output->deadline_ns = now_ns;
            output->early_frames++;
        }
        if (output->deadline_ns != 0 && output->deadline_ns <= now_ns + MC_EARLY_NS) {
            mc_frame_run_due(output);
        }
    }
}

static void handle_deadline(void *data, uint64_t deadline_ns)
{
    (void)deadline_ns;
    mc_frame_run_due(data);
}

static void handle_estimate(void *data, uint64_t deadline_ns)
{
    struct mc_output *output = data;
    mc_commit_over(output->server);
    if (output->redraw.state != MC_REDRAW_WAIT_ESTIMATED) {
        return; /* real damage came meanwhile */
    }
    output->redraw.reasons = 0; /* callbacks wanted meanwhile are planned now, too */
    mc_redraw_done(&output->redraw);
    mc_callbacks_plan(output, deadline_ns);
}

static void handle_needs_frame(struct wl_listener *listener, void *data)
{
    (void)data;
    struct mc_output *output = wl_container_of(listener, output, needs_frame);
    const struct mc_surface *committing = output->server->committing;
    if (committing != NULL ? committing->needs_flip
                           : output->scene_output != NULL &&
                                 pixman_region32_not_empty(&output->scene_output->damage->current)) {
        queue_frame(output, MC_REDRAW_DAMAGE);
    } else if (committing != NULL) {
        /* wlr_scene raised it for a frame callback alone. It is taken back when the commit is over, not here:
         * other listeners of this signal would raise it again. */
        output->callback_wish = output->server->callback_wish = true;
        queue_frame(output, MC_REDRAW_CALLBACK);
    } else {
        queue_frame(output, MC_REDRAW_CAPTURE);
    }
}

void mc_commit_over(struct mc_server *server)
{
    server->committing = NULL;
    server->release_may_wait = false;
    if (!server->callback_wish) {
        return;
    }
    server->callback_wish = false;
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        if (output->callback_wish) {
            output->callback_wish = false;
            output->wlr_output->needs_frame = false;
        }
    }
}

/* wlroots emits frame when a flip is done, and from an idle source (so at the end of a dispatch) when a frame
 * was asked for: what is due then is composed here when the loop thread renders. */
static void handle_frame(struct wl_listener *listener, void *data)
{
    (void)data;
    struct mc_output *output = wl_container_of(listener, output, frame);
    mc_commit_over(output->server);
    bool flipped = !output->wlr_output->frame_pending;
    if (output->redraw.state == MC_REDRAW_WAIT_PRESENT && flipped) {
        if (mc_redraw_done(&output->redraw)) {
            plan_frame(output, output->last_present_ns);
        }
    } else if (output->redraw.state == MC_REDRAW_QUEUED && flipped && output->foreign_flip) {
        plan_frame(output,
                   output->last_present_ns); /* it had to wait for a flip that was none of its frames */
    }
    if (flipped) {
        output->foreign_flip = false;
    }
    if (mc_loop_renders(output->server)) {
        redraw(output);
    }
    mc_deadline_changed(output);
}

static void handle_present(struct wl_listener *listener, void *data)
{
    struct mc_output *output = wl_container_of(listener, output, present);
    const struct wlr_output_event_present *event = data;
    struct mc_server *server = output->server;
    mc_commit_over(server);
    uint32_t flags = event->flags & 0xf;
    uint64_t vblank_ns = 0;
    if (event->presented) {
        vblank_ns = (uint64_t)event->when->tv_sec * MC_NSEC_PER_SEC + (uint64_t)event->when->tv_nsec;
        output->last_present_ns = vblank_ns;
        uint32_t origin = mc_vdisplay_is_output(output->wlr_output)           ? ORIGIN_MODELLED
                          : (event->flags & WLR_OUTPUT_PRESENT_HW_CLOCK) != 0 ? ORIGIN_HARDWARE
                                                                              : ORIGIN_NOW;
        flags |= origin << PRESENTED_ORIGIN_SHIFT | (uint32_t)event->seq << PRESENTED_SEQ_SHIFT;
        if (output->flight_committed_ns != 0) {
            mc_pacing_presented(&output->pacing, &output->flight, output->flight_committed_ns, event->seq,
                                vblank_ns);
            output->flight_committed_ns = 0;
            if (output->flight_content_ns != 0 && vblank_ns > output->flight_content_ns) {
                mc_window_add(&output->shown, vblank_ns - output->flight_content_ns);
            }
            output->flight_content_ns = 0;
        } else {
            output->foreign_flip = true; /* of a modeset */
            mc_vclock_stamp(&output->pacing.clock, event->seq, vblank_ns);
        }
    } else {
        flags |= PRESENTED_DISCARDED;
        output->flight_committed_ns = 0;
        output->flight_content_ns = 0;
    }
    mc_trace_now(&server->trace, MC_POINT_PRESENTED, output->id, output->frame_id, 0, vblank_ns, flags);
}

void mc_frame_mode_changed(struct mc_output *output)
{
    int32_t mhz = output->wlr_output->refresh;
    mc_pacing_reset(&output->pacing, mhz > 0 ? 1000000000000ull / (uint64_t)mhz : 0);
}

int mc_frame_init(struct mc_output *output)
{
    const struct mc_pacing_settings *settings = &output->server->pacing;
    mc_pacing_init(&output->pacing, settings->mode, settings->fixed_ns, settings->target_miss_rate);
    if (!wl_list_empty(&output->server->outputs)) { /* which it is not in yet */
        struct mc_output *other = wl_container_of(output->server->outputs.next, other, link);
        mc_pacing_join(&output->pacing, &other->pacing);
    }
    int error =
        output->server->step ? mc_timer_init(&output->deadline, output->server, handle_deadline, output) : 0;
    if (error == 0) {
        error = mc_timer_init(&output->estimate, output->server, handle_estimate, output);
    }
    if (error != 0) {
        mc_timer_finish(&output->deadline);
        mc_pacing_leave(&output->pacing);
        return error;
    }
    mc_listen(&output->wlr_output->events.frame, &output->frame, handle_frame);
    mc_listen(&output->wlr_output->events.needs_frame, &output->needs_frame, handle_needs_frame);
    mc_listen(&output->wlr_output->events.present, &output->present, handle_present);
    return 0;
}

void mc_frame_finish(struct mc_output *output)
{
    mc_deadlines_changed(output->server); /* it has left the list of outputs: its own is none any more */
    mc_timer_finish(&output->deadline);
    mc_timer_finish(&output->estimate);
    mc_pacing_leave(&output->pacing);
    mc_unlisten(&output->frame);
    mc_unlisten(&output->needs_frame);
    mc_unlisten(&output->present);
}
