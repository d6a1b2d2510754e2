#include "bpf_probes.h"

#include <errno.h>
#include <liburing.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

#define MOST 4200
#define STACK_BYTES 512
#define DRM_MAJOR 226
#define ENTRIES 256
/* struct pt_regs of x86_64: the second argument of a function. */
#define REGISTER_SI 104

struct text {
    struct bpf_insn at[MOST];
    int count;
};

static long bpf(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int or_error(long result)
{
    return result < 0 ? -errno : (int)result;
}

/* ---- assembling ---- */

static void put(struct text *text, int code, int dst, int src, int off, int32_t imm)
{
    text->at[text->count++] =
        (struct bpf_insn){.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

static void set(struct text *text, int dst, int32_t value)
{
    put(text, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value);
}

static void copy(struct text *text, int dst, int src)
{
    put(text, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static void add(struct text *text, int dst, int32_t value)
{
    put(text, BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, value);
}

static void call(struct text *text, int helper)
{
    put(text, BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}

static void leave(struct text *text)
{
    put(text, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void leave_with(struct text *text, int32_t value)
{
    set(text, BPF_REG_0, value);
    leave(text);
}

/* A jump over the next `off` instructions when dst is (not) the value. */
static void jump(struct text *text, int condition, int dst, int32_t value, int off)
{
    put(text, BPF_JMP | condition | BPF_K, dst, 0, off, value);
}

static void load_map(struct text *text, int dst, int map_fd)
{
    put(text, BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, map_fd);
    put(text, 0, 0, 0, 0, 0);
}

/* r0 = address of map[the u32 at r10-4], or NULL. */
static void look_up(struct text *text, int map_fd)
{
    load_map(text, BPF_REG_1, map_fd);
    copy(text, BPF_REG_2, BPF_REG_10);
    add(text, BPF_REG_2, -4);
    call(text, BPF_FUNC_map_lookup_elem);
}

static void look_up_first(struct text *text, int map_fd)
{
    put(text, BPF_ST | BPF_W | BPF_MEM, BPF_REG_10, 0, -4, 0);
    look_up(text, map_fd);
}

/* Leaves when this is not the process; r6 is kept. */
static void only(struct text *text, int32_t process)
{
    if (process == 0) {
        return;
    }
    call(text, BPF_FUNC_get_current_pid_tgid);
    put(text, BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_0, 0, 0, 32);
    jump(text, BPF_JEQ, BPF_REG_0, process, 2);
    leave_with(text, 0);
}

static void count_found(struct text *text)
{
    jump(text, BPF_JEQ, BPF_REG_0, 0, 2);
    set(text, BPF_REG_1, 1);
    put(text, BPF_STX | BPF_DW | BPF_ATOMIC, BPF_REG_0, BPF_REG_1, 0, BPF_ADD);
    leave_with(text, 0);
}

static void index_by_context(struct text *text, int map_fd, bool checked)
{
    copy(text, BPF_REG_6, BPF_REG_1);
    look_up_first(text, map_fd);
    jump(text, BPF_JNE, BPF_REG_0, 0, 1);
    leave(text);
    put(text, BPF_LDX | BPF_DW | BPF_MEM, BPF_REG_1, BPF_REG_6, 8, 0);
    if (checked) {
        put(text, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_1, 0, 0, 7);
    }
    put(text, BPF_ALU64 | BPF_ADD | BPF_X, BPF_REG_0, BPF_REG_1, 0, 0);
    put(text, BPF_LDX | BPF_B | BPF_MEM, BPF_REG_0, BPF_REG_0, 0, 0);
    leave_with(text, 0);
}

static void use_after_submit(struct text *text, int ring_fd)
{
    load_map(text, BPF_REG_1, ring_fd);
    set(text, BPF_REG_2, 8);
    set(text, BPF_REG_3, 0);
    call(text, BPF_FUNC_ringbuf_reserve);
    jump(text, BPF_JNE, BPF_REG_0, 0, 1);
    leave(text);
    copy(text, BPF_REG_6, BPF_REG_0);
    copy(text, BPF_REG_1, BPF_REG_0);
    set(text, BPF_REG_2, 0);
    call(text, BPF_FUNC_ringbuf_submit);
    put(text, BPF_LDX | BPF_DW | BPF_MEM, BPF_REG_0, BPF_REG_6, 0, 0);
    leave_with(text, 0);
}

static void count_to(struct text *text, int32_t number)
{
    set(text, BPF_REG_1, 0);
    add(text, BPF_REG_1, 1);
    jump(text, BPF_JLT, BPF_REG_1, number, -2);
    leave_with(text, 0);
}

static void count_ioctls(struct text *text, int map_fd, int32_t process)
{
    copy(text, BPF_REG_6, BPF_REG_1);
    only(text, process);
    put(text, BPF_LDX | BPF_DW | BPF_MEM, BPF_REG_1, BPF_REG_6, REGISTER_SI, 0);
    put(text, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_1, 0, 0, ENTRIES - 1);
    put(text, BPF_STX | BPF_W | BPF_MEM, BPF_REG_10, BPF_REG_1, -4, 0);
    look_up(text, map_fd);
    count_found(text);
}

static void deny_drm(struct text *text)
{
    put(text, BPF_LDX | BPF_W | BPF_MEM, BPF_REG_2, BPF_REG_1, offsetof(struct bpf_cgroup_dev_ctx, major), 0);
    set(text, BPF_REG_0, 1);
    jump(text, BPF_JNE, BPF_REG_2, DRM_MAJOR, 1);
    set(text, BPF_REG_0, 0);
    leave(text);
}

static void tell_self(struct text *text)
{
    copy(text, BPF_REG_6, BPF_REG_1);
    call(text, BPF_FUNC_get_current_pid_tgid);
    put(text, BPF_STX | BPF_DW | BPF_MEM, BPF_REG_6, BPF_REG_0, 0, 0);
    leave_with(text, 0);
}

static void tell_task_field(struct text *text, int32_t offset)
{
    copy(text, BPF_REG_6, BPF_REG_1);
    call(text, BPF_FUNC_get_current_task);
    copy(text, BPF_REG_3, BPF_REG_0);
    add(text, BPF_REG_3, offset);
    put(text, BPF_ST | BPF_DW | BPF_MEM, BPF_REG_10, 0, -8, 0);
    copy(text, BPF_REG_1, BPF_REG_10);
    add(text, BPF_REG_1, -8);
    set(text, BPF_REG_2, 4);
    call(text, BPF_FUNC_probe_read_kernel);
    put(text, BPF_LDX | BPF_DW | BPF_MEM, BPF_REG_1, BPF_REG_10, -8, 0);
    put(text, BPF_STX | BPF_DW | BPF_MEM, BPF_REG_6, BPF_REG_1, 0, 0);
    leave(text);
}

static void fill(struct text *text, int map_fd, int32_t number)
{
    copy(text, BPF_REG_6, BPF_REG_1);
    set(text, BPF_REG_7, 0);
    int again = text->count;
    put(text, BPF_STX | BPF_W | BPF_MEM, BPF_REG_10, BPF_REG_7, -4, 0);
    put(text, BPF_STX | BPF_DW | BPF_MEM, BPF_REG_10, BPF_REG_7, -16, 0);
    load_map(text, BPF_REG_1, map_fd);
    copy(text, BPF_REG_2, BPF_REG_10);
    add(text, BPF_REG_2, -4);
    copy(text, BPF_REG_3, BPF_REG_10);
    add(text, BPF_REG_3, -16);
    set(text, BPF_REG_4, BPF_ANY);
    call(text, BPF_FUNC_map_update_elem);
    add(text, BPF_REG_7, 1);
    jump(text, BPF_JLT, BPF_REG_7, number, again - text->count - 1);
    put(text, BPF_STX | BPF_DW | BPF_MEM, BPF_REG_6, BPF_REG_7, 0, 0);
    leave_with(text, 0);
}

static void chain(struct text *text)
{
    set(text, BPF_REG_0, 1);
    for (int i = 0; i < MC_BPF_CHAIN_STEPS; i++) {
        copy(text, BPF_REG_1, BPF_REG_0);
        put(text, BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_1, 0, 0, 13);
        put(text, BPF_ALU64 | BPF_XOR | BPF_X, BPF_REG_0, BPF_REG_1, 0, 0);
        put(text, BPF_ALU64 | BPF_MUL | BPF_K, BPF_REG_0, 0, 0, 0x1e3779b1);
    }
    leave(text);
}

static void assemble(struct text *text, enum mc_bpf_program program, int map_fd, int32_t number)
{
    switch (program) {
    case MC_BPF_ACCEPTED:
    case MC_BPF_EMPTY:
        leave_with(text, 0);
        break;
    case MC_BPF_BOUNDED_LOOP:
        count_to(text, 10);
        break;
    case MC_BPF_COUNT_TO:
        count_to(text, number);
        break;
    case MC_BPF_UNBOUNDED_LOOP:
        set(text, BPF_REG_0, 0);
        jump(text, BPF_JEQ, BPF_REG_0, 0, -1);
        leave(text);
        break;
    case MC_BPF_STACK_512:
    case MC_BPF_STACK_520:
        put(text, BPF_ST | BPF_DW | BPF_MEM, BPF_REG_10, 0,
            program == MC_BPF_STACK_512 ? -STACK_BYTES : -STACK_BYTES - 8, 0);
        leave_with(text, 0);
        break;
    case MC_BPF_INDEX_CHECKED:
    case MC_BPF_INDEX_UNCHECKED:
        index_by_context(text, map_fd, program == MC_BPF_INDEX_CHECKED);
        break;
    case MC_BPF_NULL_UNCHECKED: /* not element 0: newer verifiers know that an array has it */
        put(text, BPF_ST | BPF_W | BPF_MEM, BPF_REG_10, 0, -4, ENTRIES);
        look_up(text, map_fd);
        put(text, BPF_LDX | BPF_DW | BPF_MEM, BPF_REG_0, BPF_REG_0, 0, 0);
        leave_with(text, 0);
        break;
    case MC_BPF_USED_AFTER_SUBMIT:
        use_after_submit(text, map_fd);
        break;
    case MC_BPF_SCALAR_AS_POINTER:
        set(text, BPF_REG_1, 4096);
        put(text, BPF_LDX | BPF_DW | BPF_MEM, BPF_REG_0, BPF_REG_1, 0, 0);
        leave_with(text, 0);
        break;
    case MC_BPF_TASK_FIELD:
        call(text, BPF_FUNC_get_current_task_btf);
        put(text, BPF_LDX | BPF_DW | BPF_MEM, BPF_REG_1, BPF_REG_0, number, 0);
        leave_with(text, 0);
        break;
    case MC_BPF_COUNT_TRACEPOINT:
    case MC_BPF_COUNT_PERF:
        only(text, number);
        look_up_first(text, map_fd);
        count_found(text);
        break;
    case MC_BPF_COUNT_IOCTL:
        count_ioctls(text, map_fd, number);
        break;
    case MC_BPF_DENY_DRM:
        deny_drm(text);
        break;
    case MC_BPF_SELF:
        tell_self(text);
        break;
    case MC_BPF_TASK_U32:
        tell_task_field(text, number);
        break;
    case MC_BPF_FILL:
        fill(text, map_fd, number);
        break;
    case MC_BPF_CHAIN:
        chain(text);
        break;
    }
}

static int type_of(enum mc_bpf_program program)
{
    switch (program) {
    case MC_BPF_COUNT_PERF:
        return BPF_PROG_TYPE_PERF_EVENT;
    case MC_BPF_COUNT_IOCTL:
        return BPF_PROG_TYPE_KPROBE;
    case MC_BPF_DENY_DRM:
        return BPF_PROG_TYPE_CGROUP_DEVICE;
    case MC_BPF_SELF:
    case MC_BPF_TASK_U32:
    case MC_BPF_FILL:
        return BPF_PROG_TYPE_SYSCALL;
    case MC_BPF_EMPTY:
    case MC_BPF_CHAIN:
        return BPF_PROG_TYPE_SOCKET_FILTER;
    default:
        return BPF_PROG_TYPE_TRACEPOINT;
    }
}

/* ---- the syscall ---- */

int mc_bpf_load(enum mc_bpf_program program, int map_fd, int32_t number, uint32_t log_level, char *log,
                size_t log_size)
{
    static struct text text; /* 33 KiB; a probe's process has one thread */
    text.count = 0;
    assemble(&text, program, map_fd, number);
    union bpf_attr attr = {
        .prog_type = type_of(program),
        .insn_cnt = text.count,
        .insns = (uintptr_t)text.at,
        .license = (uintptr_t) "GPL",
        .log_level = log_size > 0 ? log_level : 0,
        .log_buf = (uintptr_t)(log_size > 0 ? log : NULL),
        .log_size = log_size,
        .prog_flags = type_of(program) == BPF_PROG_TYPE_SYSCALL ? BPF_F_SLEEPABLE : 0,
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

/* ---- DRM and io_uring; the structures are the kernel's (drm.h may be missing) ---- */

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

int mc_uring_has(int operation)
{
    struct io_uring_probe *probe = io_uring_get_probe();
    if (probe == NULL) {
        return -ENOSYS;
    }
    int has = io_uring_opcode_supported(probe, operation);
    io_uring_free_probe(probe);
    return has;
}
