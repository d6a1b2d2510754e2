"""A CPU of one's own, and the caches that stay shared."""

from __future__ import annotations

import os
from collections.abc import Sequence

from minicomp.lab.knobs.cgroup import find_hierarchy
from minicomp.lab.probes.calls import check
from minicomp.lab.probes.probe import Basis, Budget, Missing, Number, Probe, Result, holds, near
from minicomp.lab.probes.requirements import cpus, root
from minicomp.lab.probes.scheduler.load import busy, one_cpu
from minicomp.lab.probes.settings import changed, controller
from minicomp.native.probes import ffi, lib

SETS = {"1 MiB": 1 << 20, "16 MiB": 16 << 20}
"""What fits a core's own cache, and what is in the cache all cores share."""
CLEARLY = 1.15


def loads(size: int, others: Sequence[int], budget: Budget, name: str) -> Number:
    """Time of a load (its thread's CPU time) beside programs that stream through memory on the CPUs `others`."""
    samples = budget.pick(150, 1500)
    out = ffi.new("double[]", samples)
    with busy(others, 10, stream=True):
        check("loads", lib.mc_probe_cache(size, samples, 3000, out))
    return Number.of(name, "ns", out)


def measure_contention(budget: Budget) -> Result:
    mine = one_cpu()
    others = sorted(os.sched_getaffinity(0) - {mine})
    os.sched_setaffinity(0, {mine})
    numbers, told, doubts, kept = [], [], list[str](), True
    for what, size in SETS.items():
        alone = loads(size, [], budget, f"{what}, alone")
        apart = loads(size, others, budget, f"{what}, others on other CPUs")
        shared = loads(size, [mine], budget, f"{what}, another on the same CPU")
        numbers += [alone, apart, shared]
        told.append(
            f"in {what}: alone {alone.value:.1f} ns, others apart {apart.value:.1f}, on the same CPU {shared.value:.1f}"
        )
        kept = kept and apart.value < alone.value * CLEARLY
        doubts.append(near(f"in {what} the others' part", apart.value / alone.value, CLEARLY, within=0.05))
    seen = "a load " + "; ".join(told)
    return holds(seen, *numbers, when=kept, doubt="; ".join(filter(None, doubts)))


def has_cpusets() -> Missing | None:
    if find_hierarchy() is None:
        return Missing("no cpuset controller is mounted", "cgroups with cpusets")
    return None


def measure_cpuset(budget: Budget) -> Result:
    hierarchy = find_hierarchy()
    assert hierarchy is not None
    cpu, group = one_cpu(), f"minicomp-probe-{os.getpid()}"
    before = hierarchy.group_of(os.getpid())
    settings = controller(hierarchy.mount, "cpuset") if hierarchy.version == 2 else {}
    with changed(settings, [hierarchy.path(group)]):
        try:
            mems = hierarchy.read("", "cpuset.mems" if hierarchy.version == 1 else "cpuset.mems.effective")
            hierarchy.write(group, "cpuset.cpus", str(cpu))
            hierarchy.write(group, "cpuset.mems", mems)
            hierarchy.write(group, "cgroup.procs", str(os.getpid()))
            inside = os.sched_getaffinity(0)
            os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the set stays the bound
            after = os.sched_getaffinity(0)
        finally:
            hierarchy.write(before, "cgroup.procs", str(os.getpid()))
    seen = f"in a cpuset of CPU {cpu} (cgroup v{hierarchy.version}) a process may run on {sorted(inside)}, and after asking "
    seen += f"for all CPUs on {sorted(after)}"
    return holds(seen, when=inside == after == {cpu})


_KNOB = "[knobs.cpuset] (lab/knobs/cpuset.py): the compositor's CPUs, its clients', the others'."

PROBES = (
    Probe(
        name="sched-cpuset",
        section=2,
        statement="cpuset cgroups: pin the compositor to specific cores",
        method="A cgroup with one CPU is made, entered and removed; inside, all CPUs are asked for.",
        used_by=_KNOB,
        requires=(root, cpus(2), has_cpusets),
        measure=measure_cpuset,
    ),
    Probe(
        name="sched-cpuset-caches",
        section=2,
        statement="This eliminates cache contention between the compositor and background tasks: cores 0-1 are exclusively for "
        "Sway.",
        method="Random dependent loads in 1 MiB and in 16 MiB, in CPU time of the thread: alone, with programs that stream "
        "through 32 MiB on the other CPUs, and with one on the same CPU. Bound by affinity, as a cpuset binds. Holds: programs "
        "on other CPUs cost less than 15 % in both sizes.",
        used_by=_KNOB,
        requires=(cpus(2),),
        measure=measure_contention,
        basis=Basis.COMPARED,
    ),
)
