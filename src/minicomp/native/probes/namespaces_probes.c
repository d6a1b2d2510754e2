#include "namespaces_probes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

/* The time comes back in memory that both share. */
int mc_probe_unshare(uint64_t flags, int rounds, uint64_t *unshare_ns_ret)
{
    int64_t *took_ns =
        mmap(NULL, sizeof(*took_ns), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (took_ns == MAP_FAILED) {
        return -errno;
    }
    int error = 0;
    for (int round = 0; round < rounds && error == 0; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            uint64_t begin_ns = mc_now_ns();
            int result = unshare((int)flags);
            *took_ns = result == 0 ? (int64_t)(mc_now_ns() - begin_ns) : -errno;
            _exit(0);
        }
        if (pid < 0 || waitpid(pid, NULL, 0) != pid) {
            error = -errno;
        } else if (*took_ns < 0) {
            error = (int)*took_ns;
        } else {
            unshare_ns_ret[round] = (uint64_t)*took_ns;
        }
    }
    munmap(took_ns, sizeof(*took_ns));
    return error;
}

int mc_probe_unshare_mounts(int mounts, int rounds, uint64_t *unshare_ns_ret)
{
    /* Private and over /mnt: nobody outside sees any of it, and it goes with the last process inside. */
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("probe", "/mnt", "tmpfs", 0, NULL) != 0) {
        return -errno;
    }
    for (int i = 0; i < mounts - 1; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/mnt/%d", i);
        if (mkdir(path, 0700) != 0 || mount("/mnt", path, NULL, MS_BIND, NULL) != 0) {
            return -errno;
        }
    }
    return mc_probe_unshare(CLONE_NEWNS, rounds, unshare_ns_ret);
}

int mc_probe_udp(uint32_t address, uint16_t *port_ret)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = address};
    socklen_t length = sizeof(name);
    const struct timeval patience = {.tv_usec = 100000};
    if (fd < 0 || bind(fd, (struct sockaddr *)&name, length) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
        getsockname(fd, (struct sockaddr *)&name, &length) != 0) {
        int error = -errno;
        if (fd >= 0) {
            close(fd);
        }
        return error;
    }
    *port_ret = name.sin_port;
    return fd;
}

enum { ATTEMPTS = 20 };

static int hop(int from, int to, const struct sockaddr_in *name)
{
    char bytes[64] = {0};
    /* On a busy machine a veth pair's carrier may come late, and what was sent before it is lost. */
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (sendto(from, bytes, sizeof(bytes), 0, (const struct sockaddr *)name, sizeof(*name)) !=
            sizeof(bytes)) {
            return -errno;
        }
        if (recv(to, bytes, sizeof(bytes), 0) == sizeof(bytes)) {
            return 0;
        }
        if (errno != EAGAIN) {
            return -errno;
        }
    }
    return -EAGAIN;
}

int mc_probe_udp_trips(int first, uint32_t first_address, uint16_t first_port, int second,
                       uint32_t second_address, uint16_t second_port, int rounds, uint64_t *trip_ns_ret)
{
    const struct sockaddr_in first_name = {AF_INET, first_port, {first_address}, {0}};
    const struct sockaddr_in second_name = {AF_INET, second_port, {second_address}, {0}};
    int error = 0;
    for (int round = 0; round < rounds && error == 0; round++) {
        uint64_t begin_ns = mc_now_ns();
        error = hop(first, second, &second_name);
        error = error == 0 ? hop(second, first, &first_name) : error;
        trip_ns_ret[round] = mc_now_ns() - begin_ns;
    }
    return error;
}
