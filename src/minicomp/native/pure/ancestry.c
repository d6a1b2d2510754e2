#include "ancestry.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_GENERATIONS 64

/* 0 when it cannot be known. */
static pid_t parent_of(pid_t pid)
{
    char path[32], text[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t length = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (length <= 0) {
        return 0;
    }
    text[length] = '\0';
    const char *name_end = strrchr(text, ')'); /* a name may have brackets and spaces of its own */
    int parent = 0;
    return name_end != NULL && sscanf(name_end + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

/* How many generations up the ancestor is, with those between in the line; -1 when it is not among them. */
static int trace_line(pid_t pid, pid_t ancestor, pid_t line_ret[MAX_GENERATIONS])
{
    for (int i = 0; i < MAX_GENERATIONS && pid > 1; i++) {
        line_ret[i] = pid;
        if (pid == ancestor) {
            return i;
        }
        pid = parent_of(pid);
    }
    return -1;
}

bool mc_process_descends(pid_t pid, pid_t ancestor)
{
    pid_t first[MAX_GENERATIONS], second[MAX_GENERATIONS];
    int generations = trace_line(pid, ancestor, first);
    return generations >= 0 && trace_line(pid, ancestor, second) == generations &&
           memcmp(first, second, (size_t)(generations + 1) * sizeof(first[0])) == 0;
}
