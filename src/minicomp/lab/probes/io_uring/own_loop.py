"""minicomp's own loop on epoll and on io_uring: what a frame asks of the kernel."""

from __future__ import annotations

from minicomp.lab.probes.frame.counted import count, has_client
from minicomp.lab.probes.io_uring.ring import allowed
from minicomp.lab.probes.probe import Budget, Number, Probe, Result, holds, near

WAITS = {True: ("epoll", "io-uring"), False: ("epoll", "epoll-edge", "io-uring", "io-uring-sqpoll")}
"""`loop.wait`, quick or not."""
MARGINAL = 0.25


def measure(budget: Budget) -> Result:
    counted = {wait: count(budget.pick(500, 3000), [f"loop.wait={wait}"], ["headless"]) for wait in WAITS[budget.quick]}
    saved = 1 - min(one.total for wait, one in counted.items() if wait.startswith("io")) / counted["epoll"].total
    waiting = {
        wait: sum(n for name, n in one.calls.items() if name.startswith(("epoll_", "io_uring_")))
        for wait, one in counted.items()
    }
    words = ", ".join(f"{wait} {one.total:.1f} (to wait {waiting[wait]:.1f})" for wait, one in counted.items())
    return holds(
        f"system calls a frame of minicomp's own, by loop.wait: {words}",
        *(Number.exact(f"system calls a frame, {wait}", one.total) for wait, one in counted.items()),
        when=saved < MARGINAL,
        doubt=near("what is saved", saved, MARGINAL),
    )


PROBES = (
    Probe(
        name="io-uring-own-loop",
        section=6,
        statement="io_uring could replace epoll for compositors, but the benefit is marginal",
        method="System calls of a headless minicomp with a client that commits each frame, counted by ptrace, with loop.wait = "
        f"each kind (epoll and io-uring only with --quick). Holds: io_uring saves less than {MARGINAL:.0%} of them. Times: "
        "minicomp lab run configs/experiments/epoll-vs-io_uring.toml",
        used_by="loop.wait (native/pure/wait.h)",
        requires=(allowed, has_client),
        measure=measure,
    ),
)
