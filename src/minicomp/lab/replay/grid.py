"""The vblanks of a recorded display: those that showed a frame, those between them, and as many as needed around.

A display runs on between two frames that are several refreshes apart: the vblanks in between are laid evenly. Before
the first stamp and after the last the grid goes on at the period that the stamps have on average. Times are integer
nanoseconds of the recording's clock; vblanks are numbered from 0 at the first stamp.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

SEQ_MODULUS = 1 << 24
"""PRESENTED keeps this much of the display's counter."""


@dataclass(frozen=True)
class Grid:
    """Vblank times; `stamps_ns` ascend."""

    stamps_ns: tuple[int, ...]
    period_ns: float
    """The average between the first and the last stamp; the mode's when there is one stamp only."""

    def index_at_or_after(self, t_ns: int) -> int:
        """Number of the first vblank that is not before t_ns."""
        first, last = self.stamps_ns[0], self.stamps_ns[-1]
        if t_ns <= first:
            index = -int((first - t_ns) // self.period_ns)
        elif t_ns > last:
            index = len(self.stamps_ns) - 1 + int((t_ns - last) // self.period_ns)
        else:
            return bisect_left(self.stamps_ns, t_ns)
        while self.time_ns(index) < t_ns:  # rounding
            index += 1
        while self.time_ns(index - 1) >= t_ns:
            index -= 1
        return index

    def time_ns(self, index: int) -> int:
        if index < 0:
            return self.stamps_ns[0] + round(index * self.period_ns)
        beyond = index - (len(self.stamps_ns) - 1)
        return self.stamps_ns[-1] + round(beyond * self.period_ns) if beyond > 0 else self.stamps_ns[index]


def build_grid(shown: Sequence[tuple[int, int]], nominal_ns: float) -> Grid:
    """A grid through (vblank time, sequence number) of the frames that were shown, in time order, at least one.

    The display's counter says how many vblanks lie between two stamps where it agrees with time within a quarter of a
    period; elsewhere (no counter, a jump) time decides. Stamps closer than half a period are one vblank.
    """
    stamps = [shown[0][0]]
    last_seq = shown[0][1]
    for t_ns, seq in shown[1:]:
        elapsed = (t_ns - stamps[-1]) / nominal_ns
        if elapsed < 0.5:
            continue
        counted = (seq - last_seq) % SEQ_MODULUS
        count = counted if abs(counted - elapsed) < 0.25 + 0.01 * elapsed and counted else max(1, round(elapsed))
        begin = stamps[-1]
        stamps += [begin + round((t_ns - begin) * step / count) for step in range(1, count + 1)]
        last_seq = seq
    period = (stamps[-1] - stamps[0]) / (len(stamps) - 1) if len(stamps) > 1 else nominal_ns
    return Grid(tuple(stamps), period)
