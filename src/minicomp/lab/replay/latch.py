"""How long before a vblank a commit must have returned to be shown at it: told by the run file, or learned from it.

The modelled display states its latch. For others every shown frame gives a bound: shown at V when its commit had
returned s before V, the latch is at most s; shown only one refresh later although nothing else was shown at V, it is
more than s. Where the bounds contradict each other (jitter, a queue in the driver), the value with the fewest
contradictions counts. The upper bound is used: a replay then never shows a frame earlier than the display has proved
that it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Latch:
    ns: int
    source: str
    """ "modelled", "learned" or "given"."""
    low_ns: int = 0
    """Learned: the latch is more than this ..."""
    high_ns: int = 0
    """... and at most this."""


def learn_latch(committed_ns: Sequence[int], shown_ns: Sequence[int], period_ns: float) -> Latch:
    """From the frames of one output in order: when each commit returned, and the vblank that showed it."""
    enough, too_little = [], []
    for frame, (committed, shown) in enumerate(zip(committed_ns, shown_ns, strict=True)):
        slack = shown - committed
        if slack < 0:
            continue  # a stamp that lies before the commit's return tells nothing
        enough.append(slack)
        earlier = shown - period_ns
        free = frame == 0 or shown_ns[frame - 1] < earlier - period_ns / 2
        if free and earlier - committed > 0:
            too_little.append(round(earlier - committed))
    if not enough:
        return Latch(0, "learned")
    enough.sort()
    too_little.sort()
    best = min(range(len(enough)), key=lambda i: (i + sum(low >= enough[i] for low in too_little), i))
    high = enough[best]
    low = max((value for value in too_little if value < high), default=0)
    return Latch(high, "learned", low, high)
