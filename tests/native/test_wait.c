/* Every kind of mc_wait reports what is readable until it is read, whatever the kernel tells only once.
 *
 *   test_wait              all tests
 *   test_wait KIND COUNT   COUNT wake-ups of each sort, for a tracer that counts system calls; says "wakes N"
 */
#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wait.h"

#define SQ_IDLE_MS 1
#define KINDS 4
static const char *const NAMES[KINDS] = {"epoll", "epoll-edge", "io-uring", "io-uring-sqpoll"};

static int check(int result)
{
    if (result < 0) {
        perror("system call");
        abort();
    }
    return result;
}

static uint32_t next(struct mc_wait *wait)
{
    uint32_t ready;
    int error = mc_wait_next(wait, &ready);
    if (error != 0) {
        fprintf(stderr, "%s: mc_wait_next: %s\n", NAMES[wait->kind], strerror(-error));
        abort();
    }
    assert(ready != 0);
    return ready;
}

static void put(int fd, uint64_t value)
{
    assert(write(fd, &value, sizeof(value)) == sizeof(value));
}

static uint64_t take(int fd)
{
    uint64_t value;
    assert(read(fd, &value, sizeof(value)) == sizeof(value));
    return value;
}

static void open_two(struct mc_wait *wait, enum mc_wait_kind kind, int first, bool emptied, int second)
{
    struct mc_wait_fd fds[] = {{.fd = first, .emptied = emptied}, {.fd = second, .emptied = true}};
    int error = mc_wait_open(wait, kind, fds, 2, SQ_IDLE_MS);
    if (error != 0) {
        fprintf(stderr, "%s: mc_wait_open: %s\n", NAMES[kind], strerror(-error));
        abort();
    }
}

static void test_says_which(enum mc_wait_kind kind, bool multishot)
{
    int a = check(eventfd(0, EFD_CLOEXEC)), b = check(eventfd(0, EFD_CLOEXEC));
    struct mc_wait wait;
    put(b, 1); /* readable before it is watched */
    open_two(&wait, kind, a, true, b);
    wait.multishot = wait.multishot && multishot;
    assert(next(&wait) == 2 && take(b) == 1);
    for (int i = 0; i < 200; i++) {
        put(a, 1);
        assert(next(&wait) == 1 && take(a) == 1);
        put(b, 1);
        assert(next(&wait) == 2 && take(b) == 1);
    }
    put(a, 1);
    put(b, 1);
    for (uint32_t seen = 0; seen != 3;) { /* io_uring may report them one after the other */
        uint32_t ready = next(&wait);
        assert((ready & seen) == 0);
        if (ready & 1) {
            take(a);
        }
        if (ready & 2) {
            take(b);
        }
        seen |= ready;
    }
    mc_wait_close(&wait);
    mc_wait_close(&wait);
    close(a);
    close(b);
}

/* What is left unread is reported again, unless the caller has promised to read everything. */
static void test_unread(enum mc_wait_kind kind)
{
    for (int emptied = 0; emptied < 2; emptied++) {
        int stream[2], guard = check(eventfd(0, EFD_CLOEXEC));
        check(pipe(stream));
        struct mc_wait wait;
        open_two(&wait, kind, stream[0], emptied, guard);
        check((int)write(stream[1], "abc", 3));
        char c;
        assert(next(&wait) == 1 && read(stream[0], &c, 1) == 1);
        if (!emptied) {
            assert(next(&wait) == 1 && read(stream[0], &c, 1) == 1 && c == 'b');
            assert(next(&wait) == 1 && read(stream[0], &c, 1) == 1 && c == 'c');
        }
        put(guard, 1);
        uint32_t ready = next(&wait);
        if (emptied && kind == MC_WAIT_EPOLL) {
            assert(ready == 3); /* a level is a level */
        } else {
            assert(ready == 2); /* emptied: the broken promise loses 'b' and 'c', until something new comes */
        }
        if (emptied && kind != MC_WAIT_EPOLL) {
            take(guard);
            check((int)write(stream[1], "d", 1));
            assert(next(&wait) == 1 && read(stream[0], &c, 1) == 1 && c == 'b');
        }
        mc_wait_close(&wait);
        close(stream[0]);
        close(stream[1]);
        close(guard);
    }
}

