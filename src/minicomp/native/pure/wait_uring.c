/* io_uring's poll requests. What the reader empties is polled once for all (multishot: armed until the ring
 * goes); the rest by single polls, which look at the fd when they are armed and are armed again by the very
 * system call that sleeps. So a wake-up costs one io_uring_enter either way; with SQPOLL, one to sleep, and
 * another one when the kernel thread has gone to sleep meanwhile and must be woken to see the poll. */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "wait.h"

/* A request is taken from the queue before it completes, so there is never more than one of an fd in it. */
_Static_assert(MC_WAIT_FDS_MAX <= 16, "each fd needs a place in the submission queue");
#define ENTRIES 16

static int open_uring(struct mc_wait *wait)
{
    struct io_uring *ring = calloc(1, sizeof(*ring));
    if (ring == NULL) {
        return -ENOMEM;
    }
    bool sqpoll = wait->kind == MC_WAIT_IO_URING_SQPOLL;
    struct io_uring_params params = {
        /* COOP_TASKRUN (5.19): an event that arrives while the loop thread works does not interrupt it. */
        .flags = sqpoll ? IORING_SETUP_SQPOLL : IORING_SETUP_COOP_TASKRUN,
        .sq_thread_idle = wait->sq_idle_ms,
    };
    int error = io_uring_queue_init_params(ENTRIES, ring, &params);
    if (error == -EINVAL && !sqpoll) {
        params = (struct io_uring_params){0};
        error = io_uring_queue_init_params(ENTRIES, ring, &params);
    }
    if (error < 0) {
        free(ring);
        return error;
    }
    wait->ring = ring;
    wait->multishot = true;
    wait->rearm =
        (1u << wait->count) - 1; /* by the first mc_wait_next: completions go to the thread that submits */
    return 0;
}

static void arm(struct mc_wait *wait, int index)
{
    const struct mc_wait_fd *fd = &wait->fds[index];
    struct io_uring_sqe *sqe = io_uring_get_sqe(wait->ring);
    if (sqe == NULL) {
        abort(); /* see ENTRIES */
    }
    if (wait->multishot && fd->emptied) {
        io_uring_prep_poll_multishot(sqe, fd->fd, POLLIN);
    } else {
        io_uring_prep_poll_add(sqe, fd->fd, POLLIN);
    }
    io_uring_sqe_set_data64(sqe, (uint64_t)index);
}

/* One completion; the errno that ends the loop, negative, or 0. */
static int take(struct mc_wait *wait, const struct io_uring_cqe *cqe, uint32_t *ready_ret)
{
    uint32_t index = (uint32_t)cqe->user_data, bit = 1u << index;
    const struct mc_wait_fd *fd = &wait->fds[index];
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        wait->rearm |= bit;
    }
    if (cqe->res >= 0) {
        *ready_ret |= bit;
        uint64_t expirations;
        if (fd->once && !wait->multishot && read(fd->fd, &expirations, sizeof(expirations)) < 0 &&
            errno != EAGAIN) {
            return -errno; /* else a single poll would report it again */
        }
    } else if (cqe->res == -EINVAL && wait->multishot && fd->emptied) {
        wait->multishot = false; /* Linux before 5.13 */
    } else if (cqe->res != -ECANCELED) {
        return cqe->res;
    }
    return 0;
}

static int next_uring(struct mc_wait *wait, uint32_t *ready_ret)
{
    while (*ready_ret == 0) {
        for (; wait->rearm != 0; wait->rearm &= wait->rearm - 1) {
            arm(wait, __builtin_ctz(wait->rearm));
        }
        int result = io_uring_submit_and_wait(wait->ring, io_uring_cq_ready(wait->ring) != 0 ? 0 : 1);
        if (result < 0) {
            return result;
        }
        struct io_uring_cqe *cqe;
        unsigned head, taken = 0;
        int error = 0;
        io_uring_for_each_cqe(wait->ring, head, cqe)
        {
            int failed = take(wait, cqe, ready_ret);
            error = failed != 0 ? failed : error;
            taken++;
        }
        io_uring_cq_advance(wait->ring, taken);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

static void close_uring(struct mc_wait *wait)
{
    if (wait->ring != NULL) {
        io_uring_queue_exit(wait->ring);
        free(wait->ring);
        wait->ring = NULL;
    }
}

const struct mc_wait_ops mc_wait_uring_ops = {open_uring, next_uring, close_uring};
