"""Who is woken, and that nobody is forgotten."""

from __future__ import annotations

import errno

from minicomp.lab.probes.calls import check
from minicomp.lab.probes.probe import Budget, Number, Probe, Result, holds
from minicomp.native.probes import ffi, lib

WAITERS = 8


def measure_wake_one(budget: Budget) -> Result:
    said, woke, mismatch = ffi.new("int *"), ffi.new("int *"), ffi.new("int *")
    check("waking one", lib.mc_probe_wake_one(WAITERS, said, woke, mismatch))
    seen = f"of {WAITERS} threads asleep FUTEX_WAKE says it woke {said[0]}, and {woke[0]} woke; FUTEX_WAIT for a value that has changed "
    seen += f"does not sleep: {errno.errorcode.get(mismatch[0], mismatch[0])}"
    return holds(seen, when=(said[0], woke[0], mismatch[0]) == (1, 1, errno.EAGAIN))


def contest(tells: bool, limit_ms: int) -> tuple[int, int, int]:
    """Locks taken, sleeps that ended, wake-ups lost."""
    locks, sleeps, lost = (ffi.new("uint64_t *") for _ in range(3))
    check("a contest for a lock", lib.mc_probe_lost(tells, limit_ms, locks, sleeps, lost))
    return locks[0], sleeps[0], lost[0]


def measure_lost(budget: Budget) -> Result:
    limit_ms = budget.pick(250, 3000)
    locks, sleeps, lost = contest(True, limit_ms)
    _, silent_sleeps, silent_lost = contest(False, limit_ms)
    wanted, done = budget.pick(3000, 50_000), ffi.new("int *")
    check("a token", lib.mc_probe_token(WAITERS, wanted, done))
    seen = f"{locks:,} locks by four threads, {sleeps:,} sleeps, {lost} wake-ups lost; by waiters that do not mark the lock {silent_lost} of "
    seen += f"{silent_sleeps} were; glibc's condition variable handed {done[0]:,} of {wanted:,} tokens on"
    return holds(
        seen,
        Number.exact("sleeps with marks", sleeps),
        Number.exact("lost with marks", lost),
        Number.exact("lost without", silent_lost),
        when=lost == 0 and silent_lost > 0 and done[0] == wanted,
    )


PROBES = (
    Probe(
        name="futex-wake-one",
        section=4,
        statement="Kernel adds this thread to a wait queue keyed by &mutex->state. Thread sleeps until another thread calls FUTEX_WAKE: "
        "kernel wakes one waiter",
        method=f"{WAITERS} threads sleep in FUTEX_WAIT; FUTEX_WAKE for one; who woke is counted 20 ms later.",
        used_by="By glibc's mutexes and semaphores; minicomp calls futex nowhere itself.",
        measure=measure_wake_one,
    ),
    Probe(
        name="futex-lost",
        section=4,
        statement="The transition to state 2 ensures that pthread_mutex_unlock always calls FUTEX_WAKE when there are waiters, preventing "
        "missed wakeups.",
        method="Four threads want a lock made of a futex, as the document writes it. Lost is a sleep that ends by its timeout (2 s) though "
        "the lock was given back. As a control the same without state 2 (timeout 10 ms), which must lose some. Then a token goes round "
        f"{WAITERS} threads by a glibc mutex and condition variable.",
        used_by="glibc's mutex, and the queue before it (native/pure/lock.c), which lets the render thread go first; tests/native/test_lock_queue.c.",
        measure=measure_lost,
    ),
)
