"""What a SCHED_DEADLINE reservation should be: given, or derived from measured cost and the output's refresh.

Pure. Rules of Documentation/scheduler/sched-deadline.rst: runtime <= deadline <= period; sched(7): each at least
1024 ns. A thread that uses more than its runtime is throttled to its next period, a missed vblank for certain, so what
is derived has room above the chosen quantile; a thread that is given much more than it needs keeps others from being
admitted, not from running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from minicomp.config.knobs import ThreadKnobs

DEFAULT_PERIOD_NS = 16_666_667
DEFAULT_QUANTILE = 0.99
DEFAULT_HEADROOM = 1.5
UNMEASURED_SHARE = {"render": 0.3, "loop": 0.2}
"""Of the period, until enough was measured: enough for a full-screen copy on one slow core."""
SMALLEST_RUNTIME_NS = 300_000
SMALLEST_SHARE = 1 / 8
"""Of the deadline. A quiet frame needs a fiftieth, but the one after a page fault, a new window or a cold cache needs
several times that, and who is throttled while holding the compositor lock stops both threads: with 1.5 times the 99th
percentile, 0.4 % of vblanks were missed so under full load (docs/lab.md)."""
LARGEST_SHARE = 0.9  # of the deadline
STEP_NS = 50_000  # runtimes are rounded up to this
WORTH_CHANGING = 0.2  # a new runtime is set when it differs by this share of the old one


class Reservation(NamedTuple):
    runtime_ns: int
    deadline_ns: int
    period_ns: int

    def __str__(self) -> str:
        return f"{self.runtime_ns / 1e6:.2f} ms in {self.deadline_ns / 1e6:.2f} of {self.period_ns / 1e6:.2f} ms"


def is_derived(settings: ThreadKnobs) -> bool:
    return settings.derive if settings.derive is not None else settings.runtime_us is None


def reservation(settings: ThreadKnobs, thread: str, refresh_ns: int, measured_ns: int) -> Reservation:
    """For a display with this refresh (0: unknown) and a thread that used `measured_ns` (0: unknown) of each period."""
    period_ns = (settings.period_us or 0) * 1000 or refresh_ns or DEFAULT_PERIOD_NS
    deadline_ns = min((settings.deadline_us or 0) * 1000 or period_ns, period_ns)
    if settings.runtime_us is not None and not is_derived(settings):
        runtime_ns = settings.runtime_us * 1000
        # Without a period of its own a runtime longer than a refresh can only mean a longer period.
        deadline_ns = max(deadline_ns, runtime_ns)
        return Reservation(runtime_ns, deadline_ns, max(period_ns, deadline_ns))
    wanted_ns = measured_ns * (settings.headroom or DEFAULT_HEADROOM) or UNMEASURED_SHARE[thread] * period_ns
    rounded_ns = -(-int(wanted_ns) // STEP_NS) * STEP_NS
    smallest_ns = max(SMALLEST_RUNTIME_NS, int(deadline_ns * SMALLEST_SHARE))
    runtime_ns = min(max(rounded_ns, smallest_ns), int(deadline_ns * LARGEST_SHARE))
    return Reservation(runtime_ns, deadline_ns, period_ns)


def is_worth_changing(present: Reservation, better: Reservation) -> bool:
    """Whether a re-derived reservation is different enough: each change is a new admission test."""
    if (present.deadline_ns, present.period_ns) != (better.deadline_ns, better.period_ns):
        return True
    return abs(better.runtime_ns - present.runtime_ns) > present.runtime_ns * WORTH_CHANGING
