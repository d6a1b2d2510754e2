#include "memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_BYTES (2u << 20)
/* Left alone at the far end of a prefaulted stack: the guard page and what glibc keeps there. */
#define STACK_RESERVE_BYTES (64u << 10)

void mc_memory_init(struct mc_memory *memory)
{
    memset(memory, 0, sizeof(*memory));
    pthread_mutex_init(&memory->mutex, NULL);
}

void mc_memory_finish(struct mc_memory *memory)
{
    pthread_mutex_destroy(&memory->mutex);
}

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

/* Lock held. */
static void list_region(struct mc_memory *memory, enum mc_memory_kind kind, void *address, size_t bytes)
{
    if (memory->region_count == MC_MEMORY_REGIONS) {
        memory->counts.unlisted++;
        return;
    }
    memory->regions[memory->region_count++] =
        (struct mc_memory_region){(uint64_t)(uintptr_t)address, bytes, kind, 0};
}

static void count(uint64_t *done, int32_t *error, int result)
{
    if (result == 0) {
        (*done)++;
    } else {
        *error = errno;
    }
}

/* Whole mappings that begin on a huge page's boundary: mmap gives one that begins anywhere, what is too much
 * on either side goes back. */
static void *map_aligned(size_t bytes)
{
    size_t slack = bytes >= HUGE_BYTES ? HUGE_BYTES : 0;
    char *mapped = mmap(NULL, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
        return NULL;
    }
    if (slack == 0) {
        return mapped;
    }
    size_t before = round_up((uintptr_t)mapped, HUGE_BYTES) - (uintptr_t)mapped;
    if (before > 0) {
        munmap(mapped, before);
    }
    if (slack - before > 0) {
        munmap(mapped + before + bytes, slack - before);
    }
    return mapped + before;
}

void *mc_memory_map(struct mc_memory *memory, enum mc_memory_kind kind, size_t bytes, size_t *bytes_ret)
{
    bool huge = memory != NULL && memory->settings.advise_huge;
    *bytes_ret = round_up(bytes, huge ? HUGE_BYTES : (size_t)sysconf(_SC_PAGESIZE));
    void *address = map_aligned(*bytes_ret);
    if (address == NULL || memory == NULL) {
        return address;
    }
    pthread_mutex_lock(&memory->mutex);
    list_region(memory, kind, address, *bytes_ret);
    if (huge) { /* before populating, which then takes huge pages */
        count(&memory->counts.advised, &memory->counts.advise_error,
              madvise(address, *bytes_ret, MADV_HUGEPAGE));
    }
    if (memory->settings.populate) {
        count(&memory->counts.populated, &memory->counts.populate_error,
              madvise(address, *bytes_ret, MADV_POPULATE_WRITE));
    }
    pthread_mutex_unlock(&memory->mutex);
    return address;
}

void mc_memory_unmap(struct mc_memory *memory, void *address, size_t bytes)
{
    if (address == NULL) {
        return;
    }
    munmap(address, bytes);
    if (memory == NULL) {
        return;
    }
    pthread_mutex_lock(&memory->mutex);
    for (uint32_t i = 0; i < memory->region_count; i++) {
        if (memory->regions[i].address == (uint64_t)(uintptr_t)address) {
            memory->regions[i] = memory->regions[--memory->region_count];
            break;
        }
    }
    pthread_mutex_unlock(&memory->mutex);
}

void mc_memory_release(struct mc_memory *memory, void *address, size_t bytes)
{
    if (memory->settings.released == MC_MEMORY_KEEP) {
        return;
    }
    int advice = memory->settings.released == MC_MEMORY_WIPE ? MADV_DONTNEED : MADV_FREE;
    int result = madvise(address, bytes, advice);
    pthread_mutex_lock(&memory->mutex);
    count(&memory->counts.released, &memory->counts.release_error, result);
    pthread_mutex_unlock(&memory->mutex);
}

void mc_memory_prefault_stack(struct mc_memory *memory)
{
    size_t wanted = (size_t)memory->settings.stack_kib << 10;
    pthread_attr_t attr;
    if (wanted == 0 || pthread_getattr_np(pthread_self(), &attr) != 0) {
        return;
    }
    void *lowest;
    size_t size, page = (size_t)sysconf(_SC_PAGESIZE);
    int error = pthread_attr_getstack(&attr, &lowest, &size);
    pthread_attr_destroy(&attr);
    if (error != 0) {
        return;
    }
    /* The pages below the current frame, by the kernel itself: writing there from C would be undefined. */
    uintptr_t top = (uintptr_t)__builtin_frame_address(0) & ~(page - 1);
    uintptr_t bottom = (uintptr_t)lowest + STACK_RESERVE_BYTES;
    if (top <= bottom) {
        return;
    }
    size_t bytes = round_up(wanted, page) < top - bottom ? round_up(wanted, page) : top - bottom;
    void *from = (void *)(top - bytes);
    int result = madvise(from, bytes, MADV_POPULATE_WRITE);
    pthread_mutex_lock(&memory->mutex);
    list_region(memory, MC_MEMORY_STACK, from, bytes);
    count(&memory->counts.populated, &memory->counts.populate_error, result);
    pthread_mutex_unlock(&memory->mutex);
}

uint32_t mc_memory_look(struct mc_memory *memory, struct mc_memory_region *regions_ret, uint32_t max,
                        struct mc_memory_counts *counts_ret)
{
    pthread_mutex_lock(&memory->mutex);
    uint32_t region_count = memory->region_count;
    for (uint32_t i = 0; i < region_count && i < max; i++) {
        regions_ret[i] = memory->regions[i];
    }
    *counts_ret = memory->counts;
    pthread_mutex_unlock(&memory->mutex);
    return region_count;
}
