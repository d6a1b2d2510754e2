#include "files_probes.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"

#define CHUNK (128u << 10) /* below the usual limit of a socket's buffer (212,992 bytes) */

int mc_probe_same_file(int first_pid, int first_fd, int second_pid, int second_fd)
{
    long order = syscall(SYS_kcmp, first_pid, second_pid, KCMP_FILE, first_fd, second_fd);
    return order < 0 ? -errno : order == 0;
}

/* Both ends in one thread: the price of the path, without anybody's waking up. */
static int pass_fd(const int sockets[2], int fd)
{
    char byte = 0;
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
    message.msg_controllen = sizeof(control.space);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(int));
    if (sendmsg(sockets[0], &message, 0) != 1) {
        return -errno;
    }
    if (recvmsg(sockets[1], &message, MSG_CMSG_CLOEXEC) != 1) {
        return -errno;
    }
    header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_type != SCM_RIGHTS) {
        return -EPROTO;
    }
    int received;
    memcpy(&received, CMSG_DATA(header), sizeof(int));
    return close(received) == 0 ? 0 : -errno;
}

/* In turns of a chunk: send, receive. */
static int pass_bytes(const int sockets[2], const char *from, char *to, uint64_t bytes)
{
    for (uint64_t done = 0; done < bytes;) {
        size_t chunk = bytes - done < CHUNK ? (size_t)(bytes - done) : CHUNK;
        ssize_t sent = send(sockets[0], from + done, chunk, 0);
        if (sent < 0) {
            return -errno;
        }
        if (recv(sockets[1], to + done, (size_t)sent, MSG_WAITALL) != sent) {
            return -EIO;
        }
        done += (uint64_t)sent;
    }
    return 0;
}

int mc_probe_pass(int kind, uint64_t bytes, int rounds, uint64_t *pass_ns_ret)
{
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
        return -errno;
    }
    int fd = memfd_create("minicomp-probe", MFD_CLOEXEC), error = 0;
    void *frame = MAP_FAILED, *target = MAP_FAILED;
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0) {
        error = -errno;
    } else {
        frame = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
        target = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        error = frame == MAP_FAILED || target == MAP_FAILED ? -errno : 0;
    }
    for (int round = 0; round < rounds && error == 0; round++) {
        uint64_t begin_ns = mc_now_ns();
        if (kind == MC_PROBE_PASS_FD) {
            error = pass_fd(sockets, fd);
        } else if (kind == MC_PROBE_PASS_SOCKET) {
            error = pass_bytes(sockets, frame, target, bytes);
        } else {
            memcpy(target, frame, bytes);
            __asm__ volatile(""
                             :
                             : "r"(target)
                             : "memory"); /* a copy that nobody reads must be made as well */
        }
        pass_ns_ret[round] = mc_now_ns() - begin_ns;
    }
    if (target != MAP_FAILED) {
        munmap(target, bytes);
    }
    if (frame != MAP_FAILED) {
        munmap(frame, bytes);
    }
    if (fd >= 0) {
        close(fd);
    }
    close(sockets[0]);
    close(sockets[1]);
    return error;
}
