/* See dmabuf_memory.h. */
#include "dmabuf_memory.h"

#include <drm.h>
#include <drm_mode.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_BYTES 4096u

/* The kernel's include/uapi/drm/vgem_drm.h, which libdrm does not ship. */
struct vgem_fence_attach {
    uint32_t handle, flags, out_fence, padding;
};
struct vgem_fence_signal {
    uint32_t fence, flags;
};
#define VGEM_FENCE_WRITE 1u
#define IOCTL_VGEM_FENCE_ATTACH DRM_IOWR(DRM_COMMAND_BASE + 1, struct vgem_fence_attach)
#define IOCTL_VGEM_FENCE_SIGNAL DRM_IOW(DRM_COMMAND_BASE + 2, struct vgem_fence_signal)

const char *const memory_source_names[MEMORY_SOURCE_COUNT] = {
    [MEMORY_UDMABUF] = "udmabuf",
    [MEMORY_HEAP] = "heap",
    [MEMORY_DUMB] = "dumb",
    [MEMORY_MEMFD] = "memfd",
};

static bool quiet; /* while trying what there is */

static bool complain(const char *what, const char *path)
{
    int error = errno;
    if (!quiet) {
        fprintf(stderr, "dmabuf: %s %s: %s\n", what, path, strerror(error));
    }
    errno = error;
    return false;
}

static bool make_memfd(struct memory *memory, int *fd_ret)
{
    int fd = memfd_create("dmabuf-client", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return complain("cannot make", "a memfd");
    }
    /* udmabuf wants to be sure that its pages stay. */
    if (ftruncate(fd, (off_t)memory->bytes) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
        complain("cannot size and seal", "a memfd");
        close(fd);
        return false;
    }
    *fd_ret = fd;
    return true;
}

static bool allocate_udmabuf(struct memory *memory)
{
    int memfd;
    if (!make_memfd(memory, &memfd)) {
        return false;
    }
    int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
    if (device < 0) {
        complain("cannot open", "/dev/udmabuf");
        close(memfd);
        return false;
    }
    struct udmabuf_create create = {
        .memfd = (uint32_t)memfd, .flags = UDMABUF_FLAGS_CLOEXEC, .offset = 0, .size = memory->bytes};
    memory->fd = ioctl(device, UDMABUF_CREATE, &create);
    if (memory->fd < 0) {
        complain("UDMABUF_CREATE on", "/dev/udmabuf");
    }
    close(device);
    close(memfd); /* the dma-buf holds the pages */
    return memory->fd >= 0;
}

static bool allocate_heap(struct memory *memory)
{
    int heap = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC);
    if (heap < 0) {
        return complain("cannot open", "/dev/dma_heap/system");
    }
    struct dma_heap_allocation_data data = {.len = memory->bytes, .fd_flags = O_RDWR | O_CLOEXEC};
    bool ok = ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) == 0;
    if (ok) {
        memory->fd = (int)data.fd;
    } else {
        complain("DMA_HEAP_IOCTL_ALLOC on", "/dev/dma_heap/system");
    }
    close(heap);
    return ok;
}

static bool allocate_dumb_on(struct memory *memory, const char *path)
{
    memory->device = open(path, O_RDWR | O_CLOEXEC);
    if (memory->device < 0) {
        return complain("cannot open", path);
    }
    /* Whoever opens a card first is its master, and the compositor could not become it. */
    ioctl(memory->device, DRM_IOCTL_DROP_MASTER, 0);
    struct drm_mode_create_dumb create = {
        .width = memory->row_bytes / 4,
        .height = (uint32_t)((memory->bytes + memory->row_bytes - 1) / memory->row_bytes),
        .bpp = 32,
    };
    if (ioctl(memory->device, DRM_IOCTL_MODE_CREATE_DUMB, &create) != 0) {
        return complain("DRM_IOCTL_MODE_CREATE_DUMB on", path);
    }
    memory->handle = create.handle;
    memory->bytes = create.size < memory->bytes ? create.size : memory->bytes;
    struct drm_prime_handle prime = {.handle = create.handle, .flags = DRM_CLOEXEC | DRM_RDWR};
    if (ioctl(memory->device, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime) != 0) {
        return complain("DRM_IOCTL_PRIME_HANDLE_TO_FD on", path);
    }
    memory->fd = prime.fd;
    return true;
}

