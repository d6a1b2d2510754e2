#include "logring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"

int mc_logring_init(struct mc_logring *ring)
{
    memset(ring, 0, sizeof(*ring));
    ring->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ring->fd < 0) {
        return -errno;
    }
    pthread_mutex_init(&ring->mutex, NULL);
    return 0;
}

void mc_logring_finish(struct mc_logring *ring)
{
    if (ring->fd < 0) {
        return;
    }
    close(ring->fd);
    ring->fd = -1;
    pthread_mutex_destroy(&ring->mutex);
}

void mc_logring_vput(struct mc_logring *ring, enum mc_log_origin origin, enum mc_log_level level,
                     const char *format, va_list args)
{
    uint64_t now_ns = mc_now_ns();
    pthread_mutex_lock(&ring->mutex);
    if (ring->count == MC_LOG_SLOTS) {
        ring->first = (ring->first + 1) % MC_LOG_SLOTS;
        ring->count--;
        ring->lost++;
    }
    struct mc_log_message *message = &ring->slots[(ring->first + ring->count) % MC_LOG_SLOTS];
    message->t_ns = now_ns;
    message->level = level;
    message->origin = origin;
    vsnprintf(message->text, sizeof(message->text), format, args);
    size_t length = strlen(message->text);
    if (length > 0 && message->text[length - 1] == '\n') {
        message->text[length - 1] = '\0'; /* libwayland ends its lines, wlroots does not */
    }
    if (ring->count++ == 0) {
        uint64_t one = 1;
        ssize_t written = write(ring->fd, &one, sizeof(one));
        (void)written; /* EAGAIN only when the counter is full: then it is readable anyway */
    }
    pthread_mutex_unlock(&ring->mutex);
}

bool mc_logring_take(struct mc_logring *ring, struct mc_log_message *message_ret, uint64_t *lost_ret)
{
    pthread_mutex_lock(&ring->mutex);
    bool any = ring->count > 0;
    if (any) {
        *message_ret = ring->slots[ring->first];
        ring->first = (ring->first + 1) % MC_LOG_SLOTS;
        ring->count--;
    }
    if (ring->count == 0) {
        uint64_t value;
        ssize_t got = read(ring->fd, &value, sizeof(value));
        (void)got; /* EAGAIN: nobody had written since */
    }
    *lost_ret = ring->lost;
    ring->lost = 0;
    pthread_mutex_unlock(&ring->mutex);
    return any;
}
