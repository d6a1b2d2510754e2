/* Section 6: io_uring. Times in ns; 0 or -errno. */
#ifndef MC_URING_PROBES_H
#define MC_URING_PROBES_H

#include <stddef.h>
#include <stdint.h>

enum mc_probe_reader { MC_PROBE_READ, MC_PROBE_URING, MC_PROBE_URING_SQPOLL };

/* Reads 64 bytes of /dev/zero `operations` times, `batch` at a time (read(2) has no batch); counts the system
 * calls by number, in a traced process. Left out: sched_yield and clock_gettime, which are the probe's own.
 */
int mc_probe_read_syscalls(int reader, int operations, int batch, uint32_t *counts_ret, size_t size);
/* The same untraced, for at most limit_ns: what each batch took. batches_ns_ret has operations / batch
 * places; how many were filled in, or -errno. */
int mc_probe_read_times(int reader, int operations, int batch, uint64_t limit_ns, uint64_t *batches_ns_ret);

enum mc_probe_server { MC_PROBE_SERVE_EPOLL, MC_PROBE_SERVE_URING, MC_PROBE_SERVE_URING_SQPOLL };

/* Two threads on a Unix socket pair: one sends 64 bytes and waits, the other answers the way `server` says.
 * Round trips, and the CPU time of the whole process for all of them, the kernel's SQPOLL thread included. */
int mc_probe_round_trips(int server, int rounds, uint64_t *round_ns_ret, uint64_t *cpu_ns_ret);

/* A ring whose SQPOLL thread has been idle for longer than idle_ms: 1 when it sleeps and still exists, 0 when
 * it is gone, 2 when it is still awake. */
int mc_probe_sqpoll_after_idle(unsigned idle_ms);

/* Whether this kernel has the operation (IORING_REGISTER_PROBE): 1 or 0. */
int mc_uring_has(int operation);

#endif
