#include "scheduler_probes.h"

#include <errno.h>
#include <sys/mman.h>

#include "chase.h"
#include "probe_time.h"

#define LINE 64u

uint64_t mc_probe_spin(uint64_t until_ns)
{
    uint64_t began = mc_thread_cpu_ns();
    while (mc_now_ns() < until_ns) {
    }
    return mc_thread_cpu_ns() - began;
}

int mc_probe_thrash(uint64_t bytes, uint64_t until_ns)
{
    uint8_t *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) {
        return -errno;
    }
    while (mc_now_ns() < until_ns) {
        for (uint64_t i = 0; i < bytes; i += LINE) {
            ((volatile uint8_t *)start)[i]++;
        }
    }
    munmap(start, bytes);
    return 0;
}

int mc_probe_wakeups(uint64_t interval_ns, int count, uint64_t *late_ns_ret)
{
    uint64_t wanted = mc_now_ns() + interval_ns;
    for (int i = 0; i < count; i++, wanted += interval_ns) {
        uint64_t now = mc_now_ns();
        if (now < wanted) {
            mc_sleep_until(wanted);
            now = mc_now_ns();
        }
        late_ns_ret[i] = now - wanted;
    }
    return 0;
}

int mc_probe_periods(uint64_t period_ns, uint64_t work_ns, int count, struct mc_probe_period *periods_ret)
{
    uint64_t wanted = mc_now_ns() + period_ns;
    for (int i = 0; i < count; i++, wanted += period_ns) {
        if (mc_now_ns() < wanted) {
            mc_sleep_until(wanted);
        }
        uint64_t begun = mc_now_ns(), charged = mc_use_cpu(work_ns);
        periods_ret[i] = (struct mc_probe_period){begun - wanted, mc_now_ns() - wanted, charged};
    }
    return 0;
}

int mc_probe_gaps(uint64_t until_ns, uint64_t gap_ns, int most, uint64_t *begins_ns_ret,
                  uint64_t *ends_ns_ret)
{
    int found = 0;
    for (uint64_t last = mc_now_ns(), now; last < until_ns; last = now) {
        now = mc_now_ns();
        if (now - last > gap_ns && found < most) {
            begins_ns_ret[found] = last;
            ends_ns_ret[found++] = now;
        }
    }
    return found;
}

static void **line(uint8_t *start, uint32_t i)
{
    return (void **)(start + (uint64_t)i * LINE);
}

int mc_probe_cache(uint64_t bytes, int samples, uint32_t loads, double *load_ns_ret)
{
    uint8_t *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) {
        return -errno;
    }
    madvise(start, bytes, MADV_HUGEPAGE);
    uint32_t count = (uint32_t)(bytes / LINE);
    int error = mc_chase_link(start, count, line);
    void **at = mc_chase_follow(line(start, 0), error == 0 ? count : 0); /* warm */
    for (int i = 0; i < samples && error == 0; i++) {
        uint64_t began = mc_thread_cpu_ns();
        at = mc_chase_follow(at, loads);
        load_ns_ret[i] = (double)(mc_thread_cpu_ns() - began) / loads;
    }
    munmap(start, bytes);
    return error;
}
