"""Miss rates and their intervals, when the frames of one run are not independent.

A stall of the machine misses ten vblanks in one run and none in another, so ten thousand frames tell less than ten
thousand coin tosses. How much less is the *design effect*: the variance of the rate as the runs show it, divided by the
variance that independent frames would have. The interval is Clopper and Pearson's exact one (Biometrika 26, 1934) for
the number of frames divided by the design effect, widened for the few runs the design effect was estimated from:
Korn and Graubard, Survey Methodology 24 (1998), as used for the proportions of the U.S. national health surveys.

No design effect can be seen with one run, with no miss, or with nothing but misses. It is taken as 1 then, and
`Rate.note` says so: the bound holds if frames miss independently.

Differences and ratios of two rates are MOVER intervals, which combine the two rates' own intervals: Zou and Donner,
Statistics in Medicine 27 (2008); for ratios Newcombe, Statistical Methods in Medical Research 25 (2016). They
stay honest at no misses at all, where a bootstrap would give an interval of width zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minicomp.lab.pipeline.tables import Ints
from minicomp.lab.statistics.distributions import beta_quantile, normal_quantile, t_quantile

LEVEL = 0.95
_SMALLEST_P = 1e-12
_P_BISECTIONS = 16
"""To less than a thousandth of p."""


@dataclass(frozen=True)
class Rate:
    """Hits in trials; low and high bound the rate, as fractions. Without trials: nan, 0 and 1."""

    hits: int
    trials: int
    design_effect: float
    low: float
    high: float
    note: str = ""

    @property
    def value(self) -> float:
        return self.hits / self.trials if self.trials else math.nan


@dataclass(frozen=True)
class Contrast:
    """One number that compares two arms, its 95 % interval and its two-sided p-value (None: not tested)."""

    value: float
    low: float
    high: float
    p: float | None = None


def clustered_rate(hits: Ints, trials: Ints, level: float = LEVEL) -> Rate:
    """The rate over runs with these hits and trials each (equally long arrays)."""
    with_trials = trials > 0
    hits, trials = hits[with_trials], trials[with_trials]
    all_hits, all_trials, runs = int(hits.sum()), int(trials.sum()), len(trials)
    if not all_trials:
        return Rate(0, 0, 1.0, 0.0, 1.0, "no frames")
    effect, note = _design_effect(hits, trials)
    share = 1.0
    if not note:
        # Korn and Graubard's correction for the degrees of freedom, of which the frames have plenty.
        tail = (1.0 + level) / 2.0
        share = min(1.0, (normal_quantile(tail) / t_quantile(tail, runs - 1)) ** 2)
    scale = share / effect
    low, high = clopper_pearson(all_hits * scale, all_trials * scale, level)
    return Rate(all_hits, all_trials, effect, low, high, note)


def clopper_pearson(hits: float, trials: float, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of a rate, as fractions; hits and trials may be effective, not whole, numbers."""
    tail = (1.0 - level) / 2.0
    low = 0.0 if hits <= 0 else beta_quantile(tail, hits, trials - hits + 1.0)
    high = 1.0 if hits >= trials else beta_quantile(1.0 - tail, hits + 1.0, trials - hits)
    return low, high


def rate_difference(hits_a: Ints, trials_a: Ints, hits_b: Ints, trials_b: Ints) -> Contrast:
    """Rate of a minus rate of b. The p-value is where the interval's level makes it touch 0."""

    def at(level: float) -> tuple[float, float]:
        return difference_interval(clustered_rate(hits_a, trials_a, level), clustered_rate(hits_b, trials_b, level))

    a, b = clustered_rate(hits_a, trials_a), clustered_rate(hits_b, trials_b)
    value = a.value - b.value
    low, high = difference_interval(a, b)
    if math.isnan(value):
        return Contrast(value, -1.0, 1.0)
    if value == 0:
        return Contrast(value, low, high, 1.0)
    # Intervals grow as p = 1 - level falls: bisect log p for the one whose end is 0.
    touches, clear = math.log(_SMALLEST_P), 0.0
    for _step in range(_P_BISECTIONS):
        middle = (touches + clear) / 2.0
        low_there, high_there = at(-math.expm1(middle))
        if low_there > 0 or high_there < 0:
            clear = middle
        else:
            touches = middle
    return Contrast(value, low, high, math.exp(clear))


def difference_interval(a: Rate, b: Rate) -> tuple[float, float]:
    """Both ends of the interval of rate a minus rate b, at the level of their own intervals."""
    if not a.trials or not b.trials:
        return -1.0, 1.0
    difference = a.value - b.value
    low = difference - math.hypot(a.value - a.low, b.high - b.value)
    high = difference + math.hypot(a.high - a.value, b.value - b.low)
    return max(-1.0, low), min(1.0, high)


def rate_ratio(a: Rate, b: Rate) -> Contrast:
    """Rate of a by rate of b. Without hits in b the value and the upper bound are infinite (nan: none in either)."""
    if not a.trials or not b.trials:
        return Contrast(math.nan, 0.0, math.inf)
    p1, p2 = a.value, b.value
    value = math.nan if p1 == p2 == 0 else math.inf if p2 == 0 else p1 / p2
    low = _ratio_end(p1, p2, a.low, b.high, -1)
    high = math.inf if b.low <= 0 else _ratio_end(p1, p2, a.high, b.low, +1)
    return Contrast(value, low, high)


def trials_to_bound(limit: float, level: float = LEVEL) -> int:
    """How many frames without a single miss show that the rate is below `limit` (two-sided interval's upper end)."""
    return math.ceil(math.log((1.0 - level) / 2.0) / math.log1p(-limit))


def _design_effect(hits: Ints, trials: Ints) -> tuple[float, str]:
    """At least 1, and why it could not be estimated (empty: it was)."""
    total, runs = int(trials.sum()), len(trials)
    rate = int(hits.sum()) / total
    if runs < 2:
        return 1.0, "one run: frames taken as independent"
    if rate in (0.0, 1.0):
        return 1.0, "no spread between runs: frames taken as independent"
    residuals = hits - rate * trials
    variance = runs / (runs - 1) * float(np.sum(residuals * residuals)) / (total * total)
    return max(1.0, variance / (rate * (1.0 - rate) / total)), ""


def _ratio_end(p1: float, p2: float, end1: float, end2: float, sign: int) -> float:
    """One end of the MOVER-R interval, from the ends of the two rates that pull that way."""
    inner = max(0.0, (p1 * p2) ** 2 - end1 * end2 * (2 * p1 - end1) * (2 * p2 - end2))
    divisor = end2 * (2 * p2 - end2)
    if divisor == 0:
        return 0.0 if sign < 0 else math.inf
    return max(0.0, (p1 * p2 + sign * math.sqrt(inner)) / divisor)
