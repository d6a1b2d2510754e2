/* The trace: one single-producer ring per thread, drained to the run file by a native writer thread.
 *
 * Writers never block and never allocate: a full ring counts the record as dropped. The loop and render
 * threads write their own rings; policy threads share theirs and write it only with the compositor lock
 * held, which makes them one producer. The format is docs/trace-format.md. */
#ifndef MC_TRACE_H
#define MC_TRACE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clock.h"
#include "memory.h"

enum mc_point {
    MC_POINT_EPOLL_WAKE = 1,
    MC_POINT_DISPATCH_BEGIN = 2,
    MC_POINT_DISPATCH_END = 3,
    MC_POINT_FD_RECEIVED = 4,
    MC_POINT_COMMIT_REQUEST = 5,
    MC_POINT_SURFACE_COMMIT = 6,
    MC_POINT_FRAME_QUEUED = 7,
    MC_POINT_FRAME_PLANNED = 8,
    MC_POINT_RENDER_WAKE = 9,
    MC_POINT_LOCK_WAIT_BEGIN = 10,
    MC_POINT_LOCK_WAIT_END = 11,
    MC_POINT_COMPOSE_BEGIN = 12,
    MC_POINT_COMPOSE_END = 13,
    MC_POINT_SURFACE_LATCHED = 14,
    MC_POINT_KMS_COMMIT_BEGIN = 15,
    MC_POINT_KMS_COMMIT_END = 16,
    MC_POINT_PRESENTED = 17,
    MC_POINT_FRAME_CALLBACK = 18,
    MC_POINT_INPUT_EVENT = 19,
    MC_POINT_INPUT_DELIVERED = 20,
    MC_POINT_SCHED = 21,
    MC_POINT_LOCK_HOLD = 22,
    MC_POINT_DEADLINE_OVERRUN = 23,
    MC_POINT_CLIENT_MUTED = 24,
};

struct mc_record {
    uint64_t t_ns;
    uint64_t arg;
    uint32_t frame_id;
    uint32_t surface_id;
    uint16_t point;
    uint16_t output_id;
    uint32_t flags;
};
_Static_assert(sizeof(struct mc_record) == 32, "run file records are 32 bytes");

struct mc_ring {
    struct mc_record *records; /* owned; capacity is mask + 1, a power of two */
    uint32_t mask;
    size_t mapped_bytes;
    _Atomic uint64_t head; /* next to write; stored by the producer */
    _Atomic uint64_t tail; /* next to read; stored by the consumer */
    _Atomic uint64_t dropped;
};

/* capacity is rounded up to a power of two; false when memory is short. memory (may be NULL) says how the
 * kernel is to back it. */
bool mc_ring_init(struct mc_ring *ring, uint32_t capacity, struct mc_memory *memory);
void mc_ring_finish(struct mc_ring *ring, struct mc_memory *memory);
bool mc_ring_put(struct mc_ring *ring, const struct mc_record *record);
/* Copies up to max records out; the number copied. One consumer. */
size_t mc_ring_take(struct mc_ring *ring, struct mc_record *records_ret, size_t max);

struct mc_trace {
    struct mc_ring rings[MC_SOURCE_COUNT];
    _Atomic bool enabled;
    int fd;                   /* borrowed from whoever called mc_trace_start; opened with O_APPEND */
    struct mc_memory *memory; /* borrowed, or NULL; may be set between mc_trace_init and mc_trace_start */
    pthread_t writer;
    sem_t wake; /* the writer sleeps on it; posting takes no lock, so a producer may */
    _Atomic bool hurried, stop;
    bool running;
    _Atomic uint64_t written;
    _Atomic int write_error; /* errno of the first failed write, or 0 */
};

void mc_trace_init(struct mc_trace *trace);
/* Allocates the rings and starts the writer thread, which appends RECORDS chunks to fd about four times a
 * second, and when a ring is half full. 0 or -errno. */
int mc_trace_start(struct mc_trace *trace, int fd, uint32_t ring_records);
/* Drains everything, joins the writer and frees the rings. No producer may be running. */
void mc_trace_stop(struct mc_trace *trace);
uint64_t mc_trace_dropped(struct mc_trace *trace);

/* Wakes the writer before its time. */
void mc_trace_hurry(struct mc_trace *trace);

/* Looked at each time another quarter of the ring has been written, not with every record: reading tail
 * costs. */
static inline bool mc_ring_is_filling(struct mc_ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    return (head & (ring->mask >> 2)) == 0 &&
           head - atomic_load_explicit(&ring->tail, memory_order_relaxed) > ring->mask / 2;
}

static inline bool mc_trace_on(struct mc_trace *trace)
{
    return atomic_load_explicit(&trace->enabled, memory_order_relaxed);
}

static inline void mc_trace_at(struct mc_trace *trace, uint64_t t_ns, enum mc_point point, uint16_t output_id,
                               uint32_t frame_id, uint32_t surface_id, uint64_t arg, uint32_t flags)
{
    if (!mc_trace_on(trace)) {
        return;
    }
    struct mc_record record = {t_ns, arg, frame_id, surface_id, (uint16_t)point, output_id, flags};
    struct mc_ring *ring = &trace->rings[mc_thread_source()];
    mc_ring_put(ring, &record);
    if (mc_ring_is_filling(ring)) {
        mc_trace_hurry(trace);
    }
}

static inline void mc_trace_now(struct mc_trace *trace, enum mc_point point, uint16_t output_id,
                                uint32_t frame_id, uint32_t surface_id, uint64_t arg, uint32_t flags)
{
    if (!mc_trace_on(trace)) {
        return;
    }
    mc_trace_at(trace, mc_now_ns(), point, output_id, frame_id, surface_id, arg, flags);
}

#endif
