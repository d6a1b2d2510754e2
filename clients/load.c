/* load: keeps a machine busy in one chosen way while something else is measured, and goes when its parent
 * does.
 *
 * This file is the program: its options, its copies, its ties to the parent. The loads are in load_kinds.c.
 * It speaks no Wayland; it lives here because experiments start it beside the other clients. `load --help` is
 * the manual.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/arguments.h"
#include "load_kinds.h"

#define MAX_COPIES 4096
#define MAX_MEGABYTES (1u << 20)

static const char help[] =
    "load: keeps this machine busy in one way until SIGTERM, SIGINT, or the end of the process that started "
    "it.\n"
    "\n"
    "  load cpu                        one busy loop for each CPU\n"
    "  load memory --copies 1          copies memory, far more than the caches hold\n"
    "  load pagecache --megabytes 512  writes and reads a file of that size (unlinked at once)\n"
    "  load fork --per-second 500      processes that end at once, one after another\n"
    "  load under TERM -- COMMAND...   becomes COMMAND, which gets SIGTERM when our parent ends\n"
    "\n"
    "  --copies N      processes that do it; default: one for each CPU that is online\n"
    "  --megabytes N   memory: each of two buffers (default 64); pagecache: the file (default 256)\n"
    "  --dir DIR       pagecache: where the file is; default /var/tmp\n"
    "  --per-second N  fork: in each copy; default 0: as fast as it goes\n"
    "  --nice N        0 to 19, of the copies; default 0\n"
    "\n"
    "Exit code: 0 ended by a signal or the parent's end; 1 wrong usage; 4 local failure (no memory, disk "
    "full).\n";

/* From now on `signal_number` comes when the parent ends. False when it has ended already: the tie came too
 * late. */
static bool tie_to_parent(pid_t parent, int signal_number)
{
    return prctl(PR_SET_PDEATHSIG, signal_number) == 0 && getppid() == parent;
}

/* `load under SIGNAL -- COMMAND...`: the tie survives exec of programs without set-user-ID (prctl(2)). */
static int run_under(int argc, char **argv, pid_t parent)
{
    int number = argc < 5                       ? 0
                 : strcmp(argv[2], "TERM") == 0 ? SIGTERM
                 : strcmp(argv[2], "KILL") == 0 ? SIGKILL
                                                : 0;
    if (number == 0 || strcmp(argv[3], "--") != 0) {
        fprintf(stderr, "load: use: load under TERM|KILL -- COMMAND...\n");
        return EXIT_USAGE;
    }
    if (!tie_to_parent(parent, number)) {
        return EXIT_OK;
    }
    execvp(argv[4], argv + 4);
    fprintf(stderr, "load: %s: %s\n", argv[4], strerror(errno));
    return errno == ENOENT ? 127 : 126; /* as env(1) */
}

struct kind {
    const char *name;
    enum exit_code (*run)(const struct load_options *options);
    uint64_t megabytes; /* unless --megabytes says otherwise */
};

static const struct kind kinds[] = {
    {"cpu", load_spin, 0},
    {"memory", load_stream_memory, 64},
    {"pagecache", load_fill_page_cache, 256},
    {"fork", load_storm_forks, 0},
};

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(name, kinds[i].name) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}

/* The copies die with this process (SIGKILL: they hold nothing); when one fails, all end with its exit code.
 * `waited` holds the signals that end us, and SIGCHLD; all of them are blocked, so that none can come unseen.
 */
static int run_copies(const struct kind *kind, uint64_t copies, int niceness,
                      const struct load_options *options, const sigset_t *waited)
{
    static pid_t children[MAX_COPIES];
    pid_t self = getpid();
    uint64_t started = 0;
    int result = EXIT_OK;
    for (; started < copies; started++) {
        pid_t child = fork();
        if (child == 0) {
            sigprocmask(SIG_UNBLOCK, waited, NULL);
            errno = 0;
            if (!tie_to_parent(self, SIGKILL) || (niceness != 0 && nice(niceness) == -1 && errno != 0)) {
                _exit(EXIT_LOCAL);
            }
            _exit(kind->run(options));
        }
        if (child < 0) {
            fprintf(stderr, "load: cannot fork: %s\n", strerror(errno));
            result = EXIT_LOCAL;
            break;
        }
        children[started] = child;
    }
    int status = 0;
    if (result == EXIT_OK && sigwaitinfo(waited, NULL) == SIGCHLD && wait(&status) > 0) {
        result = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_LOCAL; /* none ends by itself */
    }
    for (uint64_t i = 0; i < started; i++) {
        kill(children[i], SIGKILL);
    }
    while (wait(NULL) > 0) {
    }
    return result;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"copies", required_argument, NULL, 'c'},
        {"megabytes", required_argument, NULL, 'm'},
        {"dir", required_argument, NULL, 'd'},
        {"per-second", required_argument, NULL, 'p'},
        {"nice", required_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    pid_t parent = getppid();
    if (argc > 1 && strcmp(argv[1], "under") == 0) {
        return run_under(argc, argv, parent);
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t copies = online > 0 ? (uint64_t)online : 1, niceness = 0;
    struct load_options options = {.folder = "/var/tmp"};
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        bool good = true;
        switch (option) {
        case 'c':
            good = argument_u64("copies", optarg, 1, MAX_COPIES, &copies);
            break;
        case 'm':
            good = argument_u64("megabytes", optarg, 1, MAX_MEGABYTES, &options.megabytes);
            break;
        case 'd':
            options.folder = optarg;
            break;
        case 'p':
            good = argument_u64("per-second", optarg, 0, 1000000, &options.per_second);
            break;
        case 'n':
            good = argument_u64("nice", optarg, 0, 19, &niceness);
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_OK;
        default:
            good = false;
        }
        if (!good) {
            return EXIT_USAGE;
        }
    }
    const struct kind *kind = optind == argc - 1 ? find_kind(argv[optind]) : NULL;
    if (kind == NULL) {
        fprintf(stderr, "load: one of cpu, memory, pagecache, fork, under is needed (--help says more)\n");
        return EXIT_USAGE;
    }
    if (options.megabytes == 0) {
        options.megabytes = kind->megabytes;
    }

    sigset_t waited;
    sigemptyset(&waited);
    sigaddset(&waited, SIGTERM);
    sigaddset(&waited, SIGINT);
    sigaddset(&waited, SIGCHLD);
    sigprocmask(SIG_BLOCK, &waited, NULL);
    if (!tie_to_parent(parent, SIGTERM)) {
        return EXIT_OK;
    }
    return run_copies(kind, copies, (int)niceness, &options, &waited);
}
