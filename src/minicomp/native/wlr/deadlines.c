/* The earliest deadline of all outputs, and whose timer is set to it: the render thread's, or one that the
 * loop thread sleeps on (mc_loop_renders), in any case for rations. With the step clock each output has a
 * timer on modelled time.
 *
 * Threads only note changes: their work changes deadlines several times, and setting a timer is dear (in a
 * virtual machine, an exit). */
#include <errno.h>
#include <sys/timerfd.h>

#include "server.h"

bool mc_loop_renders(const struct mc_server *server)
{
    return !server->render_running || server->early;
}

int mc_deadline_timer_open(struct mc_deadline_timer *timer, int flags)
{
    timer->armed_ns = 0;
    timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | flags);
    return timer->fd >= 0 ? 0 : -errno;
}

void mc_deadline_timer_fire(const struct mc_deadline_timer *timer, uint64_t t_ns)
{
    struct itimerspec spec = {.it_value = mc_timespec(t_ns)}; /* 0 disarms */
    timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

void mc_deadline_timer_set(struct mc_deadline_timer *timer, uint64_t t_ns)
{
    if (timer->fd >= 0 && t_ns != timer->armed_ns) {
        timer->armed_ns = t_ns;
        mc_deadline_timer_fire(timer, t_ns);
    }
}

void mc_deadlines_apply(struct mc_server *server)
{
    if (!server->rearm) {
        return;
    }
    server->rearm = false;
    if (server->step) {
        struct mc_output *output;
        wl_list_for_each (output, &server->outputs, link) {
            if (output->deadline_ns == 0) {
                mc_timer_disarm(&output->deadline);
            } else {
                mc_timer_arm(&output->deadline, output->deadline_ns);
            }
        }
        return;
    }
    bool loop = mc_loop_renders(server);
    uint64_t loop_ns = loop ? server->deadline_ns : 0, ration_ns = server->ration.due_ns;
    bool rations_first = ration_ns != 0 && (loop_ns == 0 || ration_ns < loop_ns);
    mc_deadline_timer_set(&server->loop_timer, rations_first ? ration_ns : loop_ns);
    mc_deadline_timer_set(&server->render_timer, loop ? 0 : server->deadline_ns);
}

void mc_deadlines_changed(struct mc_server *server)
{
    server->deadline_ns = 0;
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        if (output->deadline_ns != 0 &&
            (server->deadline_ns == 0 || output->deadline_ns < server->deadline_ns)) {
            server->deadline_ns = output->deadline_ns;
        }
    }
    server->rearm = true;
    if (server->step || mc_thread_source() == MC_SOURCE_POLICY) {
        mc_deadlines_apply(server);
    }
}
