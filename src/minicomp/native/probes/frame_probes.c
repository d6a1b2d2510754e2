#include "frame_probes.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "probe_time.h"

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

/* Until it writes to the other end and for settle_ms more, untraced; false when it has ended. */
static bool wait_until_settled(pid_t pid, int ready_fd, uint32_t settle_ms)
{
    uint64_t until_ns = UINT64_MAX;
    while (mc_now_ns() < until_ns) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid) {
            return false;
        }
        struct pollfd ready = {.fd = ready_fd, .events = POLLIN};
        bool is_ready = until_ns != UINT64_MAX || (poll(&ready, 1, 0) > 0 && (ready.revents & POLLIN) != 0);
        if (is_ready && until_ns == UINT64_MAX) {
            until_ns = mc_now_ns() + settle_ms * MC_NSEC_PER_MSEC;
        }
        mc_sleep_us(5000);
    }
    return true;
}

/* All threads it has; those that they make follow by themselves. The number of threads, or -errno. */
static int seize_threads(pid_t pid)
{
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    char name[64];
    snprintf(name, sizeof(name), "/proc/%d/task", pid);
    int all = 0, found;
    do { /* a thread that was not traced yet may have made another one meanwhile */
        DIR *tasks = opendir(name);
        if (tasks == NULL) {
            return -errno;
        }
        found = 0;
        for (struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
            pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
            if (tid > 0 && ptrace(PTRACE_SEIZE, tid, NULL, options) == 0) {
                ptrace(PTRACE_INTERRUPT, tid, NULL, 0);
                found++;
            }
        }
        closedir(tasks);
        all += found;
    } while (found > 0);
    return all > 0 ? all : -EPERM;
}

/* Until it has ended: its exit code, -signal, or -errno - 1000. */
static int follow(pid_t pid, uint64_t begin_ns, uint64_t end_ns, struct mc_frame_counts *counts)
{
    bool ended = false, counting = false;
    for (;;) {
        uint64_t t_ns = mc_now_ns();
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
    pid_t pid = fork();
    if (pid == 0) {
        become(argv, output_fd);
    }
    if (pid < 0) {
        return -1000 - errno;
    }
    timer_t timer;
    int error = 0, status;
    if (wait_until_settled(pid, ready_fd, settle_ms)) {
        error = seize_threads(pid);
        error = error > 0 ? wake_every(20000000, &timer) : error;
    } else {
        error = -ECHILD;
    }
    if (error != 0) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        return -1000 + error;
    }
    uint64_t begin_ns = mc_now_ns() + settle_ms * MC_NSEC_PER_MSEC / 4;
    int code = follow(pid, begin_ns, begin_ns + count_ms * MC_NSEC_PER_MSEC, counts_ret);
    timer_delete(timer);
    return code;
}
