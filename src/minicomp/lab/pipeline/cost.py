"""What each frame cost its compositor, from the planned start to the commit's return, and in which pieces.

    planned start --wake lateness, lock wait--> compose begins --compose--> KMS commit begins --commit--> returned

The lock wait is the part of the composing thread's last wait for the compositor lock that lies between the planned
start and composing; the rest of the way there is wake lateness. A frame that lacks one of its points has MISSING in
every column. Rows are those of `Joined.frames`. `predicted_cost_ns` is what native/pure/pacing.c reckons with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minicomp.lab.pipeline.lookup import Records, before, find
from minicomp.lab.pipeline.points import Point
from minicomp.lab.pipeline.tables import MISSING, Frames, Ints, Joined, take

WINDOW_FRAMES = 64
"""MC_WINDOW_SIZE of native/pure/window.h; a test compares `predicted_cost_ns` with the compositor's own code."""
OUTLIER_FRAMES = 8
"""MC_WINDOW_FEW: from this many on the largest one is left out (COST_DROP of native/pure/pacing.c)."""
RECENT_FRAMES = 3
"""COST_RECENT of pacing.c."""


@dataclass(frozen=True)
class FrameCosts:
    """Nanoseconds, one row a frame."""

    wake_ns: Ints
    lock_ns: Ints
    compose_ns: Ints
    commit_ns: Ints
    total_ns: Ints


def frame_costs(joined: Joined) -> FrameCosts:
    """The pieces of each frame's cost; empty of facts with the step clock, whose plans are on another clock."""
    frames = joined.frames
    marks = (frames.planned_ns, frames.compose_begin_ns, frames.kms_begin_ns, frames.kms_end_ns)
    known = np.all([mark != MISSING for mark in marks], axis=0) & ~frames.refused
    if joined.run.stepped:
        known = np.zeros(len(frames), np.bool_)
    # A wake-up may come a few microseconds early: the frame then begins before its planned start.
    begun_late = np.maximum(frames.compose_begin_ns - np.minimum(frames.planned_ns, frames.compose_begin_ns), 0)
    lock = np.minimum(_lock_waits(joined, frames), begun_late)
    return FrameCosts(
        wake_ns=np.where(known, begun_late - lock, MISSING),
        lock_ns=np.where(known, lock, MISSING),
        compose_ns=np.where(known, frames.kms_begin_ns - frames.compose_begin_ns, MISSING),
        commit_ns=np.where(known, frames.kms_end_ns - frames.kms_begin_ns, MISSING),
        total_ns=np.where(known, np.maximum(frames.kms_end_ns - frames.planned_ns, 0), MISSING),
    )


def predicted_cost_ns(costs_ns: list[int]) -> int | None:
    """What pacing.c expects of the next frame after frames that cost `costs_ns`; None after none."""
    if not costs_ns:
        return None
    window = sorted(costs_ns[-WINDOW_FRAMES:])
    dropped = int(len(window) >= OUTLIER_FRAMES)
    return max(window[len(window) - 1 - dropped], *costs_ns[-RECENT_FRAMES:])


def expected_costs_ns(joined: Joined, costs: FrameCosts) -> Ints:
    """What the pacing expected of each frame, by the same output's frames before it; MISSING for the first."""
    expected = np.full(len(costs.total_ns), MISSING, np.int64)
    for output_id in np.unique(joined.frames.output_id).tolist():
        known: list[int] = []
        for row in np.flatnonzero(joined.frames.output_id == output_id).tolist():
            cost = predicted_cost_ns(known)
            expected[row] = MISSING if cost is None else cost
            if costs.total_ns[row] != MISSING:
                known.append(int(costs.total_ns[row]))
    return expected


def _lock_waits(joined: Joined, frames: Frames) -> Ints:
    """The composing thread's last wait before composing, as far as it lies after the planned start; 0: none."""
    records = Records(joined.run)
    at = records.of(Point.COMPOSE_BEGIN)
    row = find(frames.output_id << 32 | frames.frame_id, records.frame[at])
    composing = np.full(len(frames), -1, np.int64)
    composing[row[row >= 0]] = at[row >= 0]
    rows = np.flatnonzero(composing >= 0)
    thread = records.source[composing[rows]]
    ends, begins = records.of(Point.LOCK_WAIT_END), records.of(Point.LOCK_WAIT_BEGIN)
    end = take(ends, before(thread, composing[rows], records.source[ends], ends))
    found = end >= 0
    rows, thread, end = rows[found], thread[found], end[found]
    begin = take(begins, before(thread, end, records.source[begins], begins))
    found = begin >= 0
    rows, end, begin = rows[found], end[found], begin[found]
    waits = np.zeros(len(frames), np.int64)
    from_ns = np.maximum(records.t_ns[begin], frames.planned_ns[rows])
    waits[rows] = np.maximum(records.t_ns[end] - from_ns, 0)
    return waits
