"""How many threads one event wakes."""

from __future__ import annotations

from minicomp.lab.probes.calls import check
from minicomp.lab.probes.probe import Budget, Number, Probe, Result, holds
from minicomp.lab.probes.requirements import linux
from minicomp.native.probes import ffi, lib

THREADS = 16


def herd(kind: int, budget: Budget) -> tuple[Number, Number]:
    """Of THREADS, how many the kernel woke for one event, and to how many epoll_wait returned."""
    rounds = budget.pick(60, 500)
    woken, returned = ffi.new("uint32_t[]", rounds), ffi.new("uint32_t[]", rounds)
    check("a herd", lib.mc_probe_herd(kind, THREADS, rounds, woken, returned))
    return (
        Number.of(f"of {THREADS} threads, woken by the kernel", "", woken),
        Number.of(f"of {THREADS} threads, returned from epoll_wait", "", returned),
    )


def _seen(numbers: tuple[Number, Number], where: str) -> str:
    woken, returned = numbers
    return f"one event wakes {woken.value:g} of {THREADS} threads {where} and returns to {returned.value:g}"


def measure_shared(budget: Budget) -> Result:
    numbers = herd(lib.MC_PROBE_HERD_SHARED, budget)
    seen = _seen(numbers, "that wait in the same epoll instance")
    if numbers[0].value < THREADS / 2:
        seen += (
            ": waiters of one instance are queued exclusively (a level still set wakes the next one); the herd is over "
        )
        seen += "several instances (epoll-herd)"
    return holds(seen, *numbers, when=numbers[0].value == THREADS)


def measure_separate(budget: Budget) -> Result:
    numbers = herd(lib.MC_PROBE_HERD_OWN, budget)
    seen = _seen(numbers, "that watch the fd from an epoll instance of their own")
    return holds(seen, *numbers, when=numbers[0].value > THREADS / 2)


def measure_exclusive(budget: Budget) -> Result:
    numbers = herd(lib.MC_PROBE_HERD_EXCLUSIVE, budget)
    return holds(_seen(numbers, "with EPOLLEXCLUSIVE"), *numbers, when=numbers[0].value == 1)


_METHOD = (
    f"{THREADS} threads sleep in epoll_wait on one eventfd; it is written once and read by whoever is first. Counted, "
    "event by event: how often they went to sleep again (/proc/self/task/*/status), and how many got out of "
    "epoll_wait; who is woken after the event was taken sleeps again inside it."
)
_UNUSED = "Not needed: one thread waits for each fd (loop, render, trace and policy thread have their own)."

PROBES = (
    Probe(
        name="epoll-herd-shared",
        section=5,
        statement="When multiple threads call epoll_wait() on the same epoll instance, a single event wakes all of "
        "them.",
        method=_METHOD,
        used_by=_UNUSED,
        measure=measure_shared,
    ),
    Probe(
        name="epoll-herd",
        section=5,
        statement="Thundering herd: only one can handle the event; the rest immediately sleep again. This wastes CPU.",
        method=_METHOD + " Here each thread has an epoll instance of its own over the same fd.",
        used_by=_UNUSED,
        measure=measure_separate,
    ),
    Probe(
        name="epoll-exclusive",
        section=5,
        statement="EPOLLEXCLUSIVE: now only ONE waiter is woken per event",
        method=_METHOD + " Each thread has an epoll instance of its own, with EPOLLEXCLUSIVE.",
        used_by=_UNUSED,
        requires=(linux(4, 5, "EPOLLEXCLUSIVE"),),
        measure=measure_exclusive,
    ),
)
