/* The activity clock: tells the policy when input has stopped for a while and when it goes on.
 *
 * An event costs a store: the timer is not moved by activity, it looks again when it fires. */
#include <errno.h>
#include <stdlib.h>

#include "idle.h"
#include "idle_verbs.h"
#include "server.h"

/* mc_server.idle_clock; owned. */
struct mc_idle_clock {
    struct mc_timer timer;
    uint64_t after_ns; /* 0: never idle */
    uint64_t active_ns;
    bool inhibited, idle;
};

static uint64_t due_ns(const struct mc_idle_clock *clock)
{
    return clock->active_ns + clock->after_ns;
}

static void handle_timer(void *data, uint64_t deadline_ns)
{
    struct mc_server *server = data;
    struct mc_idle_clock *clock = server->idle_clock;
    if (clock->after_ns == 0 || clock->inhibited || clock->idle) {
        return; /* armed anew when that ends */
    }
    if (due_ns(clock) > deadline_ns) {
        mc_timer_arm(&clock->timer, due_ns(clock));
        return;
    }
    clock->idle = true;
    mc_push(server, MC_EVENT_IDLE, 0, 0, 0);
}

static void restart(struct mc_server *server)
{
    struct mc_idle_clock *clock = server->idle_clock;
    clock->active_ns = mc_server_now_ns(server);
    if (clock->idle) {
        clock->idle = false;
        mc_push(server, MC_EVENT_RESUMED, 0, 0, 0);
    }
    if (clock->after_ns != 0 && !clock->inhibited && clock->timer.deadline_ns == 0) {
        mc_timer_arm(&clock->timer, due_ns(clock));
    }
}

void mc_idle_activity(struct mc_server *server)
{
    if (server->idle_clock != NULL) {
        restart(server);
    }
}

void mc_idle_inhibit(struct mc_server *server, bool inhibited)
{
    /* Becoming visible is what a video does: it switches the screens on. */
    if (server->idle_clock != NULL) {
        server->idle_clock->inhibited = inhibited;
        restart(server);
    }
}

static int create(struct mc_server *server)
{
    struct mc_idle_clock *clock = calloc(1, sizeof(*clock));
    int result = clock != NULL ? mc_timer_init(&clock->timer, server, handle_timer, server) : -ENOMEM;
    if (result != 0) {
        free(clock);
        return result;
    }
    server->idle_clock = clock;
    return 0;
}

int mc_idle_set_timeout(struct mc_server *server, uint64_t after_ms)
{
    mc_verb_begin(server);
    int result = server->idle_clock != NULL ? 0 : create(server);
    if (result == 0) {
        server->idle_clock->after_ns = after_ms * MC_NSEC_PER_MSEC;
        mc_timer_disarm(&server->idle_clock->timer);
        restart(server);
    }
    mc_verb_end(server);
    return result;
}

void mc_idle_finish(struct mc_server *server)
{
    if (server->idle_clock != NULL) {
        mc_timer_finish(&server->idle_clock->timer);
        free(server->idle_clock);
        server->idle_clock = NULL;
    }
}
