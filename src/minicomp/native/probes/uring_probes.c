#include "uring_probes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe_time.h"
#include "syscall_count.h"

#define ENTRIES 128
#define BYTES 64
#define AWAKE_MS 1000 /* the SQPOLL thread does not sleep during a measurement */
#define GIVE_UP_NS 3000000000u

static int open_ring(struct io_uring *ring, bool sqpoll, unsigned idle_ms)
{
    struct io_uring_params params = {.flags = sqpoll ? IORING_SETUP_SQPOLL : 0, .sq_thread_idle = idle_ms};
    return io_uring_queue_init_params(ENTRIES, ring, &params);
}

/* ---- reading /dev/zero ---- */

struct reading {
    int reader, operations, batch, fd;
    struct io_uring *ring;
    uint64_t *batches_ns, limit_ns;
    int batches; /* done */
    char buffers[ENTRIES][BYTES];
};

/* A batch's completions without a system call; the kernel's thread may need this CPU, hence the yield. */
static int spin(struct io_uring *ring, int wanted)
{
    uint64_t begin_ns = mc_now_ns();
    for (uint64_t turns = 0; io_uring_cq_ready(ring) < (unsigned)wanted; turns++) {
        if (turns % 4096 == 4095) {
            sched_yield();
            if (mc_now_ns() - begin_ns > GIVE_UP_NS) {
                return ETIMEDOUT;
            }
        }
    }
    return 0;
}

static int read_batch(struct reading *reading)
{
    if (reading->reader == MC_PROBE_READ) {
        for (int i = 0; i < reading->batch; i++) {
            if (read(reading->fd, reading->buffers[i], BYTES) != BYTES) {
                return errno;
            }
        }
        return 0;
    }
    for (int i = 0; i < reading->batch; i++) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(reading->ring);
        if (sqe == NULL) {
            return EBUSY;
        }
        io_uring_prep_read(sqe, reading->fd, reading->buffers[i], BYTES, 0);
    }
    int result;
    if (reading->reader == MC_PROBE_URING_SQPOLL) {
        result = io_uring_submit(reading->ring);
        int error = result < 0 ? -result : spin(reading->ring, reading->batch);
        if (error != 0) {
            return error;
        }
    } else {
        result = io_uring_submit_and_wait(reading->ring, (unsigned)reading->batch);
    }
    struct io_uring_cqe *cqe;
    unsigned head;
    int taken = 0, error = result < 0 ? -result : 0;
    io_uring_for_each_cqe(reading->ring, head, cqe)
    {
        error = cqe->res == BYTES ? error : EIO;
        taken++;
    }
    io_uring_cq_advance(reading->ring, (unsigned)taken);
    return error != 0 ? error : taken == reading->batch ? 0 : EPROTO;
}

static int read_all(void *data)
{
    struct reading *reading = data;
    struct io_uring ring;
    bool ringed = reading->reader != MC_PROBE_READ;
    int error = ringed ? -open_ring(&ring, reading->reader == MC_PROBE_URING_SQPOLL, AWAKE_MS) : 0;
    if (error != 0) {
        return error;
    }
    reading->ring = &ring;
    error = read_batch(reading); /* the kernel's thread has started, the pages are there */
    mc_count_mark();
    uint64_t began_ns = mc_now_ns(), last_ns = began_ns;
    int batches = reading->operations / reading->batch;
    while (reading->batches < batches && error == 0 && last_ns - began_ns < reading->limit_ns) {
        error = read_batch(reading);
        uint64_t now_ns = mc_now_ns();
        if (reading->batches_ns != NULL) {
            reading->batches_ns[reading->batches] = now_ns - last_ns;
        }
        reading->batches++;
        last_ns = now_ns;
    }
    mc_count_mark();
    if (ringed) {
        io_uring_queue_exit(&ring);
    }
    return error;
}

static int read_zero(int reader, int operations, int batch, uint64_t limit_ns, uint64_t *batches_ns,
                     uint32_t *counts, size_t size)
{
    if (batch < 1 || batch > ENTRIES || operations % batch != 0) {
        return -EINVAL;
    }
    struct reading reading = {.reader = reader,
                              .operations = operations,
                              .batch = batch,
                              .batches_ns = batches_ns,
                              .limit_ns = limit_ns};
    reading.fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    if (reading.fd < 0) {
        return -errno;
    }
    int error = counts != NULL ? mc_count_syscalls(read_all, &reading, counts, size) : -read_all(&reading);
    close(reading.fd);
    return error != 0 || counts != NULL ? error : reading.batches;
}

int mc_probe_read_syscalls(int reader, int operations, int batch, uint32_t *counts_ret, size_t size)
{
    int error = read_zero(reader, operations, batch, UINT64_MAX, NULL, counts_ret, size);
    if (size > SYS_sched_yield && size > SYS_clock_gettime) {
        counts_ret[SYS_sched_yield] = counts_ret[SYS_clock_gettime] = 0;
    }
    return error;
}

int mc_probe_read_times(int reader, int operations, int batch, uint64_t limit_ns, uint64_t *batches_ns_ret)
{
    return read_zero(reader, operations, batch, limit_ns, batches_ns_ret, NULL, 0);
}

/* ---- round trips ---- */

struct server {
    int kind, fd, rounds, error;
};

