/* The compositor's own big memory: trace rings and the modelled display's frame buffers, and how the kernel
 * is asked to back it (the knobs knobs.memory.* and knobs.thp.advise_buffers).
 *
 * All of it is private anonymous memory, aligned to 2 MiB where it is that large, so that arms of an
 * experiment differ in the advice alone. Clients' pools, dma-bufs and a driver's buffers are not ours and
 * are never advised. Rules: madvise(2), mmap(2). Any thread; the list of regions has a lock of its own. */
#ifndef MC_MEMORY_H
#define MC_MEMORY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MC_MEMORY_REGIONS 64

enum mc_memory_kind {
    MC_MEMORY_RING = 0,
    MC_MEMORY_FRAME = 1,
    MC_MEMORY_STACK = 2, /* of a native thread: the part that was touched beforehand */
};

/* What becomes of a buffer's pages when the display gives the buffer back. */
enum mc_memory_released {
    MC_MEMORY_KEEP = 0,    /* nothing */
    MC_MEMORY_WIPE = 1,    /* MADV_DONTNEED: gone at once; the next frame faults every page in, zeroed */
    MC_MEMORY_RECYCLE = 2, /* MADV_FREE: the kernel may take them while memory is short, and only then */
};

struct mc_memory_settings {
    bool populate;      /* MADV_POPULATE_WRITE when it is made */
    bool advise_huge;   /* MADV_HUGEPAGE; sizes are rounded up to whole huge pages */
    uint32_t released;  /* enum mc_memory_released */
    uint32_t stack_kib; /* of each native thread, touched before it works; 0: none */
};

/* What the kernel did: counts of calls and the errno of the last one that failed, 0 for none. */
struct mc_memory_counts {
    uint64_t populated, advised, released;
    int32_t populate_error, advise_error, release_error;
    uint32_t unlisted; /* regions beyond MC_MEMORY_REGIONS, in use but not in the list */
};

struct mc_memory_region {
    uint64_t address, bytes; /* as mapped */
    uint32_t kind, pad;      /* enum mc_memory_kind */
};

struct mc_memory {
    struct mc_memory_settings settings; /* set before anything is mapped */
    pthread_mutex_t mutex;              /* guards what follows */
    struct mc_memory_region regions[MC_MEMORY_REGIONS];
    uint32_t region_count;
    struct mc_memory_counts counts;
};

void mc_memory_init(struct mc_memory *memory);
void mc_memory_finish(struct mc_memory *memory);
/* Zeroed pages for at least `bytes`, or NULL; bytes_ret is what to unmap. `memory` may be NULL: no knobs. */
void *mc_memory_map(struct mc_memory *memory, enum mc_memory_kind kind, size_t bytes, size_t *bytes_ret);
void mc_memory_unmap(struct mc_memory *memory, void *address, size_t bytes);
/* The buffer is not shown any more; after wipe and recycle its contents are lost. */
void mc_memory_release(struct mc_memory *memory, void *address, size_t bytes);
/* On the thread whose stack it is, once, before it works. Cut to what the stack has. */
void mc_memory_prefault_stack(struct mc_memory *memory);
/* Copies up to max regions and the counts; how many there are. */
uint32_t mc_memory_look(struct mc_memory *memory, struct mc_memory_region *regions_ret, uint32_t max,
                        struct mc_memory_counts *counts_ret);

#endif
