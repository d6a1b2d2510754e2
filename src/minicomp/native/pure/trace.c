#include "trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHUNK_MAGIC 0x3154434du
#define CHUNK_RECORDS 2
#define DRAIN_PERIOD_NS (250 * MC_NSEC_PER_MSEC)
#define DRAIN_BATCH 4096

struct chunk_header {
    uint32_t magic;
    uint16_t kind;
    uint16_t source;
    uint32_t length;
    uint32_t dropped;
};
_Static_assert(sizeof(struct chunk_header) == 16, "chunk headers are 16 bytes");

bool mc_ring_init(struct mc_ring *ring, uint32_t capacity, struct mc_memory *memory)
{
    uint32_t size = 64;
    while (size < capacity && size < (1u << 30)) {
        size *= 2;
    }
    ring->records = mc_memory_map(memory, MC_MEMORY_RING, size * sizeof(*ring->records), &ring->mapped_bytes);
    if (ring->records == NULL) {
        return false;
    }
    ring->mask = size - 1;
    atomic_store(&ring->head, 0);
    atomic_store(&ring->tail, 0);
    atomic_store(&ring->dropped, 0);
    return true;
}

void mc_ring_finish(struct mc_ring *ring, struct mc_memory *memory)
{
    mc_memory_unmap(memory, ring->records, ring->mapped_bytes);
    ring->records = NULL;
}

bool mc_ring_put(struct mc_ring *ring, const struct mc_record *record)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (head - tail > ring->mask) {
        atomic_fetch_add_explicit(&ring->dropped, 1, memory_order_relaxed);
        return false;
    }
    ring->records[head & ring->mask] = *record;
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return true;
}

size_t mc_ring_take(struct mc_ring *ring, struct mc_record *records_ret, size_t max)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    size_t count = head - tail < max ? (size_t)(head - tail) : max;
    for (size_t i = 0; i < count; i++) {
        records_ret[i] = ring->records[(tail + i) & ring->mask];
    }
    atomic_store_explicit(&ring->tail, tail + count, memory_order_release);
    return count;
}

/* A chunk is one writev on an O_APPEND file, so that chunks written by Python land between ours. A short
 * write (disk full) ends the trace: what was written stays readable up to the last whole chunk. */
static void write_chunk(struct mc_trace *trace, enum mc_source source, struct mc_record *records,
                        size_t count)
{
    uint64_t dropped = atomic_load(&trace->rings[source].dropped);
    struct chunk_header header = {
        .magic = CHUNK_MAGIC,
        .kind = CHUNK_RECORDS,
        .source = (uint16_t)source,
        .length = (uint32_t)(count * sizeof(*records)),
        .dropped = dropped > UINT32_MAX ? UINT32_MAX : (uint32_t)dropped,
    };
    struct iovec parts[2] = {{&header, sizeof(header)}, {records, header.length}};
    ssize_t wanted = (ssize_t)(sizeof(header) + header.length);
    ssize_t written = writev(trace->fd, parts, 2);
    if (written != wanted) {
        atomic_store(&trace->write_error, written < 0 ? errno : ENOSPC);
        atomic_store(&trace->enabled, false);
        return;
    }
    atomic_fetch_add(&trace->written, count);
}

static void drain(struct mc_trace *trace, struct mc_record *batch)
{
    for (int source = 0; source < MC_SOURCE_COUNT; source++) {
        size_t count;
        while ((count = mc_ring_take(&trace->rings[source], batch, DRAIN_BATCH)) > 0) {
            if (atomic_load(&trace->write_error) == 0) {
                write_chunk(trace, (enum mc_source)source, batch, count);
            }
        }
    }
}

static void *writer_main(void *data)
{
    struct mc_trace *trace = data;
    struct mc_record *batch = malloc(DRAIN_BATCH * sizeof(*batch));
    if (batch == NULL) {
        atomic_store(&trace->write_error, ENOMEM);
        return NULL;
    }
    pthread_setname_np(pthread_self(), "mc-trace");
    while (!atomic_load(&trace->stop)) {
        struct timespec until = mc_timespec(mc_now_ns() + DRAIN_PERIOD_NS);
        sem_clockwait(&trace->wake, CLOCK_MONOTONIC, &until);
        atomic_store(&trace->hurried, false);
        drain(trace, batch);
    }
    drain(trace, batch);
    free(batch);
    return NULL;
}

void mc_trace_hurry(struct mc_trace *trace)
{
    if (!atomic_exchange(&trace->hurried, true)) { /* full rings ask with each record that they drop */
        sem_post(&trace->wake);
    }
}

void mc_trace_init(struct mc_trace *trace)
{
    memset(trace, 0, sizeof(*trace));
    trace->fd = -1;
    sem_init(&trace->wake, 0, 0);
}

int mc_trace_start(struct mc_trace *trace, int fd, uint32_t ring_records)
{
    if (trace->running) {
        return -EBUSY;
    }
    for (int source = 0; source < MC_SOURCE_COUNT; source++) {
        if (!mc_ring_init(&trace->rings[source], ring_records, trace->memory)) {
            while (source-- > 0) {
                mc_ring_finish(&trace->rings[source], trace->memory);
            }
            return -ENOMEM;
        }
    }
    trace->fd = fd;
    atomic_store(&trace->stop, false);
    int error = pthread_create(&trace->writer, NULL, writer_main, trace);
    if (error != 0) {
        for (int source = 0; source < MC_SOURCE_COUNT; source++) {
            mc_ring_finish(&trace->rings[source], trace->memory);
        }
        return -error;
    }
    trace->running = true;
    atomic_store(&trace->enabled, true);
    return 0;
}

void mc_trace_stop(struct mc_trace *trace)
{
    if (!trace->running) {
        return;
    }
    atomic_store(&trace->enabled, false);
    atomic_store(&trace->stop, true);
    sem_post(&trace->wake);
    pthread_join(trace->writer, NULL);
    trace->running = false;
    for (int source = 0; source < MC_SOURCE_COUNT; source++) {
        mc_ring_finish(&trace->rings[source], trace->memory);
    }
}

uint64_t mc_trace_dropped(struct mc_trace *trace)
{
    uint64_t sum = 0;
    for (int source = 0; source < MC_SOURCE_COUNT; source++) {
        sum += atomic_load(&trace->rings[source].dropped);
    }
    return sum;
}
