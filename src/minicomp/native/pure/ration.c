#include "ration.h"

static double most_ns(const struct mc_ration_rules *rules)
{
    return rules->share * (double)rules->saving_ns;
}

static void fill(struct mc_ration *ration, const struct mc_ration_rules *rules, uint64_t now_ns)
{
    if (now_ns > ration->filled_ns) {
        ration->credit_ns += rules->share * (double)(now_ns - ration->filled_ns);
        ration->filled_ns = now_ns;
    }
    if (ration->credit_ns > most_ns(rules)) {
        ration->credit_ns = most_ns(rules);
    }
}

void mc_ration_open(struct mc_ration *ration, const struct mc_ration_rules *rules, uint64_t now_ns)
{
    *ration = (struct mc_ration){.credit_ns = most_ns(rules), .filled_ns = now_ns};
}

bool mc_ration_spend(struct mc_ration *ration, const struct mc_ration_rules *rules, uint64_t now_ns,
                     uint64_t spent_ns)
{
    fill(ration, rules, now_ns);
    double debt_ns = rules->share * (double)rules->period_ns / 2;
    ration->credit_ns -= (double)spent_ns;
    if (ration->credit_ns < -debt_ns) {
        ration->credit_ns = -debt_ns;
    }
    return ration->credit_ns >= 0;
}

bool mc_ration_is_paid(struct mc_ration *ration, const struct mc_ration_rules *rules, uint64_t now_ns)
{
    fill(ration, rules, now_ns);
    return ration->credit_ns >= 0;
}

void mc_ration_seize(struct mc_ration *ration, uint64_t now_ns)
{
    *ration = (struct mc_ration){.filled_ns = now_ns};
}

bool mc_ration_is_full(struct mc_ration *ration, const struct mc_ration_rules *rules, uint64_t now_ns)
{
    fill(ration, rules, now_ns);
    return ration->credit_ns >= most_ns(rules);
}
