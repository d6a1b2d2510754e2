"""Wake-up latency by class, idle and under full load."""

from __future__ import annotations

import os
import shutil
import time

from minicomp.lab.probes.probe import Basis, Budget, Curve, Number, Probe, Result, cannot_test, holds, near
from minicomp.lab.probes.requirements import kernel_version, root
from minicomp.lab.probes.scheduler.fair import takes_slices
from minicomp.lab.probes.scheduler.load import FIFO_PRIORITY, SECOND, allowed, busy, one_cpu, set_class, wakeups
from minicomp.native.probes import lib

INTERVAL_NS = 1_000_000
BUSY = 2
"""Busy programs beside us on the CPU."""
AT_ONCE_US = 500
CLEARLY = 1.25
TURNS = 4
"""Of two ways that are compared, so that others' load does not meet only one of them."""
TURN_US = 3000
WAYS: dict[str, tuple[str, dict[str, int]]] = {
    "other": ("other", {}),
    "other, slice 0.1 ms": ("other", {"slice_ns": 100_000}),
    "other, nice -15": ("other", {"nice": -15}),
    "fifo": ("fifo", {}),
    "deadline": ("deadline", {}),
}


def wakeups_as(way: str, count: int) -> list[float]:
    """How late in us. A deadline thread may not be bound to a CPU, the others are to one."""
    name, values = WAYS[way]
    every = os.sched_getaffinity(0)
    if name != "deadline":
        os.sched_setaffinity(0, {one_cpu()})
    set_class(name, **values)
    try:
        return wakeups(count, INTERVAL_NS)
    finally:
        set_class("other")
        os.sched_setaffinity(0, every)


def measured(way: str, loaded: bool, count: int) -> Number:
    late = wakeups_as(way, count)
    return Number.of(f"{way}, {'loaded' if loaded else 'idle'}", "us", late)


def tried() -> tuple[list[str], list[str]]:
    """The ways that this machine allows, and the others with the reason."""
    ways, left_out = [], []
    for way, (name, values) in WAYS.items():
        if (missing := allowed(name)) is not None:
            left_out.append(f"{way} ({missing.why})")
        elif "slice_ns" in values and not takes_slices():
            left_out.append(f"{way} (this kernel has no slices)")
        else:
            ways.append(way)
    return ways, left_out


def measure_latency(budget: Budget) -> Result:
    ways, left_out = tried()
    if "fifo" not in ways:
        return cannot_test("; ".join(left_out), "CAP_SYS_NICE; under CONFIG_RT_GROUP_SCHED rt_runtime_us in the group")
    numbers = {(way, False): measured(way, False, budget.pick(90, 3000)) for way in ways}
    with busy([cpu for cpu in os.sched_getaffinity(0) for _ in range(BUSY)], 30):
        numbers |= {(way, True): measured(way, True, budget.pick(90, 1200)) for way in ways}
    told = [
        f"{way} {numbers[way, False].value:.0f} / {numbers[way, True].value:.0f} ({numbers[way, True].high:.0f}) us"
        for way in ways
    ]
    seen = "late by, idle / loaded (95 % loaded): " + ", ".join(told)
    seen += f"; not tried: {', '.join(left_out)}" if left_out else ""
    picture = Curve(
        "Late wake-ups by class",
        ", ".join(f"{i + 1}: {way}" for i, way in enumerate(ways)),
        "95th percentile, us",
        {
            state: [(i + 1.0, numbers[way, loaded].high) for i, way in enumerate(ways)]
            for state, loaded in (("idle", False), ("loaded", True))
        },
        log_y=True,
    )
    better = numbers["fifo", True].high < numbers["other", True].high
    doubt = near("FIFO's tail by the fair class'", numbers["fifo", True].high / numbers["other", True].high, 1.0)
    return holds(seen, *numbers.values(), curves=[picture], when=better, doubt=doubt)


def measure_fair(budget: Budget) -> Result:
    cpu = one_cpu()
    os.sched_setaffinity(0, {cpu})
    set_class("other")
    with busy([cpu] * BUSY, 10):
        late = Number.of("other, loaded", "us", wakeups(budget.pick(300, 2000), INTERVAL_NS))
    seen = f"between {BUSY} busy programs a thread that sleeps most of the time wakes {late.value:.0f} us late "
    seen += f"(95 %: {late.high:.0f} us)"
    return holds(seen, late, when=late.value < AT_ONCE_US, doubt=near("the median in us", late.value, AT_ONCE_US))


