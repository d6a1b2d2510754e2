#include "memory_probes.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "chase.h"
#include "clock.h"
#include "syscall_count.h"

#define PAGE 4096u
#define MIB (1u << 20)
#define GIB (1u << 30)

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)
#define MAP_HUGE_1GB (30 << 26)
#endif

int mc_probe_map_high(uint64_t hint)
{
    void *start = mmap((void *)(uintptr_t)hint, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) {
        return 0;
    }
    munmap(start, PAGE);
    return (uintptr_t)start >= hint;
}

int mc_probe_lock(uint64_t start, uint64_t bytes)
{
    return mlock((void *)(uintptr_t)start, bytes) == 0 ? 0 : -errno;
}

struct mapping {
    uint8_t *start; /* aligned to the page size */
    void *mapped;
    size_t mapped_bytes;
};

static int map_pages(int pages, size_t bytes, struct mapping *mapping_ret)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    size_t unit = pages == MC_PROBE_PAGES_1G ? GIB : 2 * MIB;
    size_t rounded = (bytes + unit - 1) / unit * unit;
    if (pages == MC_PROBE_PAGES_2M) {
        flags |= MAP_HUGETLB | MAP_HUGE_2MB;
    } else if (pages == MC_PROBE_PAGES_1G) {
        flags |= MAP_HUGETLB | MAP_HUGE_1GB;
    } else {
        rounded += unit; /* room to align */
    }
    void *mapped = mmap(NULL, rounded, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (mapped == MAP_FAILED) {
        return -errno;
    }
    uintptr_t aligned = ((uintptr_t)mapped + unit - 1) / unit * unit;
    *mapping_ret = (struct mapping){(uint8_t *)aligned, mapped, rounded};
    int advice = pages == MC_PROBE_PAGES_THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;
    if (pages <= MC_PROBE_PAGES_THP && madvise(mapped, rounded, advice) != 0 && pages == MC_PROBE_PAGES_THP) {
        int error = -errno;
        munmap(mapped, rounded);
        return error;
    }
    return 0;
}

/* The place used in a page: another cache line in each, so that they do not all fall into one cache set. Of
 * 64 pages in a row each has another one, and the next 64 have others: where memory is in one piece (huge
 * pages), sets are chosen by the page's number as well, and the same line in every 64th page would use one
 * set in 32. */
static void **place(uint8_t *start, uint32_t page)
{
    return (void **)(start + (size_t)page * PAGE + ((page * 7 + page / 64 * 13) % 64) * 64);
}

int mc_probe_chase(int pages, const uint32_t *counts, int count, int samples, uint32_t loads,
                   double *load_ns_ret)
{
    uint32_t most = 0;
    for (int i = 0; i < count; i++) {
        most = counts[i] > most ? counts[i] : most;
    }
    struct mapping mapping;
    int error = map_pages(pages, (size_t)most * PAGE, &mapping);
    if (error != 0) {
        return error;
    }
    for (uint32_t i = 0; i < most; i++) {
        *place(mapping.start, i) = NULL;
    }
    for (int i = 0; i < count && error == 0; i++) {
        error = mc_chase_link(mapping.start, counts[i], place);
        void **at = mc_chase_follow(place(mapping.start, 0), error == 0 ? counts[i] : 0); /* warm */
        uint32_t length = loads > counts[i] ? loads : counts[i];
        for (int j = 0; j < samples && error == 0; j++) {
            uint64_t began = mc_now_ns();
            at = mc_chase_follow(at, length);
            load_ns_ret[i * samples + j] = (double)(mc_now_ns() - began) / length;
        }
    }
    munmap(mapping.mapped, mapping.mapped_bytes);
    return error;
}

static int open_walk_counter(void)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_HW_CACHE,
        .size = sizeof(attr),
        .config = PERF_COUNT_HW_CACHE_DTLB | PERF_COUNT_HW_CACHE_OP_READ << 8 |
                  PERF_COUNT_HW_CACHE_RESULT_MISS << 16,
        .exclude_kernel = 1,
    };
    int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

double mc_probe_cycle_ns(void)
{
    enum { SAMPLES = 20, ADDITIONS = 200000 };
    double least = 1e9;
    for (int s = 0; s < SAMPLES; s++) {
        uint64_t sum = 0, began_ns = mc_now_ns();
        for (int i = 0; i < ADDITIONS; i++) {
            sum += 3;
            __asm__ volatile("" : "+r"(sum)); /* each waits for the one before, and none is left out */
        }
        double ns = (double)(mc_now_ns() - began_ns) / ADDITIONS;
        least = ns < least ? ns : least;
    }
    return least;
}

int mc_probe_chase_misses(int pages, uint32_t count, uint64_t *loads_ret, uint64_t *misses_ret)
{
    int fd = open_walk_counter();
    if (fd < 0) {
        return fd;
    }
    struct mapping mapping;
    int error = map_pages(pages, (size_t)count * PAGE, &mapping);
    if (error == 0) {
        error = mc_chase_link(mapping.start, count, place);
        if (error == 0) {
            void **at = mc_chase_follow(place(mapping.start, 0), count);
            ioctl(fd, PERF_EVENT_IOC_RESET, 0);
            *loads_ret = 4ull * count;
            mc_chase_follow(at, 4 * count);
            error = read(fd, misses_ret, sizeof(*misses_ret)) == sizeof(*misses_ret) ? 0 : -errno;
        }
        munmap(mapping.mapped, mapping.mapped_bytes);
    }
    close(fd);
    return error;
}

