/* What a load does until it is told to stop. Each function runs in a process of its own, which may be killed
 * at any moment: nothing outlives it but, for the page cache, the unlinked file's pages, which go with it.
 */
#ifndef CLIENTS_LOAD_KINDS_H
#define CLIENTS_LOAD_KINDS_H

#include <stdint.h>

#include "common/exit_codes.h"

struct load_options {
    uint64_t megabytes;  /* memory: size of each of the two buffers; pagecache: size of the file */
    const char *folder;  /* pagecache: where the file is */
    uint64_t per_second; /* fork: at most so many a second; 0: as fast as it goes */
};

enum exit_code load_spin(const struct load_options *options);            /* never returns */
enum exit_code load_stream_memory(const struct load_options *options);   /* returns on failure only */
enum exit_code load_fill_page_cache(const struct load_options *options); /* returns on failure only */
enum exit_code load_storm_forks(const struct load_options *options);     /* returns on failure only */

#endif
