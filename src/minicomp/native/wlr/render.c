/* The render thread: sleeps to the earliest deadline of all outputs, composes what is due, and sleeps again.
 *
 * Deadlines are absolute CLOCK_MONOTONIC times on one timerfd, which whoever changes a deadline sets anew
 * (lock held): the thread needs no other wake-up. It never takes the GIL and never waits for Python. */
#include <errno.h>
#include <unistd.h>
#include <wlr/types/wlr_output.h>

#include "server.h"
#include "vdisplay.h"

void mc_render_wake(struct mc_server *server)
{
    mc_deadline_timer_fire(&server->render_timer, 1); /* the thread sets it anew when it has looked */
}

/* What the frame caused and the loop thread would otherwise have to wake up for. Flushing one client can fill
 * its socket but never destroys it; what is left, and idle sources that wlroots queued, are the loop
 * thread's. True when there are idle sources. */
bool mc_frames_finish(struct mc_server *server)
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
        if (read(server->render_timer.fd, &expirations, sizeof(expirations)) < 0 && errno != EINTR) {
            mc_log(server, MC_LOG_ERROR, "render thread: its timer cannot be read (errno %d)", errno);
            break;
        }
        server->render_woke_ns = mc_now_ns();
        mc_lock_urgent(&server->lock, true);
        mc_server_lock(server);
        mc_lock_urgent(&server->lock, false);
        server->render_timer.armed_ns = 0;
        mc_vdisplay_settle(server);
        struct mc_output *output, *next;
        wl_list_for_each_safe (output, next, &server->outputs, link) {
            mc_frame_run_due(output);
        }
        server->rearm = true;
        mc_deadlines_apply(server);
        bool idle = mc_frames_finish(server);
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
    int error = mc_deadline_timer_open(&server->render_timer, 0);
    if (error != 0) {
        return error;
    }
    atomic_store(&server->render_stop, false);
    error = pthread_create(&server->render_thread, NULL, render_main, server);
    server->render_running = error == 0;
    return -error;
}

void mc_render_stop(struct mc_server *server)
{
    if (!server->render_running) {
        return;
    }
    atomic_store(&server->render_stop, true);
    mc_deadline_timer_fire(&server->render_timer, 1); /* without the lock */
    pthread_join(server->render_thread, NULL);
    server->render_running = false;
}
