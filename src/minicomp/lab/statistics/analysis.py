"""Everything that is concluded from the results of an experiment, before any of it is put into words or pictures.

Runs that are not ok take no part; `Results` knows them by name. Blocks are what is resampled, for all arms alike. A
vblank is *due* when it showed a frame or was missed by one; miss rates are missed by due vblanks, so that a stall over
twenty vblanks counts twenty times.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from minicomp.lab.pipeline.percentiles import PERMILLES
from minicomp.lab.pipeline.tables import Floats, Ints
from minicomp.lab.statistics import bootstrap, omission, power
from minicomp.lab.statistics.bootstrap import Distribution, Interval
from minicomp.lab.statistics.measures import (
    CAUSES,
    CLIENT_LATE,
    LATENCY,
    MEASURES,
    PRIMARY,
    RATES,
    SECONDARY,
    SMALLER,
    TESTED,
)
from minicomp.lab.statistics.rates import Contrast, Rate, clustered_rate, rate_difference, rate_ratio
from minicomp.lab.statistics.results import Results, RunResult

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Summary:
    """One column of one arm, in ms; percentiles that the samples cannot resolve are None."""

    column: str
    count: int
    percentiles: dict[str, Interval | None]
    max: Interval | None


@dataclass(frozen=True)
class ArmAnalysis:
    """What is known of one arm."""

    name: str
    runs: int
    blocks: int
    frames: int
    """Frames that were shown."""
    due: int
    """Vblanks that showed a frame or were missed."""
    rates: dict[str, Rate]
    """By the names of RATES."""
    causes: dict[str, int]
    """Missed vblanks by cause, in the order of CAUSES."""
    summaries: dict[str, Summary]
    """By column, as measured."""
    corrected: Summary
    """Commit to presented with the omitted frames of missed vblanks."""
    hdr_corrected: Summary | None
    """The same by HdrHistogram's plain rule; None where frames overlap (a median above one refresh)."""


@dataclass(frozen=True)
class Comparison:
    """One number of an arm against the baseline's. Differences and errors are ms or fractions."""

    arm: str
    baseline: str
    family: str
    column: str
    """A column of MEASURES, or one of RATES followed by " misses"."""
    of: str
    """"p50" or "p99"; "rate"; SMALLER, where `own` and `other` are shares and the difference is Cliff's delta."""
    own: float
    other: float
    difference: Contrast
    ratio: Contrast
    adjusted_p: float | None
    """Holm's, within the family; None: not tested (one block only)."""
    p: float | None
    """Of the ratio for durations, of the difference for rates and where a duration can be 0; None: not tested."""
    smallest: float
    """What these runs would have found with 80 %: a difference of shares, or a factor (1.2: 20 %); nan: unknown."""
    more_blocks: int | None
    """Further runs an arm to find a difference as large as the one seen; 0 when it was resolved; None: see smallest."""

    @property
    def resolved(self) -> bool:
        return self.adjusted_p is not None and self.adjusted_p < SIGNIFICANT


@dataclass(frozen=True)
class Analysis:
    """Of one experiment."""

    results: Results
    arms: tuple[ArmAnalysis, ...]
    """In the order of the plan, those without a usable run too."""
    baseline: str
    comparisons: tuple[Comparison, ...]

    def arm(self, name: str) -> ArmAnalysis:
        return next(arm for arm in self.arms if arm.name == name)

    def comparison(self, arm: str, column: str, of: str) -> Comparison | None:
        wanted = (arm, column, of)
        return next((one for one in self.comparisons if (one.arm, one.column, one.of) == wanted), None)


@dataclass(frozen=True)
class _Pool:
    """The usable runs of one arm, put together."""

    name: str
    runs: tuple[RunResult, ...]
    block: Ints
    """Of each row."""
    run: Ints
    """Of each row: a number from 0."""
    columns: dict[str, Floats]
    missed: Ints
    cause: np.ndarray
    shown: np.ndarray
    refresh_ms: Floats


