"""SCHED_DEADLINE: the guarantee, its bound, and what the kernel refuses."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minicomp.lab.knobs.syscalls import sched_setattr
from minicomp.lab.probes.probe import Budget, Number, Probe, Result, holds
from minicomp.lab.probes.processes import answer_of, drop_root
from minicomp.lab.probes.requirements import cpus, root
from minicomp.lab.probes.scheduler.load import (
    BUDGET_NS,
    FRAME_NS,
    MS,
    SECOND,
    busy,
    deadline,
    may_deadline,
    set_class,
)
from minicomp.native.probes import ffi, lib

WORK_NS = 4_500_000
"""Of the 5 ms: the clock readings and the way in and out of the kernel are charged as well."""
BUSY = 3
GREEDY_SHARE = 0.6


@dataclass(frozen=True)
class Period:
    """One period, in ms: from its wanted begin to the begin and the end of its work, and what the kernel charged for it."""

    begun_ms: float
    done_ms: float
    charged_ms: float

    @property
    def missed(self) -> bool:
        return self.done_ms > FRAME_NS / MS

    @property
    def overcharged(self) -> bool:
        """The reservation is spent, by more than the work: the thread is throttled."""
        return self.charged_ms > BUDGET_NS / MS


def periods(count: int) -> list[Period]:
    found = ffi.new("struct mc_probe_period[]", count)
    lib.mc_probe_periods(FRAME_NS, WORK_NS, count, found)
    return [Period(one.begun_ns / MS, one.done_ns / MS, one.charged_ns / MS) for one in found]


def explain(ran: Sequence[Period]) -> str:
    """Why periods were missed, from what was charged for them; empty when none was.

    A throttled thread gets its next budget in the next period, and pays back what it was charged beyond the last. With
    work that takes nine tenths of the budget it catches up slowly: the periods after it are late as well.
    """
    throttled = [one for one in ran if one.missed and one.overcharged]
    after, other, paying = 0, [], False
    for one in ran:
        if one.missed and not one.overcharged:
            if paying:
                after += 1
            else:
                other.append(one)
        paying = one.overcharged or (paying and one.missed)
    told = []
    if throttled:
        most_ms = max(one.charged_ms for one in throttled)
        told.append(
            f"in {len(throttled)} the kernel charged up to {most_ms:.1f} ms for the {WORK_NS / MS:g} and throttled the thread, whose CPU "
            "had stood still meanwhile (the hypervisor, or an interrupt)"
        )
    if after:
        told.append(f"{after} came after such a period, until that was paid back")
    if other:
        idle_ms = max(one.done_ms - one.charged_ms for one in other)
        told.append(
            f"in {len(other)} it was charged no more than its budget, and had no CPU for up to {idle_ms:.1f} ms"
        )
    return "; ".join(told)


def measure_guarantee(budget: Budget) -> Result:
    counts = {"deadline": budget.pick(30, 240), "other": budget.pick(8, 60)}
    every = sorted(os.sched_getaffinity(0))
    ran = {}
    with busy([cpu for cpu in every for _ in range(BUSY)], 30):
        for name, count in counts.items():
            set_class(name)
            ran[name] = periods(count)
            set_class("other")
    times = {name: [one.done_ms for one in found] for name, found in ran.items()}
    missed = {name: sum(one.missed for one in found) for name, found in ran.items()}
    numbers = [Number.of(f"4.5 ms of work done after, {name}", "ms", values) for name, values in times.items()]
    charged = [one.charged_ms for one in ran["deadline"]]
    numbers.append(
        Number("charged for 4.5 ms of work, most", "ms", max(charged), min(charged), max(charged), len(charged))
    )
    seen = f"with {BUSY} busy programs on each CPU: {missed['deadline']} of {counts['deadline']} periods without their {WORK_NS / MS:g} ms "
    seen += f"(worst after {max(times['deadline']):.1f} ms); as SCHED_OTHER {missed['other']} of {counts['other']}"
    if why := explain(ran["deadline"]):
        seen += f". Of the missed, {why}"
    return holds(seen, *numbers, when=missed["deadline"] == 0)


def measure_bounded(budget: Budget) -> Result:
    cpu_share = BUDGET_NS / FRAME_NS
    span = int(budget.pick(0.4, 2.0) * SECOND)
    set_class("deadline")
    used = lib.mc_probe_spin(time.monotonic_ns() + span) / span
    set_class("other")
    seen = f"a thread that never sleeps gets {used:.1%} of a CPU; 5 ms of 16.67 ms are {cpu_share:.1%}"
    return holds(seen, Number.exact("share", used * 100, "%"), when=used < cpu_share * 1.1)


def outcome(attempt: int) -> str:
    return "taken" if attempt == 0 else errno.errorcode.get(attempt, str(attempt))


def reserve(runtime_ns: int = BUDGET_NS) -> None:
    sched_setattr(0, deadline(runtime_ns))


def unprivileged() -> None:
    drop_root()
    reserve()


def pinned() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    reserve()


def forking() -> None:
    """What fork says to a deadline thread that did not ask for reset-on-fork."""
    reserve()
    if os.fork() == 0:
        os._exit(0)
    os.wait()


def until_busy() -> tuple[int, int]:
    """Reservations of GREEDY_SHARE of a CPU each, by sleeping processes, until one is refused: (how many, errno)."""
    runtime_ns = int(GREEDY_SHARE * FRAME_NS)
    sleepers: list[int] = []
    refused = 0
    try:
        for _ in range(2 * (os.cpu_count() or 1) + 1):
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                _reserve(writing, runtime_ns)
            sleepers.append(pid)
            os.close(writing)
            refused = int.from_bytes(os.read(reading, 4), "little")
            os.close(reading)
            if refused:
                break
    finally:
        for pid in sleepers:
            os.kill(pid, signal.SIGKILL)
        for pid in sleepers:
            os.waitpid(pid, 0)
    return len(sleepers) - (refused != 0), refused


def _reserve(writing: int, runtime_ns: int) -> None:
    try:
        error = 0
        try:
            reserve(runtime_ns)
        except OSError as failure:
            error = failure.errno or 1
        os.write(writing, error.to_bytes(4, "little"))
        time.sleep(5)
    finally:
        os._exit(0)


def measure_refusals(budget: Budget) -> Result:
    attempts = (unprivileged, pinned, forking, partial(reserve, 1000))
    nobody, bound, fork, short = (answer_of(attempt)[0] for attempt in attempts)
    count, full = until_busy()
    limit = int(Path("/proc/sys/kernel/sched_rt_runtime_us").read_text())
    share = limit / int(Path("/proc/sys/kernel/sched_rt_period_us").read_text())
    cpus_here = os.cpu_count() or 1
    seen = f"without privileges: {outcome(nobody)}; bound to one of {cpus_here} CPUs: {outcome(bound)}; after {count} "
    seen += f"reservations of {GREEDY_SHARE:.0%} of a CPU (of {cpus_here} CPUs {share:.0%} may be reserved): {outcome(full)}; "
    seen += f"a runtime of 1 us: {outcome(short)}; fork in such a thread: {outcome(fork)}"
    wanted_bound = errno.EPERM if cpus_here > 1 else 0
    fits = (nobody, bound, full, short, fork) == (errno.EPERM, wanted_bound, errno.EBUSY, errno.EINVAL, errno.EAGAIN)
    return holds(seen, Number.exact("reservations before EBUSY", count), when=fits)


_KNOB = "[knobs.render] class = deadline with runtime_us (lab/knobs/reservation.py); the kernel's refusals are explained in "
_KNOB += "plain words (lab/knobs/refusals.py)."

PROBES = (
    Probe(
        name="sched-deadline",
        section=2,
        statement="SCHED_DEADLINE: kernel guarantees 5ms of CPU every 16.67ms",
        method=f"{WORK_NS / MS:g} ms of CPU time are used at the begin of every period of 16.67 ms, with {BUSY} busy programs "
        "on each CPU. Holds: every period's work is done before the next begins; the same as SCHED_OTHER beside it. What the "
        "kernel charged for the work says whether a late thread was throttled.",
        used_by=_KNOB,
        requires=(may_deadline,),
        measure=measure_guarantee,
    ),
    Probe(
        name="sched-deadline-bounded",
        section=2,
        statement="Use SCHED_DEADLINE (kernel 3.14+) for bounded execution",
        method="A deadline thread that never sleeps: its CPU time against the clock. Holds: no more than the reservation (and a "
        "tenth of it).",
        used_by=_KNOB,
        requires=(may_deadline,),
        measure=measure_bounded,
    ),
    Probe(
        name="sched-deadline-refusals",
        section=2,
        statement="syscall(SYS_sched_setattr, 0, &attr, 0): what the kernel refuses",
        method="Asked for without privileges (EPERM), by a thread bound to one CPU (EPERM), beyond the bandwidth that may be "
        "reserved (EBUSY), with a runtime below 1024 ns (EINVAL), and a fork without reset-on-fork (EAGAIN).",
        used_by=_KNOB,
        requires=(root, cpus(2), may_deadline),
        measure=measure_refusals,
    ),
)
