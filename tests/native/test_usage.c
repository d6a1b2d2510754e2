/* CPU time per refresh, and SIGXCPU counted instead of deadly. */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "overrun.h"
#include "usage.h"

#define PERIOD_NS (16 * MC_NSEC_PER_MSEC)

/* One frame a refresh, each costing 1 ms, waking up to 2 ms early or late. */
static void test_one_wake_up_per_refresh(void)
{
    struct mc_usage usage;
    mc_usage_start(&usage, PERIOD_NS);
    uint64_t cpu_ns = 5 * MC_NSEC_PER_SEC;
    for (uint64_t i = 1; i <= 100; i++) {
        uint64_t jitter_ns = (i * 7919) % (2 * MC_NSEC_PER_MSEC);
        cpu_ns += MC_NSEC_PER_MSEC;
        mc_usage_note(&usage, i * PERIOD_NS + jitter_ns, cpu_ns);
    }
    assert(usage.count == 98); /* the first wake-up's own use is unknown, the last refresh is not over */
    assert(mc_usage_quantile_ns(&usage, 0.01, 30) == MC_NSEC_PER_MSEC);
    assert(mc_usage_quantile_ns(&usage, 1.0, 30) == MC_NSEC_PER_MSEC);
    assert(mc_usage_quantile_ns(&usage, 1.0, 99) == 0);
}

/* Two outputs wake the thread twice: their costs are paid from one budget. */
static void test_several_wake_ups_add_up(void)
{
    struct mc_usage usage;
    mc_usage_start(&usage, PERIOD_NS);
    uint64_t cpu_ns = 0;
    for (uint64_t i = 1; i <= 50; i++) {
        for (uint64_t part = 0; part < 2; part++) {
            cpu_ns += (part + 1) * MC_NSEC_PER_MSEC;
            mc_usage_note(&usage, i * PERIOD_NS + part * 5 * MC_NSEC_PER_MSEC, cpu_ns);
        }
    }
    assert(usage.count >= 48);
    assert(mc_usage_quantile_ns(&usage, 0.5, 30) == 3 * MC_NSEC_PER_MSEC);
}

/* Nothing to do for a while: a rest is no period, and what follows is not divided by it. */
static void test_a_rest_is_left_out(void)
{
    struct mc_usage usage;
    mc_usage_start(&usage, PERIOD_NS);
    mc_usage_note(&usage, PERIOD_NS, MC_NSEC_PER_MSEC);
    for (uint64_t i = 1; i <= 40; i++) {
        mc_usage_note(&usage, i * 100 * PERIOD_NS, (1 + 2 * i) * MC_NSEC_PER_MSEC);
    }
    assert(usage.count == 39);
    assert(mc_usage_quantile_ns(&usage, 0.5, 30) == 2 * MC_NSEC_PER_MSEC);
}

static void test_quantiles_are_nearest_ranks(void)
{
    struct mc_usage usage;
    mc_usage_start(&usage, PERIOD_NS);
    uint64_t cpu_ns = 1;
    mc_usage_note(&usage, PERIOD_NS, cpu_ns);
    for (uint64_t i = 1; i <= 101; i++) { /* 1 us, 2 us, ... 100 us; the last is not over */
        cpu_ns += i * MC_NSEC_PER_USEC;
        mc_usage_note(&usage, (i + 1) * PERIOD_NS, cpu_ns);
    }
    assert(usage.count == 100); /* the first wake-up used nothing more: no sample */
    assert(mc_usage_quantile_ns(&usage, 0.0, 1) == MC_NSEC_PER_USEC);
    assert(mc_usage_quantile_ns(&usage, 0.5, 1) == 50 * MC_NSEC_PER_USEC);
    assert(mc_usage_quantile_ns(&usage, 0.99, 1) == 99 * MC_NSEC_PER_USEC);
    assert(mc_usage_quantile_ns(&usage, 1.0, 1) == 100 * MC_NSEC_PER_USEC);
}

static void test_the_newest_replace_the_oldest(void)
{
    struct mc_usage usage;
    mc_usage_start(&usage, PERIOD_NS);
    uint64_t cpu_ns = 1;
    for (uint64_t i = 1; i <= 3 * MC_USAGE_SIZE; i++) {
        cpu_ns += i < 2 * MC_USAGE_SIZE - 1 ? 9 * MC_NSEC_PER_MSEC : MC_NSEC_PER_MSEC;
        mc_usage_note(&usage, i * PERIOD_NS, cpu_ns);
    }
    assert(usage.count == MC_USAGE_SIZE);
    assert(mc_usage_quantile_ns(&usage, 1.0, 1) == MC_NSEC_PER_MSEC);
}

static void test_off(void)
{
    struct mc_usage usage;
    mc_usage_start(&usage, 0);
    mc_usage_note(&usage, PERIOD_NS, PERIOD_NS);
    mc_usage_note(&usage, 3 * PERIOD_NS, 2 * PERIOD_NS);
    assert(usage.count == 0);
    assert(mc_usage_quantile_ns(&usage, 0.5, 0) == 0);
}

static void test_overruns_are_counted(void)
{
    assert(mc_overrun_watch() == 0);
    uint64_t before_ns = mc_now_ns(), at_ns = 0;
    for (int i = 0; i < 5; i++) {
        kill(getpid(), SIGXCPU);
    }
    assert(mc_overrun_count(&at_ns) == 5);
    assert(at_ns >= before_ns);
    assert(mc_overrun_count(NULL) == 5);
}

int main(void)
{
    test_one_wake_up_per_refresh();
    test_several_wake_ups_add_up();
    test_a_rest_is_left_out();
    test_quantiles_are_nearest_ranks();
    test_the_newest_replace_the_oldest();
    test_off();
    test_overruns_are_counted();
    puts("ok");
    return 0;
}
