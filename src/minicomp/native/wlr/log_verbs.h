/* The process's native log. */
#ifndef MC_LOG_VERBS_H
#define MC_LOG_VERBS_H

struct mc_logring;

/* Installs the handlers of wlroots and libwayland; level: 1 errors, 2 and our own info, 3 and
 * everything. May be called again to change the level. NULL when memory is short. */
struct mc_logring *mc_log_init(int level);
/* Readable while there are messages to take. */
int mc_log_fd(struct mc_logring *ring);

#endif
