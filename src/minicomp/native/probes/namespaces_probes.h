/* Section 7: namespaces. Times in ns; 0 or -errno unless said otherwise. */
#ifndef MC_NAMESPACES_PROBES_H
#define MC_NAMESPACES_PROBES_H

#include <stdint.h>

/* Forks a process that calls unshare(flags), `rounds` times: what each unshare took. */
int mc_probe_unshare(uint64_t flags, int rounds, uint64_t *unshare_ns_ret);

/* In the calling process's own new mount namespace: what unshare(CLONE_NEWNS) takes beside `mounts` more
 * mounts of tmpfs. The process keeps the namespace and `mounts` mounts. */
int mc_probe_unshare_mounts(int mounts, int rounds, uint64_t *unshare_ns_ret);

/* A UDP socket, bound to an IPv4 address (network byte order) and any port, in the network namespace of the
 * caller; its fd. */
int mc_probe_udp(uint32_t address, uint16_t *port_ret);

/* One thread sends 64 bytes there and back between two such sockets, `rounds` times: what each trip took. */
int mc_probe_udp_trips(int first, uint32_t first_address, uint16_t first_port, int second,
                       uint32_t second_address, uint16_t second_port, int rounds, uint64_t *trip_ns_ret);

#endif
