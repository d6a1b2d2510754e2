/* Our own memory: what each advice does is seen by mincore and in the pages' contents, not by what madvise
 * returned. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"
#include "trace.h"

#define BYTES (3u << 20)
#define HUGE (2u << 20)
#define STACK_KIB 256

static struct mc_memory memory;

static size_t resident_pages(void *address, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), count = (bytes + page - 1) / page, resident = 0;
    unsigned char *pages = malloc(count);
    assert(mincore(address, bytes, pages) == 0);
    for (size_t i = 0; i < count; i++) {
        resident += pages[i] & 1;
    }
    free(pages);
    return resident;
}

static size_t pages_of(size_t bytes)
{
    return bytes / (size_t)sysconf(_SC_PAGESIZE);
}

static void begin(struct mc_memory_settings settings)
{
    mc_memory_init(&memory);
    memory.settings = settings;
}

static void test_without_knobs(void)
{
    begin((struct mc_memory_settings){0});
    size_t bytes;
    char *data = mc_memory_map(&memory, MC_MEMORY_FRAME, BYTES + 1, &bytes);
    assert(data != NULL && bytes >= BYTES + 1 && (uintptr_t)data % HUGE == 0);
    memset(data, 1, bytes); /* all of it is ours */
    assert(resident_pages(data, bytes) == pages_of(bytes));
    mc_memory_release(&memory, data, bytes); /* keeps */
    assert(data[0] == 1 && data[BYTES] == 1 && resident_pages(data, bytes) == pages_of(bytes));
    assert(memory.counts.advised == 0 && memory.counts.populated == 0 && memory.counts.released == 0);
    mc_memory_unmap(&memory, data, bytes);
    mc_memory_unmap(&memory, NULL, 0);
    mc_memory_finish(&memory);
    data = mc_memory_map(NULL, MC_MEMORY_RING, 1, &bytes);
    assert(data != NULL && bytes == (size_t)sysconf(_SC_PAGESIZE));
    mc_memory_unmap(NULL, data, bytes);
}

static void test_populate(void)
{
    begin((struct mc_memory_settings){.populate = true});
    struct mc_ring ring;
    assert(mc_ring_init(&ring, 65536, &memory));
    assert(ring.mapped_bytes == 65536 * sizeof(struct mc_record));
    assert(resident_pages(ring.records, ring.mapped_bytes) == pages_of(ring.mapped_bytes));
    assert(memory.counts.populated == 1 && memory.counts.populate_error == 0);
    mc_ring_finish(&ring, &memory);
    mc_memory_finish(&memory);
}

static void test_huge_sizes(void)
{
    begin((struct mc_memory_settings){.advise_huge = true});
    size_t bytes;
    void *data = mc_memory_map(&memory, MC_MEMORY_FRAME, BYTES, &bytes);
    assert(data != NULL && bytes == 2 * HUGE && (uintptr_t)data % HUGE == 0);
    assert(memory.counts.advised + (memory.counts.advise_error != 0) == 1); /* EINVAL: a kernel without THP */
    mc_memory_unmap(&memory, data, bytes);
    mc_memory_finish(&memory);
}

static void test_released(enum mc_memory_released released)
{
    begin((struct mc_memory_settings){.released = released});
    size_t bytes;
    char *data = mc_memory_map(&memory, MC_MEMORY_FRAME, BYTES, &bytes);
    memset(data, 7, bytes);
    mc_memory_release(&memory, data, bytes);
    assert(memory.counts.released == 1 && memory.counts.release_error == 0);
    if (released == MC_MEMORY_WIPE) {
        assert(resident_pages(data, bytes) == 0);
        assert(data[0] == 0 && data[bytes - 1] == 0);
    } else {
        assert(data[0] == 7 || data[0] == 0); /* whether the kernel took it is the kernel's business */
    }
    data[0] = 9; /* usable again */
    assert(data[0] == 9);
    mc_memory_unmap(&memory, data, bytes);
    mc_memory_finish(&memory);
}

static void *prefault(void *data)
{
    (void)data;
    mc_memory_prefault_stack(&memory);
    return NULL;
}

static void test_stack(uint32_t wanted_kib, size_t stack_bytes)
{
    begin((struct mc_memory_settings){.stack_kib = wanted_kib});
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, stack_bytes);
    pthread_t thread;
    assert(pthread_create(&thread, &attr, prefault, NULL) == 0);
    pthread_join(thread, NULL); /* glibc keeps the stack for the next thread */
    pthread_attr_destroy(&attr);
    struct mc_memory_region region;
    struct mc_memory_counts counts;
    assert(mc_memory_look(&memory, &region, 1, &counts) == 1);
    assert(counts.populated == 1 && counts.populate_error == 0 && region.kind == MC_MEMORY_STACK);
    assert(region.bytes <= (uint64_t)wanted_kib << 10 && region.bytes < stack_bytes);
    assert(region.bytes > 0 && (wanted_kib > STACK_KIB || region.bytes == (uint64_t)STACK_KIB << 10));
    mc_memory_finish(&memory);
}

static void test_list(void)
{
    begin((struct mc_memory_settings){0});
    void *mapped[MC_MEMORY_REGIONS + 1];
    size_t bytes = 0;
    for (int i = 0; i <= MC_MEMORY_REGIONS; i++) {
        mapped[i] = mc_memory_map(&memory, MC_MEMORY_RING, 1, &bytes);
    }
    struct mc_memory_region regions[MC_MEMORY_REGIONS + 1];
    struct mc_memory_counts counts;
    assert(mc_memory_look(&memory, regions, MC_MEMORY_REGIONS + 1, &counts) == MC_MEMORY_REGIONS);
    assert(counts.unlisted == 1);
    for (int i = 0; i <= MC_MEMORY_REGIONS; i++) {
        mc_memory_unmap(&memory, mapped[i], bytes);
    }
    assert(mc_memory_look(&memory, regions, 0, &counts) == 0);
    mc_memory_finish(&memory);
}

int main(void)
{
    test_without_knobs();
    test_populate();
    test_huge_sizes();
    test_released(MC_MEMORY_WIPE);
    test_released(MC_MEMORY_RECYCLE);
    test_stack(STACK_KIB, 1u << 20);
    test_stack(8192, 1u << 20);
    test_list();
    puts("memory: ok");
    return 0;
}
