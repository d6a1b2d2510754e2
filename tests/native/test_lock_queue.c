/* The lock under contention, the event queue under two producers and a slow consumer, the log ring's
 * overwriting. */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "lock.h"
#include "logring.h"
#include "queue.h"

#define ROUNDS 20000

static struct mc_lock lock;
static uint64_t guarded;

static void *count_up(void *data)
{
    mc_thread_set_source((enum mc_source)(uintptr_t)data);
    for (int i = 0; i < ROUNDS; i++) {
        assert(!mc_lock_held(&lock));
        struct mc_lock_wait wait = mc_lock_acquire(&lock);
        assert(mc_lock_held(&lock));
        assert(wait.begin_ns <= wait.end_ns);
        guarded++;
        mc_lock_release(&lock);
    }
    return NULL;
}

static void test_lock(bool inherit)
{
    guarded = 0;
    assert(mc_lock_init(&lock, inherit));
    pthread_t threads[3];
    for (uintptr_t i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, count_up, (void *)i);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    assert(guarded == 3 * ROUNDS);
    uint64_t acquired = 0;
    for (int i = 0; i < MC_SOURCE_COUNT; i++) {
        acquired += lock.acquired[i];
        assert(lock.contended[i] <= lock.acquired[i]);
    }
    assert(acquired == 3 * ROUNDS);
    mc_lock_finish(&lock);
}

static struct mc_queue queue;

static void *push_many(void *data)
{
    uint64_t handle = (uint64_t)(uintptr_t)data;
    for (int64_t i = 0; i < ROUNDS; i++) {
        assert(mc_queue_push(&queue, 1, handle, i, -i));
    }
    return NULL;
}

static void test_queue_two_producers(void)
{
    assert(mc_queue_init(&queue) == 0);
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, push_many, (void *)1);
    pthread_create(&threads[1], NULL, push_many, (void *)2);
    int64_t next[3] = {0};
    int total = 0;
    while (total < 2 * ROUNDS) {
        struct pollfd ready = {.fd = queue.fd, .events = POLLIN};
        assert(poll(&ready, 1, 5000) == 1); /* an event is never queued without waking */
        struct mc_event events[64];
        bool overflow;
        size_t count = mc_queue_pop(&queue, events, 64, &overflow);
        assert(!overflow);
        for (size_t i = 0; i < count; i++) {
            assert(events[i].a == next[events[i].handle]++ && events[i].b == -events[i].a);
        }
        total += (int)count;
    }
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    struct pollfd ready = {.fd = queue.fd, .events = POLLIN};
    assert(poll(&ready, 1, 0) == 0);
    assert(mc_queue_oldest_ns(&queue) == 0);
    mc_queue_finish(&queue);
}

static void test_queue_overflow(void)
{
    assert(mc_queue_init(&queue) == 0);
    for (int i = 0; i < MC_QUEUE_MAX + 10; i++) {
        assert(mc_queue_push(&queue, 1, 0, i, 0) == (i < MC_QUEUE_MAX));
    }
    assert(mc_queue_oldest_ns(&queue) > 0);
    bool overflow, again;
    struct mc_event event;
    assert(mc_queue_pop(&queue, &event, 1, &overflow) == 1 && overflow && event.a == 0);
    assert(mc_queue_pop(&queue, &event, 1, &again) == 1 && !again && event.a == 1);
    assert(queue.dropped == 10);
    mc_queue_finish(&queue);
}

static void put(struct mc_logring *ring, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    mc_logring_vput(ring, MC_LOG_FROM_MINICOMP, MC_LOG_INFO, format, args);
    va_end(args);
}

static void test_logring(void)
{
    static struct mc_logring ring;
    assert(mc_logring_init(&ring) == 0);
    char longer[2 * MC_LOG_TEXT_MAX];
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    put(&ring, "%s", longer);
    for (int i = 0; i < MC_LOG_SLOTS + 3; i++) {
        put(&ring, "message %d\n", i);
    }
    struct mc_log_message message;
    uint64_t lost;
    assert(mc_logring_take(&ring, &message, &lost) && lost == 4);
    assert(strcmp(message.text, "message 3") == 0); /* the oldest four are gone, and the newline */
    int left = 0;
    while (mc_logring_take(&ring, &message, &lost)) {
        left++;
    }
    assert(left == MC_LOG_SLOTS - 1);
    put(&ring, "%s", longer);
    assert(mc_logring_take(&ring, &message, &lost) && strlen(message.text) == MC_LOG_TEXT_MAX - 1);
    mc_logring_finish(&ring);
}

int main(void)
{
    test_lock(true);
    test_lock(false);
    test_queue_two_producers();
    test_queue_overflow();
    test_logring();
    puts("lock, queue, log: ok");
    return 0;
}
