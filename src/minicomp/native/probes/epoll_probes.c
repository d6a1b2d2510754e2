#include "epoll_probes.h"

#include <errno.h>
#include <poll.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <unistd.h>

#include "probe_time.h"

/* The fds of a delivery test: *fds_ret is allocated, with -1 where none could be opened. */
static int open_fds(int count, int **fds_ret)
{
    int *fds = *fds_ret = malloc((size_t)count * sizeof(*fds));
    if (fds == NULL) {
        return -ENOMEM;
    }
    int error = 0;
    for (int i = 0; i < count; i++) {
        fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        error = fds[i] < 0 ? -errno : error;
    }
    return error;
}

/* 1 when exactly `expected` was found ready, 0 when not, or -errno. Any fd may be passed to select: glibc's
 * fd_set ends at 1024, the kernel's does not, so the bits are our own. */
static int wait_once(int waiter, int epoll_fd, struct pollfd *polls, unsigned long *bits,
                     unsigned long *interest, size_t words, int highest, int count, int expected)
{
    if (waiter == MC_PROBE_EPOLL) {
        struct epoll_event event;
        int ready = epoll_wait(epoll_fd, &event, 1, 1000);
        return ready < 0 ? -errno : ready == 1 && event.data.fd == expected;
    }
    if (waiter == MC_PROBE_POLL) {
        int ready = poll(polls, (nfds_t)count, 1000);
        for (int i = 0; ready > 0 && i < count; i++) { /* what a program does to find out which */
            if (polls[i].revents != 0) {
                return polls[i].fd == expected;
            }
        }
        return ready < 0 ? -errno : 0;
    }
    for (size_t i = 0; i < words; i++) {
        bits[i] = interest[i];
    }
    struct timeval limit = {.tv_sec = 1};
    int ready = select(highest + 1, (fd_set *)bits, NULL, NULL, &limit);
    for (size_t i = 0; ready > 0 && i < words; i++) {
        if (bits[i] != 0) {
            return (int)(i * 64) + __builtin_ctzl(bits[i]) == expected;
        }
    }
    return ready < 0 ? -errno : 0;
}

int mc_probe_delivery(int waiter, int watched, int rounds, uint64_t *wait_ns_ret)
{
    int *fds = NULL;
    int error = open_fds(watched, &fds);
    if (fds == NULL) {
        return error;
    }
    int highest = 0, epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct pollfd *polls = calloc((size_t)watched, sizeof(*polls));
    for (int i = 0; i < watched; i++) {
        highest = fds[i] > highest ? fds[i] : highest;
    }
    size_t words = (size_t)highest / 64 + 1;
    unsigned long *bits = calloc(words, sizeof(*bits)), *interest = calloc(words, sizeof(*interest));
    if (error == 0 && (polls == NULL || bits == NULL || interest == NULL || epoll_fd < 0)) {
        error = -ENOMEM;
    }
    for (int i = 0; i < watched && error == 0; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
        polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
        interest[fds[i] / 64] |= 1ul << (fds[i] % 64);
        if (waiter == MC_PROBE_EPOLL && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &event) != 0) {
            error = -errno;
        }
    }
    for (int round = 0; round < rounds && error == 0; round++) {
        int fd = fds[(uint32_t)round * 2654435761u % (uint32_t)watched];
        uint64_t value = 1;
        if (write(fd, &value, sizeof(value)) != sizeof(value)) {
            error = -errno;
            break;
        }
        uint64_t begin_ns = mc_now_ns();
        int found = wait_once(waiter, epoll_fd, polls, bits, interest, words, highest, watched, fd);
        wait_ns_ret[round] = mc_now_ns() - begin_ns;
        if (found != 1) {
            error = found < 0 ? found : -EPROTO;
        } else if (read(fd, &value, sizeof(value)) != sizeof(value)) {
            error = -errno;
        }
    }
    for (int i = 0; i < watched; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    if (epoll_fd >= 0) {
        close(epoll_fd);
    }
    free(fds);
    free(polls);
    free(bits);
    free(interest);
    return error;
}

/* ---- insertion ---- */

int mc_probe_insertion(int watched, int rounds, uint64_t *add_ns_ret)
{
    int *fds = NULL;
    int error = open_fds(watched + 1, &fds);
    if (fds == NULL) {
        return error;
    }
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    for (int i = 0; i < watched && error == 0; i++) {
        error = epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &event) != 0 ? -errno : 0;
    }
    for (int round = 0; round < rounds && error == 0; round++) {
        uint64_t begin_ns = mc_now_ns();
        int added = epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[watched], &event);
        add_ns_ret[round] = mc_now_ns() - begin_ns;
        if (added != 0 || epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fds[watched], NULL) != 0) {
            error = -errno;
        }
    }
    for (int i = 0; i <= watched; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    if (epoll_fd >= 0) {
        close(epoll_fd);
    }
    free(fds);
    return error;
}

/* ---- herd ---- */

#define HERD_MAX 64
#define PATIENCE_NS 5000000000ULL /* that all sleep, on a busy machine */

