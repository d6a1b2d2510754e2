/* What /proc says of the threads of this process. For C only: Python is not told of it. */
#ifndef MC_TASKS_H
#define MC_TASKS_H

#include <stdbool.h>
#include <stddef.h>

/* A field of /proc/self/task/TID/stat after the name, counted as in proc(5); 'S' for field 3 of a sleeper.
 * False when there is no such thread or field. */
bool mc_task_stat(int tid, int field, char *value_ret, size_t size);
/* Waits until the thread sleeps; false when it does not within a second. */
bool mc_task_wait_asleep(int tid);

#endif
