"""A FIFO thread that never sleeps: what the kernel leaves to the others.

Safe: the loop looks at the clock and ends by itself, a second thread of higher priority ends the process if it does
not, and RLIMIT_RTTIME is behind both.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
import time

from minicomp.lab.knobs.syscalls import SCHED_FIFO, SchedAttr, sched_setattr
from minicomp.lab.probes.probe import Basis, Budget, Number, Probe, Result, holds, near
from minicomp.lab.probes.requirements import cpus
from minicomp.lab.probes.scheduler.load import MS, SECOND, busy, cpu_time_ns, may_fifo, one_cpu, set_class
from minicomp.native.probes import ffi, lib

LOOP_PRIORITY, WATCHDOG_PRIORITY = 1, 2
SPAN_S = {True: 1.15, False: 2.5}
"""The kernel acts after 0.95 s of each second."""
RTTIME_SPARE_US = 500_000
MOST = 1000


def watchdog(done: threading.Event, limit_s: float) -> None:
    sched_setattr(0, SchedAttr(policy=SCHED_FIFO, priority=WATCHDOG_PRIORITY))
    if not done.wait(limit_s):
        os.kill(os.getpid(), signal.SIGKILL)


def measure_loop(budget: Budget) -> Result:
    span_s, cpu = SPAN_S[budget.quick], one_cpu()
    os.sched_setaffinity(0, {cpu})
    limit_us = int(span_s * 1e6) + RTTIME_SPARE_US
    resource.setrlimit(resource.RLIMIT_RTTIME, (limit_us, limit_us))
    begins, ends = ffi.new("uint64_t[]", MOST), ffi.new("uint64_t[]", MOST)
    with busy([cpu], span_s + 2) as (other,):
        done = threading.Event()
        guard = threading.Thread(target=watchdog, args=(done, span_s + 0.3))
        guard.start()
        time.sleep(0.01)
        sched_setattr(0, SchedAttr(policy=SCHED_FIFO, priority=LOOP_PRIORITY))
        began, before = time.monotonic_ns(), cpu_time_ns(other)
        found = lib.mc_probe_gaps(began + int(span_s * SECOND), MS, MOST, begins, ends)
        given_ms = (cpu_time_ns(other) - before) / MS
        set_class("other")
        done.set()
        guard.join()
    lost_ms = sum(ends[i] - begins[i] for i in range(found)) / MS
    share = given_ms / (span_s * 1000)
    seen = f"in {span_s:g} s of a FIFO loop the CPU was taken from it {found or 'no'} time{'s' * (found != 1)}, {lost_ms:.0f} ms in all"
    seen += f" (first after {(begins[0] - began) / MS:.0f} ms)" if found else ""
    seen += f"; a busy program on it got {given_ms:.0f} ms ({share:.1%}): "
    seen += "locked up but for the kernel's reserve" if found else "locked up"
    numbers = (
        Number.exact("taken from the loop", lost_ms, "ms"),
        Number.exact("the other program's share", share * 100, "%"),
    )
    return holds(seen, *numbers, when=share < 0.1, doubt=near("the share", share, 0.1))


def measure_priorities(budget: Budget) -> Result:
    """A thread of higher priority gets its turn while one loops, one of lower priority does not."""
    cpu, span_ns = one_cpu(), 60 * MS
    os.sched_setaffinity(0, {cpu})
    woke_ms: dict[int, float] = {}
    began = time.monotonic_ns()

    def wake(priority: int) -> None:
        sched_setattr(0, SchedAttr(policy=SCHED_FIFO, priority=priority))
        late = ffi.new("uint64_t[]", 1)
        lib.mc_probe_wakeups(20 * MS, 1, late)
        woke_ms[priority] = late[0] / MS

    threads = [threading.Thread(target=wake, args=(priority,)) for priority in (5, 15)]
    sched_setattr(0, SchedAttr(policy=SCHED_FIFO, priority=20))
    for thread in threads:
        thread.start()
    time.sleep(0.005)  # both sleep now
    sched_setattr(0, SchedAttr(policy=SCHED_FIFO, priority=10))
    lib.mc_probe_spin(began + span_ns)
    set_class("other")
    for thread in threads:
        thread.join()
    seen = f"beside a loop of priority 10, a thread of priority 15 woke {woke_ms[15]:.2f} ms late, one of priority 5 "
    seen += f"{woke_ms[5]:.1f} ms late, when the loop had ended"
    return holds(seen, when=woke_ms[15] < 5 < woke_ms[5])


_KNOB = "[knobs.render] class = fifo is watched: a thread that overruns its budget is put back to the fair class "
_KNOB += "(native/pure/overrun.c, docs/knobs.md)."

PROBES = (
    Probe(
        name="sched-fifo-loop",
        section=2,
        statement="Warning: a SCHED_FIFO thread that loops indefinitely will lock up the CPU.",
        method="A FIFO loop of priority 1 on one CPU for little more than a second, watched by a thread of priority 2 and "
        "RLIMIT_RTTIME, with a busy program of the fair class beside it: its CPU time, and when the loop did not run. Holds: "
        "it gets less than a tenth. What it gets is RT throttling (sched_rt_runtime_us) or the fair server (Linux 6.12).",
        used_by=_KNOB,
        requires=(cpus(2), may_fifo),
        measure=measure_loop,
        basis=Basis.COMPARED,
    ),
    Probe(
        name="sched-fifo-priorities",
        section=2,
        statement="Only higher-priority SCHED_FIFO threads can preempt it",
        method="A FIFO loop of priority 10 for 60 ms on one CPU; threads of priority 15 and 5 want to wake within it.",
        used_by=_KNOB,
        requires=(may_fifo,),
        measure=measure_priorities,
        basis=Basis.COMPARED,
    ),
)