struct herd {
    int event_fd;
    _Atomic int asleep;   /* about to call epoll_wait; a moment later they are in it */
    _Atomic int returned; /* returned from it in this round */
    _Atomic int took;     /* got the event */
    _Atomic int ended;
    _Atomic bool over;
};

struct member {
    struct herd *herd;
    int epoll_fd;
    _Atomic int tid;
    pthread_t thread;
};

static void *herd_member(void *data)
{
    struct member *member = data;
    struct herd *herd = member->herd;
    atomic_store(&member->tid, gettid());
    while (!atomic_load(&herd->over)) {
        struct epoll_event event;
        atomic_fetch_add(&herd->asleep, 1);
        int ready = epoll_wait(member->epoll_fd, &event, 1, -1);
        atomic_fetch_sub(&herd->asleep, 1);
        if (ready != 1 || atomic_load(&herd->over)) {
            continue;
        }
        atomic_fetch_add(&herd->returned, 1);
        uint64_t value;
        if (read(herd->event_fd, &value, sizeof(value)) == sizeof(value)) {
            atomic_fetch_add(&herd->took, 1);
        }
    }
    atomic_fetch_add(&herd->ended, 1);
    return NULL;
}

/* How often a thread has gone to sleep: once more than it was woken, while it sleeps. */
static uint64_t sleeps(struct member *member)
{
    char name[64], text[4096];
    snprintf(name, sizeof(name), "/proc/self/task/%d/status", atomic_load(&member->tid));
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0) {
        close(fd);
    }
    text[got > 0 ? got : 0] = '\0';
    const char *line = strstr(text, "\nvoluntary_ctxt_switches:");
    return line == NULL ? 0 : strtoull(strchr(line, ':') + 1, NULL, 10);
}

static uint64_t all_sleeps(struct member *members, int threads)
{
    uint64_t sum = 0;
    for (int i = 0; i < threads; i++) {
        sum += sleeps(&members[i]);
    }
    return sum;
}

static bool settle(struct herd *herd, int threads)
{
    const uint64_t until_ns = mc_now_ns() + PATIENCE_NS;
    while (mc_now_ns() < until_ns) {
        if (atomic_load(&herd->asleep) == threads) {
            mc_sleep_us(300); /* from the counter into the system call */
            if (atomic_load(&herd->asleep) == threads) {
                return true;
            }
        }
        mc_sleep_us(100);
    }
    return false;
}

int mc_probe_herd(int kind, int threads, int rounds, uint32_t *woken_ret, uint32_t *returned_ret)
{
    if (threads < 1 || threads > HERD_MAX) {
        return -EINVAL;
    }
    struct herd herd = {.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    struct member members[HERD_MAX] = {0};
    int shared = epoll_create1(EPOLL_CLOEXEC), error = 0, running = 0;
    for (int i = 0; i < threads && error == 0; i++) {
        members[i].herd = &herd;
        members[i].epoll_fd = kind == MC_PROBE_HERD_SHARED ? shared : epoll_create1(EPOLL_CLOEXEC);
        struct epoll_event event = {.events =
                                        EPOLLIN | (kind == MC_PROBE_HERD_EXCLUSIVE ? EPOLLEXCLUSIVE : 0)};
        if ((kind != MC_PROBE_HERD_SHARED || i == 0) &&
            epoll_ctl(members[i].epoll_fd, EPOLL_CTL_ADD, herd.event_fd, &event) != 0) {
            error = -errno;
        } else {
            error = -pthread_create(&members[i].thread, NULL, herd_member, &members[i]);
            running += error == 0;
        }
    }
    for (int round = 0; round < rounds && error == 0; round++) {
        if (!settle(&herd, threads)) {
            error = -ETIMEDOUT;
            break;
        }
        atomic_store(&herd.returned, 0);
        atomic_store(&herd.took, 0);
        uint64_t before = all_sleeps(members, threads), one = 1;
        if (write(herd.event_fd, &one, sizeof(one)) != sizeof(one)) {
            error = -errno;
        }
        while (error == 0 && atomic_load(&herd.took) == 0) {
            mc_sleep_us(20);
        }
        error = settle(&herd, threads) ? error : -ETIMEDOUT;
        returned_ret[round] = (uint32_t)atomic_load(&herd.returned);
        woken_ret[round] = (uint32_t)(all_sleeps(members, threads) - before);
    }
    atomic_store(&herd.over, true);
    while (atomic_load(&herd.ended) < running) { /* nobody reads any more; an exclusive waiter wakes alone */
        uint64_t one = 1;
        ssize_t written = write(herd.event_fd, &one, sizeof(one));
        (void)written; /* EAGAIN: readable anyway */
        mc_sleep_us(50);
    }
    for (int i = 0; i < running; i++) {
        pthread_join(members[i].thread, NULL);
    }
    for (int i = 0; i < threads; i++) {
        if (kind != MC_PROBE_HERD_SHARED && members[i].epoll_fd > 0) {
            close(members[i].epoll_fd);
        }
    }
    close(shared);
    close(herd.event_fd);
    return error;
}
