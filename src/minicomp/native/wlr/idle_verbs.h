/* Idleness as Python sees it, and the loop thread's sign of life. */
#ifndef MC_IDLE_VERBS_H
#define MC_IDLE_VERBS_H

#include <stdbool.h>
#include <stdint.h>

struct mc_server;

/* MC_EVENT_IDLE when there has been no input for after_ms, MC_EVENT_RESUMED at the next input; 0: never. An
 * active idle inhibitor keeps the first from happening; when the last one goes, the time begins anew. */
int mc_idle_set_timeout(struct mc_server *server, uint64_t after_ms);

/* Asks the loop thread to answer at the end of its next turn, and whether it has answered the last time. They
 * take no lock: whoever watches must not hang with the one that is watched. */
void mc_loop_ask(struct mc_server *server);
bool mc_loop_answered(struct mc_server *server);

/* An fd that is readable once `after_ms` have passed since mc_policy_alarm, unless that was called again; 0:
 * never. For one thread that sets it (policy, before it runs code that may not return) and one that watches;
 * without the lock. */
int mc_policy_alarm_fd(struct mc_server *server);
void mc_policy_alarm(struct mc_server *server, uint64_t after_ms);

#endif