static int serve_epoll(struct server *server)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, server->fd, &event) != 0) {
        return -errno;
    }
    char message[BYTES];
    int error = 0;
    for (int i = 0; i < server->rounds && error == 0; i++) {
        if (epoll_wait(epoll_fd, &event, 1, -1) != 1 || recv(server->fd, message, BYTES, 0) != BYTES ||
            send(server->fd, message, BYTES, MSG_NOSIGNAL) != BYTES) {
            error = -errno;
        }
    }
    close(epoll_fd);
    return error;
}

/* One io_uring_enter a round: it sends the answer, asks for the next message and sleeps until that is there.
 */
static int serve_uring(struct server *server)
{
    enum { RECEIVED = 1, SENT };
    struct io_uring ring;
    int error = open_ring(&ring, server->kind == MC_PROBE_SERVE_URING_SQPOLL, AWAKE_MS);
    if (error != 0) {
        return error;
    }
    char message[BYTES], answer[BYTES];
    bool answering = false;
    for (int received = 0; received <= server->rounds && error == 0;) {
        struct io_uring_sqe *sqe;
        if (answering) {
            memcpy(answer, message, BYTES);
            sqe = io_uring_get_sqe(&ring);
            io_uring_prep_send(sqe, server->fd, answer, BYTES, MSG_NOSIGNAL);
            io_uring_sqe_set_data64(sqe, SENT);
        }
        bool last = received == server->rounds;
        if (!last) {
            sqe = io_uring_get_sqe(&ring);
            io_uring_prep_recv(sqe, server->fd, message, BYTES, 0);
            io_uring_sqe_set_data64(sqe, RECEIVED);
        }
        for (bool done = false; !done && error == 0;) {
            int result = io_uring_submit_and_wait(&ring, 1);
            error = result < 0 && result != -EINTR ? result : 0;
            struct io_uring_cqe *cqe;
            while (error == 0 && io_uring_peek_cqe(&ring, &cqe) == 0) {
                error = cqe->res == BYTES ? 0 : cqe->res < 0 ? cqe->res : -EPIPE;
                done = done || cqe->user_data == (last ? SENT : RECEIVED);
                io_uring_cqe_seen(&ring, cqe);
            }
        }
        answering = true;
        received++;
    }
    io_uring_queue_exit(&ring);
    return error;
}

static void *serve(void *data)
{
    struct server *server = data;
    server->error = server->kind == MC_PROBE_SERVE_EPOLL ? serve_epoll(server) : serve_uring(server);
    shutdown(server->fd, SHUT_RDWR); /* whatever happened: the other end does not wait for ever */
    return NULL;
}

int mc_probe_round_trips(int kind, int rounds, uint64_t *round_ns_ret, uint64_t *cpu_ns_ret)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return -errno;
    }
    struct server server = {.kind = kind, .fd = pair[0], .rounds = rounds};
    pthread_t thread;
    uint64_t cpu_begin_ns = mc_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    int error = -pthread_create(&thread, NULL, serve, &server);
    if (error == 0) {
        char message[BYTES] = {0};
        for (int i = 0; i < rounds && error == 0; i++) {
            uint64_t begin_ns = mc_now_ns();
            if (send(pair[1], message, BYTES, MSG_NOSIGNAL) != BYTES ||
                recv(pair[1], message, BYTES, 0) != BYTES) {
                error = -EPIPE;
            }
            round_ns_ret[i] = mc_now_ns() - begin_ns;
        }
        *cpu_ns_ret = mc_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_begin_ns;
        shutdown(pair[1], SHUT_RDWR);
        pthread_join(thread, NULL);
        error = error != 0 && server.error != 0 ? server.error : error;
    }
    close(pair[0]);
    close(pair[1]);
    return error;
}

/* ---- the SQPOLL thread's end ---- */

static bool has_sqpoll_thread(void)
{
    DIR *tasks = opendir("/proc/self/task");
    bool found = false;
    for (struct dirent *entry; tasks != NULL && (entry = readdir(tasks)) != NULL;) {
        char path[300], name[32] = "";
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "re");
        if (file != NULL) {
            found = found || (fgets(name, sizeof(name), file) != NULL && strncmp(name, "iou-sqp", 7) == 0);
            fclose(file);
        }
    }
    if (tasks != NULL) {
        closedir(tasks);
    }
    return found;
}

int mc_probe_sqpoll_after_idle(unsigned idle_ms)
{
    struct io_uring ring;
    int error = open_ring(&ring, true, idle_ms);
    if (error != 0) {
        return error;
    }
    bool asleep = false;
    for (int i = 0; i < 100 && !asleep; i++) { /* up to 100 times as long */
        usleep(idle_ms * 1000);
        asleep = IO_URING_READ_ONCE(*ring.sq.kflags) & IORING_SQ_NEED_WAKEUP;
    }
    int result = !asleep ? 2 : has_sqpoll_thread();
    io_uring_queue_exit(&ring);
    return result;
}

int mc_uring_has(int operation)
{
    struct io_uring_probe *probe = io_uring_get_probe();
    if (probe == NULL) {
        return -ENOSYS;
    }
    int has = io_uring_opcode_supported(probe, operation);
    io_uring_free_probe(probe);
    return has;
}
