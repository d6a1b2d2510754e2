/* Dependent loads in random order: each place in memory holds the address of the next. For C only. */
#ifndef MC_CHASE_H
#define MC_CHASE_H

#include <stdint.h>

/* Where the i-th place of the memory from `start` is. */
typedef void **(*mc_chase_place)(uint8_t *start, uint32_t i);

/* Links the first `count` places into one cycle in random order, the same in every run: 0 or -ENOMEM. */
int mc_chase_link(uint8_t *start, uint32_t count, mc_chase_place place);
/* Where one is after so many loads. */
void **mc_chase_follow(void **at, uint32_t loads);

#endif
