#include "usage.h"

#include <stdlib.h>
#include <string.h>

#define NSEC_PER_USEC 1000u

void mc_usage_start(struct mc_usage *usage, uint64_t period_ns)
{
    memset(usage, 0, sizeof(*usage));
    usage->period_ns = period_ns;
}

void mc_usage_note(struct mc_usage *usage, uint64_t woke_ns, uint64_t cpu_ns)
{
    if (usage->period_ns == 0) {
        return;
    }
    if (usage->from_ns == 0) { /* what this wake-up used before is not known */
        usage->from_ns = woke_ns;
        usage->from_cpu_ns = usage->cpu_ns = cpu_ns;
        return;
    }
    if (woke_ns - usage->from_ns >= usage->period_ns / 4 * 3) {
        uint64_t us = (usage->cpu_ns - usage->from_cpu_ns + NSEC_PER_USEC - 1) / NSEC_PER_USEC;
        if (us > 0) {
            usage->values_us[usage->next] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
            usage->next = (usage->next + 1) % MC_USAGE_SIZE;
            usage->count += usage->count < MC_USAGE_SIZE;
        }
        usage->from_ns = woke_ns;
        usage->from_cpu_ns = usage->cpu_ns;
    }
    usage->cpu_ns = cpu_ns;
}

static int compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

uint64_t mc_usage_quantile_ns(const struct mc_usage *usage, double quantile, uint32_t few)
{
    if (usage->count < few || usage->count == 0) {
        return 0;
    }
    uint32_t sorted_us[MC_USAGE_SIZE];
    memcpy(sorted_us, usage->values_us, usage->count * sizeof(uint32_t));
    qsort(sorted_us, usage->count, sizeof(uint32_t), compare);
    double rank =
        quantile * usage->count; /* nearest rank: the smallest value with at least this many at or below */
    uint32_t index = rank <= 1 ? 0 : (uint32_t)rank - ((double)(uint32_t)rank == rank);
    return (uint64_t)sorted_us[index < usage->count ? index : usage->count - 1] * NSEC_PER_USEC;
}
