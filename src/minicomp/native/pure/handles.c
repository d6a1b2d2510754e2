#include "handles.h"

#include <stdlib.h>
#include <string.h>

#define GENERATION_MASK 0xffffffu

static uint64_t compose(uint8_t kind, uint32_t generation, uint32_t index)
{
    return (uint64_t)kind << 56 | (uint64_t)(generation & GENERATION_MASK) << 32 | index;
}

void mc_handles_finish(struct mc_handles *handles)
{
    free(handles->slots);
    memset(handles, 0, sizeof(*handles));
}

uint64_t mc_handles_add(struct mc_handles *handles, enum mc_handle_kind kind, void *object)
{
    if (handles->first_free == 0) {
        uint32_t capacity = handles->capacity == 0 ? 64 : handles->capacity * 2;
        struct mc_handle_slot *slots = realloc(handles->slots, capacity * sizeof(*slots));
        if (slots == NULL) {
            return 0;
        }
        memset(slots + handles->capacity, 0, (capacity - handles->capacity) * sizeof(*slots));
        for (uint32_t i = capacity; i-- > handles->capacity;) {
            slots[i].next_free = handles->first_free;
            handles->first_free = i + 1;
        }
        handles->slots = slots;
        handles->capacity = capacity;
    }
    uint32_t index = handles->first_free - 1;
    struct mc_handle_slot *slot = &handles->slots[index];
    handles->first_free = slot->next_free;
    handles->live++;
    slot->object = object;
    slot->kind = (uint8_t)kind;
    slot->generation = (slot->generation + 1) & GENERATION_MASK;
    if (slot->generation == 0) {
        slot->generation = 1;
    }
    return compose(slot->kind, slot->generation, index);
}

static struct mc_handle_slot *find(const struct mc_handles *handles, uint64_t handle)
{
    uint32_t index = (uint32_t)handle;
    if (index >= handles->capacity) {
        return NULL;
    }
    struct mc_handle_slot *slot = &handles->slots[index];
    if (slot->object == NULL || compose(slot->kind, slot->generation, index) != handle) {
        return NULL;
    }
    return slot;
}

void *mc_handles_get(const struct mc_handles *handles, enum mc_handle_kind kind, uint64_t handle)
{
    struct mc_handle_slot *slot = find(handles, handle);
    return slot != NULL && slot->kind == kind ? slot->object : NULL;
}

void mc_handles_remove(struct mc_handles *handles, uint64_t handle)
{
    struct mc_handle_slot *slot = find(handles, handle);
    if (slot == NULL) {
        return;
    }
    slot->object = NULL;
    slot->next_free = handles->first_free;
    handles->first_free = (uint32_t)handle + 1;
    handles->live--;
}