def measure_order(budget: Budget) -> Result:
    """A shorter slice is an earlier virtual deadline at the same weight."""
    if not takes_slices():
        return cannot_test("this kernel has no slice per thread, so deadlines cannot be told apart", "Linux 6.12")
    ways: dict[str, list[float]] = {"other": [], "other, slice 0.1 ms": []}
    tails: list[list[float]] = []
    with busy([one_cpu()] * BUSY, 15):
        for _ in range(TURNS):
            late = {way: wakeups_as(way, budget.pick(60, 500)) for way in ways}
            tails.append([Number.of(way, "us", some).high for way, some in late.items()])
            for way, some in late.items():
                ways[way] += some
    usual, short = (Number.of(f"{way}, loaded", "us", some) for way, some in ways.items())
    seen = f"beside {BUSY} busy programs a thread wakes {usual.value:.0f} us late (95 %: {usual.high:.0f}), with a slice of "
    seen += f"0.1 ms, so with earlier deadlines, {short.value:.0f} us (95 %: {short.high:.0f})"
    sooner = sum(tail < other for other, tail in tails)
    if sooner not in (0, TURNS):
        return cannot_test(f"{seen}: sooner in {sooner} of {TURNS} turns", "a machine less busy")
    if 1 / CLEARLY < short.high / usual.high < CLEARLY:
        return cannot_test(
            f"{seen}: no difference", "threads that wait for their turn: more load, a tick finer than a slice"
        )
    return holds(seen, usual, short, when=short.high < usual.high)


def measure_smallest(budget: Budget) -> Result:
    why = "which task had the smallest vruntime when it was chosen is not shown to programs"
    return cannot_test(
        why, "Linux before 6.6 with sched_stat_runtime traced (it has vruntime); what follows: sched-nice"
    )


