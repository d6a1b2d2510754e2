"""The frames of an experiment as its pictures need them: all usable runs of an arm put together, in time order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minicomp.lab.pipeline.tables import Floats, Ints
from minicomp.lab.statistics.analysis import Analysis
from minicomp.lab.statistics.measures import CAUSES
from minicomp.lab.statistics.results import joined

STAGES = (
    "waits for its start",
    "wakes late",
    "lock and preparation",
    "composes",
    "KMS commit",
    "waits for the vblank",
)
"""A frame's way from its commit to the display; their means add up to the latency's mean."""
_STAGE_ENDS = ("planned_start_ns", "woke_ns", "compose_begin_ns", "compose_end_ns", "kms_commit_ns", "presented_ns")


@dataclass(frozen=True)
class ArmFrames:
    """Rows of one arm; `place` is its position in the plan, which gives it its colour."""

    name: str
    place: int
    columns: dict[str, Floats]
    cause: Ints
    """Index in CAUSES, or -1."""
    run_starts: Ints
    """Row of each run's first frame."""

    def known(self, column: str) -> Floats:
        """The values of a column that are there."""
        values = self.columns[column]
        known: Floats = values[~np.isnan(values)]
        return known

    @property
    def refresh_ms(self) -> float:
        known = self.known("refresh_ns")
        return float(np.median(known)) / 1e6 if len(known) else float("nan")

    @cached_property
    def stages_ms(self) -> Floats:
        """Mean of each stage over the frames that were shown; empty when there are none with all their times."""
        begin, end = self.columns["commit_ns"], self.columns["presented_ns"]
        rows = ~np.isnan(begin) & ~np.isnan(end) & ~np.isnan(self.columns["kms_commit_ns"])
        if not rows.any():
            return np.empty(0)
        # A time that is unknown or before the one before it takes nothing: the sum stays the latency.
        moments = [begin[rows]]
        for name in _STAGE_ENDS:
            moments.append(np.fmin(np.fmax(moments[-1], self.columns[name][rows]), end[rows]))
        means: Floats = np.diff(np.stack(moments), axis=0).mean(axis=1) / 1e6
        return means


def frames_of(analysis: Analysis) -> list[ArmFrames]:
    """Every arm that has usable runs, in the plan's order."""
    numbers = {cause: place for place, cause in enumerate(CAUSES)}
    found = []
    for place, name in enumerate(analysis.results.arms):
        runs = analysis.results.usable_of(name)
        if not runs:
            continue
        rows = joined(runs)
        found.append(
            ArmFrames(
                name=name,
                place=place,
                columns=rows.numbers,
                cause=np.array(
                    [numbers.get(word, len(CAUSES) - 1) if word else -1 for word in rows.cause.tolist()], np.int64
                ),
                run_starts=np.cumsum([0, *(len(run.frames) for run in runs[:-1])]).astype(np.int64),
            )
        )
    return found


def count_words(arms: list[ArmFrames], column: str) -> str:
    """ "n = 6,936 (other 1,489, fifo 2,475)"."""
    counts = [(arm.name, len(arm.known(column))) for arm in arms]
    total = sum(count for _name, count in counts)
    return f"n = {total:,} frames ({', '.join(f'{name} {count:,}' for name, count in counts)})"
