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

static void wake_in(uint64_t ns)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec when = {{ns / 1000000000, ns % 1000000000}, {ns / 1000000000, ns % 1000000000}};
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) == 0) {
        timer_settime(timer, 0, &when, NULL);
    }
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

int mc_frame_count(const char *const *argv, int output_fd, int ready_fd, uint32_t settle_ms,
                   uint32_t count_ms, struct mc_frame_counts *counts_ret)
{
    struct sigaction action = {.sa_handler = on_alarm}; /* without SA_RESTART */
    sigaction(SIGALRM, &action, NULL);
    memset(counts_ret, 0, sizeof(*counts_ret));
    pid_t pid = fork();
    if (pid == 0) {
        become(argv, output_fd);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
        return -1000 - ECHILD;
    }
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SETOPTIONS, pid, NULL, options) != 0) {
        kill(pid, SIGKILL);
        return -1000 - EPERM;
    }
    uint64_t begin_ns = UINT64_MAX, end_ns = UINT64_MAX;
    bool ended = false;
    ptrace(PTRACE_SYSCALL, pid, NULL, 0);
    wake_in(20000000);
    bool counting = false;
    for (;;) {
        uint64_t t_ns = mc_now_ns();
        if (begin_ns == UINT64_MAX && is_readable(ready_fd)) {
            begin_ns = t_ns + settle_ms * 1000000ULL;
            end_ns = begin_ns + count_ms * 1000000ULL;
        }
        if (!ended && t_ns >= end_ns) {
            ended = true;
            counts_ret->end_ns = t_ns;
            kill(pid, SIGTERM);
        }
        if (ended && t_ns >= end_ns + GRACE_NS) {
            kill(pid, SIGKILL);
        }
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
        int deliver;
        bool call = is_stop_for_us(status, &deliver);
        if (call && t_ns >= begin_ns && !ended) {
            if (!counting) {
                counting = true;
                counts_ret->begin_ns = t_ns;
            }
            count(tid, counts_ret);
        }
        ptrace(ended ? PTRACE_CONT : PTRACE_SYSCALL, tid, NULL, deliver);
    }
}
