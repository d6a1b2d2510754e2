"""Percentiles of one metric with bootstrap intervals, resampling whole blocks of runs instead of frames.

Frames of one run depend on each other (one stall delays many), so what is drawn again is a *block*: one turn through
all arms of an experiment (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). All arms
are resampled with the same blocks, which keeps what the arms of a block had in common (a neighbour's load, the
temperature) out of their differences.

With few blocks a plain percentile interval is too narrow. It is widened as Hesterberg does ("What teachers should know
about the bootstrap", The American Statistician 69, 2015): its tails are those of a t quantile times
sqrt(n / (n - 1)). Differences and ratios use the t interval with bootstrap standard error that he describes, on the log
scale for ratios, since its p-values do not end at one over the number of resamples.

A percentile is an observed value, as in `pipeline.percentiles`. Sorted samples are thinned in their middle (one rank in
`_BODY_RANKS`), never among the largest `_TAIL_RANKS`: resampling then costs the same for 10^3 and for 10^6 frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minicomp.lab.pipeline.percentiles import resolves
from minicomp.lab.pipeline.tables import Floats, Ints
from minicomp.lab.statistics.distributions import normal_cdf, t_cdf, t_quantile
from minicomp.lab.statistics.rates import LEVEL, Contrast

RESAMPLES = 2000
ENOUGH_BLOCKS = 5
"""Below this an interval is given, but called rough."""
_BODY_RANKS = 1500
_TAIL_RANKS = 1000


@dataclass(frozen=True)
class Interval:
    """An observed value and its 95 % interval; the interval is None when nothing can be said."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Distribution:
    """The samples of one arm and metric: how many of each block lie between two neighbouring points."""

    points: Floats
    """Ascending observed values; the last is the maximum."""
    counts: Ints
    """[block, point]: samples above the previous point and at most this one."""

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    @property
    def blocks(self) -> int:
        """Blocks that have samples."""
        return int((self.counts.sum(axis=1) > 0).sum())

    @property
    def max(self) -> float:
        return float(self.points[-1]) if len(self.points) else math.nan

    def block_maxima(self) -> Floats:
        """The largest value of each block that has samples."""
        if not len(self.points):
            return np.empty(0)
        last = self.counts.shape[1] - 1 - np.argmax(self.counts[:, ::-1] > 0, axis=1)
        maxima: Floats = self.points[last[self.counts.sum(axis=1) > 0]]
        return maxima

    def quantiles(self, weights: Ints, permille: int) -> Floats:
        """The percentile under each row of block weights; nan where a row holds no sample."""
        if not len(self.points):
            return np.full(len(weights), np.nan)
        total = weights @ self.up_to[-1]
        rank = np.maximum(1, -(-total * permille // 1000))
        # A binary search for all rows at once: the first point up to which there are `rank` samples.
        low, high = np.zeros(len(weights), np.int64), np.full(len(weights), len(self.points) - 1)
        while np.any(low < high):
            middle = (low + high) // 2
            enough = np.einsum("rb,rb->r", weights, self.up_to[middle]) >= rank
            low, high = np.where(enough, low, np.minimum(middle + 1, high)), np.where(enough, middle, high)
        return np.where(total > 0, self.points[low], np.nan)

    @cached_property
    def up_to(self) -> Ints:
        """[point, block]: samples of the block that are at most this point."""
        return np.ascontiguousarray(np.cumsum(self.counts, axis=1).T)


def distribution(values: Floats, block: Ints, blocks: int) -> Distribution:
    """Of samples (nan: no sample) that belong to blocks 0 .. blocks - 1."""
    known = ~np.isnan(values)
    values, block = values[known], block[known]
    ordered = np.sort(values)
    count = len(ordered)
    body = np.linspace(0, max(count - 1, 0), min(count, _BODY_RANKS)).round().astype(np.int64)
    tail = np.arange(max(0, count - _TAIL_RANKS), count)
    points = np.unique(ordered[np.union1d(body, tail)]) if count else ordered
    place = np.searchsorted(points, values, side="left")
    counts = np.bincount(block * len(points) + place, minlength=blocks * len(points))
    return Distribution(points, counts.reshape(blocks, len(points)).astype(np.int64))


def resampling(blocks: int, seed: int, resamples: int = RESAMPLES) -> Ints:
    """[resample, block]: how often each block was drawn. The first row is the data itself."""
    drawn = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1.0 / blocks), resamples)
    return np.vstack([np.ones((1, blocks), np.int64), drawn]).astype(np.int64)


