/* One-shot timers on the compositor's clock: a timerfd each in real time, an ordered walk with the step
 * clock. */
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "server.h"

uint64_t mc_server_now_ns(struct mc_server *server)
{
    return server->step ? server->step_now_ns : mc_now_ns();
}

static int handle_timerfd(int fd, uint32_t mask, void *data)
{
    (void)mask;
    struct mc_timer *timer = data;
    uint64_t expirations;
    if (read(fd, &expirations, sizeof(expirations)) != sizeof(expirations)) {
        return 0; /* disarmed or armed anew since epoll said so */
    }
    uint64_t deadline_ns = timer->deadline_ns;
    timer->deadline_ns = 0;
    if (deadline_ns != 0) {
        timer->fire(timer->data, deadline_ns);
    }
    return 0;
}

int mc_timer_init(struct mc_timer *timer, struct mc_server *server,
                  void (*fire)(void *data, uint64_t deadline_ns), void *data)
{
    *timer = (struct mc_timer){.server = server, .fire = fire, .data = data, .fd = -1};
    wl_list_init(&timer->link);
    if (server->step) {
        return 0;
    }
    timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timer->fd < 0) {
        return -errno;
    }
    struct wl_event_loop *loop = wl_display_get_event_loop(server->display);
    timer->source = wl_event_loop_add_fd(loop, timer->fd, WL_EVENT_READABLE, handle_timerfd, timer);
    if (timer->source == NULL) {
        close(timer->fd);
        timer->fd = -1;
        return -ENOMEM;
    }
    return 0;
}

void mc_timer_finish(struct mc_timer *timer)
{
    if (timer->server == NULL) {
        return;
    }
    mc_timer_disarm(timer);
    if (timer->source != NULL) {
        wl_event_source_remove(timer->source);
        timer->source = NULL;
    }
    if (timer->fd >= 0) {
        close(timer->fd);
        timer->fd = -1;
    }
    timer->server = NULL;
}

void mc_timer_arm(struct mc_timer *timer, uint64_t deadline_ns)
{
    struct mc_server *server = timer->server;
    deadline_ns = deadline_ns > 0 ? deadline_ns : 1;
    if (deadline_ns == timer->deadline_ns) {
        return;
    }
    timer->deadline_ns = deadline_ns;
    if (server->step) {
        wl_list_remove(&timer->link);
        wl_list_insert(&server->timers, &timer->link);
        return;
    }
    struct itimerspec spec = {.it_value = mc_timespec(timer->deadline_ns)};
    timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

void mc_timer_disarm(struct mc_timer *timer)
{
    if (timer->deadline_ns == 0) {
        return;
    }
    timer->deadline_ns = 0;
    wl_list_remove(&timer->link);
    wl_list_init(&timer->link);
    if (timer->fd >= 0) {
        struct itimerspec spec = {0};
        timerfd_settime(timer->fd, 0, &spec, NULL);
    }
}

static struct mc_timer *earliest(struct mc_server *server, uint64_t until_ns)
{
    struct mc_timer *first = NULL, *timer;
    wl_list_for_each (timer, &server->timers, link) {
        if (timer->deadline_ns <= until_ns && (first == NULL || timer->deadline_ns < first->deadline_ns)) {
            first = timer;
        }
    }
    return first;
}

uint64_t mc_clock_next_ns(struct mc_server *server)
{
    mc_verb_begin(server);
    struct mc_timer *timer = earliest(server, UINT64_MAX);
    uint64_t next_ns = timer != NULL ? timer->deadline_ns : 0;
    mc_verb_end(server);
    return next_ns;
}

int mc_clock_advance(struct mc_server *server, uint64_t until_ns)
{
    if (!server->step) {
        return -EINVAL;
    }
    mc_verb_begin(server);
    struct wl_event_loop *loop = wl_display_get_event_loop(server->display);
    /* What was asked for before the step belongs to the time before it. */
    wl_event_loop_dispatch_idle(loop);
    struct mc_timer *timer;
    while ((timer = earliest(server, until_ns)) != NULL) {
        uint64_t deadline_ns = timer->deadline_ns;
        if (deadline_ns > server->step_now_ns) {
            server->step_now_ns = deadline_ns;
        }
        mc_timer_disarm(timer);
        timer->fire(timer->data, deadline_ns);
        wl_event_loop_dispatch_idle(loop);
    }
    if (until_ns > server->step_now_ns) {
        server->step_now_ns = until_ns;
    }
    mc_verb_end(server);
    return 0;
}
