"""The fair class: which one it is, its granularity, nice values, and how turns change with the number of programs."""

from __future__ import annotations

import ctypes
import os
import platform
import time
from pathlib import Path

from minicomp.lab.knobs.syscalls import SCHED_OTHER, SchedAttr, sched_getattr, sched_setattr
from minicomp.lab.probes.probe import Basis, Budget, Missing, Number, Probe, Result, Untestable, holds, near
from minicomp.lab.probes.requirements import kernel_version, root
from minicomp.lab.probes.scheduler.load import MS, SECOND, busy, cpu_time_ns, one_cpu
from minicomp.native.probes import ffi, lib

DEBUG = Path("/sys/kernel/debug/sched")
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18
MIN_GRANULARITY_NS = 750_000
WEIGHTS = {0: 1024, 5: 335}
"""kernel/sched/core.c: sched_prio_to_weight."""
SLICE_NS = 100_000
NEAR = 0.1
LEAST_TURNS = 4
SHORTER = 0.75


def debugfs() -> Missing | None:
    """Mounts debugfs where it is not, in a mount namespace that ends with this process."""
    if DEBUG.exists():
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    done = bool(libc.unshare(CLONE_NEWNS) == 0)
    done = done and bool(libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None) == 0)
    done = done and bool(libc.mount(b"debugfs", b"/sys/kernel/debug", b"debugfs", ctypes.c_ulong(0), None) == 0)
    if done and DEBUG.exists():
        return None
    why = "debugfs cannot be mounted here" if not done else "debugfs has no sched folder"
    return Missing(why, "root, and a kernel with CONFIG_SCHED_DEBUG and debugfs")


def takes_slices() -> bool:
    """Whether a thread of the fair class can have its own slice: EEVDF since 6.12."""
    try:
        sched_setattr(0, SchedAttr(policy=SCHED_OTHER, runtime_ns=SLICE_NS))
        return bool(sched_getattr(0).runtime_ns == SLICE_NS)
    except OSError:
        return False
    finally:
        sched_setattr(0, SchedAttr(policy=SCHED_OTHER))


def measure_class(budget: Budget) -> Result:
    """By behaviour, where /proc and debugfs show it: EEVDF's fields exist since 6.6."""
    eevdf = kernel_version() >= (6, 6)
    shown = [name for name in ("se.slice", "se.deadline", "se.vlag") if name in Path("/proc/self/sched").read_text()]
    slices = takes_slices()
    seen = f"Linux {platform.release()}: by its version {'EEVDF' if eevdf else 'CFS'}; a slice of its own "
    seen += f"{'is taken (EEVDF, 6.12)' if slices else 'is not taken'}"
    seen += f"; /proc/self/sched shows {', '.join(shown)}" if shown else ""
    return holds(seen, when=eevdf == (eevdf or slices) and (slices or kernel_version() < (6, 12)))


def debug_value(name: str) -> int | None:
    """A file of sched/, or None when it is not there. Under lockdown only `debug` may be read, which has most of them."""
    path = DEBUG / name
    if not path.exists():
        return None
    try:
        return int(path.read_text())
    except PermissionError:
        for line in (DEBUG / "debug").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip().endswith(name.removesuffix("_ns")):
                return round(float(value) * MS)
        raise


def measure_debug_file(budget: Budget) -> Result:
    text = (DEBUG / "debug").read_text()
    head = text.splitlines()[:5]
    named = any("EEVDF" in line for line in head)
    seen = f"the first five lines {'name' if named else 'do not name'} EEVDF"
    if not named:
        seen += ", the rest does" if "EEVDF" in text else ", nor does the rest"
        words = [word for word in ("base_slice", "min_granularity", "wakeup_granularity") if word in text]
        seen += f"; what tells them apart is {', '.join(words)}: base_slice is EEVDF's, granularities were CFS's"
    return holds(seen, when=named)


def measure_granularity(budget: Budget) -> Result:
    found = {name: debug_value(name) for name in ("min_granularity_ns", "base_slice_ns")}
    values = {name: value for name, value in found.items() if value is not None}
    seen = ", ".join(f"{name} = {value:,}" for name, value in values.items())
    if "min_granularity_ns" not in values:
        seen = f"there is no min_granularity_ns; {seen or 'nor base_slice_ns'} "
        seen += f"(700,000 or 750,000 times 1 + log2 of the CPUs; here are {os.cpu_count()})"
    numbers = [Number.exact(name, value / 1000, "us") for name, value in values.items()]
    return holds(seen, *numbers, when=values.get("min_granularity_ns") == MIN_GRANULARITY_NS)


