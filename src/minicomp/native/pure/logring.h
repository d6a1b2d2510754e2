/* Log messages from the native threads, kept for Python's logging.
 *
 * wlroots and libwayland log from whatever thread runs; a Python callback there would take the GIL on the
 * frame path. So the handlers are C and copy the text here; Python drains it at leisure. Bounded: the oldest
 * messages are overwritten and counted. */
#ifndef MC_LOGRING_H
#define MC_LOGRING_H

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#define MC_LOG_TEXT_MAX 480
#define MC_LOG_SLOTS 512

enum mc_log_level {
    MC_LOG_ERROR = 1, /* as wlroots' own importance numbers */
    MC_LOG_INFO = 2,
    MC_LOG_DEBUG = 3,
    MC_LOG_WARNING = 4, /* ours only */
};

enum mc_log_origin {
    MC_LOG_FROM_MINICOMP = 0,
    MC_LOG_FROM_WLROOTS = 1,
    MC_LOG_FROM_LIBWAYLAND = 2,
};

struct mc_log_message {
    uint64_t t_ns;
    uint32_t level;
    uint32_t origin;
    char text[MC_LOG_TEXT_MAX]; /* NUL-terminated, cut if longer */
};

struct mc_logring {
    pthread_mutex_t mutex;
    struct mc_log_message slots[MC_LOG_SLOTS];
    uint32_t first, count;
    uint64_t lost;
    int fd; /* eventfd, owned; readable while count > 0 */
};

int mc_logring_init(struct mc_logring *ring); /* 0 or -errno */
void mc_logring_finish(struct mc_logring *ring);
void mc_logring_vput(struct mc_logring *ring, enum mc_log_origin origin, enum mc_log_level level,
                     const char *format, va_list args) __attribute__((format(printf, 4, 0)));
/* Takes the oldest message; false when there is none. lost_ret counts messages overwritten since the last
 * take. */
bool mc_logring_take(struct mc_logring *ring, struct mc_log_message *message_ret, uint64_t *lost_ret);

#endif