def analyse(results: Results, resamples: int = bootstrap.RESAMPLES) -> Analysis:
    """Analyses an experiment; the same results give the same numbers (the plan's seed seeds the resampling)."""
    numbers = sorted({run.block for run in results.usable})
    blocks = {number: place for place, number in enumerate(numbers)}
    weights = bootstrap.resampling(max(1, len(blocks)), results.seed, resamples)
    pools = {name: _pool(name, results.usable_of(name), blocks) for name in results.arms}
    distributions = {
        name: {m.column: bootstrap.distribution(pool.columns[m.column], pool.block, len(weights[0])) for m in MEASURES}
        for name, pool in pools.items()
    }
    arms = tuple(_arm(pools[name], distributions[name], weights) for name in results.arms)
    baseline = results.baseline
    comparisons: list[Comparison] = []
    for arm in arms:
        reference = next(one for one in arms if one.name == baseline)
        if arm.name == baseline or not arm.runs or not reference.runs:
            continue
        comparisons += _rate_comparisons(arm, reference, pools)
        comparisons += _percentile_comparisons(arm, reference, distributions, weights)
        comparisons.append(_order_comparison(arm, reference, distributions, weights))
    return Analysis(results, arms, baseline, tuple(_corrected_for_number(comparisons)))


def _pool(name: str, runs: tuple[RunResult, ...], blocks: dict[int, int]) -> _Pool:
    frames = [run.frames for run in runs]
    lengths = [len(table) for table in frames]

    def joined(column: str) -> Floats:
        return np.concatenate([table.floats(column) for table in frames]) if frames else np.empty(0)

    return _Pool(
        name=name,
        runs=runs,
        block=np.repeat(np.array([blocks[run.block] for run in runs], np.int64), lengths),
        run=np.repeat(np.arange(len(runs)), lengths),
        columns={measure.column: joined(measure.column) for measure in MEASURES},
        missed=np.nan_to_num(joined("missed_vblanks")).astype(np.int64),
        cause=np.concatenate([table.cause for table in frames]) if frames else np.empty(0, "U1"),
        shown=~np.isnan(joined("presented_ns")),
        refresh_ms=joined("refresh_ns") / 1e6,
    )


def _arm(pool: _Pool, distributions: dict[str, Distribution], weights: Ints) -> ArmAnalysis:
    summaries = {column: _summary(column, one, weights) for column, one in distributions.items()}
    latency, blocks = pool.columns[LATENCY], len(weights[0])
    more, rows = omission.corrected(latency, pool.refresh_ms, pool.missed)
    corrected = _summary(LATENCY, bootstrap.distribution(more, pool.block[rows], blocks), weights)
    plain = None
    median = summaries[LATENCY].percentiles["p50"]
    if median is not None and median.value <= float(np.nanmedian(pool.refresh_ms)):
        more, rows = omission.hdr_corrected(latency, pool.refresh_ms)
        plain = _summary(LATENCY, bootstrap.distribution(more, pool.block[rows], blocks), weights)
    causes = {cause: int(pool.missed[pool.cause == cause].sum()) for cause in CAUSES}
    return ArmAnalysis(
        name=pool.name,
        runs=len(pool.runs),
        blocks=len(np.unique([run.block for run in pool.runs])),
        frames=int(pool.shown.sum()),
        due=int(_due(pool).sum()),
        rates={name: clustered_rate(*_hits_and_trials(pool, name)) for name in RATES},
        causes=causes,
        summaries=summaries,
        corrected=corrected,
        hdr_corrected=plain,
    )


def _summary(column: str, of: Distribution, weights: Ints) -> Summary:
    found = {name: bootstrap.percentile(of, permille, weights) for name, permille in PERMILLES.items()}
    return Summary(column, of.count, found, bootstrap.maximum(of))


def _due(pool: _Pool) -> Ints:
    """Of each row: the vblanks that it used or missed."""
    due: Ints = pool.missed + pool.shown
    return due


def _hits_and_trials(pool: _Pool, rate: str) -> tuple[Ints, Ints]:
    """Missed and due vblanks of each run."""
    by_client = pool.cause == CLIENT_LATE
    counted = {"all": pool.cause != "", "compositor": (pool.cause != "") & ~by_client, "client": by_client}[rate]
    runs = len(pool.runs)
    hits = np.bincount(pool.run, weights=np.where(counted, pool.missed, 0), minlength=runs)
    trials = np.bincount(pool.run, weights=_due(pool), minlength=runs)
    return hits.astype(np.int64), trials.astype(np.int64)