def turns(others: int, budget: Budget) -> Number:
    """How long we run without a break, on a CPU shared with busy programs, in ms."""
    cpu = one_cpu()
    os.sched_setaffinity(0, {cpu})
    span = budget.pick(0.3, 2.0)
    with busy([cpu] * others, span + 1):
        begins, ends = ffi.new("uint64_t[]", 2000), ffi.new("uint64_t[]", 2000)
        found = lib.mc_probe_gaps(time.monotonic_ns() + int(span * SECOND), MS // 2, 2000, begins, ends)
    runs = [(begins[i] - ends[i - 1]) / MS for i in range(1, found)]
    if len(runs) < LEAST_TURNS:
        raise Untestable(
            f"{others + 1} programs on one CPU took turns {len(runs)} times in {span:g} s", "a machine less busy"
        )
    return Number.of(f"a turn, {others + 1} programs", "ms", runs)


def measure_slices(budget: Budget) -> Result:
    two, eight = turns(1, budget), turns(7, budget)
    seen = f"a turn on a shared CPU lasts {two.value:.1f} ms between 2 programs and {eight.value:.1f} ms between 8"
    share = eight.value / two.value
    return holds(seen, two, eight, when=share < SHORTER, doubt=near("the turns' ratio", share, SHORTER))


def measure_nice(budget: Budget) -> Result:
    cpu = one_cpu()
    os.sched_setaffinity(0, {cpu})
    with busy([cpu], 8, nice=5) as (other,):
        before = cpu_time_ns(other)
        ours = lib.mc_probe_spin(time.monotonic_ns() + int(budget.pick(0.6, 3.0) * SECOND))
        theirs = cpu_time_ns(other) - before
    share, wanted = ours / (ours + theirs), WEIGHTS[0] / sum(WEIGHTS.values())
    seen = f"of the CPU time that we and a busy program of nice 5 get, {share:.0%} is ours; by the weights {wanted:.0%}"
    away = abs(share - wanted)
    doubt = near("what it is away from it", away, NEAR, within=0.02)
    return holds(seen, Number.exact("share", share * 100, "%"), when=away < NEAR, doubt=doubt)


_KNOB = "[knobs.render] and [knobs.loop] class = other with nice or slice_us; which fair class there is says minicomp doctor."

PROBES = (
    Probe(
        name="sched-class",
        section=2,
        statement="CFS (kernel 2.6.23 through 6.5). EEVDF replaced CFS in kernel 6.6.",
        method="The kernel's version, against what it does: EEVDF takes a slice per thread (sched_setattr, 6.12).",
        used_by=_KNOB,
        measure=measure_class,
    ),
    Probe(
        name="sched-eevdf-shown",
        section=2,
        statement='cat /sys/kernel/debug/sched/debug | head -5: on 6.6+, "EEVDF" appears in the output',
        method="The file is read; debugfs is mounted for that in a mount namespace of the probe's own.",
        used_by="Not used: the kernel's version is asked.",
        requires=(root, debugfs),
        measure=measure_debug_file,
    ),
    Probe(
        name="sched-granularity",
        section=2,
        statement="Tune EEVDF: minimum granularity: /sys/kernel/debug/sched/min_granularity_ns. Default: 750000 (750us).",
        method="The files in /sys/kernel/debug/sched, mounted as above.",
        used_by=_KNOB + " Not the debugfs file: it is the whole machine's.",
        requires=(root, debugfs),
        measure=measure_granularity,
    ),
    Probe(
        name="sched-slices",
        section=2,
        statement="CFS does not use fixed time slices. It dynamically computes a slice based on the number of runnable tasks "
        "and their weights.",
        method="On one CPU with 1 and with 7 busy programs: the times between two interruptions of 0.5 ms and more. Holds: "
        "a turn is a quarter shorter with more programs. EEVDF's slice is fixed.",
        used_by=_KNOB,
        measure=measure_slices,
        basis=Basis.COMPARED,
    ),
    Probe(
        name="sched-nice",
        section=2,
        statement="Tasks with higher nice values accumulate vruntime faster (get less CPU).",
        method="We, with nice 0, share a CPU with a busy program of nice 5: our part of the CPU time of both. Holds: within 10 % of what the weights give.",
        used_by=_KNOB,
        measure=measure_nice,
        basis=Basis.COMPARED,
    ),
)