/* As libwayland's loop: an epoll fd with more ready sources than one dispatch takes. */
enum { SOURCES = 40, A_DISPATCH = 32 };

static int dispatch(int inner, int wanted)
{
    struct epoll_event ready[A_DISPATCH];
    int count = check(epoll_wait(inner, ready, wanted, 0));
    for (int i = 0; i < count; i++) {
        take(ready[i].data.fd);
    }
    return count;
}

static int make_inner(int sources[SOURCES])
{
    int inner = check(epoll_create1(EPOLL_CLOEXEC));
    for (int i = 0; i < SOURCES; i++) {
        sources[i] = check(eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE));
        struct epoll_event event = {.events = EPOLLIN, .data.fd = sources[i]};
        check(epoll_ctl(inner, EPOLL_CTL_ADD, sources[i], &event));
    }
    return inner;
}

static void test_nested(enum mc_wait_kind kind)
{
    for (int emptied = 0; emptied < 2; emptied++) {
        int sources[SOURCES], inner = make_inner(sources), guard = check(eventfd(0, EFD_CLOEXEC));
        struct mc_wait wait;
        open_two(&wait, kind, inner, emptied, guard);
        for (int i = 0; i < SOURCES; i++) {
            put(sources[i], 1);
        }
        assert(next(&wait) == 1 && dispatch(inner, A_DISPATCH) == A_DISPATCH);
        if (!emptied) {
            assert(next(&wait) == 1 && dispatch(inner, A_DISPATCH) == SOURCES - A_DISPATCH);
            put(sources[7], 2); /* read once only: level-triggered inside, so still ready inside */
            assert(next(&wait) == 1 && dispatch(inner, 1) == 1);
            assert(next(&wait) == 1 && dispatch(inner, 1) == 1);
        } else if (kind == MC_WAIT_EPOLL_EDGE) {
            put(guard, 1);
            assert(next(&wait) == 2); /* eight ready sources, and nobody is told */
            assert(dispatch(inner, A_DISPATCH) == SOURCES - A_DISPATCH);
            take(guard);
        }
        put(guard, 1);
        assert(next(&wait) & 2);
        mc_wait_close(&wait);
        for (int i = 0; i < SOURCES; i++) {
            close(sources[i]);
        }
        close(inner);
        close(guard);
    }
}

/* A producer that sends one message and waits for the answer hangs for ever when one is lost. */
struct ping {
    int peer;
    int count;
};

static void *ping(void *data)
{
    struct ping *ping = data;
    for (int i = 0; i < ping->count; i++) {
        char c = (char)i, answer;
        assert(write(ping->peer, &c, 1) == 1 && read(ping->peer, &answer, 1) == 1 && answer == c);
    }
    return NULL;
}

static uint64_t answer_pings(enum mc_wait_kind kind, int count)
{
    int pair[2], inner = check(epoll_create1(EPOLL_CLOEXEC)), guard = check(eventfd(0, EFD_CLOEXEC));
    check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    struct epoll_event event = {.events = EPOLLIN};
    check(epoll_ctl(inner, EPOLL_CTL_ADD, pair[0], &event));
    struct mc_wait wait;
    open_two(&wait, kind, inner, false, guard);
    struct ping data = {pair[1], count};
    pthread_t thread;
    assert(pthread_create(&thread, NULL, ping, &data) == 0);
    uint64_t wakes = 0;
    for (int answered = 0; answered < count; wakes++) {
        assert(next(&wait) == 1);
        struct epoll_event ready;
        if (check(epoll_wait(inner, &ready, 1, 0)) == 1) {
            char c;
            assert(read(pair[0], &c, 1) == 1 && write(pair[0], &c, 1) == 1);
            answered++;
        }
    }
    pthread_join(thread, NULL);
    mc_wait_close(&wait);
    close(pair[0]);
    close(pair[1]);
    close(inner);
    close(guard);
    return wakes;
}

static void on_signal(int number)
{
    (void)number;
}

static void *interrupt(void *data)
{
    struct timespec moment = {.tv_nsec = 50 * 1000 * 1000};
    nanosleep(&moment, NULL);
    pthread_kill(*(pthread_t *)data, SIGUSR1);
    return NULL;
}

