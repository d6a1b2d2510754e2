#include "frame_probes.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

/* After SIGTERM, until it is killed. */
#define GRACE_NS 3000000000ULL

static void on_alarm(int number)
{
    /* Only waitpid is to return. */
}

/* Again and again, in case one comes just before waitpid; until it is deleted. */
static int wake_every(long ns, timer_t *timer_ret)
{
    struct sigaction action = {.sa_handler = on_alarm}; /* without SA_RESTART */
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec when = {{0, ns}, {0, ns}};
    if (sigaction(SIGALRM, &action, NULL) != 0 || timer_create(CLOCK_MONOTONIC, &event, timer_ret) != 0) {
        return -errno;
    }
    timer_settime(*timer_ret, 0, &when, NULL);
    return 0;
}

static void count(pid_t tid, struct mc_frame_counts *counts)
{
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_ENTRY) {
        return;
    }
    if (info.entry.nr < MC_FRAME_CALLS) {
        counts->calls[info.entry.nr]++;
    }
    if (info.entry.nr == SYS_ioctl) {
        counts->ioctls[info.entry.args[1] % MC_FRAME_IOCTLS]++;
    }
}

static void become(const char *const *argv, int output_fd)
{
    dup2(output_fd, STDOUT_FILENO);
    dup2(output_fd, STDERR_FILENO);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

static bool is_stop_for_us(int status, int *deliver_ret)
{
    int number = WSTOPSIG(status);
    /* Events, the stop that execve and a new thread begin with; everything else is the program's own signal.
     */
    *deliver_ret = status >> 16 != 0 || (number & 0x7f) == SIGTRAP || number == SIGSTOP ? 0 : number;
    return number == (SIGTRAP | 0x80);
}

static bool is_readable(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, 0) > 0 && (one.revents & POLLIN) != 0;
}

/* Its process, stopped and traced; or -errno. */
static pid_t start_traced(const char *const *argv, int output_fd)
{
    pid_t pid = fork();
    if (pid == 0) {
        become(argv, output_fd);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
        return -ECHILD;
    }
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SETOPTIONS, pid, NULL, options) != 0) {
        kill(pid, SIGKILL);
        return -EPERM;
    }
    return pid;
}

/* Until it has ended: its exit code, -signal, or -errno - 1000. */
static int follow(pid_t pid, int ready_fd, uint32_t settle_ms, uint32_t count_ms,
                  struct mc_frame_counts *counts)
{
    uint64_t begin_ns = UINT64_MAX, end_ns = UINT64_MAX;
    bool ended = false, counting = false;
    ptrace(PTRACE_SYSCALL, pid, NULL, 0);
    for (;;) {
        uint64_t t_ns = mc_now_ns();
        if (begin_ns == UINT64_MAX && is_readable(ready_fd)) {
            begin_ns = t_ns + settle_ms * 1000000ULL;
            end_ns = begin_ns + count_ms * 1000000ULL;
        }
        if (!ended && t_ns >= end_ns) {
            ended = true;
            counts->end_ns = t_ns;
            kill(pid, SIGTERM);
        }
        if (ended && t_ns >= end_ns + GRACE_NS) {
            kill(pid, SIGKILL);
        }
        int status, deliver;
        pid_t tid = waitpid(-1, &status, __WALL);
        if (tid < 0 && errno != EINTR) {
            return -1000 - errno;
        }
        if (tid < 0) {
            continue;
        }
        if (tid == pid && !WIFSTOPPED(status)) {
            return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        }
        if (!WIFSTOPPED(status)) {
            continue;
        }
        bool call = is_stop_for_us(status, &deliver);
        if (call && t_ns >= begin_ns && !ended) {
            if (!counting) {
                counting = true;
                counts->begin_ns = t_ns;
            }
            count(tid, counts);
        }
        ptrace(ended ? PTRACE_CONT : PTRACE_SYSCALL, tid, NULL, deliver);
    }
}

int mc_frame_count(const char *const *argv, int output_fd, int ready_fd, uint32_t settle_ms,
                   uint32_t count_ms, struct mc_frame_counts *counts_ret)
{
    memset(counts_ret, 0, sizeof(*counts_ret));
    pid_t pid = start_traced(argv, output_fd);
    timer_t timer;
    int error = pid < 0 ? (int)pid : wake_every(20000000, &timer);
    if (error != 0) {
        return -1000 + error;
    }
    int code = follow(pid, ready_fd, settle_ms, count_ms, counts_ret);
    timer_delete(timer);
    return code;
}
