/* Section 6: io_uring on files and devices. Times in ns; 0 or -errno. */
#ifndef MC_URING_FILES_PROBES_H
#define MC_URING_FILES_PROBES_H

#include <stdint.h>

/* Reads `count` blocks at the given offsets (multiples of `block`, as is the file's size). depth 0: by
 * pread(2), one after another; else by io_uring with so many (at most 64) in flight. What it took, and the
 * CPU time of it. */
int mc_probe_read_blocks(int fd, const uint64_t *offsets, int count, uint32_t block, int depth,
                         uint64_t *ns_ret, uint64_t *cpu_ns_ret);

/* IORING_OP_URING_CMD, the ioctl of io_uring, with command 0 to this file: what it answers (-EOPNOTSUPP: the
 * driver has none). */
int mc_uring_command(int fd);

#endif
