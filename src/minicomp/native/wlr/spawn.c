/* posix_spawn with a limit of its own, which that has no attribute for. Lowering ours for a moment would let
 * other threads run out of file descriptors; setting the child's afterwards comes too late for some. */
#include "spawn_verbs.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child, which still uses our memory: nothing of it may be changed. Handlers are ours and would run in
 * there; what we ignore (Python ignores SIGPIPE) a program does not expect to be ignored. */
static void reset_signals(void)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) {
        sigaction(number, &standard, NULL); /* fails for SIGKILL, SIGSTOP and the C library's own */
    }
}

int32_t mc_spawn(char *const argv[], char *const envp[], uint64_t open_files)
{
    struct rlimit limit;
    bool limited = open_files != 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0;
    limit.rlim_cur = open_files;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    volatile int failed = 0; /* written by the child */
    pid_t pid = vfork();
    if (pid == 0) {
        reset_signals();
        if (limited) {
            setrlimit(RLIMIT_NOFILE, &limit);
        }
        sigprocmask(SIG_SETMASK, &before, NULL);
        execvpe(argv[0], argv, envp);
        failed = errno;
        _exit(127);
    }
    int error = pid < 0 ? errno : failed;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid > 0 && error != 0) {
        siginfo_t status;
        while (waitid(P_PID, (id_t)pid, &status, WEXITED) != 0 && errno == EINTR) {
        }
    }
    return error != 0 ? -error : pid;
}
