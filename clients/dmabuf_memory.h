/* dmabuf: memory that can be shared as a dma-buf, from whoever gives it.
 *
 *   udmabuf  pages of a sealed memfd, through /dev/udmabuf
 *   heap     /dev/dma_heap/system
 *   dumb     a KMS dumb buffer, exported by PRIME; --device chooses the card (vgem's too)
 *   memfd    no dma-buf at all: what a compositor must refuse
 *
 * The caller owns the struct; memory_free may be called twice. All sizes are in bytes.
 */
#ifndef CLIENTS_DMABUF_MEMORY_H
#define CLIENTS_DMABUF_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum memory_source { MEMORY_UDMABUF, MEMORY_HEAP, MEMORY_DUMB, MEMORY_MEMFD, MEMORY_SOURCE_COUNT };

struct memory {
    enum memory_source source;
    int fd;          /* the dma-buf, owned */
    int device;      /* dumb: the card, owned; -1 */
    uint32_t handle; /* dumb: the GEM handle on that card */
    size_t bytes;
    uint32_t row_bytes; /* a multiple of 4 */
    void *map;          /* read-write, all of it */
};

extern const char *const memory_source_names[MEMORY_SOURCE_COUNT];

/* At least `bytes`, zeroed and mapped, in rows of row_bytes: for a card's dumb buffer that is more than
 * advice, since virtio-gpu's is a picture of that width on the host, too, and can be scanned out as no other.
 * device: the card for dumb buffers, NULL: the first that has them. False after a message on stderr. */
bool memory_allocate(struct memory *memory, enum memory_source source, size_t bytes, uint32_t row_bytes,
                     const char *device);
void memory_free(struct memory *memory);

/* The first source of dma-bufs that works here; MEMORY_MEMFD: none. Says nothing. */
enum memory_source memory_find_source(const char *device);

/* Around drawing: DMA_BUF_IOCTL_SYNC, start and end of writing. False after a message. */
bool memory_begin_write(const struct memory *memory);
bool memory_end_write(const struct memory *memory);

/* A fence that says "being written" until it is signalled or, after 10 s, expires; vgem's cards only.
 * Its number, or 0 after a message. */
uint32_t memory_attach_fence(const struct memory *memory);
bool memory_signal_fence(const struct memory *memory, uint32_t fence);

#endif
