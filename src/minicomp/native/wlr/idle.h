/* When nobody has used an input device for a while. With the compositor lock held. */
#ifndef MC_IDLE_H
#define MC_IDLE_H

#include <stdbool.h>
#include <stdint.h>

struct mc_server;

void mc_idle_activity(struct mc_server *server);
/* Whether some visible surface inhibits idleness. */
void mc_idle_inhibit(struct mc_server *server, bool inhibited);
void mc_idle_finish(struct mc_server *server);

#endif
