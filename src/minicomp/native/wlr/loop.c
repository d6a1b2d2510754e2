/* The loop thread over libwayland's loop: waits unlocked (wait.h), works locked. */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <wlr/render/egl.h>

#include "idle_verbs.h"
#include "server.h"
#include "server_verbs.h"
#include "vdisplay.h"

#define LOCK_HOLD_REPORT_NS (500 * MC_NSEC_PER_USEC)

enum { LOOP_FD, WAKE_FD, TIMER_FD, TERMINATE_FD }; /* in mc_server.wait */

static void trace_wait(struct mc_server *server, const struct mc_lock_wait *wait)
{
    if (wait->begin_ns != 0) {
        mc_trace_at(&server->trace, wait->begin_ns, MC_POINT_LOCK_WAIT_BEGIN, 0, 0, 0, 0, mc_thread_source());
        mc_trace_at(&server->trace, wait->end_ns, MC_POINT_LOCK_WAIT_END, 0, 0, 0, 0,
                    (uint32_t)(wait->holder < 0 ? MC_SOURCE_POLICY : wait->holder));
    }
}

void mc_server_lock(struct mc_server *server)
{
    struct mc_lock_wait wait = mc_lock_acquire(&server->lock);
    trace_wait(server, &wait);
}

void mc_server_unlock(struct mc_server *server)
{
    if (server->egl != NULL && wlr_egl_is_current(server->egl)) {
        wlr_egl_unset_current(server->egl); /* a context is current on one thread at a time */
    }
    /* Recorded with the lock still held, so that policy threads stay one producer of their ring. */
    uint64_t held_ns = mc_now_ns() - server->lock.acquired_ns;
    if (held_ns > LOCK_HOLD_REPORT_NS) {
        mc_trace_now(&server->trace, MC_POINT_LOCK_HOLD, 0, 0, 0, held_ns, mc_thread_source());
    }
    mc_lock_release(&server->lock);
}

/* The gate keeps policy threads out while a dispatch yields: their verbs may destroy the very client whose
 * request is half-way dispatched. What the render thread does (compose, commit, send callbacks) destroys
 * nothing that a request can name. */
void mc_server_yield(struct mc_server *server)
{
    if (mc_thread_source() != MC_SOURCE_LOOP) {
        return;
    }
    if (mc_loop_renders(server)) {
        if (!server->step && server->deadline_ns != 0 && server->deadline_ns <= mc_now_ns()) {
            mc_ration_turn_over(server);
            mc_frames_run(server, false);
            mc_frames_finish(server); /* idle sources run at the end of this dispatch */
        }
        return; /* its timer is set when the turn is over */
    }
    mc_deadlines_apply(server);
    if (mc_lock_is_urgent(&server->lock)) {
        mc_ration_turn_over(server);
        mc_server_unlock(server);
        mc_server_lock(server);
    }
}

void mc_verb_begin(struct mc_server *server)
{
    mc_lock_acquire(&server->gate);
    mc_server_lock(server);
    mc_commit_over(server);
}

void mc_verb_end(struct mc_server *server)
{
    mc_look_end(server);
    mc_loop_kick(server);
}

void mc_look_end(struct mc_server *server)
{
    mc_server_unlock(server);
    mc_lock_release(&server->gate);
}

static void signal_fd(int fd)
{
    uint64_t one = 1;
    ssize_t written = write(fd, &one, sizeof(one));
    (void)written; /* EAGAIN only when the counter is full: then it is readable anyway */
}

void mc_loop_kick(struct mc_server *server)
{
    signal_fd(server->wake_fd);
}

void mc_loop_ask(struct mc_server *server)
{
    atomic_fetch_add(&server->asked, 1);
    mc_loop_kick(server);
}

int mc_policy_alarm_fd(struct mc_server *server)
{
    return server->policy_alarm.fd;
}

void mc_policy_alarm(struct mc_server *server, uint64_t after_ms)
{
    uint64_t t_ns = after_ms != 0 ? mc_now_ns() + after_ms * MC_NSEC_PER_MSEC : 0;
    mc_deadline_timer_fire(&server->policy_alarm, t_ns);
}

