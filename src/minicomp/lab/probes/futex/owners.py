"""Owners that are too low, and owners that die."""

from __future__ import annotations

import errno
import os

from minicomp.lab.probes.calls import check
from minicomp.lab.probes.probe import Basis, Budget, Missing, Number, Probe, Result, holds
from minicomp.native.probes import ffi, lib

LOW, HIGH = 1, 3  # FIFO priorities, as in native/probes/futex_owners.c
LOW_MS, MID_MS = 10, 40


def fifo() -> Missing | None:
    try:
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        os.sched_setscheduler(0, *before)
    except PermissionError:
        return Missing("SCHED_FIFO is refused", "CAP_SYS_NICE, or RLIMIT_RTPRIO of at least 10")
    return None


def inversion(inherit: bool, rounds: int) -> tuple[Number, int]:
    delays, priorities = [], []
    for _ in range(rounds):
        delay_ns, priority = ffi.new("uint64_t *"), ffi.new("int *")
        check("three FIFO threads", lib.mc_probe_inversion(inherit, delay_ns, priority))
        delays.append(delay_ns[0] / 1e6)
        priorities.append(priority[0])
    return Number.of(f"high waits, {'with' if inherit else 'without'} inheritance", "ms", delays), max(priorities)


def measure_inversion(budget: Budget) -> Result:
    plain, _ = inversion(False, budget.pick(3, 20))
    inherited, _ = inversion(True, budget.pick(3, 20))
    seen = f"low holds the lock for {LOW_MS} ms, mid works {MID_MS} ms: high waits {plain.value:.1f} ms, with inheritance {inherited.value:.1f} ms"
    return holds(seen, plain, inherited, when=plain.value > inherited.value + MID_MS / 2)


def measure_raised(budget: Budget) -> Result:
    _, plain = inversion(False, 2)
    _, inherited = inversion(True, 2)
    seen = f"low (priority {LOW}) runs at {inherited} while high (priority {HIGH}) waits; with a plain mutex at {plain}"
    return holds(seen, when=(plain, inherited) == (LOW, HIGH))


def owner_dies(robust: bool, process: bool) -> tuple[int, int]:
    lock, again = ffi.new("int *"), ffi.new("int *")
    check("an owner that dies", lib.mc_probe_owner_dies(robust, process, lock, again))
    return lock[0], again[0]


def measure_robust(budget: Budget) -> Result:
    thread, thread_again = owner_dies(True, False)
    process, process_again = owner_dies(True, True)
    stalled, _ = owner_dies(False, False)

    def name(error: int) -> str:
        return errno.errorcode.get(error, "locked")

    seen = f"after its thread ended: {name(thread)}, after its process was killed: {name(process)}, and usable again after "
    seen += f"pthread_mutex_consistent; a mutex that is not robust: {name(stalled)}"
    robust = (thread, thread_again, process, process_again) == (errno.EOWNERDEAD, 0, errno.EOWNERDEAD, 0)
    return holds(seen, when=robust and stalled == errno.ETIMEDOUT)


_LOCK = "The lock of the compositor's threads (native/pure/lock.c) inherits where the kernel and glibc can (tests/native/test_lock_inherit.c)."

PROBES = (
    Probe(
        name="futex-inversion",
        section=4,
        statement="a high-priority thread can be blocked by a low-priority thread holding a mutex, while a medium-priority thread runs "
        "instead. This is priority inversion",
        method=f"Three FIFO threads on one CPU: low holds the lock and works {LOW_MS} ms, high wants it, mid works {MID_MS} ms. How long high "
        "waits, with PTHREAD_PRIO_NONE and PTHREAD_PRIO_INHERIT. Holds: the difference is more than half of mid's work.",
        used_by=_LOCK,
        requires=(fifo,),
        measure=measure_inversion,
        basis=Basis.COMPARED,
    ),
    Probe(
        name="futex-inherit",
        section=4,
        statement="FUTEX_LOCK_PI: The lock holder's priority is temporarily raised to the highest priority among waiters",
        method="The same; the priority that the holder runs at is read from /proc/self/task/TID/stat meanwhile.",
        used_by=_LOCK,
        requires=(fifo,),
        measure=measure_raised,
    ),
    Probe(
        name="futex-robust",
        section=4,
        statement="(pthread_mutexattr_setrobust(3)) If the owner of a robust mutex dies, the next lock returns EOWNERDEAD; of another it blocks for ever",
        method="A thread, and then a killed process, ends as owner; a timed lock (50 ms) follows, pthread_mutex_consistent, unlock and lock.",
        used_by="Not used: a thread that dies takes the compositor with it, and no mutex is shared with clients.",
        measure=measure_robust,
    ),
)
