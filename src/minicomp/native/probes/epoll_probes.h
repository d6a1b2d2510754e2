/* Section 5: waiting for many fds. Times in ns; 0 or -errno unless said otherwise. */
#ifndef MC_EPOLL_PROBES_H
#define MC_EPOLL_PROBES_H

#include <stdint.h>

enum mc_probe_waiter { MC_PROBE_SELECT, MC_PROBE_POLL, MC_PROBE_EPOLL };

/* One of `watched` idle eventfds is made readable, waited for and read, `rounds` times: what each wait took.
 */
int mc_probe_delivery(int waiter, int watched, int rounds, uint64_t *wait_ns_ret);

/* Into an epoll that watches `watched` fds, one more is added and taken out again, `rounds` times: what each
 * EPOLL_CTL_ADD took. */
int mc_probe_insertion(int watched, int rounds, uint64_t *add_ns_ret);

/* How threads wait for one fd: all in one epoll, or each in its own (with EPOLLEXCLUSIVE or without). */
enum mc_probe_herd { MC_PROBE_HERD_SHARED, MC_PROBE_HERD_OWN, MC_PROBE_HERD_EXCLUSIVE };

/* `threads` sleep, one event comes and is taken, `rounds` times. Each time: threads that the kernel woke
 * (some find nothing and sleep again without leaving epoll_wait), and threads that epoll_wait returned to. */
int mc_probe_herd(int kind, int threads, int rounds, uint32_t *woken_ret, uint32_t *returned_ret);

#endif
