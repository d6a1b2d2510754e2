/* Section 1: jumps through pages of machine code, one a page. Times in ns; 0 or -errno. */
#ifndef MC_CODE_PAGES_PROBES_H
#define MC_CODE_PAGES_PROBES_H

#include <stdint.h>

/* A cycle of jumps in random order through the first counts[i] pages of 4 KiB, one jump in each, at different
 * places in the page: what a jump took, `samples` times for each count (row by row), each of them at least
 * `jumps` jumps long. `together` is the same with all the jumps of one count in as few pages as hold them (64
 * a page), so as many lines of the instruction cache on fewer pages. -ENOSYS but on x86_64. */
int mc_probe_code_pages(const uint32_t *counts, int count, int samples, uint32_t jumps, double *apart_ns_ret,
                        double *together_ns_ret);

#endif
