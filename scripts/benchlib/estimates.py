"""Medians, spreads and ratios of repeated measurements.

Rounds are the unit: within one round every contender ran once, close together in time, so ratios are resampled by
round (a paired bootstrap). Median and MAD because a disturbed round must not decide.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RESAMPLES = 2000
MIN_ROUNDS_FOR_INTERVAL = 4
SEED = 1  # the same measurements give the same interval


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def mad(values: Sequence[float]) -> float:
    """Median absolute deviation from the median, not scaled."""
    middle = statistics.median(values)
    return statistics.median(abs(value - middle) for value in values)


@dataclass(frozen=True)
class Ratio:
    """median(a) / median(b), with a 95 % interval; None when there were too few rounds to say."""

    value: float
    low: float | None
    high: float | None
    rounds: int

    def verdict(self, limit: float) -> str:
        """pass or miss by the estimate; "unsure" is added when the limit lies within the interval."""
        word = "pass" if self.value <= limit else "miss"
        if self.low is None or self.high is None or self.low <= limit <= self.high:
            return f"{word}, unsure"
        return word


def ratio(a: Mapping[int, float], b: Mapping[int, float]) -> Ratio | None:
    """The ratio of two contenders' values by round, over the rounds that both have; None without any."""
    rounds = sorted(a.keys() & b.keys())
    if not rounds:
        return None
    value = median([a[r] for r in rounds]) / median([b[r] for r in rounds])
    if len(rounds) < MIN_ROUNDS_FOR_INTERVAL:
        return Ratio(value, None, None, len(rounds))
    source = random.Random(SEED)
    drawn = []
    for _ in range(RESAMPLES):
        sample = source.choices(rounds, k=len(rounds))
        drawn.append(median([a[r] for r in sample]) / median([b[r] for r in sample]))
    drawn.sort()
    return Ratio(value, drawn[int(0.025 * RESAMPLES)], drawn[int(0.975 * RESAMPLES) - 1], len(rounds))


def slope(points: Mapping[int, float]) -> float:
    """Least-squares slope of value against count: what one more costs."""
    mean_x, mean_y = statistics.mean(points.keys()), statistics.mean(points.values())
    spread = sum((x - mean_x) ** 2 for x in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points.items()) / spread
