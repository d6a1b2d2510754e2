/* Priority inheritance: three real-time threads on one CPU. `low` holds the lock and works, `high` wants it,
 * `mid` would rather run than low. With a PI lock low runs at high's priority and mid waits; with a plain one
 * high waits for mid. Needs the right to real-time scheduling: exits with 77 and says why where there is
 * none. */
#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lock.h"

#define LOW 1
#define MID 2
#define HIGH 3
#define COORDINATOR 10
#define LOW_WORK_NS (20 * MC_NSEC_PER_MSEC)
#define MID_WORK_NS (60 * MC_NSEC_PER_MSEC)

static struct mc_lock lock;
static sem_t mid_may, high_may;
static _Atomic int low_tid;
static _Atomic bool low_holds, high_waits, high_done, mid_done, high_came_before_mid_was_done;

static uint64_t thread_cpu_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * MC_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
    struct timespec ts = mc_timespec(ns);
    nanosleep(&ts, NULL);
}

static void work(uint64_t cpu_ns)
{
    uint64_t begin_ns = thread_cpu_ns();
    while (thread_cpu_ns() - begin_ns < cpu_ns) {
    }
}

static void *low_main(void *data)
{
    (void)data;
    atomic_store(&low_tid, (int)syscall(SYS_gettid));
    mc_lock_acquire(&lock);
    atomic_store(&low_holds, true);
    while (!atomic_load(&high_waits)) {
        sched_yield();
    }
    work(LOW_WORK_NS);
    mc_lock_release(&lock);
    while (!atomic_load(&high_done) || !atomic_load(&mid_done)) {
        sleep_ns(MC_NSEC_PER_MSEC); /* its priority is still being read */
    }
    return NULL;
}

static void *mid_main(void *data)
{
    (void)data;
    sem_wait(&mid_may);
    work(MID_WORK_NS);
    atomic_store(&mid_done, true);
    return NULL;
}

static void *high_main(void *data)
{
    (void)data;
    sem_wait(&high_may);
    atomic_store(&high_waits, true); /* on one CPU nobody below us runs before we do wait */
    struct mc_lock_wait wait = mc_lock_acquire(&lock);
    assert(wait.begin_ns != 0);
    atomic_store(&high_came_before_mid_was_done, !atomic_load(&mid_done));
    mc_lock_release(&lock);
    atomic_store(&high_done, true);
    return NULL;
}

static pthread_t start(void *(*run)(void *), int priority)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
    struct sched_param param = {.sched_priority = priority};
    pthread_attr_setschedparam(&attr, &param);
    pthread_t thread;
    assert(pthread_create(&thread, &attr, run, NULL) == 0);
    pthread_attr_destroy(&attr);
    return thread;
}

/* What the kernel runs the thread at, as /proc tells: for a real-time thread -1 - its priority (proc(5),
 * stat's field 18). */
static int running_priority(int tid)
{
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
    FILE *stat = fopen(path, "r");
    assert(stat != NULL && fgets(text, sizeof(text), stat) != NULL);
    fclose(stat);
    char *field = strrchr(text, ')');
    for (int i = 2; i < 18; i++) {
        field = strchr(field + 1, ' ');
        assert(field != NULL);
    }
    return -1 - atoi(field + 1);
}

static void test_inversion(bool inherit)
{
    low_holds = high_waits = high_done = mid_done = high_came_before_mid_was_done = false;
    assert(mc_lock_init(&lock, inherit));
    assert(mc_lock_inherits(&lock) == inherit);
    sem_init(&mid_may, 0, 0);
    sem_init(&high_may, 0, 0);
    /* All exist before anything begins: under ThreadSanitizer pthread_create waits for the new thread. */
    pthread_t high = start(high_main, HIGH);
    pthread_t mid = start(mid_main, MID);
    pthread_t low = start(low_main, LOW);
    while (!atomic_load(&low_holds)) {
        sleep_ns(MC_NSEC_PER_MSEC);
    }
    sem_post(&high_may);
    sem_post(&mid_may);
    int highest = 0;
    while (!atomic_load(&high_done)) {
        int priority = running_priority(atomic_load(&low_tid));
        highest = priority > highest ? priority : highest;
        sleep_ns(MC_NSEC_PER_MSEC);
    }
    assert(highest == (inherit ? HIGH : LOW));
    pthread_join(high, NULL);
    pthread_join(mid, NULL);
    pthread_join(low, NULL);
    assert(atomic_load(&high_came_before_mid_was_done) == inherit);
    mc_lock_finish(&lock);
    sem_destroy(&mid_may);
    sem_destroy(&high_may);
}

int main(void)
{
    cpu_set_t cpus;
    assert(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
    for (int cpu = 0, kept = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &cpus) && kept++ > 0) {
            CPU_CLR(cpu, &cpus);
        }
    }
    assert(sched_setaffinity(0, sizeof(cpus), &cpus) == 0);
    struct sched_param param = {.sched_priority = COORDINATOR};
    if (sched_setscheduler(0, SCHED_FIFO, &param) != 0) {
        printf("real-time scheduling is refused (%s): needs CAP_SYS_NICE or RLIMIT_RTPRIO >= %d\n",
               strerror(errno), COORDINATOR);
        return 77;
    }
    test_inversion(true);
    test_inversion(false);
    puts("lock inheritance: ok");
    return 0;
}
