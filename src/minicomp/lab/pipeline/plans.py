"""What each frame was planned for, and what came of it: its vblank, when it had to be handed over, and when it was.

A frame whose predicted vblank was taken by the frame before it (which was late) is planned anew when that one is shown;
its target is then the vblank of the new plan, or the next one if that plan was made late. A refused frame counts as
shown when the output's next frame is.

The latest hand-over is `latch` before the target: the modelled display states its latch; of other displays it is the
smallest slack with which any frame of the run was in time. With the step clock a frame is handed over at its planned
start: time stands still while it is composed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minicomp.lab.pipeline.cost import FrameCosts, expected_costs_ns, frame_costs
from minicomp.lab.pipeline.misses import refresh_by_row
from minicomp.lab.pipeline.tables import MISSING, Bools, Floats, Ints, Joined, span_ns

GRID_SLACK = 1 / 16
"""Of a refresh period: how exactly a plan's start and budget meet its vblank (the budget is in whole microseconds)."""


@dataclass(frozen=True)
class Plans:
    """One row a frame, as in `Joined.frames`; ns."""

    refresh_ns: Floats
    target_ns: Ints
    """The vblank it was planned for."""
    shown_ns: Ints
    """The vblank that showed it, or of a refused frame the next one; MISSING: not shown, or outside the trace."""
    handed_ns: Ints
    """When the display accepted it."""
    latest_ns: Ints
    """When it had to be handed over for its target."""
    expected_cost_ns: Ints
    """What the pacing reckoned with, from planned start to hand-over; MISSING for an output's first frame."""
    costs: FrameCosts

    @property
    def late(self) -> Bools:
        """Shown more than half a refresh period after its target."""
        return span_ns(self.target_ns, self.shown_ns) > self.refresh_ns / 2


def frame_plans(joined: Joined) -> Plans:
    """The plan of every frame and its outcome."""
    frames = joined.frames
    refresh = refresh_by_row(joined)
    costs = frame_costs(joined)
    shown = np.full(len(frames), MISSING, np.int64)
    target = frames.predicted_ns.copy()
    latest = np.full(len(frames), MISSING, np.int64)
    handed = frames.planned_ns if joined.run.stepped else np.where(frames.refused, MISSING, frames.kms_end_ns)
    for output_id in np.unique(frames.output_id).tolist():
        rows = np.flatnonzero(frames.output_id == output_id)
        _follow_output(joined, rows, refresh, target, shown)
        latch = _latch_ns(joined, output_id, rows, refresh, target, shown, handed)
        if latch is not None:
            latest[rows] = np.where(target[rows] != MISSING, target[rows] - latch, MISSING)
    return Plans(refresh, target, shown, handed, latest, expected_costs_ns(joined, costs), costs)


def next_on_grid(t_ns: float, anchor_ns: int, refresh_ns: float) -> int:
    """The first vblank after t_ns of a display that had one at anchor_ns."""
    return anchor_ns + round((math.floor((t_ns - anchor_ns) / refresh_ns) + 1) * refresh_ns)


def is_asap(joined: Joined) -> bool:
    """Whether frames were begun as soon as they were wanted (pacing.mode)."""
    config = joined.run.meta.get("config")
    pacing = config.get("pacing") if isinstance(config, dict) else None
    return isinstance(pacing, dict) and pacing.get("mode") == "asap"


def _follow_output(joined: Joined, rows: Ints, refresh: Floats, target: Ints, shown: Ints) -> None:
    """Fills `shown` of one output's rows, and moves the targets of frames that had to be planned anew."""
    frames = joined.frames
    following = MISSING
    for row in rows[::-1].tolist():
        if frames.presented_ns[row] != MISSING:
            following = int(frames.presented_ns[row])
            shown[row] = following
        elif frames.refused[row]:
            shown[row] = following
    asap = is_asap(joined)
    previous = told = MISSING
    for row in rows.tolist():
        period = float(refresh[row])
        wanted = int(target[row])
        if MISSING not in (previous, wanted) and wanted <= previous + period / 2:
            # Had the loop thread heard of that flip in time, the next vblank would have been this frame's.
            target[row] = previous + round(period)
            if told - previous <= period / 2:
                target[row] = _planned_anew(joined, row, period, previous, asap)
        if frames.presented_ns[row] != MISSING:
            previous, told = int(frames.presented_ns[row]), int(frames.told_ns[row])


def _planned_anew(joined: Joined, row: int, period: float, taken_ns: int, asap: bool) -> int:
    planned, budget = int(joined.frames.planned_ns[row]), int(joined.frames.budget_ns[row])
    earliest = taken_ns + round(period)
    if planned == MISSING:
        return earliest
    found = next_on_grid(planned, taken_ns, period)
    if budget != MISSING and not asap:
        # The last vblank that start and budget reach: a try with a smaller latch, or a late start, aims before that.
        found = max(found, next_on_grid(planned + budget - (1 - GRID_SLACK) * period, taken_ns, period))
    return max(found, earliest)


def _latch_ns(
    joined: Joined, output_id: int, rows: Ints, refresh: Floats, target: Ints, shown: Ints, handed: Ints
) -> int | None:
    stated = joined.run.names.get(("output", output_id), {}).get("latch_us")
    if isinstance(stated, int | float) and stated > 0:
        return round(stated * 1000)
    slack = span_ns(handed[rows], target[rows])
    in_time = np.abs(span_ns(target[rows], shown[rows])) <= refresh[rows] / 2
    proven = slack[in_time & (slack >= 0)]
    return int(proven.min()) if len(proven) else None
