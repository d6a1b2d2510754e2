#include "bpf_programs.h"

#include <stdbool.h>
#include <stddef.h>

#define STACK_BYTES 512
#define DRM_MAJOR 226
#define ENTRIES 256
/* struct pt_regs of x86_64: the second argument of a function. */
#define REGISTER_SI 104

static void put(struct mc_bpf_text *text, int code, int dst, int src, int off, int32_t imm)
{
    text->at[text->count++] =
        (struct bpf_insn){.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

static void set(struct mc_bpf_text *text, int dst, int32_t value)
{
    put(text, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value);
}

static void copy(struct mc_bpf_text *text, int dst, int src)
{
    put(text, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static void add(struct mc_bpf_text *text, int dst, int32_t value)
{
    put(text, BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, value);
}

static void call(struct mc_bpf_text *text, int helper)
{
    put(text, BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}

static void leave(struct mc_bpf_text *text)
{
    put(text, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void leave_with(struct mc_bpf_text *text, int32_t value)
{
    set(text, BPF_REG_0, value);
    leave(text);
}

/* A jump over the next `off` instructions when dst is (not) the value. */
static void jump(struct mc_bpf_text *text, int condition, int dst, int32_t value, int off)
{
    put(text, BPF_JMP | condition | BPF_K, dst, 0, off, value);
}

static void load_map(struct mc_bpf_text *text, int dst, int map_fd)
{
    put(text, BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, map_fd);
    put(text, 0, 0, 0, 0, 0);
}

/* r0 = address of map[the u32 at r10-4], or NULL. */
static void look_up(struct mc_bpf_text *text, int map_fd)
{
    load_map(text, BPF_REG_1, map_fd);
    copy(text, BPF_REG_2, BPF_REG_10);
    add(text, BPF_REG_2, -4);
    call(text, BPF_FUNC_map_lookup_elem);
}

static void look_up_first(struct mc_bpf_text *text, int map_fd)
{
    put(text, BPF_ST | BPF_W | BPF_MEM, BPF_REG_10, 0, -4, 0);
    look_up(text, map_fd);
}

/* Leaves when this is not the process; r6 is kept. */
static void only(struct mc_bpf_text *text, int32_t process)
{
    if (process == 0) {
        return;
    }
    call(text, BPF_FUNC_get_current_pid_tgid);
    put(text, BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_0, 0, 0, 32);
    jump(text, BPF_JEQ, BPF_REG_0, process, 2);
    leave_with(text, 0);
}

static void count_found(struct mc_bpf_text *text)
{
    jump(text, BPF_JEQ, BPF_REG_0, 0, 2);
    set(text, BPF_REG_1, 1);
    put(text, BPF_STX | BPF_DW | BPF_ATOMIC, BPF_REG_0, BPF_REG_1, 0, BPF_ADD);
    leave_with(text, 0);
}

static void index_by_context(struct mc_bpf_text *text, int map_fd, bool checked)
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

static void use_after_submit(struct mc_bpf_text *text, int ring_fd)
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

static void count_to(struct mc_bpf_text *text, int32_t number)
{
    set(text, BPF_REG_1, 0);
    add(text, BPF_REG_1, 1);
    jump(text, BPF_JLT, BPF_REG_1, number, -2);
    leave_with(text, 0);
}

static void count_ioctls(struct mc_bpf_text *text, int map_fd, int32_t process)
{
    copy(text, BPF_REG_6, BPF_REG_1);
    only(text, process);
    put(text, BPF_LDX | BPF_DW | BPF_MEM, BPF_REG_1, BPF_REG_6, REGISTER_SI, 0);
    put(text, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_1, 0, 0, ENTRIES - 1);
    put(text, BPF_STX | BPF_W | BPF_MEM, BPF_REG_10, BPF_REG_1, -4, 0);
    look_up(text, map_fd);
    count_found(text);
}

static void deny_drm(struct mc_bpf_text *text)
{
    put(text, BPF_LDX | BPF_W | BPF_MEM, BPF_REG_2, BPF_REG_1, offsetof(struct bpf_cgroup_dev_ctx, major), 0);
    set(text, BPF_REG_0, 1);
    jump(text, BPF_JNE, BPF_REG_2, DRM_MAJOR, 1);
    set(text, BPF_REG_0, 0);
    leave(text);
}

static void tell_self(struct mc_bpf_text *text)
{
    copy(text, BPF_REG_6, BPF_REG_1);
    call(text, BPF_FUNC_get_current_pid_tgid);
    put(text, BPF_STX | BPF_DW | BPF_MEM, BPF_REG_6, BPF_REG_0, 0, 0);
    leave_with(text, 0);
}

static void tell_task_field(struct mc_bpf_text *text, int32_t offset)
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

static void fill(struct mc_bpf_text *text, int map_fd, int32_t number)
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

static void chain(struct mc_bpf_text *text)
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

void mc_bpf_assemble(struct mc_bpf_text *text, enum mc_bpf_program program, int map_fd, int32_t number)
{
    text->count = 0;
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

int mc_bpf_type(enum mc_bpf_program program)
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
