"""Percentiles that never promise more than the samples hold, and intervals for rates.

A percentile is a value that was observed (nearest rank: the smallest value that at least that share of the samples
does not exceed). It is withheld when fewer than one sample lies above it on average: p99.9 needs 1000 samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minicomp.lab.pipeline.tables import Floats

PERMILLES = {"p50": 500, "p90": 900, "p99": 990, "p99.9": 999}
"""The percentiles of every report, in thousandths."""

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Stats:
    """What a report says of one quantity, in the unit of its samples; None where it cannot say."""

    count: int
    percentiles: dict[str, float | None]
    max: float | None


def summarise(values: Floats) -> Stats:
    """Count, percentiles and maximum of the samples that are not NaN."""
    samples = np.sort(values[~np.isnan(values)])
    count = len(samples)
    percentiles = {
        name: float(samples[_rank(count, permille)]) if resolves(count, permille) else None
        for name, permille in PERMILLES.items()
    }
    return Stats(count, percentiles, float(samples[-1]) if count else None)


def resolves(count: int, permille: int) -> bool:
    """Whether `count` samples can tell this percentile from the maximum."""
    return count * (1000 - permille) >= 1000


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a rate (Wilson 1927), as fractions; (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    rate, z2 = hits / trials, Z_95 * Z_95
    centre = rate + z2 / (2 * trials)
    half = Z_95 * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials * trials))
    scale = 1 + z2 / trials
    # At 0 and at all hits the bound is exact; rounding must not move it.
    low = 0.0 if hits == 0 else max(0.0, (centre - half) / scale)
    high = 1.0 if hits == trials else min(1.0, (centre + half) / scale)
    return low, high


def _rank(count: int, permille: int) -> int:
    return max(0, -(-count * permille // 1000) - 1)
