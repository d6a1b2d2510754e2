/* See shm_memory.h. */
#include "common/shm_memory.h"

#include <errno.h>
#include <linux/memfd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct {
    const char *name;
    size_t unit; /* sizes are whole multiples: the compositor cannot unmap parts of a hugetlb page */
    unsigned int flags;
} backings[] = {
    [SHM_BACKING_MEMFD] = {"memfd", 1, 0},
    [SHM_BACKING_ADVISED] = {"advised", 2u << 20, 0},
    [SHM_BACKING_HUGETLB_2M] = {"hugetlb-2M", 2u << 20, MFD_HUGETLB | MFD_HUGE_2MB},
    [SHM_BACKING_HUGETLB_1G] = {"hugetlb-1G", 1u << 30, MFD_HUGETLB | MFD_HUGE_1GB},
};

bool shm_backing_parse(const char *text, enum shm_backing *backing_ret)
{
    for (size_t i = 0; i < sizeof(backings) / sizeof(backings[0]); i++) {
        if (strcmp(text, backings[i].name) == 0) {
            *backing_ret = (enum shm_backing)i;
            return true;
        }
    }
    return false;
}

bool shm_backing_is_shared(enum shm_backing backing)
{
    return backings[backing].unit > 1;
}

static char *map(enum shm_backing backing, int fd, size_t bytes)
{
    int populate = backing == SHM_BACKING_ADVISED ? 0 : MAP_POPULATE;
    char *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | populate, fd, 0);
    if (data == MAP_FAILED) {
        return NULL;
    }
    if (backing == SHM_BACKING_ADVISED &&
        (madvise(data, bytes, MADV_HUGEPAGE) != 0 || madvise(data, bytes, MADV_POPULATE_WRITE) != 0)) {
        int reason = errno;
        munmap(data, bytes);
        errno = reason;
        return NULL;
    }
    return data;
}

struct shm_block *shm_block_create(struct wl_shm *shm, enum shm_backing backing, size_t bytes)
{
    size_t unit = backings[backing].unit;
    bytes = (bytes + unit - 1) / unit * unit;
    if (bytes > INT32_MAX) { /* wl_shm.create_pool's size is an int */
        errno = EFBIG;
        return NULL;
    }
    struct shm_block *block = calloc(1, sizeof(*block));
    int fd = memfd_create("client-buffer", MFD_CLOEXEC | backings[backing].flags);
    if (block == NULL || fd < 0 || ftruncate(fd, (off_t)bytes) < 0 ||
        (block->data = map(backing, fd, bytes)) == NULL) {
        int reason = errno;
        if (fd >= 0) {
            close(fd);
        }
        free(block);
        errno = reason;
        return NULL;
    }
    block->bytes = bytes;
    block->users = 1;
    block->wl_pool = wl_shm_create_pool(shm, fd, (int32_t)bytes);
    close(fd);
    return block;
}

void shm_block_use(struct shm_block *block)
{
    block->users++;
}

void shm_block_leave(struct shm_block *block)
{
    if (block == NULL || --block->users > 0) {
        return;
    }
    wl_shm_pool_destroy(block->wl_pool);
    munmap(block->data, block->bytes);
    free(block);
}