def measure_from_outside(budget: Budget) -> Result:
    with busy([one_cpu()], 2) as (other,):
        os.sched_setscheduler(other, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
        policy, priority = os.sched_getscheduler(other), os.sched_getparam(other).sched_priority
    chrt = shutil.which("chrt")
    seen = f"another process's class became {policy} (FIFO is {os.SCHED_FIFO}), priority {priority}; chrt is "
    seen += chrt or "not installed"
    return holds(seen, when=(policy, priority) == (os.SCHED_FIFO, FIFO_PRIORITY))


def measure_starving(budget: Budget) -> Result:
    if kernel_version() >= (6, 6):
        return cannot_test("this kernel has EEVDF", "Linux before 6.6: scripts/vm --kernel 6.1 (docs/kernel-claims.md)")
    result = measure_fair(budget)
    return holds(result.seen, *result.numbers, when=result.numbers[0].high > TURN_US)


def measure_preempts(budget: Budget) -> Result:
    cpu = one_cpu()
    os.sched_setaffinity(0, {cpu})
    shares = {}
    span = budget.pick(0.3, 0.6)
    with busy([cpu] * BUSY, 5):
        for name in ("other", "fifo"):
            set_class(name)
            shares[name] = lib.mc_probe_spin(time.monotonic_ns() + int(span * SECOND)) / (span * SECOND)
            set_class("other")
            time.sleep(0.1)
    seen = f"for {span * 1000:.0f} ms beside {BUSY} busy programs: {shares['fifo']:.1%} of the CPU with SCHED_FIFO, "
    seen += f"{shares['other']:.1%} without"
    numbers = [Number.exact(f"share, {name}", share * 100, "%") for name, share in shares.items()]
    doubt = near("the share", shares["fifo"], 0.97, within=0.01)
    return holds(seen, *numbers, when=shares["fifo"] > 0.97, doubt=doubt)


def measure_thirty_percent(budget: Budget) -> Result:
    why = "one kernel runs here, and the claim compares two; measured by booting both (docs/kernel-claims.md)"
    return cannot_test(
        why, "the same test under Linux 6.1 and 6.12: scripts/vm --virtual-time --kernel 6.1 ... sched-wakeup"
    )


_KNOBS = "[knobs.render] and [knobs.loop] class, priority, nice, slice_us (lab/knobs/scheduler.py), compared by "
_KNOBS += "minicomp lab run configs/experiments/scheduler-under-load.toml"

PROBES = (
    Probe(
        name="sched-wakeup",
        section=2,
        statement="The compositor's render thread should never be preempted by background tasks. Use SCHED_FIFO",
        method="A thread wants to wake every 1 ms at fixed times; how late it is, of every time that was wanted, also when it "
        "slept through several (no coordinated omission), with a timer slack of 1 ns. Idle, and with two busy programs on each CPU. Holds: the 95th "
        "percentile under load is lower with FIFO than with the fair class.",
        used_by=_KNOBS,
        requires=(root,),
        measure=measure_latency,
        basis=Basis.COMPARED,
    ),
    Probe(
        name="sched-fair-wakeup",
        section=2,
        statement="EEVDF improves latency for interactive tasks (the compositor and input handling threads) without explicit "
        "tuning.",
        method="The fair class without any tuning: late wake-ups every 1 ms beside two busy programs on the same CPU. Holds: "
        "the median is below 0.5 ms: it does not wait for a turn to end. Against CFS: sched-eevdf-gain.",
        used_by=_KNOBS,
        measure=measure_fair,
        basis=Basis.COMPARED,
    ),
    Probe(
        name="sched-cfs-starves",
        section=2,
        statement="CFS was fair in the long run but could starve short-running tasks in the short term (a task waking from "
        "sleep had to wait for previously running tasks to finish their slices).",
        method="As sched-fair-wakeup. Holds: one wake-up in twenty waits 3 ms or longer, a turn of CFS with two programs.",
        used_by=_KNOBS,
        measure=measure_starving,
        basis=Basis.COMPARED,
    ),
    Probe(
        name="sched-eevdf-gain",
        section=2,
        statement="Wake-up latency dropped by ~30% in real-world tests.",
        method="The same wake-up test in a VM in virtual time, with Debian's 6.1 (CFS) and a kernel with EEVDF.",
        used_by=_KNOBS,
        measure=measure_thirty_percent,
    ),
    Probe(
        name="sched-eevdf-order",
        section=2,
        statement="Among eligible tasks, the one with the earliest [virtual] deadline runs first.",
        method="Late wake-ups every 1 ms beside two busy programs on one CPU, with the usual slice and with one of 0.1 ms, which "
        "brings the virtual deadline nearer; four times in turn. Holds: the 95th percentile is lower each time, and in all by a quarter; "
        "nearer to each other, nothing is said.",
        used_by="[knobs.render] slice_us, [knobs.loop] slice_us",
        measure=measure_order,
        basis=Basis.COMPARED,
    ),
    Probe(
        name="sched-cfs-order",
        section=2,
        statement="CFS uses a red-black tree of tasks ordered by virtual runtime (vruntime). The task with the smallest vruntime "
        "runs next.",
        method="None: only its consequence is seen, a fair share by weight (sched-nice).",
        used_by="The class of every thread that no knob changes, up to Linux 6.5.",
        measure=measure_smallest,
    ),
    Probe(
        name="sched-fifo-outside",
        section=2,
        statement="Set real-time priority from outside the process: chrt -f 50 -p PID",
        method="sched_setscheduler, the call chrt makes, on a child with its process id; read back, then it is ended.",
        used_by="minicomp lab helper sets the class of minicomp's threads for it (lab/helper/).",
        requires=(lambda: allowed("fifo"),),
        measure=measure_from_outside,
    ),
    Probe(
        name="sched-fifo-preempts",
        section=2,
        statement="SCHED_FIFO: this thread now preempts ALL CFS/EEVDF tasks",
        method="A busy loop beside two busy programs on one CPU, as SCHED_OTHER and as SCHED_FIFO: its share of the CPU. "
        "Holds: above 97 %.",
        used_by=_KNOBS,
        requires=(lambda: allowed("fifo"),),
        measure=measure_preempts,
        basis=Basis.COMPARED,
    ),
)
