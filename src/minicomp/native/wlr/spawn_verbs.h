/* Starting programs. */
#ifndef MC_SPAWN_VERBS_H
#define MC_SPAWN_VERBS_H

#include <stdint.h>

/* Starts argv[0], looked up in our PATH, with default signal handling and, unless open_files is 0, with that
 * soft limit of open files instead of ours. Both arrays end with NULL. The pid, or -errno of exec or of fork.
 */
int32_t mc_spawn(char *const argv[], char *const envp[], uint64_t open_files);

#endif
