/* Pacing as Python sees and sets it. */
#include <errno.h>
#include <string.h>

#include "server.h"
#include "server_verbs.h"

int mc_output_pacing(struct mc_server *server, uint64_t handle, struct mc_pacing_info *info_ret)
{
    mc_verb_begin(server);
    struct mc_output *output = mc_output_by_handle(server, handle);
    if (output != NULL) {
        const struct mc_pacing *pacing = &output->pacing;
        const struct mc_pacing_load *alone = &pacing->loads[false];
        *info_ret = (struct mc_pacing_info){
            .budget_ns = mc_pacing_budget_ns(pacing),
            .cost_ns = mc_window_upper_ns(&alone->cost, 0),
            .latch_low_ns = pacing->latch_low_ns,
            .latch_high_ns = pacing->latch_high_ns,
            .safety_ns = alone->safety.ns,
            .period_ns = mc_vclock_period_ns(&pacing->clock),
            .frames = pacing->frames,
            .misses = pacing->misses,
            .probe_misses = pacing->probe_misses,
            .early_frames = output->early_frames,
            .mode = (int32_t)pacing->mode,
            .fixed_ns = pacing->fixed_ns,
            .target_miss_rate = pacing->target_miss_rate,
            .cost_count = alone->cost.count,
            .shown_count = output->shown.count,
        };
        _Static_assert(sizeof(info_ret->cost_us) == sizeof(alone->cost.sorted_us), "window size");
        memcpy(info_ret->cost_us, alone->cost.sorted_us, sizeof(info_ret->cost_us));
        memcpy(info_ret->shown_us, output->shown.sorted_us, sizeof(info_ret->shown_us));
    }
    mc_look_end(server);
    return output != NULL ? 0 : -ENOENT;
}

int mc_server_set_pacing(struct mc_server *server, int mode, uint64_t fixed_ns, double target_miss_rate)
{
    if (mode < MC_PACING_ASAP || mode > MC_PACING_ADAPTIVE ||
        !(target_miss_rate > 0 && target_miss_rate < 1)) {
        return -EINVAL;
    }
    mc_verb_begin(server);
    server->pacing = (struct mc_pacing_settings){(enum mc_pacing_mode)mode, fixed_ns, target_miss_rate};
    struct mc_output *output;
    wl_list_for_each (output, &server->outputs, link) {
        output->pacing.mode = server->pacing.mode;
        output->pacing.fixed_ns = fixed_ns;
        output->pacing.target_miss_rate = target_miss_rate;
    }
    mc_verb_end(server);
    return 0;
}
