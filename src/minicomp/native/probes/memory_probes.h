/* Section 1: virtual memory. Times in ns; 0 or -errno unless said otherwise. */
#ifndef MC_MEMORY_PROBES_H
#define MC_MEMORY_PROBES_H

#include <stdint.h>

/* 1 when mmap gives an address of at least `hint` when it is asked for it, else 0. */
int mc_probe_map_high(uint64_t hint);

/* mlock(2): 0 or -errno. */
int mc_probe_lock(uint64_t start, uint64_t bytes);

/* What a mapping is made of. Hugetlb pages must have been reserved. */
enum mc_probe_pages { MC_PROBE_PAGES_4K, MC_PROBE_PAGES_THP, MC_PROBE_PAGES_2M, MC_PROBE_PAGES_1G };

/* One dependent load a 4 KiB page, in a random cycle through the first counts[i] pages of one mapping: what a
 * load took, `samples` times for each count (row by row), each of them at least `loads` loads long. */
int mc_probe_chase(int pages, const uint32_t *counts, int count, int samples, uint32_t loads,
                   double *load_ns_ret);

/* What one cycle takes at the frequency that the CPU has now, in ns: additions that depend on each other;
 * least of 20 samples. */
double mc_probe_cycle_ns(void);

/* The same as mc_probe_chase for `count` pages once, with the PMU's counter of data TLB misses that needed a
 * page walk: -ENOENT without a PMU. */
int mc_probe_chase_misses(int pages, uint32_t count, uint64_t *loads_ret, uint64_t *misses_ret);

enum mc_probe_touch { MC_PROBE_TOUCH_ANONYMOUS, MC_PROBE_TOUCH_POPULATED, MC_PROBE_TOUCH_SHARED };

/* Maps `pages` pages of 4 KiB and writes to each of them in turn: what mmap took, each write,
 * and how many page faults the writes were. */
int mc_probe_first_touch(int kind, int pages, uint64_t *map_ns_ret, uint64_t *touch_ns_ret,
                         uint64_t *faults_ret);

/* Writes `pages` pages of 4 KiB, gives them back by madvise(advice), writes them again; `rounds` times. What
 * the madvise took and what the second writing took, both for all the pages. */
int mc_probe_advice(int advice, int pages, int rounds, uint64_t *advise_ns_ret, uint64_t *again_ns_ret);

/* Faults in `count` regions of 2 MiB that nobody advised anything about, after `fragment_bytes` were filled
 * with 4 KiB pages of which every second was given back. What each fault took. */
int mc_probe_huge_faults(uint64_t fragment_bytes, int count, uint64_t *fault_ns_ret);

enum mc_probe_free { MC_PROBE_FREE_MAIN, MC_PROBE_FREE_THREAD, MC_PROBE_FREE_LARGE };

/* System calls, by number, of freeing 8 MiB with glibc: in blocks of 64 KiB from the first thread's heap, the
 * same from another thread's, or as one block. counts_ret has `size` places. */
int mc_probe_free_syscalls(int kind, uint32_t *counts_ret, uint64_t size);

#endif
