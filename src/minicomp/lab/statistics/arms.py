"""One arm of an experiment: its usable runs put together, its miss rates and its percentiles.

A vblank is *due* when it showed a frame or was missed by one; miss rates are missed by due vblanks, so that a stall
over twenty vblanks counts twenty times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minicomp.lab.pipeline.percentiles import PERMILLES
from minicomp.lab.pipeline.tables import Floats, Ints
from minicomp.lab.statistics import bootstrap, omission
from minicomp.lab.statistics.bootstrap import Distribution, Interval
from minicomp.lab.statistics.measures import CAUSES, CLIENT_LATE, LATENCY, MEASURES, RATES
from minicomp.lab.statistics.rates import Rate, clustered_rate
from minicomp.lab.statistics.results import RunResult, joined


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
class Pool:
    """The rows of an arm's usable runs."""

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


def pool_of(name: str, runs: tuple[RunResult, ...], blocks: dict[int, int]) -> Pool:
    lengths = [len(run.frames) for run in runs]
    rows = joined(runs)
    return Pool(
        name=name,
        runs=runs,
        block=np.repeat(np.array([blocks[run.block] for run in runs], np.int64), lengths),
        run=np.repeat(np.arange(len(runs)), lengths),
        columns={measure.column: rows.floats(measure.column) for measure in MEASURES},
        missed=np.nan_to_num(rows.floats("missed_vblanks")).astype(np.int64),
        cause=rows.cause,
        shown=~np.isnan(rows.floats("presented_ns")),
        refresh_ms=rows.floats("refresh_ns") / 1e6,
    )


def analyse_arm(pool: Pool, distributions: dict[str, Distribution], weights: Ints) -> ArmAnalysis:
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
        rates={name: clustered_rate(*hits_and_trials(pool, name)) for name in RATES},
        causes=causes,
        summaries=summaries,
        corrected=corrected,
        hdr_corrected=plain,
    )


def _summary(column: str, of: Distribution, weights: Ints) -> Summary:
    found = {name: bootstrap.percentile(of, permille, weights) for name, permille in PERMILLES.items()}
    return Summary(column, of.count, found, bootstrap.maximum(of))


def _due(pool: Pool) -> Ints:
    """Of each row: the vblanks that it used or missed."""
    due: Ints = pool.missed + pool.shown
    return due


def hits_and_trials(pool: Pool, rate: str) -> tuple[Ints, Ints]:
    """Missed and due vblanks of each run."""
    by_client = pool.cause == CLIENT_LATE
    counted = {"all": pool.cause != "", "compositor": (pool.cause != "") & ~by_client, "client": by_client}[rate]
    runs = len(pool.runs)
    hits = np.bincount(pool.run, weights=np.where(counted, pool.missed, 0), minlength=runs)
    trials = np.bincount(pool.run, weights=_due(pool), minlength=runs)
    return hits.astype(np.int64), trials.astype(np.int64)
