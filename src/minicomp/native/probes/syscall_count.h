/* Counts the system calls of a piece of work, by ptrace: exact, and without root. */
#ifndef MC_SYSCALL_COUNT_H
#define MC_SYSCALL_COUNT_H

#include <stddef.h>
#include <stdint.h>

/* Runs work(data) in a forked process and counts its main thread's system calls between two calls of
 * mc_count_mark: counts_ret[number] for numbers below size. What work returns (0, or a positive errno), as a
 * negative number; or -errno of the counting. Call it from a process with one thread. */
int mc_count_syscalls(int (*work)(void *data), void *data, uint32_t *counts_ret, size_t size);
/* Called by the work: from here on, or up to here. Otherwise it does nothing. */
void mc_count_mark(void);

#endif
