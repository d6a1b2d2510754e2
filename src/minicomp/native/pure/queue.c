#include "queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"

#define FIRST_CAPACITY 256

int mc_queue_init(struct mc_queue *queue)
{
    memset(queue, 0, sizeof(*queue));
    queue->events = calloc(FIRST_CAPACITY, sizeof(*queue->events));
    if (queue->events == NULL) {
        queue->fd = -1;
        return -ENOMEM;
    }
    queue->capacity = FIRST_CAPACITY;
    queue->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (queue->fd < 0) {
        int error = errno;
        free(queue->events);
        queue->events = NULL;
        return -error;
    }
    pthread_mutex_init(&queue->mutex, NULL);
    return 0;
}

void mc_queue_finish(struct mc_queue *queue)
{
    if (queue->events == NULL) {
        return;
    }
    free(queue->events);
    queue->events = NULL;
    close(queue->fd);
    queue->fd = -1;
    pthread_mutex_destroy(&queue->mutex);
}

/* Room for one more; called with the mutex held. */
static bool grow(struct mc_queue *queue)
{
    if (queue->count < queue->capacity) {
        return true;
    }
    if (queue->capacity >= MC_QUEUE_MAX) {
        return false;
    }
    struct mc_event *events = calloc(queue->capacity * 2, sizeof(*events));
    if (events == NULL) {
        return false;
    }
    for (size_t i = 0; i < queue->count; i++) {
        events[i] = queue->events[(queue->first + i) % queue->capacity];
    }
    free(queue->events);
    queue->events = events;
    queue->first = 0;
    queue->capacity *= 2;
    return true;
}

bool mc_queue_push(struct mc_queue *queue, uint32_t kind, uint64_t handle, int64_t a, int64_t b)
{
    struct mc_event event = {.kind = kind, .handle = handle, .a = a, .b = b, .t_ns = mc_now_ns()};
    pthread_mutex_lock(&queue->mutex);
    bool queued = grow(queue);
    bool wake = queued && queue->count == 0;
    if (queued) {
        queue->events[(queue->first + queue->count) % queue->capacity] = event;
        queue->count++;
    } else {
        queue->dropped++;
        queue->overflowed = true;
    }
    if (wake) {
        uint64_t one = 1;
        ssize_t written = write(queue->fd, &one, sizeof(one));
        (void)written; /* EAGAIN only when the counter is full: then it is readable anyway */
    }
    pthread_mutex_unlock(&queue->mutex);
    return queued;
}

size_t mc_queue_pop(struct mc_queue *queue, struct mc_event *events_ret, size_t max, bool *overflow_ret)
{
    pthread_mutex_lock(&queue->mutex);
    size_t count = queue->count < max ? queue->count : max;
    for (size_t i = 0; i < count; i++) {
        events_ret[i] = queue->events[(queue->first + i) % queue->capacity];
    }
    queue->first = (queue->first + count) % queue->capacity;
    queue->count -= count;
    *overflow_ret = queue->overflowed;
    queue->overflowed = false;
    if (queue->count == 0) {
        uint64_t value;
        ssize_t got = read(queue->fd, &value, sizeof(value));
        (void)got; /* EAGAIN: nobody had written since */
    }
    pthread_mutex_unlock(&queue->mutex);
    return count;
}

uint64_t mc_queue_oldest_ns(struct mc_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    uint64_t age_ns = queue->count == 0 ? 0 : mc_now_ns() - queue->events[queue->first].t_ns;
    pthread_mutex_unlock(&queue->mutex);
    return age_ns;
}
