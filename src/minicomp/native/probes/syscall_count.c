#include "syscall_count.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* getppid takes no argument: this one marks where the work begins and ends. */
#define MARK 0x6d63706fL

static void child(int (*work)(void *data), void *data)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
        _exit(errno);
    }
    raise(SIGSTOP);
    _exit(work(data));
}

void mc_count_mark(void)
{
    syscall(SYS_getppid, MARK);
}

static bool is_mark(const struct __ptrace_syscall_info *info)
{
    return info->entry.nr == SYS_getppid && info->entry.args[0] == MARK;
}

int mc_count_syscalls(int (*work)(void *data), void *data, uint32_t *counts_ret, size_t size)
{
    pid_t pid = fork();
    if (pid == 0) {
        child(work, data);
    }
    if (pid < 0) {
        return -errno;
    }
    int status, deliver = 0;
    bool traced = false, counting = false;
    while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
        if (!traced) {
            traced = ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0;
        } else if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            struct __ptrace_syscall_info info;
            long got = ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info);
            if (got > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY) {
                if (is_mark(&info)) {
                    counting = !counting;
                } else if (counting && info.entry.nr < size) {
                    counts_ret[info.entry.nr]++;
                }
            }
        } else {
            deliver = WSTOPSIG(status);
        }
        if (ptrace(PTRACE_SYSCALL, pid, NULL, deliver) != 0) {
            break;
        }
        deliver = 0;
    }
    return WIFEXITED(status) && traced ? -WEXITSTATUS(status) : WIFEXITED(status) ? -EPERM : -ECHILD;
}
