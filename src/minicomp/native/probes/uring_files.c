#include "uring_files_probes.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "probe_time.h"

#define MOST 64
#define ALIGNED 4096
#define URING_CMD 46 /* enum io_uring_op; Linux 5.19 */

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int read_plainly(int fd, const uint64_t *offsets, int count, uint32_t block, void *buffer)
{
    for (int i = 0; i < count; i++) {
        ssize_t got = pread(fd, buffer, block, (off_t)offsets[i]);
        if (got != (ssize_t)block) {
            return got < 0 ? -errno : -EIO;
        }
    }
    return 0;
}

static int read_by_ring(struct io_uring *ring, int fd, const uint64_t *offsets, int count, uint32_t block,
                        int depth, char *buffers)
{
    for (int asked = 0, done = 0; done < count;) {
        for (; asked < count && asked - done < depth; asked++) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
            if (sqe == NULL) {
                return -EBUSY;
            }
            io_uring_prep_read(sqe, fd, buffers + (size_t)(asked % depth) * block, block, offsets[asked]);
        }
        int error = io_uring_submit_and_wait(ring, 1);
        struct io_uring_cqe *cqe;
        unsigned head, taken = 0;
        io_uring_for_each_cqe(ring, head, cqe)
        {
            error = cqe->res == (int)block ? error : cqe->res < 0 ? cqe->res : -EIO;
            taken++;
        }
        io_uring_cq_advance(ring, taken);
        if (error < 0) {
            return error;
        }
        done += (int)taken;
    }
    return 0;
}

int mc_probe_read_blocks(int fd, const uint64_t *offsets, int count, uint32_t block, int depth,
                         uint64_t *ns_ret, uint64_t *cpu_ns_ret)
{
    void *buffers = NULL;
    if (depth < 0 || depth > MOST || posix_memalign(&buffers, ALIGNED, (size_t)MOST * block) != 0) {
        return depth < 0 || depth > MOST ? -EINVAL : -ENOMEM;
    }
    struct io_uring ring;
    int error = depth > 0 ? io_uring_queue_init(MOST, &ring, 0) : 0;
    if (error == 0) {
        uint64_t began_ns = mc_now_ns(), cpu_began_ns = cpu_ns();
        error = depth > 0 ? read_by_ring(&ring, fd, offsets, count, block, depth, buffers)
                          : read_plainly(fd, offsets, count, block, buffers);
        *ns_ret = mc_now_ns() - began_ns;
        *cpu_ns_ret = cpu_ns() - cpu_began_ns;
        if (depth > 0) {
            io_uring_queue_exit(&ring);
        }
    }
    free(buffers);
    return error;
}

int mc_uring_command(int fd)
{
    struct io_uring ring;
    int error = io_uring_queue_init(1, &ring, 0);
    if (error != 0) {
        return error;
    }
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    io_uring_prep_rw(URING_CMD, sqe, fd, NULL, 0, 0);
    struct io_uring_cqe *cqe;
    int result = io_uring_submit_and_wait(&ring, 1);
    if (result >= 0) {
        result = io_uring_wait_cqe(&ring, &cqe);
        result = result == 0 ? cqe->res : result;
    }
    io_uring_queue_exit(&ring);
    return result;
}
