#include "tasks.h"

#include <stdio.h>
#include <string.h>

#include "probe_time.h"

bool mc_task_stat(int tid, int field, char *value_ret, size_t size)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
    FILE *stat = fopen(path, "r");
    if (stat == NULL) {
        return false;
    }
    char *at = fgets(text, sizeof(text), stat) != NULL ? strrchr(text, ')') : NULL;
    fclose(stat);
    for (int i = 2; i < field && at != NULL; i++) {
        at = strchr(at + 1, ' ');
    }
    if (at == NULL) {
        return false;
    }
    snprintf(value_ret, size, "%.*s", (int)strcspn(at + 1, " "), at + 1);
    return true;
}

bool mc_task_wait_asleep(int tid)
{
    uint64_t give_up_ns = mc_now_ns() + MC_NSEC_PER_SEC;
    char state[4];
    while (mc_now_ns() < give_up_ns) {
        if (tid != 0 && mc_task_stat(tid, 3, state, sizeof(state)) && state[0] == 'S') {
            return true;
        }
        mc_sleep_us(20);
    }
    return false;
}
