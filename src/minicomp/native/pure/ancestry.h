/* Whether a process was started, directly or through others, by a known one.
 *
 * Told by the parents that /proc names. Numbers of processes are used again, so a line of parents counts only
 * if a second look finds the same one: then none of them ended in between, for whose parent ends gets
 * another. What the caller must see to: `ancestor` has not been reaped, and `pid` has not either (ask its
 * pidfd afterwards). A process whose parent has ended belongs to nobody. */
#ifndef MC_ANCESTRY_H
#define MC_ANCESTRY_H

#include <stdbool.h>
#include <sys/types.h>

/* Also true for `ancestor` itself. */
bool mc_process_descends(pid_t pid, pid_t ancestor);

#endif
