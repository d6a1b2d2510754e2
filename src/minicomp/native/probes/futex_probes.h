/* Section 4: futexes. Times in ns; 0 or -errno unless said otherwise. Three C files, as the probes' modules:
 * futex_fast_path.c, futex_wakeups.c, futex_owners.c. */
#ifndef MC_FUTEX_PROBES_H
#define MC_FUTEX_PROBES_H

#include <stdint.h>

enum mc_probe_sync { MC_PROBE_MUTEX, MC_PROBE_SEMAPHORE, MC_PROBE_CONDITION };

/* System calls, by number, of `rounds` operations of one thread in a traced process. Free: lock and unlock,
 * post and wait, signal (nobody waits). Blocked: a timed lock, wait or condition that must give up after 1
 * ms. */
int mc_probe_sync_syscalls(int kind, int blocked, int rounds, uint32_t *counts_ret, uint64_t size);

/* The number of the futex system call here. */
int mc_probe_futex_number(void);

/* Locking and unlocking a free mutex, in ns, per round of `batch`. */
int mc_probe_uncontended(int batch, int rounds, uint64_t *batch_ns_ret);

/* glibc's own word of a mutex: free, held, held while another thread waits, free after that. */
int mc_probe_mutex_states(int *states_ret);

/* A thread sleeps for a mutex: from just before the unlock until it has it, `rounds` times. spins_ret: what
 * glibc noted about spinning (the word __spins), for a default and for an adaptive mutex. */
int mc_probe_hand_over(int adaptive, int rounds, uint64_t *hand_over_ns_ret, int *spins_ret);

/* Four threads increment a counter under a lock made of a futex, for limit_ms; `tells` is whether a waiter
 * marks the lock (state 2) before it sleeps. Lost wake-ups are sleeps that ended by their timeout (10 ms
 * without marks, 2 s with) although the lock had been given back in between. */
int mc_probe_lost(int tells, int limit_ms, uint64_t *locks_ret, uint64_t *sleeps_ret, uint64_t *lost_ret);

/* The same with glibc's mutex and a condition variable: threads hand a token round, `rounds` hand-overs; how
 * many were done before 2 s without any. */
int mc_probe_token(int threads, int rounds, int *done_ret);

/* Of `waiters` threads asleep on one futex, how many FUTEX_WAKE of 1 says it woke, and how many woke. A
 * FUTEX_WAIT for a value that is not there any more: its errno. */
int mc_probe_wake_one(int waiters, int *said_ret, int *woke_ret, int *mismatch_ret);

/* low holds a mutex and works 10 ms, high wants it, mid works 40 ms; all FIFO, on one CPU. How long high
 * waited, and the highest priority that /proc named for low meanwhile. -EPERM without the right. */
int mc_probe_inversion(int inherit, uint64_t *delay_ns_ret, int *low_priority_ret);

/* The owner of a mutex ends without unlocking it: what the next lock (for at most 50 ms) returns, and, for a
 * robust one, what locking returns after pthread_mutex_consistent. `process`: the owner is another process,
 * killed. */
int mc_probe_owner_dies(int robust, int process, int *lock_ret, int *again_ret);

#endif
