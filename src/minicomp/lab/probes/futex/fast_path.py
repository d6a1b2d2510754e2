"""Locks nobody waits for, and what waiting for one costs."""

from __future__ import annotations

from functools import partial

from minicomp.lab.probes.calls import check, counted
from minicomp.lab.probes.probe import Basis, Budget, Number, Probe, Result, holds, near
from minicomp.native.probes import ffi, lib

KINDS = {
    "pthread_mutex": lib.MC_PROBE_MUTEX,
    "semaphore": lib.MC_PROBE_SEMAPHORE,
    "condition variable": lib.MC_PROBE_CONDITION,
}


def system_calls(kind: int, blocked: bool, rounds: int) -> dict[int, int]:
    return counted("counting system calls", partial(lib.mc_probe_sync_syscalls, kind, blocked, rounds))


def measure_built_on(budget: Budget) -> Result:
    rounds = 10
    numbers, calls = [], []
    for name, kind in KINDS.items():
        counts = system_calls(kind, True, rounds)
        calls.append(set(counts))
        numbers.append(Number.exact(f"system calls a wait, {name}", sum(counts.values()) / rounds))
    only = all(found == {lib.mc_probe_futex_number()} for found in calls)
    seen = f"waiting, each makes {', '.join(f'{number.value:g}' for number in numbers)} system calls, "
    return holds(seen + ("all of them futex" if only else f"by number: {calls}"), *numbers, when=only)


def measure_uncontended(budget: Budget) -> Result:
    rounds, batch = budget.pick(200, 2000), 1000
    made = {name: sum(system_calls(kind, False, 1000).values()) for name, kind in KINDS.items()}
    times = ffi.new("uint64_t[]", rounds)
    check("locking", lib.mc_probe_uncontended(batch, rounds, times))
    time = Number.of("lock and unlock", "ns", [ns / batch for ns in times])
    numbers = [Number.exact(f"system calls of 1000, {name}", count) for name, count in made.items()]
    seen = f"1000 times lock and unlock, post and wait, signal: {', '.join(map(str, made.values()))} system calls; "
    return holds(seen + f"lock and unlock take {time.value:.1f} ns", time, *numbers, when=not any(made.values()))


def measure_states(budget: Budget) -> Result:
    states = ffi.new("int[4]")
    check("a mutex with a waiter", lib.mc_probe_mutex_states(states))
    free, held, waited_for, after = states
    return holds(
        f"free {free}, held {held}, held and waited for {waited_for}, free again {after}",
        when=list(states) == [0, 1, 2, 0],
    )


def hand_over(adaptive: bool, budget: Budget) -> tuple[Number, int]:
    rounds = budget.pick(300, 5000)
    times, spins = ffi.new("uint64_t[]", rounds), ffi.new("int *")
    check("handing over", lib.mc_probe_hand_over(adaptive, rounds, times, spins))
    return Number.of("hand-over to a sleeper", "us", [ns / 1000 for ns in times]), spins[0]


def measure_spin(budget: Budget) -> Result:
    _, default = hand_over(False, budget)
    _, adaptive = hand_over(True, budget)
    seen = f"glibc's count of spins after {budget.pick(300, 5000)} waits: {default} for a default mutex, {adaptive} for PTHREAD_MUTEX_ADAPTIVE_NP"
    return holds(
        seen, Number.exact("spins, default", default), Number.exact("spins, adaptive", adaptive), when=default > 0
    )


def measure_hand_over(budget: Budget) -> Result:
    time, _ = hand_over(False, budget)
    times = ffi.new("uint64_t[]", 200)
    check("locking", lib.mc_probe_uncontended(1000, 200, times))
    free = Number.of("lock and unlock, free", "ns", [ns / 1000 for ns in times])
    factor = time.value * 1000 / free.value
    return holds(
        f"from the unlock until a sleeper has it {time.value:.1f} us, {factor:,.0f} times a lock that is free ({free.value:.1f} ns)",
        time,
        free,
        when=factor > 10,
        doubt=near("the ratio", factor, 10),
    )


_LOCK = "The lock that the loop, render and policy threads share (native/pure/lock.c) is a pthread mutex"

PROBES = (
    Probe(
        name="futex-built-on",
        section=4,
        statement="Every pthread_mutex_lock(), pthread_cond_wait(), and sem_wait() in glibc is built on top of futexes",
        method="Timed waits of 1 ms that must give up, in a process traced by ptrace; the system calls between two marks are counted.",
        used_by=_LOCK + ".",
        measure=measure_built_on,
    ),
    Probe(
        name="futex-uncontended",
        section=4,
        statement="the common case (no contention) is a single atomic instruction in userspace -- no syscall at all",
        method="Lock and unlock, post and wait, and a signal nobody waits for, 1000 times each, in a process traced by ptrace. The time is "
        "of a thousand pairs, untraced.",
        used_by=_LOCK + "; minicomp pipeline and minicomp top show how long it was waited for.",
        measure=measure_uncontended,
    ),
    Probe(
        name="futex-states",
        section=4,
        statement="glibc uses a three-state mutex: 0 unlocked; 1 locked, no waiters; 2 locked, has waiters",
        method="The mutex' own word, read when it is free, held, held with a thread asleep for it, and free again.",
        used_by=_LOCK + " (one that inherits priorities holds the owner's thread id, and a bit for waiters).",
        measure=measure_states,
    ),
    Probe(
        name="futex-spin",
        section=4,
        statement="Slow path: spin briefly, then sleep",
        method="A thread waits for a held mutex again and again; glibc keeps a running count of spins in the mutex (__spins), which is read for "
        "a default and for an adaptive one.",
        used_by=_LOCK + ", not an adaptive one: on one CPU spinning keeps the owner from letting go.",
        measure=measure_spin,
    ),
    Probe(
        name="futex-hand-over",
        section=4,
        statement="Only when there is contention does the thread enter the kernel to sleep.",
        method="One thread holds a mutex until another one sleeps for it (/proc); timed from the unlock until the sleeper has it. "
        "Holds: more than 10 times a free lock's time.",
        used_by=_LOCK + "; a hand-over in a frame is what minicomp pipeline calls lock wait.",
        measure=measure_hand_over,
        basis=Basis.COMPARED,
    ),
)
