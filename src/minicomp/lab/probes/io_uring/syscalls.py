"""System calls per operation: read(2), io_uring one by one, in batches, and with SQPOLL."""

from __future__ import annotations

from functools import partial

from minicomp.lab.probes.calls import check, counted
from minicomp.lab.probes.io_uring.ring import allowed
from minicomp.lab.probes.probe import Budget, Number, Probe, Result, holds
from minicomp.native.probes import ffi, lib

BATCH = 64
WAYS = {
    "read(2)": (lib.MC_PROBE_READ, 1),
    "io_uring, one by one": (lib.MC_PROBE_URING, 1),
    f"io_uring, {BATCH} at a time": (lib.MC_PROBE_URING, BATCH),
    f"SQPOLL, {BATCH} at a time": (lib.MC_PROBE_URING_SQPOLL, BATCH),
}


def per_operation(way: str, budget: Budget) -> Number:
    """System calls that a read took, waiting included."""
    reader, batch = WAYS[way]
    operations = BATCH * budget.pick(10, 100)
    counts = counted(way, partial(lib.mc_probe_read_syscalls, reader, operations, batch))
    return Number.exact(f"system calls a read, {way}", sum(counts.values()) / operations)


def measure_counts(budget: Budget) -> Result:
    numbers = [per_operation(way, budget) for way in WAYS]
    plain, single, batched, sqpoll = (number.value for number in numbers)
    seen = (
        f"a read costs {plain:g} by read(2), {single:g} by io_uring one by one, {batched:.3g} in batches of {BATCH}, "
    )
    seen += f"{sqpoll:.3g} with SQPOLL"
    return holds(seen, *numbers, when=single <= 1 and batched < 0.1 and sqpoll < batched)


def measure_fast_path(budget: Budget) -> Result:
    number = per_operation("io_uring, one by one", budget)
    sqpoll = per_operation(f"SQPOLL, {BATCH} at a time", budget)
    return holds(
        f"{number.value:g} system call an operation without SQPOLL (io_uring_enter submits and waits), "
        f"{sqpoll.value:.3g} with it",
        number,
        sqpoll,
        when=number.value < 0.1,
    )


def measure_sqpoll(budget: Budget) -> Result:
    number = per_operation(f"SQPOLL, {BATCH} at a time", budget)
    return holds(
        f"{number.value:.3g} system calls an operation while the kernel's thread is awake",
        number,
        when=number.value < 0.01,
    )


def measure_completion(budget: Budget) -> Result:
    operations = BATCH * 10
    times = ffi.new("uint64_t[]", 10)
    done = lib.mc_probe_read_times(lib.MC_PROBE_URING, operations, BATCH, 10**9, times)
    check("io_uring", done)
    return holds(
        f"{done * BATCH} reads were asked for, and each completion came with its 64 bytes read and counted: no second call",
        Number.exact("reads completed", done * BATCH),
    )


def measure_idle(budget: Budget) -> Result:
    result = lib.mc_probe_sqpoll_after_idle(20)
    said = {0: "is gone", 1: "sleeps, and the next submission must wake it by a system call", 2: "is still awake"}
    if result not in said:
        check("SQPOLL", result)
    return holds(f"after sq_thread_idle = 20 ms without work the kernel's thread {said[result]}", when=result == 0)


_USE = "loop.wait = io-uring waits by poll requests; libwayland reads and writes its sockets itself, so the reads and "
_USE += "writes of a frame stay system calls."
_METHOD = (
    "Reads of 64 bytes of /dev/zero in a process traced by ptrace; every system call between two marks is counted."
)

PROBES = (
    Probe(
        name="io-uring-syscalls",
        section=6,
        statement="Syscalls per I/O: epoll 1 (epoll_wait) + 1 (read/write); io_uring 0-1 (batched submit)",
        method=_METHOD,
        used_by=_USE,
        requires=(allowed,),
        measure=measure_counts,
    ),
    Probe(
        name="io-uring-fast-path",
        section=6,
        statement="io_uring provides true asynchronous I/O via shared-memory ring buffers between userspace and kernel. "
        "No syscalls on the fast path.",
        method=_METHOD + " Holds: without SQPOLL, too.",
        used_by=_USE,
        requires=(allowed,),
        measure=measure_fast_path,
    ),
    Probe(
        name="io-uring-completion",
        section=6,
        statement="Model: epoll: readiness notification; io_uring: completion notification",
        method="Reads of 64 bytes of /dev/zero; every completion's result is checked to be the bytes read.",
        used_by="loop.wait = io-uring asks for readiness all the same (poll requests): libwayland does the reading.",
        requires=(allowed,),
        measure=measure_completion,
    ),
    Probe(
        name="io-uring-sqpoll",
        section=6,
        statement="SQPOLL: the kernel thread polls the submission queue, so io_uring_submit() does not need a syscall.",
        method=_METHOD + " Completions are taken by looking at the ring.",
        used_by="loop.wait = io-uring-sqpoll, an experiment: a sleep is a system call anyway.",
        requires=(allowed,),
        measure=measure_sqpoll,
    ),
    Probe(
        name="io-uring-sqpoll-idle",
        section=6,
        statement=".sq_thread_idle = 2000: kill SQ thread after 2s idle",
        method="A ring with sq_thread_idle = 20 ms is left alone until IORING_SQ_NEED_WAKEUP is set; then the thread is "
        "looked for in /proc/self/task.",
        used_by="loop.sqpoll_idle_ms",
        requires=(allowed,),
        measure=measure_idle,
    ),
)
