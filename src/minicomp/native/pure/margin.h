/* A reserve of time that is learned: raised whenever it was too small, lowered a little whenever it was not,
 * in the ratio that makes it too small at a given rate (stochastic approximation, Robbins and Monro 1951).
 *
 * One failure among many successes raises it by a small step. Where failures come much more often than they
 * may, it is raised by what was short as well: else it would take dozens of them to get there. What it was
 * last raised by is also what it forgets at the given rate. Pure. */
#ifndef MC_MARGIN_H
#define MC_MARGIN_H

#include <stdbool.h>
#include <stdint.h>

struct mc_margin {
    uint64_t ns;
    uint64_t step_ns; /* by how much it was last raised */
    uint32_t enough;  /* times that it was enough since it was not */
    bool failed;      /* it was not, once */
};

struct mc_margin_rules {
    double rate;         /* of being too small that is aimed at; 0 < rate < 1 */
    uint64_t step_ns;    /* of a failure */
    uint64_t largest_ns; /* of a step, whatever was short */
    uint64_t most_ns;    /* from here on it is not raised any more */
    uint64_t least_ns;   /* never lowered further: what is too rare for any evidence yet */
};

void mc_margin_begin(struct mc_margin *margin, uint64_t begin_ns, const struct mc_margin_rules *rules);
/* It was too small, by short_ns. */
void mc_margin_failed(struct mc_margin *margin, const struct mc_margin_rules *rules, uint64_t short_ns);
/* It was enough. weight: 1, or how much this says. */
void mc_margin_held(struct mc_margin *margin, const struct mc_margin_rules *rules, double weight);

#endif
