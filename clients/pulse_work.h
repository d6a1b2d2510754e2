/* The work of one frame: how much, drawn from a distribution, and burning it.
 *
 * Draws depend on the seed only (SplitMix64, Box-Muller, inverse transform), not on the C library's
 * generator, so that two machines burn the same sequence.
 */
#ifndef CLIENTS_PULSE_WORK_H
#define CLIENTS_PULSE_WORK_H

#include <stdbool.h>
#include <stdint.h>

#define PULSE_WORK_MAX_US 1e6 /* a Pareto tail has no end; a test has */

enum pulse_work_kind { PULSE_WORK_FIXED, PULSE_WORK_NORMAL, PULSE_WORK_BIMODAL, PULSE_WORK_PARETO };

struct pulse_work_spec {
    enum pulse_work_kind kind;
    double parameters[3]; /* in the order of the command line; times in us */
};

/* fixed | normal:MEAN_US,SD_US | bimodal:A_US,B_US,P_B | pareto:MIN_US,ALPHA. "fixed" keeps parameters[0].
 * On false it has said on stderr what is allowed. */
bool pulse_work_parse(struct pulse_work_spec *spec, const char *text);

/* Next draw in microseconds, 0 to PULSE_WORK_MAX_US; advances *state (begin with the seed). */
double pulse_work_draw(const struct pulse_work_spec *spec, uint64_t *state);

/* Busy until this thread has used work_us of CPU time. */
void pulse_work_burn(double work_us);

#endif