def percentile(of: Distribution, permille: int, weights: Ints) -> Interval | None:
    """A percentile with its interval; None when the samples cannot resolve it. `weights` comes from `resampling`."""
    if not of.count or not resolves(of.count, permille):
        return None
    if of.blocks < 2:
        return Interval(float(of.quantiles(weights[:1], permille)[0]), None, None)
    found = of.quantiles(weights, permille)
    value, replicates = float(found[0]), found[1:][~np.isnan(found[1:])]
    tail = normal_cdf(math.sqrt(of.blocks / (of.blocks - 1)) * t_quantile((1 - LEVEL) / 2, of.blocks - 1))
    low, high = np.quantile(replicates, [tail, 1 - tail])
    # With heavily skewed replicates the plain estimate can fall outside by a rounding of ranks.
    return Interval(value, min(float(low), value), max(float(high), value))


def maximum(of: Distribution) -> Interval | None:
    """The maximum, and the smallest and largest maximum of a block: the range seen, not a confidence interval.

    The bootstrap cannot bound an extreme (Bickel and Freedman, Annals of Statistics 9, 1981, section 6).
    """
    if not of.count:
        return None
    maxima = of.block_maxima()
    return Interval(of.max, float(maxima.min()), of.max) if len(maxima) > 1 else Interval(of.max, None, None)


def contrast_difference(a: Floats, b: Floats, blocks: int) -> Contrast:
    """a - b, both as `Distribution.quantiles` gives them for the same weights."""
    return _t_contrast(a - b, blocks, 0.0, lambda value: value)


def contrast_ratio(a: Floats, b: Floats, blocks: int) -> Contrast:
    """a / b; without meaning (nan) when either is not positive."""
    positive = (a > 0) & (b > 0)
    if not len(a) or not positive[0]:
        return Contrast(math.nan, 0.0, math.inf)
    return _t_contrast(np.log(a[positive] / b[positive]), blocks, 0.0, math.exp)


def log_ratio_error(a: Floats, b: Floats, blocks: int) -> float:
    """Standard error of log(a / b); nan where either can be 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return standard_error(np.log(a / b)[1:], blocks)


def superiority(a: Distribution, b: Distribution, weights: Ints) -> tuple[Contrast, float]:
    """Probability that a sample of `a` is smaller than one of `b`, ties counting half (Mann-Whitney's U / mn).

    With its standard error. Cliff's delta is twice this less one. Samples between two points of the other arm count as
    at the upper one.
    """
    if not a.count or not b.count:
        return Contrast(math.nan, 0.0, 1.0), math.nan
    points = np.union1d(a.points, b.points)
    a_counts, b_counts = _onto(a, points), _onto(b, points)
    # [block of a, block of b]: the number of pairs that a wins; a resample's is bilinear in its weights.
    above = b_counts[:, ::-1].cumsum(axis=1)[:, ::-1] - b_counts / 2.0
    wins = a_counts.astype(np.float64) @ above.T
    pairs = np.outer(a_counts.sum(axis=1), b_counts.sum(axis=1)).astype(np.float64)
    won, all_pairs = (np.einsum("ri,ij,rj->r", weights, table, weights) for table in (wins, pairs))
    share = np.divide(won, all_pairs, out=np.full(len(won), np.nan), where=all_pairs > 0)
    blocks = min(a.blocks, b.blocks)
    found = _t_contrast(share, blocks, 0.5, lambda value: value)
    within = Contrast(found.value, max(0.0, found.low), min(1.0, found.high), found.p)
    return within, standard_error(share[1:], blocks)


def standard_error(replicates: Floats, blocks: int) -> float:
    """Of an estimate from its bootstrap replicates, with the factor for few blocks; nan below two blocks."""
    known = replicates[np.isfinite(replicates)]
    if blocks < 2 or len(known) < 2:
        return math.nan
    return float(np.std(known, ddof=1)) * math.sqrt(blocks / (blocks - 1))


def _t_contrast(values: Floats, blocks: int, null: float, back: Callable[[float], float]) -> Contrast:
    """From an estimate (first) and its replicates; `back` undoes the scale on which the interval is symmetric."""
    estimate, error = float(values[0]), standard_error(values[1:], blocks)
    if math.isnan(estimate) or math.isnan(error):
        return Contrast(back(estimate), -math.inf if back(0.0) == 0.0 else 0.0, math.inf)
    half = t_quantile((1 + LEVEL) / 2, blocks - 1) * error
    distance = abs(estimate - null)
    p = 2.0 * t_cdf(-distance / error, blocks - 1) if error else float(distance == 0)
    return Contrast(back(estimate), back(estimate - half), back(estimate + half), p)


def _onto(of: Distribution, points: Floats) -> Ints:
    """The counts of a distribution on a finer grid that contains its points."""
    counts = np.zeros((len(of.counts), len(points)), np.int64)
    counts[:, np.searchsorted(points, of.points)] = of.counts
    return counts
