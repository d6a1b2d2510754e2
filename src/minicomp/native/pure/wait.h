/* What the loop thread sleeps in: one set of fds, four ways to wait for them (loop.wait).
 *
 * Towards the caller all kinds are level-triggered: an fd that is still readable is reported again. Below, an
 * edge (epoll with EPOLLET, io_uring's multishot poll) is told once, so an fd whose reader may leave
 * something behind is armed again before the next sleep. libwayland's loop is such an fd: it is an epoll fd
 * itself, one dispatch takes at most 32 events and 4 KiB of each client, and what it leaves makes no new
 * edge. */
#ifndef MC_WAIT_H
#define MC_WAIT_H

#include <stdbool.h>
#include <stdint.h>

enum mc_wait_kind {
    MC_WAIT_EPOLL,
    MC_WAIT_EPOLL_EDGE,
    MC_WAIT_IO_URING,
    MC_WAIT_IO_URING_SQPOLL, /* a kernel thread submits: it spins while there is work and a little longer */
};

#define MC_WAIT_FDS_MAX 8

struct mc_wait_fd {
    int fd;
    bool emptied; /* whenever it is reported the caller reads it empty: an edge is enough */
    bool once;    /* a timerfd that nobody reads: reported once for each time that it expires */
};

struct io_uring;
struct mc_wait;

struct mc_wait_ops {
    int (*open)(struct mc_wait *wait);
    int (*next)(struct mc_wait *wait, uint32_t *ready_ret);
    void (*close)(struct mc_wait *wait);
};

/* Owned by whoever embeds it; the fds are borrowed and must stay open until mc_wait_close. */
struct mc_wait {
    const struct mc_wait_ops *ops; /* NULL: not open */
    enum mc_wait_kind kind;
    struct mc_wait_fd fds[MC_WAIT_FDS_MAX];
    int count;
    uint32_t rearm; /* bit i: fds[i] must be armed before the next sleep */
    int epoll_fd;
    struct io_uring *ring; /* owned */
    bool multishot;        /* the kernel has multishot poll (5.13); set to false by the first refusal */
    unsigned sq_idle_ms;   /* how long the kernel thread of SQPOLL spins without work before it sleeps */
};

/* 0 or -errno: -ENOSYS and -EPERM where the kernel, sysctl or seccomp refuses io_uring. Any thread. */
int mc_wait_open(struct mc_wait *wait, enum mc_wait_kind kind, const struct mc_wait_fd *fds, int count,
                 unsigned sq_idle_ms);
/* Sleeps until something is readable. Bit i of ready_ret: fds[i]. 0, -EINTR (ready_ret is 0), or -errno for
 * good. One thread, always the same. */
int mc_wait_next(struct mc_wait *wait, uint32_t *ready_ret);
/* Safe to call twice, and on a zeroed struct that was never opened. */
void mc_wait_close(struct mc_wait *wait);

/* wait_epoll.c, wait_uring.c */
extern const struct mc_wait_ops mc_wait_epoll_ops, mc_wait_uring_ops;

#endif
