/* What happened, for the policy: a queue of small events from the native threads to Python.
 *
 * Producers push without waiting for a consumer; an eventfd says that there is something. Bounded: past
 * MC_QUEUE_MAX events are dropped and the next pop says so (MC_EVENT_OVERFLOW), upon which the policy reads
 * the whole state anew. The mutex is held for a copy of one event, never across a system call but write(2)
 * to the eventfd. */
#ifndef MC_QUEUE_H
#define MC_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MC_QUEUE_MAX 65536

struct mc_event {
    uint32_t kind; /* enum mc_event_kind (events.h); 0 is never queued */
    uint32_t pad;
    uint64_t handle;
    int64_t a, b;
    uint64_t t_ns; /* when it was queued */
};
_Static_assert(sizeof(struct mc_event) == 40, "events cross to Python by value");

struct mc_queue {
    pthread_mutex_t mutex;
    struct mc_event *events; /* ring, grows by doubling up to MC_QUEUE_MAX; owned */
    size_t capacity, first, count;
    uint64_t dropped;
    bool overflowed; /* not yet told to the consumer */
    int fd;          /* eventfd, owned; readable while count > 0 */
};

int mc_queue_init(struct mc_queue *queue); /* 0 or -errno */
void mc_queue_finish(struct mc_queue *queue);
/* t_ns is filled in. False when the event was dropped. */
bool mc_queue_push(struct mc_queue *queue, uint32_t kind, uint64_t handle, int64_t a, int64_t b);
/* Copies up to max events out, oldest first, and clears the eventfd when none is left. */
size_t mc_queue_pop(struct mc_queue *queue, struct mc_event *events_ret, size_t max, bool *overflow_ret);
/* Age of the oldest event in ns, 0 when empty: how long the policy has been away. */
uint64_t mc_queue_oldest_ns(struct mc_queue *queue);

#endif
