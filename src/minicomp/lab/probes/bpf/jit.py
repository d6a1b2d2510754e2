"""The JIT: whether it is on, and how near to native speed it comes."""

from __future__ import annotations

from pathlib import Path

from minicomp.lab.probes.bpf.programs import bpf_allowed, loaded
from minicomp.lab.probes.calls import check
from minicomp.lab.probes.probe import Basis, Budget, Number, Probe, Result, holds, near
from minicomp.lab.probes.text import quantity
from minicomp.native.probes import ffi, lib

SETTING = Path("/proc/sys/net/core/bpf_jit_enable")


def measure_state(budget: Budget) -> Result:
    with loaded(lib.MC_BPF_CHAIN) as program:
        size = check("bpf(BPF_OBJ_GET_INFO_BY_FD)", lib.mc_bpf_jited(program))
    setting = SETTING.read_text().strip() if SETTING.exists() else "absent (CONFIG_BPF_JIT is off, or always on)"
    what = f"{size} bytes of native code" if size else "no native code: it is interpreted"
    return holds(f"bpf_jit_enable is {setting}; {4 * lib.MC_BPF_CHAIN_STEPS} instructions became {what}", when=size > 0)


def measure_speed(budget: Budget) -> Result:
    rounds, repeat = budget.pick(25, 200), 400
    value, ns = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    ratios, jitted, native, empty, bare = [], [], [], [], []
    with loaded(lib.MC_BPF_CHAIN) as chain, loaded(lib.MC_BPF_EMPTY) as nothing:
        for _ in range(rounds):
            check("bpf(BPF_PROG_TEST_RUN)", lib.mc_bpf_run(chain, repeat, value, ns))
            answer, chain_ns = value[0], ns[0]
            native_ns = lib.mc_bpf_native_chain(repeat, value)
            if answer != value[0]:
                return holds(f"the program computed {answer:#x}, C {value[0]:#x}", when=False)
            check("bpf(BPF_PROG_TEST_RUN)", lib.mc_bpf_run(nothing, repeat * 100, value, ns))
            empty.append(ns[0])
            bare.append(lib.mc_bpf_native_call(repeat * 100))
            jitted.append(chain_ns / lib.MC_BPF_CHAIN_STEPS)
            native.append(native_ns / lib.MC_BPF_CHAIN_STEPS)
            ratios.append((chain_ns / native_ns - 1) * 100)
    more = Number.of("longer than C", "%", ratios)
    call = Number.of("an empty program, called", "ns", empty)
    return holds(
        f"{4 * lib.MC_BPF_CHAIN_STEPS} instructions take {quantity(more.value)} % longer than the same in C by gcc -O2; an empty "
        f"program takes {quantity(call.value)} ns, with the loop around it, an empty C function {quantity(Number.of('', 'ns', bare).value)}",
        more,
        Number.of("a step by the JIT", "ns", jitted),
        Number.of("a step in C", "ns", native),
        call,
        Number.of("an empty C function, called indirectly", "ns", bare),
        when=more.value <= 5,
        doubt=near("the median in %", more.value, 5, within=1.5),
    )


PROBES = (
    Probe(
        name="bpf-jit",
        section=8,
        statement="After verification, the eBPF bytecode is JIT-compiled to native machine code (bpf_jit_enable)",
        method="The setting is read, and how many bytes of native code the kernel says a loaded program has.",
        used_by="trace.kernel = bpftrace: an interpreted program would cost each traced event several times as much.",
        requires=(bpf_allowed,),
        measure=measure_state,
    ),
    Probe(
        name="bpf-speed",
        section=8,
        statement="JIT-compiled BPF programs run at near-native speed. The overhead compared to a native kernel function is "
        "~2-5% (indirect call + stack frame setup).",
        method="A thousand steps of shift, exclusive or and multiplication, each depending on the one before, by "
        "BPF_PROG_TEST_RUN and by C in turn; an empty program and an empty C function too. Holds: the median of the ratios "
        "is at most 5 % more.",
        used_by="bpf-event-cost says what a program costs where minicomp meets one.",
        requires=(bpf_allowed,),
        measure=measure_speed,
        basis=Basis.TIMES,
    ),
)
