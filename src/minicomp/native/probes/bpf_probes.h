/* eBPF by the bpf(2) syscall: programs assembled here, no compiler and no libbpf. x86_64 only where registers
 * are read. Every call returns a descriptor or 0, or -errno. Descriptors are the caller's to close. */
#ifndef MC_BPF_PROBES_H
#define MC_BPF_PROBES_H

#include <stddef.h>
#include <stdint.h>

enum mc_bpf_program {
    /* For the verifier; loaded as tracepoint programs and never attached. */
    MC_BPF_ACCEPTED,
    MC_BPF_BOUNDED_LOOP,
    MC_BPF_UNBOUNDED_LOOP,
    MC_BPF_STACK_512,
    MC_BPF_STACK_520,
    MC_BPF_INDEX_CHECKED,
    MC_BPF_INDEX_UNCHECKED,
    MC_BPF_NULL_UNCHECKED,
    MC_BPF_USED_AFTER_SUBMIT,
    MC_BPF_SCALAR_AS_POINTER,
    MC_BPF_COUNT_TO,   /* a loop of two instructions, `number` times */
    MC_BPF_TASK_FIELD, /* reads 8 bytes at offset `number` of the current task_struct by a typed pointer */
    /* Attached. They count into map[0] for the process `number` (as the kernel numbers it), 0 for all. */
    MC_BPF_COUNT_TRACEPOINT,
    MC_BPF_COUNT_PERF,
    MC_BPF_COUNT_IOCTL, /* a kprobe on drm_ioctl: map[request & 0xff] */
    MC_BPF_DENY_DRM,    /* cgroup_device: no device of major 226 */
    /* Called directly (BPF_PROG_TYPE_SYSCALL) with a context of 8 bytes. */
    MC_BPF_SELF,     /* context: this process and thread as the kernel numbers them */
    MC_BPF_TASK_U32, /* context: the 4 bytes at offset `number` of the current task_struct */
    MC_BPF_FILL,     /* map[i] = i for `number` entries; context: how many */
    /* Run on a test packet. */
    MC_BPF_EMPTY,
    MC_BPF_CHAIN, /* the steps of mc_bpf_native_chain; returns the low 32 bits */
};

enum { MC_BPF_CHAIN_STEPS = 1000 };

/* The verifier's words go to log (level 1: the last path, 2: every state, 4: only statistics and refusals),
 * ended by a zero. */
int mc_bpf_load(enum mc_bpf_program program, int map_fd, int32_t number, uint32_t log_level, char *log,
                size_t log_size);
/* Types and flags as in linux/bpf.h; keys are 4 bytes, values 8. */
int mc_bpf_map(uint32_t type, uint32_t entries, uint32_t flags, uint64_t extra);
int mc_bpf_lookup(int map_fd, uint32_t key, uint64_t *value_ret);
int mc_bpf_update(int map_fd, uint32_t key, uint64_t value);
/* Bytes of native code that the JIT made; 0: it is interpreted. */
int mc_bpf_jited(int program_fd);
/* On a packet of 64 bytes; the mean of `repeat` runs, in ns, measured by the kernel. */
int mc_bpf_run(int program_fd, uint32_t repeat, uint32_t *value_ret, uint32_t *ns_ret);
int mc_bpf_call(int program_fd, uint64_t *context);
/* A perf event with the program on it; closing it detaches. `kind` and `config` as in perf_event_open(2).
 * `pid` and `cpu` too. */
int mc_bpf_on_event(int program_fd, uint32_t kind, uint64_t config, uint64_t period, int pid, int cpu);
/* `kind`: the number in /sys/bus/event_source/devices/kprobe/type. */
int mc_bpf_on_kprobe(int program_fd, uint32_t kind, const char *function);
int mc_bpf_on_cgroup(int program_fd, int cgroup_fd);

/* ns of one step of the same chain in C, and of an indirect call of an empty function. */
double mc_bpf_native_chain(uint32_t repeat, uint32_t *value_ret);
double mc_bpf_native_call(uint32_t repeat);
/* Two processes on this CPU hand a byte to and fro: ns of one switch of the CPU from one to the other. */
int mc_bpf_switches(uint32_t rounds, double *ns_ret);

/* Waits for the next vblank of a card's first display: DRM_IOCTL_WAIT_VBLANK. */
int mc_drm_wait_vblank(int card_fd);
/* DRM_IOCTL_VERSION, which every driver has: its name. */
int mc_drm_name(int card_fd, char *name_ret, size_t size);

#endif
