/* wlr-output-management: what clients see of the outputs, and what they wish for, as data for the policy. */
#include <errno.h>
#include <wlr/types/wlr_output.h>
#include <wlr/types/wlr_output_layout.h>
#include <wlr/types/wlr_output_management_v1.h>

#include "server.h"

size_t mc_output_management_wishes(struct mc_server *server, uint64_t configuration,
                                   struct mc_output_wish *wishes_ret, size_t max)
{
    size_t count = 0;
    mc_verb_begin(server);
    struct wlr_output_configuration_v1 *asked =
        (struct wlr_output_configuration_v1 *)(uintptr_t)configuration;
    struct wlr_output_configuration_head_v1 *head;
    wl_list_for_each (head, &asked->heads, link) {
        const struct wlr_output_head_v1_state *state = &head->state;
        struct mc_output *output = mc_output_from(server, state->output);
        if (output == NULL || count == max) {
            continue;
        }
        struct mc_output_wish *wish = &wishes_ret[count++];
        *wish = (struct mc_output_wish){.output = output->handle};
        wish->config.enabled = state->enabled;
        wish->config.width = state->mode != NULL ? state->mode->width : state->custom_mode.width;
        wish->config.height = state->mode != NULL ? state->mode->height : state->custom_mode.height;
        wish->config.refresh_mhz = state->mode != NULL ? state->mode->refresh : state->custom_mode.refresh;
        wish->config.scale = state->scale;
        wish->config.transform = (int32_t)state->transform;
        wish->config.x = state->x;
        wish->config.y = state->y;
    }
    mc_verb_end(server);
    return count;
}

void mc_output_management_answer(struct mc_server *server, uint64_t configuration, bool succeeded)
{
    mc_verb_begin(server);
    struct wlr_output_configuration_v1 *asked =
        (struct wlr_output_configuration_v1 *)(uintptr_t)configuration;
    if (succeeded) {
        wlr_output_configuration_v1_send_succeeded(asked);
    } else {
        wlr_output_configuration_v1_send_failed(asked);
    }
    wlr_output_configuration_v1_destroy(asked);
    mc_verb_end(server);
}

int mc_output_management_publish(struct mc_server *server, struct wlr_output_manager_v1 *manager)
{
    mc_verb_begin(server);
    struct wlr_output_configuration_v1 *current = wlr_output_configuration_v1_create();
    struct mc_output *output;
    if (current == NULL) {
        mc_verb_end(server);
        return -ENOMEM;
    }
    wl_list_for_each (output, &server->outputs, link) {
        struct wlr_output_configuration_head_v1 *head =
            wlr_output_configuration_head_v1_create(current, output->wlr_output);
        struct wlr_output_layout_output *place =
            wlr_output_layout_get(server->output_layout, output->wlr_output);
        if (head != NULL && place != NULL) {
            head->state.enabled = true; /* asleep or not: its power is another protocol's */
            head->state.x = place->x;
            head->state.y = place->y;
        }
    }
    wlr_output_manager_v1_set_configuration(manager, current);
    mc_verb_end(server);
    return 0;
}
