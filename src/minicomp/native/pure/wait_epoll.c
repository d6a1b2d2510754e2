/* epoll, level- or edge-triggered. Level: one system call a wake-up. Edge: one more for each reported fd that
 * may not have been read empty; EPOLL_CTL_MOD looks at the fd anew and queues what is still there. */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "wait.h"

static int control(struct mc_wait *wait, int operation, int index)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)index};
    if (wait->kind == MC_WAIT_EPOLL_EDGE || wait->fds[index].once) {
        event.events |= EPOLLET;
    }
    return epoll_ctl(wait->epoll_fd, operation, wait->fds[index].fd, &event) == 0 ? 0 : -errno;
}

static int open_epoll(struct mc_wait *wait)
{
    wait->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int error = wait->epoll_fd < 0 ? -errno : 0;
    for (int i = 0; i < wait->count && error == 0; i++) {
        error = control(wait, EPOLL_CTL_ADD, i);
    }
    return error;
}

static int next_epoll(struct mc_wait *wait, uint32_t *ready_ret)
{
    for (; wait->rearm != 0; wait->rearm &= wait->rearm - 1) {
        int error = control(wait, EPOLL_CTL_MOD, __builtin_ctz(wait->rearm));
        if (error != 0) {
            return error;
        }
    }
    struct epoll_event ready[MC_WAIT_FDS_MAX];
    int count = epoll_wait(wait->epoll_fd, ready, MC_WAIT_FDS_MAX, -1);
    if (count < 0) {
        return -errno;
    }
    for (int i = 0; i < count; i++) {
        uint32_t bit = 1u << ready[i].data.u32;
        *ready_ret |= bit;
        if (wait->kind == MC_WAIT_EPOLL_EDGE && !wait->fds[ready[i].data.u32].emptied) {
            wait->rearm |= bit;
        }
    }
    return 0;
}

static void close_epoll(struct mc_wait *wait)
{
    if (wait->epoll_fd >= 0) {
        close(wait->epoll_fd);
    }
}

const struct mc_wait_ops mc_wait_epoll_ops = {open_epoll, next_epoll, close_epoll};
