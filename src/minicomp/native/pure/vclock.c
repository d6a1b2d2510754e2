#include "vclock.h"

#include <math.h>
#include <string.h>

#define DEFAULT_PERIOD_NS 16666667.0
#define OUTLIER_SHARE 0.2 /* of a period */
#define REJECTS_BEFORE_RESET 3
#define PERIOD_TOLERANCE 0.01 /* how far the line may be from the mode's nominal period */
#define MIN_SPAN 8.0          /* periods that the stamps must span for a slope of their own */
#define COUNT_TOLERANCE 0.05

void mc_vclock_reset(struct mc_vclock *clock, uint64_t nominal_ns)
{
    memset(clock, 0, sizeof(*clock));
    clock->nominal_ns = nominal_ns;
    clock->period_ns = nominal_ns != 0 ? (double)nominal_ns : DEFAULT_PERIOD_NS;
}

/* How many periods lie between the line's origin and t, rounded; negative when t is before it. */
static double periods_since_origin(const struct mc_vclock *clock, uint64_t t_ns)
{
    return ((double)t_ns - (double)clock->origin_ns) / clock->period_ns;
}

static void fit(struct mc_vclock *clock)
{
    uint32_t last = (clock->next + MC_VCLOCK_STAMPS - 1) % MC_VCLOCK_STAMPS;
    clock->origin_seq = clock->seqs[last];
    clock->origin_ns = clock->stamps_ns[last];
    if (clock->count < 2) {
        return;
    }
    /* Relative to the newest stamp, so that doubles keep nanoseconds. */
    double n = clock->count, sum_x = 0, sum_y = 0, sum_xx = 0, sum_xy = 0, earliest = 0;
    for (uint32_t i = 0; i < clock->count; i++) {
        double x = (double)(int64_t)(clock->seqs[i] - clock->origin_seq);
        double y = (double)(int64_t)(clock->stamps_ns[i] - clock->origin_ns);
        earliest = x < earliest ? x : earliest;
        sum_x += x;
        sum_y += y;
        sum_xx += x * x;
        sum_xy += x * y;
    }
    double spread = n * sum_xx - sum_x * sum_x;
    if (spread <= 0 || (clock->nominal_ns != 0 && -earliest < MIN_SPAN)) {
        return;
    }
    double slope = (n * sum_xy - sum_x * sum_y) / spread;
    double nominal = clock->nominal_ns != 0 ? (double)clock->nominal_ns : slope;
    if (slope <= 0 || fabs(slope - nominal) > PERIOD_TOLERANCE * nominal) {
        return; /* a few jittery stamps close together: the mode knows better */
    }
    clock->period_ns = slope;
    double offset = (sum_y - slope * sum_x) / n;
    clock->origin_ns = (uint64_t)((int64_t)clock->origin_ns + (int64_t)llround(offset));
}

static void put(struct mc_vclock *clock, uint64_t seq, uint64_t t_ns)
{
    clock->seqs[clock->next] = seq;
    clock->stamps_ns[clock->next] = t_ns;
    clock->next = (clock->next + 1) % MC_VCLOCK_STAMPS;
    if (clock->count < MC_VCLOCK_STAMPS) {
        clock->count++;
    }
    clock->rejected = 0;
    fit(clock);
}

bool mc_vclock_stamp(struct mc_vclock *clock, uint64_t seq, uint64_t t_ns)
{
    if (clock->count == 0) {
        put(clock, seq, t_ns);
        return true;
    }
    double periods = periods_since_origin(clock, t_ns);
    double whole = round(periods);
    bool fits = fabs(periods - whole) <= OUTLIER_SHARE;
    /* The hardware counter, where it agrees with time, bridges long pauses exactly; where it jumped (a
     * modeset, a driver without one), time decides. */
    uint64_t told = clock->origin_seq + (uint64_t)(int64_t)whole;
    bool counted = seq != 0 && seq > clock->origin_seq &&
                   fabs((double)(seq - clock->origin_seq) - whole) <= 1.0 + fabs(whole) * COUNT_TOLERANCE;
    if (counted && seq != told) {
        told = seq;
        fits = true;
    }
    if (!fits || told == clock->origin_seq) {
        if (++clock->rejected < REJECTS_BEFORE_RESET) {
            return false;
        }
        uint64_t nominal_ns = clock->nominal_ns;
        mc_vclock_reset(clock, nominal_ns);
        put(clock, seq, t_ns);
        return true;
    }
    put(clock, told, t_ns);
    return true;
}

uint64_t mc_vclock_next(const struct mc_vclock *clock, uint64_t t_ns)
{
    if (clock->count == 0) {
        return t_ns + (uint64_t)clock->period_ns;
    }
    double periods = ceil(periods_since_origin(clock, t_ns));
    uint64_t next_ns = (uint64_t)((int64_t)clock->origin_ns + (int64_t)llround(periods * clock->period_ns));
    /* Rounding, and doubles far from the origin, can land a little early. */
    while (next_ns < t_ns) {
        periods += 1;
        next_ns = (uint64_t)((int64_t)clock->origin_ns + (int64_t)llround(periods * clock->period_ns));
    }
    return next_ns;
}

uint64_t mc_vclock_period_ns(const struct mc_vclock *clock)
{
    return (uint64_t)llround(clock->period_ns);
}
