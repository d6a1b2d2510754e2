/* The programs of enum mc_bpf_program, instruction by instruction. For C only: Python is not told of it. */
#ifndef MC_BPF_PROGRAMS_H
#define MC_BPF_PROGRAMS_H

#include <linux/bpf.h>
#include <stdint.h>

#include "bpf_probes.h"

enum { MC_BPF_INSTRUCTIONS = 4200 };

struct mc_bpf_text {
    struct bpf_insn at[MC_BPF_INSTRUCTIONS];
    int count;
};

/* What was in text is lost. `number` and the map are what the program's comment in bpf_probes.h says. */
void mc_bpf_assemble(struct mc_bpf_text *text, enum mc_bpf_program program, int map_fd, int32_t number);
/* Its enum bpf_prog_type. */
int mc_bpf_type(enum mc_bpf_program program);

#endif