static void set(int timer, int value_us)
{
    struct itimerspec spec = {.it_value = {.tv_nsec = value_us * 1000L}};
    check(timerfd_settime(timer, 0, &spec, NULL));
}

/* A timer that nobody reads is reported when it expires, and not again before it has been set and expires
 * anew. */
static void test_timer(enum mc_wait_kind kind, bool multishot)
{
    int guard = check(eventfd(0, EFD_CLOEXEC));
    int timer = check(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    struct mc_wait_fd fds[] = {{.fd = timer, .once = true}, {.fd = guard, .emptied = true}};
    struct mc_wait wait;
    assert(mc_wait_open(&wait, kind, fds, 2, SQ_IDLE_MS) == 0);
    wait.multishot = wait.multishot && multishot;
    for (int i = 0; i < 50; i++) {
        set(timer, 200);
        assert(next(&wait) == 1);
        put(guard, 1);
        assert(next(&wait) == 2 && take(guard) == 1);
        set(timer, 100);
        usleep(300); /* it expires while nobody waits, and is disarmed before somebody does */
        set(timer, 0);
        put(guard, 1);
        uint32_t ready = next(&wait);
        if (wait.ring != NULL && !(ready & 2)) {
            ready = next(&wait); /* io_uring had noted the expiry: a wake-up for nothing */
        }
        assert((ready & 2) && take(guard) == 1 && (wait.ring != NULL || ready == 2));
    }
    mc_wait_close(&wait);
    close(timer);
    close(guard);
}

static void test_signal(enum mc_wait_kind kind)
{
    int a = check(eventfd(0, EFD_CLOEXEC)), b = check(eventfd(0, EFD_CLOEXEC));
    struct mc_wait wait;
    open_two(&wait, kind, a, true, b);
    put(a, 1);
    assert(next(&wait) == 1 && take(a) == 1);
    pthread_t self = pthread_self(), thread;
    assert(pthread_create(&thread, NULL, interrupt, &self) == 0);
    uint32_t ready = 99;
    assert(mc_wait_next(&wait, &ready) == -EINTR && ready == 0);
    pthread_join(thread, NULL);
    put(b, 1);
    assert(next(&wait) == 2);
    mc_wait_close(&wait);
    close(a);
    close(b);
}

/* As a container's seccomp profile or kernel.io_uring_disabled=2 does it. */
static void test_refused(enum mc_wait_kind kind, int error)
{
    pid_t child = check(fork());
    if (child == 0) {
        struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
        check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
        struct mc_wait_fd fd = {.fd = STDIN_FILENO, .emptied = true};
        struct mc_wait wait;
        _exit(mc_wait_open(&wait, kind, &fd, 1, SQ_IDLE_MS) == -error && wait.ops == NULL ? 0 : 1);
    }
    int status;
    check(waitpid(child, &status, 0));
    assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        for (int kind = 0; kind < KINDS; kind++) {
            if (strcmp(argv[1], NAMES[kind]) == 0) {
                printf("wakes %llu\n", (unsigned long long)answer_pings(kind, atoi(argv[2])));
                return 0;
            }
        }
        return 2;
    }
    struct sigaction action = {.sa_handler = on_signal};
    check(sigaction(SIGUSR1, &action, NULL));
    int before = check(dup(STDIN_FILENO));
    close(before);
    for (int kind = 0; kind < KINDS; kind++) {
        test_says_which(kind, true);
        test_says_which(kind, false);
        test_unread(kind);
        test_nested(kind);
        assert(answer_pings(kind, 3000) >= 3000);
        test_timer(kind, true);
        test_timer(kind, false);
        test_signal(kind);
    }
    test_refused(MC_WAIT_IO_URING, EPERM);
    test_refused(MC_WAIT_IO_URING, ENOSYS);
    test_refused(MC_WAIT_IO_URING_SQPOLL, EPERM);
    struct mc_wait wait;
    assert(mc_wait_open(&wait, MC_WAIT_EPOLL, NULL, 0, 0) == -EINVAL);
    int after = check(dup(STDIN_FILENO));
    assert(before == after); /* the lowest free fd: none is left open */
    puts("ok");
    return 0;
}