def _rate_comparisons(arm: ArmAnalysis, reference: ArmAnalysis, pools: dict[str, _Pool]) -> list[Comparison]:
    found = []
    blocks = min(arm.blocks, reference.blocks)
    for name in RATES:
        family = PRIMARY if name == "compositor" else SECONDARY
        own, other = arm.rates[name], reference.rates[name]
        difference = rate_difference(
            *_hits_and_trials(pools[arm.name], name), *_hits_and_trials(pools[reference.name], name)
        )
        if blocks < 2:
            difference = replace(difference, p=None)  # one run tells nothing about how runs differ
        error = power.rate_error(own, other)
        found.append(
            Comparison(
                arm=arm.name,
                baseline=reference.name,
                family=family,
                column=f"{name} misses",
                of="rate",
                own=own.value,
                other=other.value,
                difference=difference,
                ratio=rate_ratio(own, other),
                p=difference.p,
                adjusted_p=None,
                smallest=power.smallest_difference(error, blocks, _tests(family, pools)),
                more_blocks=power.more_blocks(difference.value, error, blocks, _tests(family, pools)),
            )
        )
    return found


def _percentile_comparisons(
    arm: ArmAnalysis, reference: ArmAnalysis, distributions: dict[str, dict[str, Distribution]], weights: Ints
) -> list[Comparison]:
    found = []
    for family, tests in TESTED.items():
        for column, name in tests:
            summaries = arm.summaries[column], reference.summaries[column]
            own, other = (summary.percentiles[name] for summary in summaries)
            if own is None or other is None:
                continue
            a, b = (distributions[one.name][column] for one in (arm, reference))
            blocks = min(a.blocks, b.blocks)
            own_all, other_all = (one.quantiles(weights, PERMILLES[name]) for one in (a, b))
            ratio = bootstrap.contrast_ratio(own_all, other_all, blocks)
            difference = bootstrap.contrast_difference(own_all, other_all, blocks)
            # Durations spread in proportion to their size: on the log scale tails of few runs are nearer to normal.
            error = bootstrap.log_ratio_error(own_all, other_all, blocks)
            found.append(
                Comparison(
                    arm=arm.name,
                    baseline=reference.name,
                    family=family,
                    column=column,
                    of=name,
                    own=own.value,
                    other=other.value,
                    difference=difference,
                    ratio=ratio,
                    p=difference.p if ratio.p is None else ratio.p,
                    adjusted_p=None,
                    smallest=math.exp(power.smallest_difference(error, blocks, _tests(family, distributions))),
                    more_blocks=power.more_blocks(math.log(ratio.value), error, blocks, _tests(family, distributions)),
                )
            )
    return found


def _order_comparison(
    arm: ArmAnalysis, reference: ArmAnalysis, distributions: dict[str, dict[str, Distribution]], weights: Ints
) -> Comparison:
    a, b = (distributions[one.name][LATENCY] for one in (arm, reference))
    share, error = bootstrap.superiority(a, b, weights)
    blocks, tests = min(a.blocks, b.blocks), _tests(PRIMARY, distributions)
    delta = Contrast(2 * share.value - 1, 2 * share.low - 1, 2 * share.high - 1, share.p)
    return Comparison(
        arm=arm.name,
        baseline=reference.name,
        family=PRIMARY,
        column=LATENCY,
        of=SMALLER,
        own=share.value,
        other=1 - share.value,
        difference=delta,
        ratio=Contrast(math.nan, 0.0, math.inf),
        p=delta.p,
        adjusted_p=None,
        smallest=power.smallest_difference(2 * error, blocks, tests),
        more_blocks=power.more_blocks(delta.value, 2 * error, blocks, tests),
    )


def _tests(family: str, arms: Collection[str]) -> int:
    """How many tests the family has with that many arms."""
    others = 2 if family == PRIMARY else len(RATES) - 1
    return (len(TESTED[family]) + others) * (len(arms) - 1)


def _corrected_for_number(comparisons: list[Comparison]) -> list[Comparison]:
    """With Holm's p-values within each family; what is resolved needs no more runs."""
    adjusted: dict[int, float] = {}
    for family in (PRIMARY, SECONDARY):
        places = [n for n, one in enumerate(comparisons) if one.family == family and one.p is not None]
        values = power.holm([comparisons[place].p or 0.0 for place in places])
        adjusted.update(zip(places, values, strict=True))
    done = []
    for place, one in enumerate(comparisons):
        tested = replace(one, adjusted_p=adjusted.get(place))
        if tested.resolved:
            tested = replace(tested, more_blocks=0)
        elif tested.more_blocks == 0:
            # Large enough for one test, not for all of them together.
            tested = replace(tested, more_blocks=1)
        done.append(tested)
    return done
