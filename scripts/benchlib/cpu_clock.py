"""CPU time of other processes in nanoseconds, and what else kept the machine busy meanwhile.

A process' CPU clock (clock_getcpuclockid(3)) counts user and system time of all its threads, those that have ended
included, in ns; /proc/PID/stat would count ticks of 10 ms.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

CPUCLOCK_SCHED = 2  # include/linux/posix-timers.h: clock id = ~pid << 3 | kind
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def process_cpu_ns(pid: int) -> int:
    """Raises ProcessLookupError when there is no such process."""
    try:
        return time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED)
    except OSError:
        raise ProcessLookupError(pid) from None


def descendants(pid: int) -> list[int]:
    """All children, children's children, ... of a process: a compositor may not hide its cost in them."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            own = [int(word) for word in children.read_text().split()]
        except OSError:  # a thread that has just ended
            continue
        for child in own:
            found += [child, *descendants(child)]
    return found


def tree_cpu_ns(pid: int) -> int:
    total = process_cpu_ns(pid)
    for child in descendants(pid):
        try:
            total += process_cpu_ns(child)
        except ProcessLookupError:
            continue
    return total


def thread_cpu_ns(pid: int) -> dict[str, int]:
    """CPU time by thread name; threads of one name are added up."""
    result: dict[str, int] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            spent_ns = int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue
        result[name] = result.get(name, 0) + spent_ns
    return result


def wakeups(pid: int) -> int:
    """How often the process' living threads have given up their CPU to wait, and so were woken again."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        total += int(text.split("\nvoluntary_ctxt_switches:", 1)[1].split(None, 1)[0])
    return total


@dataclass(frozen=True)
class MachineClock:
    """What all CPUs have done until now."""

    t_ns: int
    busy_ns: int
    steal_ns: int
    cpu_pressure_ns: int  # time in which some task waited for a CPU (PSI)

    @classmethod
    def now(cls) -> MachineClock:
        fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
        return cls(
            t_ns=time.monotonic_ns(),
            busy_ns=(user + nice + system + irq + softirq) * TICK_NS,
            steal_ns=steal * TICK_NS,
            cpu_pressure_ns=_pressure_ns(),
        )


@dataclass(frozen=True)
class Disturbance:
    """Shares of one CPU, over one measured window."""

    others: float  # busy with what is neither the compositor nor a client nor the bench
    steal: float  # taken by the hypervisor
    pressure: float  # of the time, some task waited for a CPU

    LIMIT_OTHERS = 0.10
    LIMIT_STEAL = 0.02

    @classmethod
    def between(cls, begin: MachineClock, end: MachineClock, own_ns: int) -> Disturbance:
        span_ns = end.t_ns - begin.t_ns
        return cls(
            others=max(0, end.busy_ns - begin.busy_ns - own_ns) / span_ns,
            steal=(end.steal_ns - begin.steal_ns) / span_ns,
            pressure=(end.cpu_pressure_ns - begin.cpu_pressure_ns) / span_ns,
        )

    @property
    def disturbed(self) -> bool:
        return self.others > self.LIMIT_OTHERS or self.steal > self.LIMIT_STEAL


def _pressure_ns() -> int:
    try:
        some = Path("/proc/pressure/cpu").read_text().split("\n", 1)[0]
    except OSError:  # a kernel without PSI
        return 0
    return int(some.rsplit("total=", 1)[1]) * 1000
