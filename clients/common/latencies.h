/* Commit -> presented times of a run, kept for the summary that a person reads. */
#ifndef CLIENTS_COMMON_LATENCIES_H
#define CLIENTS_COMMON_LATENCIES_H

#include <stddef.h>
#include <stdint.h>

struct latencies {
    uint64_t *values_ns; /* owned */
    size_t count, capacity;
};

void latencies_add(struct latencies *latencies,
                   uint64_t value_ns); /* ends the program when there is no memory */
void latencies_finish(struct latencies *latencies);

/* Nearest-rank quantile (0 to 1) in milliseconds; sorts the values. Needs count > 0. */
double latencies_quantile_ms(struct latencies *latencies, double quantile);

#endif
