/* The memory of wl_shm buffers: a memfd of ordinary pages, of pages advised to be huge, or of hugetlb pages.
 *
 * A block is one memfd, one mapping and one wl_shm_pool. Ordinary memory has a block for every buffer; huge
 * pages are too large for that, so several buffers share one. Blocks are counted by their buffers. */
#ifndef CLIENTS_COMMON_SHM_MEMORY_H
#define CLIENTS_COMMON_SHM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <wayland-client.h>

enum shm_backing {
    SHM_BACKING_MEMFD = 0,
    SHM_BACKING_ADVISED = 1,    /* MADV_HUGEPAGE: what the machine's shmem_enabled makes of it */
    SHM_BACKING_HUGETLB_2M = 2, /* reserved huge pages; allocation fails where there are none */
    SHM_BACKING_HUGETLB_1G = 3,
};

struct shm_block {
    char *data;
    size_t bytes, used;
    struct wl_shm_pool *wl_pool;
    int users;
};

/* "memfd", "advised", "hugetlb-2M" or "hugetlb-1G"; false for anything else. */
bool shm_backing_parse(const char *text, enum shm_backing *backing_ret);
/* Whether one block serves several buffers. */
bool shm_backing_is_shared(enum shm_backing backing);
/* At least `bytes`, populated, so that no frame pays for page faults; one user. NULL with errno. */
struct shm_block *shm_block_create(struct wl_shm *shm, enum shm_backing backing, size_t bytes);
void shm_block_use(struct shm_block *block);
/* The last user's leave unmaps it. NULL is allowed. */
void shm_block_leave(struct shm_block *block);

#endif
