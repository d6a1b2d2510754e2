"""What a probe is: one statement about the kernel, and a way to see whether it holds on this machine.

A probe's module sits in its section's folder and ends with `PROBES = (Probe(...), ...)`; nothing else has to know of
it. `measure(budget)` runs in a process of its own, so it may change what dies with a process (limits, affinity,
scheduling class, namespaces, its own cgroup membership) without restoring it; what outlives the process it must
restore itself. With `budget.quick` it should take about a second and never more than two; it uses at most 256 MiB, and
one CPU unless the statement is about several. The time-critical part is C: `native/probes/`.

A measured number never fails a test; a verdict about semantics (what is always so) may. A verdict that hangs on times
says when it is in doubt: near its limit, or other programs had the CPUs (`Probe.basis`, `near`, runner.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from time import monotonic
from typing import TypeVar

from minicomp.lab.probes.processes import is_emulated

_T = TypeVar("_T")

SECTIONS: dict[int, tuple[str, str]] = {
    1: ("memory", "Virtual memory"),
    2: ("scheduler", "The CPU scheduler"),
    3: ("files", "File descriptors"),
    4: ("futex", "Futexes"),
    5: ("epoll", "epoll"),
    6: ("io_uring", "io_uring"),
    7: ("namespaces", "Namespaces"),
    8: ("bpf", "eBPF"),
    9: ("frame", "One frame, and what is new"),
}
"""Number: (folder and name on the command line, title)."""


class Verdict(StrEnum):
    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold here"
    CANNOT_TEST = "cannot be tested here"


class Basis(StrEnum):
    """What a verdict rests on, and so what can make it wrong."""

    FACT = "fact"  # what happens, or is counted: others' load and emulation change nothing
    COMPARED = "compared"  # times against each other: others' load may tip them
    TIMES = "times"  # times against stated ones: besides, they say nothing where code is emulated


NEAR = 0.1
"""This near to its limit, as a share of it, a measured value may be on the other side in the next run."""


EMULATED = "the CPUs are emulated, and run when the host has time for them"


@dataclass(frozen=True)
class Budget:
    """How much a probe may take. `pick` chooses between a quick and a full amount; `spent` is for loops."""

    quick: bool
    seconds: float = 1.0
    began: float = 0.0

    @classmethod
    def start(cls, quick: bool) -> Budget:
        return cls(quick, 1.0 if quick else 8.0, monotonic())

    def pick(self, quick: _T, full: _T) -> _T:
        return quick if self.quick else full

    @property
    def spent(self) -> bool:
        return monotonic() - self.began > self.seconds


@dataclass(frozen=True)
class Number:
    """One measured quantity: the median of `n` samples, between their 5th and 95th percentile."""

    name: str
    unit: str  # "ns", "us", "MB/s", "" for a count
    value: float
    low: float
    high: float
    n: int = 1

    @classmethod
    def exact(cls, name: str, value: float, unit: str = "") -> Number:
        """A count, or a setting that was read: no spread."""
        return cls(name, unit, value, value, value)

    @classmethod
    def of(cls, name: str, unit: str, samples: Iterable[float]) -> Number:
        """Of samples; ValueError when there are none."""
        ordered = sorted(samples)
        if not ordered:
            raise ValueError(f"no samples of {name}")
        return cls(name, unit, _at(ordered, 0.5), _at(ordered, 0.05), _at(ordered, 0.95), len(ordered))


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True)
class Curve:
    """One picture, for where a curve says more than a number."""

    title: str
    x_label: str
    y_label: str
    series: dict[str, list[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Result:
    """What came out. `seen` is one sentence with the numbers that decide; `needed` says what a test would need."""

    verdict: Verdict
    seen: str
    numbers: tuple[Number, ...] = ()
    needed: str = ""
    curves: tuple[Curve, ...] = ()
    error: str = ""  # the probe itself failed: a bug, or a machine nobody thought of
    doubt: str = ""  # why another run may come to another verdict
    seconds: float = 0.0


def holds(seen: str, *numbers: Number, curves: Sequence[Curve] = (), when: bool = True, doubt: str = "") -> Result:
    """The statement holds, or (`when` is false) does not."""
    verdict = Verdict.HOLDS if when else Verdict.DOES_NOT_HOLD
    return Result(verdict, seen, numbers, curves=tuple(curves), doubt=doubt)


def near(what: str, value: float, *limits: float, within: float | None = None) -> str:
    """A doubt, when the value lies `within` (by default a tenth) of one of the limits that decide; else empty."""
    for limit in limits:
        if abs(value - limit) <= (abs(limit) * NEAR if within is None else within):
            return f"{what} is {value:.3g}, near the limit of {limit:.3g}"
    return ""


class Untestable(Exception):
    """Raised in the middle of a measurement: `why` it comes to nothing here, and what is `needed`."""

    def __init__(self, why: str, needed: str) -> None:
        super().__init__(why)
        self.needed = needed


def cannot_test(why: str, needed: str) -> Result:
    return Result(Verdict.CANNOT_TEST, why, needed=needed)


@dataclass(frozen=True)
class Missing:
    """A prerequisite that is not there: `why` it cannot be tested, and what is `needed`."""

    why: str
    needed: str


Requirement = Callable[[], Missing | None]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One statement. `requires` are looked at first, in order; the first that is missing is the result."""

    name: str  # "epoll-herd": unique, what the command line takes
    section: int
    statement: str  # the document's own words
    method: str  # how it is measured, one or two sentences
    used_by: str  # where minicomp uses the mechanism, or why it does not
    measure: Callable[[Budget], Result]
    requires: tuple[Requirement, ...] = ()
    basis: Basis = Basis.FACT

    def run(self, quick: bool) -> Result:
        """In this process; runner.py calls it in one of its own."""
        for requirement in self.requires:
            missing = requirement()
            if missing is not None:
                return cannot_test(missing.why, missing.needed)
        try:
            result = self.measure(Budget.start(quick))
        except Untestable as reason:
            return cannot_test(str(reason), reason.needed)
        if self.basis is Basis.FACT or result.verdict is Verdict.CANNOT_TEST or not is_emulated():
            return result
        if self.basis is Basis.TIMES:
            return replace(result, verdict=Verdict.CANNOT_TEST, needed="a CPU that is not emulated", doubt="")
        return replace(result, doubt="; ".join(filter(None, (result.doubt, EMULATED))))
