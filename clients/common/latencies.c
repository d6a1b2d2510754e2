/* See latencies.h. */
#include "common/latencies.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/exit_codes.h"

#define FIRST_CAPACITY 65536 /* 18 minutes at 60 Hz before the first realloc */

void latencies_add(struct latencies *latencies, uint64_t value_ns)
{
    if (latencies->count == latencies->capacity) {
        size_t capacity = latencies->capacity == 0 ? FIRST_CAPACITY : latencies->capacity * 2;
        uint64_t *values_ns = realloc(latencies->values_ns, capacity * sizeof(*values_ns));
        if (values_ns == NULL) {
            fputs("no memory for the latencies\n", stderr);
            exit(EXIT_LOCAL);
        }
        latencies->values_ns = values_ns;
        latencies->capacity = capacity;
    }
    latencies->values_ns[latencies->count++] = value_ns;
}

void latencies_finish(struct latencies *latencies)
{
    free(latencies->values_ns);
    *latencies = (struct latencies){0};
}

static int compare_values(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

double latencies_quantile_ms(struct latencies *latencies, double quantile)
{
    qsort(latencies->values_ns, latencies->count, sizeof(uint64_t), compare_values);
    size_t rank = (size_t)ceil(quantile * (double)latencies->count);
    return (double)latencies->values_ns[rank > 0 ? rank - 1 : 0] / (double)NS_PER_MS;
}
