#include "chase.h"

#include <errno.h>
#include <stdlib.h>

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

int mc_chase_link(uint8_t *start, uint32_t count, mc_chase_place place)
{
    uint32_t *order = malloc(count * sizeof(*order));
    if (order == NULL) {
        return -ENOMEM;
    }
    uint64_t state = count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = next_random(&state) % (i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (uint32_t i = 0; i < count; i++) {
        *place(start, order[i]) = (void *)place(start, order[(i + 1) % count]);
    }
    free(order);
    return 0;
}

void **mc_chase_follow(void **at, uint32_t loads)
{
    for (uint32_t i = 0; i < loads; i++) {
        at = *(void *volatile *)at;
    }
    return at;
}
