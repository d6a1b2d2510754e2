/* Names for native objects that Python may hold: generation-checked, never dangling.
 *
 * A handle is (kind, generation, index) in 64 bits. Looking up one whose object has died gives NULL, so a
 * late verb says "gone" instead of touching freed memory. Guarded by the compositor lock. */
#ifndef MC_HANDLES_H
#define MC_HANDLES_H

#include <stdint.h>

enum mc_handle_kind {
    MC_HANDLE_NONE = 0,
    MC_HANDLE_OUTPUT = 1,
    MC_HANDLE_WINDOW = 2,
    MC_HANDLE_LAYER = 3,
    MC_HANDLE_DEVICE = 4,
    MC_HANDLE_CLIENT = 5,
};

struct mc_handle_slot {
    void *object; /* NULL when free */
    uint32_t generation;
    uint32_t next_free;
    uint8_t kind;
};

struct mc_handles {
    struct mc_handle_slot *slots; /* owned */
    uint32_t capacity;
    uint32_t first_free; /* index + 1; 0 when none */
    uint32_t live;
};

void mc_handles_finish(struct mc_handles *handles);
/* 0 when memory is short. */
uint64_t mc_handles_add(struct mc_handles *handles, enum mc_handle_kind kind, void *object);
/* NULL when the handle is dead or of another kind. */
void *mc_handles_get(const struct mc_handles *handles, enum mc_handle_kind kind, uint64_t handle);
void mc_handles_remove(struct mc_handles *handles, uint64_t handle);

static inline enum mc_handle_kind mc_handle_kind(uint64_t handle)
{
    return (enum mc_handle_kind)(handle >> 56);
}

#endif