static bool allocate_dumb(struct memory *memory, const char *device)
{
    if (device != NULL) {
        return allocate_dumb_on(memory, device);
    }
    glob_t cards;
    bool ok = false;
    if (glob("/dev/dri/card*", 0, NULL, &cards) != 0) {
        errno = ENOENT;
        return complain("cannot open", "/dev/dri/card*");
    }
    for (size_t i = 0; i < cards.gl_pathc && !ok; i++) {
        ok = allocate_dumb_on(memory, cards.gl_pathv[i]);
        if (!ok && memory->device >= 0) {
            close(memory->device);
            memory->device = -1;
        }
    }
    globfree(&cards);
    return ok;
}

bool memory_allocate(struct memory *memory, enum memory_source source, size_t bytes, uint32_t row_bytes,
                     const char *device)
{
    *memory = (struct memory){.source = source,
                              .fd = -1,
                              .device = -1,
                              .row_bytes = row_bytes / 4 != 0 ? row_bytes / 4 * 4 : 4,
                              .bytes = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES};
    bool ok = source == MEMORY_UDMABUF ? allocate_udmabuf(memory)
              : source == MEMORY_HEAP  ? allocate_heap(memory)
              : source == MEMORY_DUMB  ? allocate_dumb(memory, device)
                                       : make_memfd(memory, &memory->fd);
    if (ok) {
        memory->map = mmap(NULL, memory->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, 0);
        if (memory->map == MAP_FAILED) {
            memory->map = NULL;
            ok = complain("cannot map memory of", memory_source_names[source]);
        }
    }
    if (!ok) {
        memory_free(memory);
    }
    return ok;
}

void memory_free(struct memory *memory)
{
    if (memory->map != NULL) {
        munmap(memory->map, memory->bytes);
        memory->map = NULL;
    }
    if (memory->fd >= 0) {
        close(memory->fd);
        memory->fd = -1;
    }
    if (memory->device >= 0) {
        close(memory->device); /* and its GEM handles with it */
        memory->device = -1;
    }
}

enum memory_source memory_find_source(const char *device)
{
    struct memory memory;
    quiet = true;
    enum memory_source source = 0;
    while (source != MEMORY_MEMFD && !memory_allocate(&memory, source, PAGE_BYTES, PAGE_BYTES, device)) {
        source++;
    }
    quiet = false;
    if (source != MEMORY_MEMFD) {
        memory_free(&memory);
    }
    return source;
}

static bool synchronise(const struct memory *memory, uint64_t flags)
{
    if (memory->source == MEMORY_MEMFD) {
        return true;
    }
    struct dma_buf_sync sync = {.flags = flags | DMA_BUF_SYNC_WRITE};
    int result;
    do {
        result = ioctl(memory->fd, DMA_BUF_IOCTL_SYNC, &sync);
    } while (result < 0 && (errno == EINTR || errno == EAGAIN));
    return result == 0 || complain("DMA_BUF_IOCTL_SYNC on memory of", memory_source_names[memory->source]);
}

bool memory_begin_write(const struct memory *memory)
{
    return synchronise(memory, DMA_BUF_SYNC_START);
}

bool memory_end_write(const struct memory *memory)
{
    return synchronise(memory, DMA_BUF_SYNC_END);
}

uint32_t memory_attach_fence(const struct memory *memory)
{
    struct vgem_fence_attach attach = {.handle = memory->handle, .flags = VGEM_FENCE_WRITE};
    if (memory->device < 0 || ioctl(memory->device, IOCTL_VGEM_FENCE_ATTACH, &attach) != 0) {
        complain("DRM_IOCTL_VGEM_FENCE_ATTACH",
                 "(--fence-ms needs --allocator dumb --device CARD, a vgem card)");
        return 0;
    }
    return attach.out_fence;
}

bool memory_signal_fence(const struct memory *memory, uint32_t fence)
{
    struct vgem_fence_signal signal = {.fence = fence};
    return ioctl(memory->device, IOCTL_VGEM_FENCE_SIGNAL, &signal) == 0 ||
           complain("DRM_IOCTL_VGEM_FENCE_SIGNAL on", "the card");
}
