#include "bpf_probes.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf_programs.h"
#include "clock.h"

static long bpf(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int or_error(long result)
{
    return result < 0 ? -errno : (int)result;
}

/* ---- the syscall ---- */

int mc_bpf_load(enum mc_bpf_program program, int map_fd, int32_t number, uint32_t log_level, char *log,
                size_t log_size)
{
    static struct mc_bpf_text text; /* 33 KiB; a probe's process has one thread */
    mc_bpf_assemble(&text, program, map_fd, number);
    union bpf_attr attr = {
        .prog_type = mc_bpf_type(program),
        .insn_cnt = text.count,
        .insns = (uintptr_t)text.at,
        .license = (uintptr_t) "GPL",
        .log_level = log_size > 0 ? log_level : 0,
        .log_buf = (uintptr_t)(log_size > 0 ? log : NULL),
        .log_size = log_size,
        .prog_flags = mc_bpf_type(program) == BPF_PROG_TYPE_SYSCALL ? BPF_F_SLEEPABLE : 0,
    };
    return or_error(bpf(BPF_PROG_LOAD, &attr));
}

int mc_bpf_map(uint32_t type, uint32_t entries, uint32_t flags, uint64_t extra)
{
    bool keyless =
        type == BPF_MAP_TYPE_RINGBUF || type == 33; /* 33: BPF_MAP_TYPE_ARENA, newer than the header */
    union bpf_attr attr = {
        .map_type = type,
        .key_size = keyless ? 0 : 4,
        .value_size = keyless ? 0 : 8,
        .max_entries = entries,
        .map_flags = flags,
        .map_extra = extra,
    };
    return or_error(bpf(BPF_MAP_CREATE, &attr));
}

int mc_bpf_lookup(int map_fd, uint32_t key, uint64_t *value_ret)
{
    union bpf_attr attr = {.map_fd = map_fd, .key = (uintptr_t)&key, .value = (uintptr_t)value_ret};
    return or_error(bpf(BPF_MAP_LOOKUP_ELEM, &attr));
}

int mc_bpf_update(int map_fd, uint32_t key, uint64_t value)
{
    union bpf_attr attr = {.map_fd = map_fd, .key = (uintptr_t)&key, .value = (uintptr_t)&value};
    return or_error(bpf(BPF_MAP_UPDATE_ELEM, &attr));
}

int mc_bpf_jited(int program_fd)
{
    struct bpf_prog_info info = {0};
    union bpf_attr attr = {
        .info = {.bpf_fd = program_fd, .info_len = sizeof(info), .info = (uintptr_t)&info},
    };
    int error = or_error(bpf(BPF_OBJ_GET_INFO_BY_FD, &attr));
    return error < 0 ? error : (int)info.jited_prog_len;
}

int mc_bpf_run(int program_fd, uint32_t repeat, uint32_t *value_ret, uint32_t *ns_ret)
{
    char packet[64] = {0};
    union bpf_attr attr = {
        .test =
            {
                .prog_fd = program_fd,
                .data_in = (uintptr_t)packet,
                .data_size_in = sizeof(packet),
                .repeat = repeat,
            },
    };
    int error = or_error(bpf(BPF_PROG_TEST_RUN, &attr));
    *value_ret = attr.test.retval;
    *ns_ret = attr.test.duration;
    return error;
}

int mc_bpf_call(int program_fd, uint64_t *context)
{
    union bpf_attr attr = {
        .test = {.prog_fd = program_fd, .ctx_in = (uintptr_t)context, .ctx_size_in = sizeof(*context)},
    };
    int error = or_error(bpf(BPF_PROG_TEST_RUN, &attr));
    return error < 0 ? error : (int)attr.test.retval;
}

static int attach(int program_fd, int event_fd)
{
    if (event_fd < 0) {
        return -errno;
    }
    if (ioctl(event_fd, PERF_EVENT_IOC_SET_BPF, program_fd) != 0 ||
        ioctl(event_fd, PERF_EVENT_IOC_ENABLE, 0) != 0) {
        int error = -errno;
        close(event_fd);
        return error;
    }
    return event_fd;
}

int mc_bpf_on_event(int program_fd, uint32_t kind, uint64_t config, uint64_t period, int pid, int cpu)
{
    struct perf_event_attr attr = {
        .type = kind,
        .size = sizeof(attr),
        .config = config,
        .sample_period = period,
        .wakeup_events = 1,
        .disabled = 1,
    };
    return attach(program_fd, (int)syscall(SYS_perf_event_open, &attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC));
}

int mc_bpf_on_kprobe(int program_fd, uint32_t kind, const char *function)
{
    struct perf_event_attr attr = {
        .type = kind,
        .size = sizeof(attr),
        .config1 = (uintptr_t)function,
        .disabled = 1,
    };
    return attach(program_fd, (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC));
}

int mc_bpf_on_cgroup(int program_fd, int cgroup_fd)
{
    union bpf_attr attr = {
        .target_fd = cgroup_fd,
        .attach_bpf_fd = program_fd,
        .attach_type = BPF_CGROUP_DEVICE,
    };
    return or_error(bpf(BPF_PROG_ATTACH, &attr));
}

/* ---- what it is compared with ---- */

__attribute__((noinline)) static uint64_t chain_in_c(uint64_t x)
{
    for (int i = 0; i < MC_BPF_CHAIN_STEPS; i++) {
        x ^= x >> 13;
        x *= 0x1e3779b1;
    }
    return x;
}

double mc_bpf_native_chain(uint32_t repeat, uint32_t *value_ret)
{
    volatile uint64_t start = 1, end = 0;
    uint64_t began_ns = mc_now_ns();
    for (uint32_t i = 0; i < repeat; i++) {
        end = chain_in_c(start);
    }
    *value_ret = (uint32_t)end;
    return (double)(mc_now_ns() - began_ns) / repeat;
}

__attribute__((noinline)) static int nothing(const void *context, const void *text)
{
    __asm__ volatile("" ::"r"(context), "r"(text));
    return 0;
}

double mc_bpf_native_call(uint32_t repeat)
{
    int (*volatile function)(const void *, const void *) = nothing;
    uint64_t began_ns = mc_now_ns();
    for (uint32_t i = 0; i < repeat; i++) {
        function(&repeat, NULL);
    }
    return (double)(mc_now_ns() - began_ns) / repeat;
}

static int echo(int reading, int writing)
{
    char byte;
    while (read(reading, &byte, 1) == 1) {
        if (write(writing, &byte, 1) != 1) {
            return errno;
        }
    }
    return 0;
}

int mc_bpf_switches(uint32_t rounds, double *ns_ret)
{
    int there[2], back[2], error = 0;
    cpu_set_t before, one;
    sched_getaffinity(0, sizeof(before), &before);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof(one), &one);
    if (pipe(there) != 0) {
        return -errno;
    }
    if (pipe(back) != 0) {
        error = -errno;
        close(there[0]);
        close(there[1]);
        return error;
    }
    pid_t child = fork();
    if (child == 0) {
        close(there[1]);
        close(back[0]);
        _exit(echo(there[0], back[1]));
    }
    close(there[0]);
    close(back[1]);
    uint64_t began_ns = mc_now_ns();
    for (uint32_t i = 0; child > 0 && i < rounds; i++) {
        char byte = 0;
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) {
            error = -EIO;
            break;
        }
    }
    *ns_ret = (double)(mc_now_ns() - began_ns) / rounds / 2;
    close(there[1]);
    close(back[0]);
    if (child > 0) {
        waitpid(child, NULL, 0);
    }
    sched_setaffinity(0, sizeof(before), &before);
    return child < 0 ? -EAGAIN : error;
}

/* ---- DRM; the structures are the kernel's (drm.h may be missing) ---- */

struct vblank {
    uint32_t type, sequence;
    long first, second;
};

struct version {
    int major, minor, patch;
    size_t name_size;
    char *name;
    size_t date_size;
    char *date;
    size_t description_size;
    char *description;
};

int mc_drm_wait_vblank(int card_fd)
{
    struct vblank wait = {.type = 1 /* relative */, .sequence = 1};
    return or_error(ioctl(card_fd, _IOWR('d', 0x3a, struct vblank), &wait));
}

int mc_drm_name(int card_fd, char *name_ret, size_t size)
{
    struct version version = {.name_size = size - 1, .name = name_ret};
    memset(name_ret, 0, size);
    return or_error(ioctl(card_fd, _IOWR('d', 0x00, struct version), &version));
}
