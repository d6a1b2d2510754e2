/* How much of a thread's time one client may use: an account that fills with time and is spent by work.
 *
 * What a client does not use it may save up for a while, so that a burst (a toolkit's start) is nobody's
 * business. Work comes in lumps (a whole read of its socket) and may overdraw the account, but only by half a
 * refresh's ration: a client in debt is out of it before the next refresh, so once a refresh it is served
 * whatever one lump of its work costs. */
#ifndef MC_RATION_H
#define MC_RATION_H

#include <stdbool.h>
#include <stdint.h>

struct mc_ration_rules {
    double share;       /* of the time; 0 < share < 1 */
    uint64_t saving_ns; /* for so long can it be saved up */
    uint64_t period_ns; /* a refresh */
};

struct mc_ration {
    double credit_ns;
    uint64_t filled_ns; /* until when the account was filled */
};

/* A client that has just come: its account is full. */
void mc_ration_open(struct mc_ration *ration, const struct mc_ration_rules *rules, uint64_t now_ns);
/* It used spent_ns until now. False: that was more than it had. */
bool mc_ration_spend(struct mc_ration *ration, const struct mc_ration_rules *rules, uint64_t now_ns,
                     uint64_t spent_ns);
/* Whether it may be served. */
bool mc_ration_is_paid(struct mc_ration *ration, const struct mc_ration_rules *rules, uint64_t now_ns);
/* What it has saved is void. */
void mc_ration_seize(struct mc_ration *ration, uint64_t now_ns);
/* Whether it has saved up all that it can: for so long it was no trouble. */
bool mc_ration_is_full(struct mc_ration *ration, const struct mc_ration_rules *rules, uint64_t now_ns);

#endif