static uint64_t page_faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_minflt;
}

int mc_probe_first_touch(int kind, int pages, uint64_t *map_ns_ret, uint64_t *touch_ns_ret,
                         uint64_t *faults_ret)
{
    size_t bytes = (size_t)pages * PAGE;
    int fd = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    if (kind == MC_PROBE_TOUCH_SHARED) {
        fd = memfd_create("minicomp-probe", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0) {
            return -errno;
        }
        flags = MAP_SHARED;
    } else if (kind == MC_PROBE_TOUCH_POPULATED) {
        flags |= MAP_POPULATE;
    }
    uint64_t began = mc_now_ns();
    volatile uint8_t *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    *map_ns_ret = mc_now_ns() - began;
    int error = start == MAP_FAILED ? -errno : 0;
    memset(touch_ns_ret, 0, (size_t)pages * sizeof(*touch_ns_ret)); /* its own faults are not counted */
    *faults_ret = 0;
    uint64_t faults = page_faults();
    for (int i = 0; i < pages && error == 0; i++) {
        uint64_t before = mc_now_ns();
        start[(size_t)i * PAGE] = 1;
        touch_ns_ret[i] = mc_now_ns() - before;
    }
    if (error == 0) {
        *faults_ret = page_faults() - faults;
        munmap((void *)start, bytes);
    }
    if (fd >= 0) {
        close(fd);
    }
    return error;
}

static uint64_t write_pages(volatile uint8_t *start, int pages)
{
    uint64_t began = mc_now_ns();
    for (int i = 0; i < pages; i++) {
        start[(size_t)i * PAGE] = 1;
    }
    return mc_now_ns() - began;
}

int mc_probe_advice(int advice, int pages, int rounds, uint64_t *advise_ns_ret, uint64_t *again_ns_ret)
{
    struct mapping mapping;
    int error = map_pages(MC_PROBE_PAGES_4K, (size_t)pages * PAGE, &mapping);
    if (error != 0) {
        return error;
    }
    for (int i = 0; i < rounds && error == 0; i++) {
        write_pages(mapping.start, pages);
        uint64_t began = mc_now_ns();
        error = madvise(mapping.start, (size_t)pages * PAGE, advice) == 0 ? 0 : -errno;
        advise_ns_ret[i] = mc_now_ns() - began;
        again_ns_ret[i] = write_pages(mapping.start, pages);
    }
    munmap(mapping.mapped, mapping.mapped_bytes);
    return error;
}

int mc_probe_huge_faults(uint64_t fragment_bytes, int count, uint64_t *fault_ns_ret)
{
    struct mapping filling, regions;
    int error = map_pages(MC_PROBE_PAGES_4K, fragment_bytes, &filling);
    if (error != 0) {
        return error;
    }
    int pages = (int)(fragment_bytes / PAGE);
    write_pages(filling.start, pages);
    for (int i = 0; i < pages && error == 0; i += 2) {
        error = madvise(filling.start + (size_t)i * PAGE, PAGE, MADV_DONTNEED) == 0 ? 0 : -errno;
    }
    size_t bytes = (size_t)count * 2 * MIB;
    void *mapped = mmap(NULL, bytes + 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
        error = -errno;
    } else {
        regions.start = (uint8_t *)(((uintptr_t)mapped + 2 * MIB - 1) / (2 * MIB) * (2 * MIB));
        for (int i = 0; i < count && error == 0; i++) {
            uint64_t began = mc_now_ns();
            *(volatile uint8_t *)(regions.start + (size_t)i * 2 * MIB) = 1;
            fault_ns_ret[i] = mc_now_ns() - began;
        }
        munmap(mapped, bytes + 2 * MIB);
    }
    munmap(filling.mapped, filling.mapped_bytes);
    return error;
}

#define BLOCKS 128
#define BLOCK (64u << 10)

struct freeing {
    int kind;
    void *blocks[BLOCKS];
};

static int block_count(int kind)
{
    return kind == MC_PROBE_FREE_LARGE ? 1 : BLOCKS;
}

static void *allocate(void *data)
{
    struct freeing *freeing = data;
    size_t bytes = freeing->kind == MC_PROBE_FREE_LARGE ? (size_t)BLOCKS * BLOCK : BLOCK;
    for (int i = 0; i < block_count(freeing->kind); i++) {
        freeing->blocks[i] = malloc(bytes);
        if (freeing->blocks[i] != NULL) {
            memset(freeing->blocks[i], 1, bytes);
        }
    }
    return NULL;
}

/* The counter follows the first thread only, so that one frees, whoever allocated: a block goes back to the
 * arena it came from. */
static int free_blocks(void *data)
{
    struct freeing *freeing = data;
    if (freeing->kind == MC_PROBE_FREE_THREAD) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, allocate, freeing) != 0) {
            return EAGAIN;
        }
        pthread_join(thread, NULL);
    } else {
        allocate(freeing);
    }
    mc_count_mark();
    for (int i = block_count(freeing->kind) - 1; i >= 0; i--) {
        free(freeing->blocks[i]);
    }
    mc_count_mark();
    return 0;
}

int mc_probe_free_syscalls(int kind, uint32_t *counts_ret, uint64_t size)
{
    struct freeing freeing = {.kind = kind};
    return mc_count_syscalls(free_blocks, &freeing, counts_ret, (size_t)size);
}
