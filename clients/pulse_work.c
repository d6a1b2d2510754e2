/* See pulse_work.h. */
#include "pulse_work.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/arguments.h"
#include "common/clock.h"

#define TWO_PI 6.283185307179586

bool pulse_work_parse(struct pulse_work_spec *spec, const char *text)
{
    static const struct {
        const char *prefix;
        enum pulse_work_kind kind;
        int count;
    } forms[] = {
        {"normal:", PULSE_WORK_NORMAL, 2},
        {"bimodal:", PULSE_WORK_BIMODAL, 3},
        {"pareto:", PULSE_WORK_PARETO, 2},
    };
    if (strcmp(text, "fixed") == 0) {
        spec->kind = PULSE_WORK_FIXED;
        return true;
    }
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        size_t length = strlen(forms[i].prefix);
        if (strncmp(text, forms[i].prefix, length) != 0) {
            continue;
        }
        spec->kind = forms[i].kind;
        if (!argument_doubles("work-dist", text + length, forms[i].count, spec->parameters)) {
            return false;
        }
        if (spec->kind == PULSE_WORK_BIMODAL && spec->parameters[2] > 1) {
            fprintf(stderr, "--work-dist: bimodal's third number is a probability, 0 to 1\n");
            return false;
        }
        if (spec->kind == PULSE_WORK_PARETO && spec->parameters[1] == 0) {
            fprintf(stderr, "--work-dist: pareto's second number, alpha, must be above 0\n");
            return false;
        }
        return true;
    }
    fprintf(stderr,
            "--work-dist: %s is none of fixed, normal:MEAN_US,SD_US, bimodal:A_US,B_US,P_B, "
            "pareto:MIN_US,ALPHA\n",
            text);
    return false;
}

/* SplitMix64 (Steele, Lea, Flood 2014), reduced to (0, 1]: never 0, so that log and pow are finite. */
static double draw_uniform(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    return ((double)(z >> 11) + 1.0) / 9007199254740992.0;
}

double pulse_work_draw(const struct pulse_work_spec *spec, uint64_t *state)
{
    const double *p = spec->parameters;
    double work_us = p[0];
    switch (spec->kind) {
    case PULSE_WORK_FIXED:
        break;
    case PULSE_WORK_NORMAL: {
        double radius = sqrt(-2.0 * log(draw_uniform(state)));
        work_us = p[0] + p[1] * radius * cos(TWO_PI * draw_uniform(state));
        break;
    }
    case PULSE_WORK_BIMODAL:
        work_us = draw_uniform(state) <= p[2] ? p[1] : p[0];
        break;
    case PULSE_WORK_PARETO:
        work_us = p[0] * pow(draw_uniform(state), -1.0 / p[1]);
        break;
    }
    return fmin(fmax(work_us, 0.0), PULSE_WORK_MAX_US);
}

void pulse_work_burn(double work_us)
{
    if (work_us <= 0) {
        return;
    }
    uint64_t end_ns = clock_now_ns(CLOCK_THREAD_CPUTIME_ID) + (uint64_t)(work_us * (double)NS_PER_US);
    while (clock_now_ns(CLOCK_THREAD_CPUTIME_ID) < end_ns) {
    }
}
