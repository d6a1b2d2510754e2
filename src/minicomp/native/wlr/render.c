/* The render thread: sleeps to the earliest deadline of all outputs, composes what is due, and sleeps again.
 *
 * Deadlines are absolute CLOCK_MONOTONIC times on one timerfd, which whoever changes a deadline sets anew
 * (lock held): the thread needs no other wake-up. It never takes the GIL and never waits for Python. */
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <wlr/types/wlr_output.h>

#include "server.h"
#include "vdisplay.h"

/* How long after a deadline the loop thread may still see to it itself, where it may. Its usual wake-up is
 * earlier; a wake-up of both threads would cost more than it gains. */
#define LOOP_HAS_NS (150 * MC_NSEC_PER_USEC)

static void arm(struct mc_server *server)
{
    uint64_t next_ns = 0;
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        if (output->deadline_ns != 0 && (next_ns == 0 || output->deadline_ns < next_ns)) {
            next_ns = output->deadline_ns;
        }
    }
    if (next_ns != 0 && server->early) {
        next_ns += LOOP_HAS_NS;
    }
    if (next_ns == server->render_armed_ns) {
        return;
    }
    server->render_armed_ns = next_ns;
    struct itimerspec spec = {.it_value = mc_timespec(next_ns)}; /* 0 disarms */
    timerfd_settime(server->render_timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

void mc_deadlines_apply(struct mc_server *server)
{
    if (!server->rearm) {
        return;
    }
    server->rearm = false;
    if (server->render_running) {
        arm(server);
        if (!server->early) {
            return;
        }
    }
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        if (output->deadline_ns == 0) {
            mc_timer_disarm(&output->deadline);
        } else {
            mc_timer_arm(&output->deadline, output->deadline_ns);
        }
    }
}

void mc_deadlines_changed(struct mc_server *server)
{
    server->rearm = true;
    if (server->step || mc_thread_source() == MC_SOURCE_POLICY) {
        mc_deadlines_apply(server);
    }
}

static void fire_now(struct mc_server *server)
{
    struct itimerspec now = {.it_value = {.tv_nsec = 1}};
    timerfd_settime(server->render_timer_fd, TFD_TIMER_ABSTIME, &now, NULL);
}

void mc_render_wake(struct mc_server *server)
{
    server->render_armed_ns = 1; /* no deadline is so early: the next look sets the timer anew */
    fire_now(server);
}

/* What the frame caused and the loop thread would otherwise have to wake up for. Flushing one client can fill
 * its socket but never destroys it; what is left, and idle sources that wlroots queued, are the loop
 * thread's. True when there are idle sources. */
static bool finish(struct mc_server *server)
{
    mc_clients_flush_safely(server);
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        if (output->wlr_output->idle_frame != NULL || output->wlr_output->idle_done != NULL) {
            return true;
        }
    }
    return false;
}

static void *render_main(void *data)
{
    struct mc_server *server = data;
    pthread_setname_np(pthread_self(), "mc-render");
    mc_thread_set_source(MC_SOURCE_RENDER);
    mc_thread_begins(server);
    mc_memory_prefault_stack(&server->memory);
    while (!atomic_load(&server->render_stop)) {
        /* A blocking read: one system call a wake-up. Setting the timer anew moves the end of the wait. */
        uint64_t expirations;
        if (read(server->render_timer_fd, &expirations, sizeof(expirations)) < 0 && errno != EINTR) {
            mc_log(server, MC_LOG_ERROR, "render thread: its timer cannot be read (errno %d)", errno);
            break;
        }
        server->render_woke_ns = mc_now_ns();
        mc_lock_urgent(&server->lock, true);
        mc_server_lock(server);
        mc_lock_urgent(&server->lock, false);
        server->render_armed_ns = 0;
        mc_vdisplay_settle(server);
        struct mc_output *output, *next;
        wl_list_for_each_safe (output, next, &server->outputs, link) {
            mc_frame_run_due(output);
        }
        server->rearm = true;
        mc_deadlines_apply(server);
        bool idle = finish(server);
        mc_thread_worked(server, server->render_woke_ns);
        mc_server_unlock(server);
        if (idle) {
            mc_loop_kick(server);
        }
    }
    mc_thread_ends(server);
    return NULL;
}

int mc_render_start(struct mc_server *server)
{
    server->render_timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (server->render_timer_fd < 0) {
        return -errno;
    }
    atomic_store(&server->render_stop, false);
    int error = pthread_create(&server->render_thread, NULL, render_main, server);
    server->render_running = error == 0;
    return -error;
}

void mc_render_stop(struct mc_server *server)
{
    if (!server->render_running) {
        return;
    }
    atomic_store(&server->render_stop, true);
    fire_now(server); /* the lock is not held: only the timer is touched */
    pthread_join(server->render_thread, NULL);
    server->render_running = false;
}
