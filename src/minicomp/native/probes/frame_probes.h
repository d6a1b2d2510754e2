/* Counts the system calls of a program with threads, by ptrace: exact, and without root. Its children run
 * free. */
#ifndef MC_FRAME_PROBES_H
#define MC_FRAME_PROBES_H

#include <stdint.h>

enum { MC_FRAME_CALLS = 512, MC_FRAME_IOCTLS = 65536 };

/* What was counted between begin_ns and end_ns (CLOCK_MONOTONIC). */
struct mc_frame_counts {
    uint64_t begin_ns, end_ns;
    uint32_t calls[MC_FRAME_CALLS];   /* by number */
    uint32_t ioctls[MC_FRAME_IOCTLS]; /* by the request's low 16 bits: type << 8 | number */
};

/* Runs argv (ended by NULL; its standard output and error go to output_fd) until it writes to ready_fd's
 * other end and settle_ms more, untraced; then counts for count_ms, ends it by SIGTERM and waits. Its exit
 * code (negative: killed by that signal, or -errno - 1000 of the counting). A process that ends early has
 * end_ns = 0. Call it from a process with one thread. */
int mc_frame_count(const char *const *argv, int output_fd, int ready_fd, uint32_t settle_ms,
                   uint32_t count_ms, struct mc_frame_counts *counts_ret);

#endif