bool mc_loop_answered(struct mc_server *server)
{
    return atomic_load(&server->answered) == atomic_load(&server->asked);
}

static void drain(int fd)
{
    uint64_t value;
    ssize_t got = read(fd, &value, sizeof(value));
    (void)got; /* EAGAIN: somebody else's wake-up was counted in ours */
}

static void *loop_main(void *data)
{
    struct mc_server *server = data;
    struct wl_event_loop *loop = wl_display_get_event_loop(server->display);
    bool terminated = false;
    pthread_setname_np(pthread_self(), "mc-loop");
    mc_thread_set_source(MC_SOURCE_LOOP);
    mc_thread_begins(server);
    mc_memory_prefault_stack(&server->memory);
    while (!atomic_load(&server->stop) && !terminated) {
        uint32_t ready;
        int error = mc_wait_next(&server->wait, &ready);
        if (error != 0 && error != -EINTR) {
            mc_log(server, MC_LOG_ERROR, "event loop: waiting failed (errno %d)", -error);
            break;
        }
        mc_trace_now(&server->trace, MC_POINT_EPOLL_WAKE, 0, 0, 0, (uint64_t)__builtin_popcount(ready), 0);
        if (ready & 1u << WAKE_FD) {
            drain(server->wake_fd);
        }
        terminated = ready & 1u << TERMINATE_FD;
        uint64_t asked = atomic_load(&server->asked);
        uint64_t begin_ns = mc_now_ns();
        mc_lock_acquire(&server->gate);
        mc_server_lock(server);
        mc_commit_over(server);
        mc_trace_now(&server->trace, MC_POINT_DISPATCH_BEGIN, 0, 0, 0, mc_now_ns() - begin_ns, 0);
        if (ready & 1u << TIMER_FD) {
            server->loop_timer.armed_ns = 0; /* or it was set anew just now: once too often does no harm */
            server->rearm = true;
        }
        mc_vdisplay_settle(server);
        if (ready & 1u << LOOP_FD) {
            wl_event_loop_dispatch(loop, 0);
        }
        mc_ration_turn_over(server);
        mc_frames_run(server, server->early);
        mc_ration_run(server);
        wl_event_loop_dispatch_idle(loop); /* after which nothing is due that was not before */
        mc_deadlines_apply(server);
        mc_clients_flush(server); /* only here: it can destroy clients and run their listeners */
        mc_trace_now(&server->trace, MC_POINT_DISPATCH_END, 0, 0, 0, 0, 0);
        mc_thread_worked(server, begin_ns);
        mc_server_unlock(server);
        mc_lock_release(&server->gate);
        atomic_store(&server->answered, asked);
    }
    mc_thread_ends(server);
    signal_fd(server->ended_fd);
    return NULL;
}

int mc_loop_start(struct mc_server *server, int terminate_fd, int wait_kind, uint32_t sq_idle_ms)
{
    server->terminate_fd = terminate_fd;
    struct mc_wait_fd fds[] = {
        [LOOP_FD] = {.fd = wl_event_loop_get_fd(wl_display_get_event_loop(server->display))},
        [WAKE_FD] = {.fd = server->wake_fd, .emptied = true},
        [TIMER_FD] = {.fd = server->loop_timer.fd, .once = true},
        [TERMINATE_FD] = {.fd = terminate_fd, .emptied = true}, /* it is reported once: the loop ends */
    };
    int error = mc_wait_open(&server->wait, wait_kind, fds, terminate_fd >= 0 ? 4 : 3, sq_idle_ms);
    if (error != 0) {
        return error;
    }
    if (server->egl != NULL) {
        wlr_egl_unset_current(server->egl); /* set-up left it current on this thread */
    }
    mc_loop_kick(server); /* idle sources from set-up are waiting */
    error = pthread_create(&server->loop_thread, NULL, loop_main, server);
    server->loop_running = error == 0;
    return -error;
}

void mc_loop_stop(struct mc_server *server)
{
    if (!server->loop_running) {
        return;
    }
    atomic_store(&server->stop, true);
    mc_loop_kick(server);
    pthread_join(server->loop_thread, NULL);
    server->loop_running = false;
    mc_wait_close(&server->wait); /* before libwayland closes what it watches */
}
