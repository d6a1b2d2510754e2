#include "wait.h"

#include <errno.h>
#include <string.h>

int mc_wait_open(struct mc_wait *wait, enum mc_wait_kind kind, const struct mc_wait_fd *fds, int count,
                 unsigned sq_idle_ms)
{
    if (count < 1 || count > MC_WAIT_FDS_MAX) {
        return -EINVAL;
    }
    bool epoll = kind == MC_WAIT_EPOLL || kind == MC_WAIT_EPOLL_EDGE;
    *wait = (struct mc_wait){.kind = kind, .count = count, .epoll_fd = -1, .sq_idle_ms = sq_idle_ms};
    memcpy(wait->fds, fds, (size_t)count * sizeof(*fds));
    for (int i = 0; i < count; i++) {
        wait->fds[i].emptied |= fds[i].once; /* an edge is enough for both */
    }
    wait->ops = epoll ? &mc_wait_epoll_ops : &mc_wait_uring_ops;
    int error = wait->ops->open(wait);
    if (error != 0) {
        mc_wait_close(wait);
    }
    return error;
}

int mc_wait_next(struct mc_wait *wait, uint32_t *ready_ret)
{
    *ready_ret = 0;
    return wait->ops->next(wait, ready_ret);
}

void mc_wait_close(struct mc_wait *wait)
{
    if (wait->ops != NULL) {
        wait->ops->close(wait);
        wait->ops = NULL;
    }
}
