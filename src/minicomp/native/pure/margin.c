#include "margin.h"

#include "clock.h"

#define OFTEN 4 /* so many times as often as they may */

void mc_margin_begin(struct mc_margin *margin, uint64_t begin_ns, const struct mc_margin_rules *rules)
{
    *margin = (struct mc_margin){.ns = begin_ns, .step_ns = rules->step_ns};
}

void mc_margin_failed(struct mc_margin *margin, const struct mc_margin_rules *rules, uint64_t short_ns)
{
    if (margin->ns >= rules->most_ns) {
        return;
    }
    bool often = margin->failed && margin->enough * rules->rate * OFTEN < 1;
    margin->step_ns = mc_min_ns(rules->step_ns + (often ? short_ns : 0), rules->largest_ns);
    margin->ns += margin->step_ns;
    margin->failed = true;
    margin->enough = 0;
}

void mc_margin_held(struct mc_margin *margin, const struct mc_margin_rules *rules, double weight)
{
    margin->enough += margin->enough < UINT32_MAX;
    uint64_t lower_ns =
        (uint64_t)((double)margin->step_ns * rules->rate / (1.0 - rules->rate) * weight + 0.5);
    bool near = margin->ns < rules->least_ns + lower_ns;
    margin->ns = near ? rules->least_ns : margin->ns - lower_ns;
}
