/* Who the native threads are, what they use, and when a deadline budget was spent. */
#include "threads.h"

#include <stddef.h>
#include <unistd.h>

#include "server.h"
#include "threads_verbs.h"

#define FEW_PERIODS 30 /* below this many measured periods nothing is said about their cost */
#define PATIENCE_US 100

void mc_thread_begins(struct mc_server *server)
{
    atomic_store(&server->threads.tids[mc_thread_source()], gettid());
}

void mc_thread_ends(struct mc_server *server)
{
    atomic_store(&server->threads.tids[mc_thread_source()], 0);
}

void mc_thread_worked(struct mc_server *server, uint64_t woke_ns)
{
    struct mc_threads *threads = &server->threads;
    struct mc_usage *usage = &threads->usage[mc_thread_source()];
    if (usage->period_ns != 0) {
        mc_usage_note(usage, woke_ns, mc_thread_cpu_ns());
    }
    uint64_t at_ns, overruns = mc_overrun_count(&at_ns);
    if (overruns != threads->overruns_traced) {
        mc_trace_now(&server->trace, MC_POINT_DEADLINE_OVERRUN, 0, 0, 0, at_ns,
                     (uint32_t)(overruns - threads->overruns_traced));
        threads->overruns_traced = overruns;
    }
}

int mc_thread_id(struct mc_server *server, int source)
{
    bool running = source == MC_SOURCE_LOOP ? server->loop_running : server->render_running;
    int tid = 0;
    while (running && (tid = atomic_load(&server->threads.tids[source])) == 0) {
        usleep(PATIENCE_US); /* it was created a moment ago */
    }
    return tid;
}

void mc_threads_wake(struct mc_server *server)
{
    mc_verb_begin(server);
    if (server->render_running) {
        mc_render_wake(server);
    }
    mc_verb_end(server); /* kicks the loop thread */
}

void mc_usage_measure(struct mc_server *server, uint64_t period_ns)
{
    mc_verb_begin(server);
    mc_usage_start(&server->threads.usage[MC_SOURCE_LOOP], period_ns);
    mc_usage_start(&server->threads.usage[MC_SOURCE_RENDER], period_ns);
    mc_look_end(server);
}

uint64_t mc_usage_ns(struct mc_server *server, int source, double quantile)
{
    mc_verb_begin(server);
    struct mc_usage usage = server->threads.usage[source];
    mc_look_end(server);
    return mc_usage_quantile_ns(&usage, quantile, FEW_PERIODS);
}

bool mc_server_lock_inherits(struct mc_server *server)
{
    return mc_lock_inherits(&server->lock);
}
