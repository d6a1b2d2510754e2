/* See load_kinds.h. */
#include "load_kinds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

#define BLOCK_BYTES (1u << 20)

enum exit_code load_spin(const struct load_options *options)
{
    (void)options; /* a loop has none */
    volatile uint64_t count = 0;
    for (;;) {
        count = count + 1; /* volatile: the compiler may not take the loop for an empty one */
    }
}

enum exit_code load_stream_memory(const struct load_options *options)
{
    size_t bytes = (size_t)options->megabytes << 20;
    char *from = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    char *to = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (from == MAP_FAILED || to == MAP_FAILED) {
        fprintf(stderr, "load: no %zu MiB of memory: %s\n", 2 * (bytes >> 20), strerror(errno));
        return EXIT_LOCAL;
    }
    memset(from, 1, bytes); /* reads of the shared zero page would all hit the cache */
    for (;;) {
        memcpy(to, from, bytes);
        __asm__ volatile("" : : "r"(to) : "memory"); /* nobody reads the copy; make it all the same */
    }
}

/* Writes the file and reads it back, again and again: the kernel keeps finding pages for it, taking them from
 * others and from itself, and the writeback threads work.
 */
static enum exit_code churn_file(int fd, char *block, uint64_t blocks)
{
    for (uint64_t i = 0;; i++) {
        off_t offset = (off_t)(i % blocks * BLOCK_BYTES);
        bool writes = i / blocks % 2 == 0;
        ssize_t done =
            writes ? pwrite(fd, block, BLOCK_BYTES, offset) : pread(fd, block, BLOCK_BYTES, offset);
        if (done < 0 && errno != EINTR) {
            fprintf(stderr, "load: cannot %s the file: %s\n", writes ? "write" : "read", strerror(errno));
            return EXIT_LOCAL;
        }
        if (!writes && i % blocks == blocks - 1) {
            /* Dropped once it is clean, so that the next round has to find pages anew. */
            fdatasync(fd);
            posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        }
    }
}

enum exit_code load_fill_page_cache(const struct load_options *options)
{
    char path[4096];
    if (snprintf(path, sizeof(path), "%s/minicomp-load-XXXXXX", options->folder) >= (int)sizeof(path)) {
        fprintf(stderr, "load: --dir is too long\n");
        return EXIT_USAGE;
    }
    int fd = mkostemp(path, O_CLOEXEC);
    char *block = malloc(BLOCK_BYTES);
    if (fd < 0 || block == NULL) {
        fprintf(stderr, "load: cannot make %s: %s\n", path, strerror(errno));
        return EXIT_LOCAL;
    }
    unlink(path); /* gone with the process, however that ends */
    memset(block, 0x5a, BLOCK_BYTES);
    return churn_file(fd, block, options->megabytes);
}

static void sleep_until_ns(uint64_t due_ns)
{
    struct timespec due = {.tv_sec = (time_t)(due_ns / NS_PER_S), .tv_nsec = (long)(due_ns % NS_PER_S)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {
    }
}

enum exit_code load_storm_forks(const struct load_options *options)
{
    /* Pages that each child gets copies of: its page tables, and one fault for the parent's next write. */
    size_t bytes = 4u << 20;
    volatile char *pages = malloc(bytes);
    if (pages == NULL) {
        fprintf(stderr, "load: no memory\n");
        return EXIT_LOCAL;
    }
    uint64_t period_ns = options->per_second > 0 ? NS_PER_S / options->per_second : 0;
    uint64_t due_ns = monotonic_now_ns();
    for (;;) {
        for (size_t offset = 0; offset < bytes; offset += 4096) {
            pages[offset]++;
        }
        pid_t child = fork();
        if (child == 0) {
            pages[0]++;
            _exit(0);
        }
        if (child < 0 && errno != EAGAIN) {
            fprintf(stderr, "load: cannot fork: %s\n", strerror(errno));
            return EXIT_LOCAL;
        }
        if (child > 0) {
            while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
            }
        }
        if (period_ns > 0) {
            due_ns += period_ns;
            sleep_until_ns(due_ns);
        }
    }
}
