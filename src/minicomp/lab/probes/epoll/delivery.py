"""What finding the one ready fd costs, against how many are watched."""

from __future__ import annotations

import resource

from minicomp.lab.probes.calls import check
from minicomp.lab.probes.probe import Basis, Budget, Curve, Number, Probe, Result, holds, near
from minicomp.lab.probes.text import quantity
from minicomp.native.probes import ffi, lib

WAITERS = {"select": lib.MC_PROBE_SELECT, "poll": lib.MC_PROBE_POLL, "epoll": lib.MC_PROBE_EPOLL}
WATCHED = (10, 30, 100, 300, 1000, 3000, 10_000)
OTHER_FDS = 100
"""What the process may have open besides."""


def measure(budget: Budget) -> Result:
    watched = _within_the_limit()
    rounds = budget.pick(60, 1000)
    numbers: dict[str, list[Number]] = {name: [] for name in WAITERS}
    for name, waiter in WAITERS.items():
        for count in watched:
            samples = ffi.new("uint64_t[]", rounds)
            check(f"{name} over {count} fds", lib.mc_probe_delivery(waiter, count, rounds, samples))
            numbers[name].append(Number.of(f"{name}, {count} fds", "us", [ns / 1000 for ns in samples]))
    growth = {name: row[-1].value / row[0].value for name, row in numbers.items()}
    times = watched[-1] // watched[0]
    # Constant or linear: a factor of 1000 apart, so a factor of 5 (caches) against one of 20 leaves no doubt.
    constant = growth["epoll"] < 5 and growth["poll"] > 20 and growth["select"] > 20
    last = ", ".join(f"{name} {quantity(row[-1].value)} us" for name, row in numbers.items())
    seen = f"for {times} times as many fds: " + ", ".join(f"{name} x{factor:.1f}" for name, factor in growth.items())
    curve = Curve(
        f"One ready fd among many (n = {rounds} a point)",
        "fds watched",
        "median of one wait (us)",
        {name: [(float(count), row[i].value) for i, count in enumerate(watched)] for name, row in numbers.items()},
        log_x=True,
        log_y=True,
    )
    every = [number for row in numbers.values() for number in row]
    return holds(f"{seen}; with {watched[-1]:,}: {last}", *every, curves=[curve], when=constant)


def measure_insertion(budget: Budget) -> Result:
    watched = _within_the_limit()
    rounds = budget.pick(300, 5000)
    numbers = []
    for count in watched:
        samples = ffi.new("uint64_t[]", rounds)
        check(f"one more beside {count} fds", lib.mc_probe_insertion(count, rounds, samples))
        numbers.append(Number.of(f"one more beside {count}", "ns", samples))
    growth = numbers[-1].value / numbers[0].value
    times = watched[-1] // watched[0]
    curve = Curve(
        f"EPOLL_CTL_ADD (n = {rounds} a point)",
        "fds watched",
        "median (ns)",
        {"epoll_ctl": [(float(count), number.value) for count, number in zip(watched, numbers, strict=True)]},
        log_x=True,
    )
    seen = f"with {times} times as many fds watched, adding one takes {growth:.2g} times as long"
    return holds(seen, *numbers, curves=[curve], when=growth < 5, doubt=near("the growth", growth, 5))


def _within_the_limit() -> list[int]:
    """How many fds to watch; the limit is raised as far as it goes (for this process only)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(WATCHED) + OTHER_FDS
    if soft != resource.RLIM_INFINITY and soft < most:
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return [count for count in WATCHED if count + OTHER_FDS <= soft or soft == resource.RLIM_INFINITY]


PROBES = (
    Probe(
        name="epoll-delivery",
        section=5,
        statement="Traditional poll() / select() scan the entire fd set every call: O(n) per call. epoll registers "
        "callbacks once (via epoll_ctl), and event delivery is O(1) per ready fd",
        method="Of n idle eventfds one is made readable; the call that finds it is timed, for select (its fd_set as "
        "large as needed), poll and epoll. Holds: from the smallest to the largest n, epoll's median grows less "
        "than 5 times, the others' more than 20 times.",
        used_by="libwayland's loop is epoll, so a thousand idle clients cost a frame nothing; the loop thread "
        "waits for three fds, where poll would do as well.",
        measure=measure,
        basis=Basis.COMPARED,
    ),
    Probe(
        name="epoll-insertion",
        section=5,
        statement="epoll_ctl(EPOLL_CTL_ADD, fd, event): inserts into the red-black tree (O(log n))",
        method="Beside n watched eventfds one more is added (timed) and taken out. Holds: from the smallest to the largest n "
        "the median grows less than 5 times; log2 grows by 4 over the same range.",
        used_by="libwayland adds a client's socket when it connects, once; nothing is added in a frame.",
        measure=measure_insertion,
        basis=Basis.COMPARED,
    ),
)
