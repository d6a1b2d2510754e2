"""What the scheduler probes share: busy processes, and the calling thread's class.

A busy process ends by itself at its time, when its parent dies, and when the runner kills the probe's process group.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from minicomp.lab.knobs.syscalls import SCHED_DEADLINE, SCHED_FIFO, SCHED_OTHER, SchedAttr, prctl, sched_setattr
from minicomp.lab.probes.probe import Missing
from minicomp.native.probes import ffi, lib

PR_SET_PDEATHSIG, PR_SET_TIMERSLACK = 1, 29
MS, SECOND = 1_000_000, 1_000_000_000
STREAM_BYTES = 32 << 20
FIFO_PRIORITY = 50
FRAME_NS, BUDGET_NS = 16_666_666, 5_000_000
"""The document's reservation: 5 ms of CPU every 16.67 ms."""


@contextmanager
def busy(cpus: Sequence[int], limit_s: float, *, nice: int = 0, stream: bool = False) -> Iterator[list[int]]:
    """One busy process of the fair class for each entry of `cpus`, bound to it; `stream` reads memory besides."""
    parent, children = os.getpid(), []
    until = time.monotonic_ns() + int(limit_s * SECOND)
    try:
        for cpu in cpus:
            pid = os.fork()
            if pid == 0:
                _be_busy(parent, cpu, until, nice, stream)
            children.append(pid)
        time.sleep(0.02)  # until they run
        yield children
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)


def _be_busy(parent: int, cpu: int, until: int, nice: int, stream: bool) -> None:
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        set_class("other", nice=nice)
        os.sched_setaffinity(0, {cpu})
        if stream:
            lib.mc_probe_thrash(STREAM_BYTES, until)
        else:
            lib.mc_probe_spin(until)
    finally:
        os._exit(0)


def set_class(name: str, *, nice: int = 0, slice_ns: int = 0) -> None:
    """Of the calling thread: other (with a nice value or a slice), fifo, or deadline (5 ms in 16.67 ms)."""
    if name == "fifo":
        sched_setattr(0, SchedAttr(policy=SCHED_FIFO, priority=FIFO_PRIORITY))
    elif name == "deadline":
        sched_setattr(0, deadline(BUDGET_NS))
    else:
        sched_setattr(0, SchedAttr(policy=SCHED_OTHER, nice=nice, runtime_ns=slice_ns))


def deadline(runtime_ns: int) -> SchedAttr:
    return SchedAttr(policy=SCHED_DEADLINE, runtime_ns=runtime_ns, deadline_ns=FRAME_NS, period_ns=FRAME_NS)


def allowed(name: str) -> Missing | None:
    """Whether this process may take the class. It is given back."""
    try:
        set_class(name)
    except OSError as error:
        return Missing(
            f"SCHED_{name.upper()} is refused: {error.strerror}",
            "root (CAP_SYS_NICE), and under CONFIG_RT_GROUP_SCHED a cpu cgroup with rt_runtime_us",
        )
    set_class("other")
    return None


def may_fifo() -> Missing | None:
    return allowed("fifo")


def may_deadline() -> Missing | None:
    return allowed("deadline")


def wakeups(count: int, interval_ns: int) -> list[float]:
    """How late the calling thread wakes, in us; of every wanted moment, also of those that were missed.

    Without the timer slack of 50 us that threads of the fair class have: it is no latency of the scheduler.
    """
    prctl(PR_SET_TIMERSLACK, 1)
    late = ffi.new("uint64_t[]", count)
    lib.mc_probe_wakeups(interval_ns, count, late)
    return [ns / 1000 for ns in late]


def cpu_time_ns(pid: int) -> int:
    """A process's CPU time (its first thread's)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def one_cpu() -> int:
    """The last CPU we may use: the first has most of the interrupts."""
    return max(os.sched_getaffinity(0))
