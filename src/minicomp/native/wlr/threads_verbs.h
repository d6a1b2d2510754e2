/* The native threads as the lab's knobs see them. */
#ifndef MC_THREADS_VERBS_H
#define MC_THREADS_VERBS_H

struct mc_server;

/* The kernel's id of the loop (0) or render (1) thread, from when mc_loop_start or mc_render_start has
 * returned; 0: there is none. */
int mc_thread_id(struct mc_server *server, int source);
/* Lets both threads run once. After a change of its CPUs a sleeping thread is still on the old one, and the
 * kernel judges a request for deadline scheduling by where it is (sched_setattr(2)). */
void mc_threads_wake(struct mc_server *server);
/* Begins to measure, anew, what CPU time loop and render thread use in period_ns; 0 stops. Two system calls a
 * wake-up while it is on. */
void mc_usage_measure(struct mc_server *server, uint64_t period_ns);
/* A quantile (0 to 1) of what the loop (0) or render (1) thread used per period; 0: too few were measured. */
uint64_t mc_usage_ns(struct mc_server *server, int source, double quantile);
/* SIGXCPU is counted from now on, and no longer deadly; 0 or -errno. */
int mc_overrun_watch(void);
/* How often a deadline budget was spent. at_ns_ret: when last, or NULL. */
uint64_t mc_overrun_count(uint64_t *at_ns_ret);
/* Whether the compositor lock inherits priorities (knobs.lock.kind). */
bool mc_server_lock_inherits(struct mc_server *server);

#endif
