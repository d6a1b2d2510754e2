/* Section 3: file descriptors. Times in ns; 0 or -errno unless said otherwise. */
#ifndef MC_FILES_PROBES_H
#define MC_FILES_PROBES_H

#include <stdint.h>

/* 1 when two fds (of the processes named) are one struct file, 0 when not, -errno when kcmp is refused. */
int mc_probe_same_file(int first_pid, int first_fd, int second_pid, int second_fd);

enum mc_probe_pass { MC_PROBE_PASS_FD, MC_PROBE_PASS_MEMCPY, MC_PROBE_PASS_SOCKET };

/* How a frame of `bytes` gets from one thread to another: its fd over a Unix socket (sendmsg, recvmsg,
 * close), one memcpy, or the bytes through the socket. `rounds` times; what each took. */
int mc_probe_pass(int kind, uint64_t bytes, int rounds, uint64_t *pass_ns_ret);

#endif
