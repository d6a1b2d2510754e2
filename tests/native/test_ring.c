/* The trace ring and its writer: order, drops counted, chunks well-formed, producer and consumer at once. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trace.h"

#define MANY 200000

static void test_order_and_drops(void)
{
    struct mc_ring ring;
    assert(mc_ring_init(&ring, 100, NULL));
    assert(ring.mask == 127); /* rounded up to a power of two */
    struct mc_record record = {0}, taken[256];
    for (uint64_t i = 0; i < 200; i++) {
        record.arg = i;
        assert(mc_ring_put(&ring, &record) == (i < 128));
    }
    assert(atomic_load(&ring.dropped) == 72);
    assert(mc_ring_take(&ring, taken, 100) == 100);
    assert(mc_ring_take(&ring, taken + 100, 156) == 28);
    for (uint64_t i = 0; i < 128; i++) {
        assert(taken[i].arg == i);
    }
    assert(mc_ring_take(&ring, taken, 256) == 0);
    assert(mc_ring_put(&ring, &record)); /* room again */
    mc_ring_finish(&ring, NULL);
}

static void *produce(void *data)
{
    struct mc_trace *trace = data;
    mc_thread_set_source(MC_SOURCE_LOOP);
    for (uint64_t i = 0; i < MANY; i++) {
        mc_trace_at(trace, i + 1, MC_POINT_COMPOSE_BEGIN, 1, (uint32_t)i, 2, i, 3);
    }
    return NULL;
}

static void test_writer(void)
{
    char path[] = "/tmp/minicomp-ring-XXXXXX";
    int fd = mkstemp(path);
    assert(fd >= 0);
    unlink(path);
    fcntl(fd, F_SETFL, O_APPEND);
    struct mc_trace trace;
    mc_trace_init(&trace);
    assert(mc_trace_start(&trace, fd, 4096) == 0);
    assert(mc_trace_start(&trace, fd, 4096) < 0); /* runs already */
    pthread_t thread;
    pthread_create(&thread, NULL, produce, &trace);
    pthread_join(thread, NULL);
    uint64_t dropped = mc_trace_dropped(&trace);
    mc_trace_stop(&trace);
    assert(!mc_trace_on(&trace));
    assert(atomic_load(&trace.written) + dropped == MANY);

    /* Every chunk is whole, its records ascend, nothing was written twice. */
    lseek(fd, 0, SEEK_SET);
    uint64_t last = 0, count = 0;
    uint32_t header[4];
    while (read(fd, header, sizeof(header)) == sizeof(header)) {
        assert(header[0] == 0x3154434d);
        assert((header[1] & 0xffff) == 2 && header[1] >> 16 == MC_SOURCE_LOOP);
        assert(header[2] % sizeof(struct mc_record) == 0);
        for (uint32_t n = header[2] / sizeof(struct mc_record); n > 0; n--) {
            struct mc_record record;
            assert(read(fd, &record, sizeof(record)) == sizeof(record));
            assert(record.t_ns > last && record.arg == record.t_ns - 1 && record.flags == 3);
            last = record.t_ns;
            count++;
        }
    }
    assert(count == MANY - dropped);
    close(fd);
}

/* Bursts that would overrun the ring if the writer came with its period only. */
static void test_writer_comes_when_a_ring_fills(void)
{
    enum { RING = 4096, ROUNDS = 40 };
    int fd = open("/dev/null", O_WRONLY | O_APPEND);
    struct mc_trace trace;
    mc_trace_init(&trace);
    assert(mc_trace_start(&trace, fd, RING) == 0);
    uint64_t begin_ns = mc_now_ns(), records = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < RING * 3 / 4; i++) {
            mc_trace_at(&trace, ++records, MC_POINT_COMPOSE_BEGIN, 1, 0, 0, 0, 0);
        }
        while (atomic_load(&trace.written) < records - RING / 4) {
            usleep(100);
        }
    }
    /* Its period is a quarter of a second, and each round needs it. */
    assert(mc_now_ns() - begin_ns < ROUNDS * 250 * MC_NSEC_PER_MSEC / 2);
    assert(mc_trace_dropped(&trace) == 0);
    mc_trace_stop(&trace);
    close(fd);
}

static void test_full_disk(void)
{
    int fd = open("/dev/full", O_WRONLY | O_APPEND);
    assert(fd >= 0);
    struct mc_trace trace;
    mc_trace_init(&trace);
    assert(mc_trace_start(&trace, fd, 64) == 0);
    mc_trace_now(&trace, MC_POINT_EPOLL_WAKE, 0, 0, 0, 0, 0);
    mc_trace_stop(&trace);
    assert(atomic_load(&trace.write_error) != 0); /* said, and nobody died of it */
    close(fd);
}

int main(void)
{
    test_order_and_drops();
    test_writer();
    test_writer_comes_when_a_ring_fills();
    test_full_disk();
    puts("ring: ok");
    return 0;
}
