"""Joins the records of each composed frame into one row: queued, planned, woken, composed, committed, presented.

Where a frame has several records of one point (a retry after a refused commit), the last one counts, except that it was
queued when it was first needed.
"""

from __future__ import annotations

import numpy as np

from minicomp.lab.pipeline.lookup import Records, before
from minicomp.lab.pipeline.points import (
    PRESENT_DISCARDED,
    PRESENT_KIND_MASK,
    PRESENT_ORIGIN_MASK,
    PRESENT_ORIGIN_SHIFT,
    PRESENT_SEQ_SHIFT,
    ComposeFlag,
    KmsFlag,
    Point,
    QueueReason,
)
from minicomp.lab.pipeline.tables import MISSING, Bools, Frames, Ints, known_or, take

_FRAME_MAKERS = (
    Point.COMPOSE_BEGIN,
    Point.COMPOSE_END,
    Point.KMS_COMMIT_BEGIN,
    Point.KMS_COMMIT_END,
    Point.PRESENTED,
)


def join_frames(records: Records, *, stepped: bool) -> Frames:
    """One row for each frame that was composed, committed or presented, sorted by (output, frame)."""
    keys = np.unique(records.frame[records.of(*_FRAME_MAKERS)])
    keys = keys[keys & 0xFFFFFFFF != 0]
    columns = _FrameColumns(records, keys)

    composing = columns.last(Point.COMPOSE_BEGIN)
    queued = columns.queued(composing)
    compose_begin = take(records.t_ns, composing)
    compose_end_flags = columns.flags(Point.COMPOSE_END)
    kms_end_flags = columns.flags(Point.KMS_COMMIT_END)
    wake_planned = _nonzero(columns.arg(Point.RENDER_WAKE))
    planned = _nonzero(columns.arg(Point.FRAME_PLANNED))
    if not stepped:  # these two are CLOCK_MONOTONIC always, a plan is on the modelled clock when stepped
        planned = known_or(known_or(planned, wake_planned), compose_begin)
    budget_us = columns.flags(Point.FRAME_PLANNED)
    present_flags = columns.flags(Point.PRESENTED)
    told = columns.time(Point.PRESENTED)
    known = told != MISSING
    discarded = known & (present_flags & PRESENT_DISCARDED != 0)
    wake = columns.last(Point.RENDER_WAKE)
    lock_begin, lock_end = _frame_lock_waits(records, wake, composing)
    return Frames(
        output_id=keys >> 32,
        frame_id=keys & 0xFFFFFFFF,
        queued_ns=take(records.t_ns, queued),
        reason=take(records.flags, queued),
        predicted_ns=_nonzero(take(records.arg, columns.predicting(composing))),
        planned_ns=planned,
        budget_ns=np.where(budget_us > 0, budget_us * 1000, MISSING),
        wake_ns=take(records.t_ns, wake),
        wake_planned_ns=wake_planned,
        lock_begin_ns=lock_begin,
        lock_end_ns=lock_end,
        compose_begin_ns=compose_begin,
        compose_end_ns=columns.time(Point.COMPOSE_END),
        scanout=_has_flag(compose_end_flags, ComposeFlag.DIRECT_SCANOUT),
        kms_begin_ns=columns.time(Point.KMS_COMMIT_BEGIN),
        kms_end_ns=columns.time(Point.KMS_COMMIT_END),
        refused=_has_flag(kms_end_flags, KmsFlag.REFUSED),
        told_ns=told,
        presented_ns=np.where(discarded, MISSING, _nonzero(columns.arg(Point.PRESENTED))),
        seq=np.where(known, present_flags >> PRESENT_SEQ_SHIFT, MISSING),
        kind=np.where(known, present_flags & PRESENT_KIND_MASK, MISSING),
        origin=np.where(known, (present_flags >> PRESENT_ORIGIN_SHIFT) & PRESENT_ORIGIN_MASK, MISSING),
        discarded=discarded,
        cpu_ns=columns.arg(Point.SCHED),
        sched_flags=columns.flags(Point.SCHED),
    )


class _FrameColumns:
    """Looks up records by frame: each answer has one entry a frame key."""

    def __init__(self, records: Records, keys: Ints) -> None:
        self.records = records
        self.keys = keys

    def last(self, point: Point) -> Ints:
        """Position of the last record of this point for each frame, or -1."""
        return self._scatter(self.records.of(point))

    def time(self, point: Point) -> Ints:
        return take(self.records.t_ns, self.last(point))

    def arg(self, point: Point) -> Ints:
        return take(self.records.arg, self.last(point))

    def flags(self, point: Point) -> Ints:
        return take(self.records.flags, self.last(point))

    def queued(self, composing: Ints) -> Ints:
        """Position of the FRAME_QUEUED that made each frame needed: the first that is not for callbacks alone.

        Requests for callbacks alone compose nothing and leave the frame's number to the next one that does.
        """
        queued = self._until(composing)
        needs = queued[self.records.flags[queued] & ~int(QueueReason.CALLBACK_ONLY) != 0]
        first = self._scatter(needs[::-1])
        return np.where(first >= 0, first, self._scatter(queued))

    def predicting(self, composing: Ints) -> Ints:
        """Position of the last FRAME_QUEUED with a prediction before each frame was composed."""
        queued = self._until(composing)
        return self._scatter(queued[self.records.arg[queued] != 0])

    def _until(self, composing: Ints) -> Ints:
        queued = self.records.of(Point.FRAME_QUEUED)
        rows = self._rows(queued)
        begun = take(composing, rows)
        return queued[(rows >= 0) & ((begun < 0) | (queued < begun))]

    def _rows(self, positions: Ints) -> Ints:
        if not len(self.keys):
            return np.full(len(positions), -1, np.int64)
        wanted = self.records.frame[positions]
        rows = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[rows] == wanted, rows, -1)

    def _scatter(self, positions: Ints) -> Ints:
        """Where several positions belong to one frame, the last one given stays (numpy's rule for assignment)."""
        found = np.full(len(self.keys), -1, np.int64)
        rows = self._rows(positions)
        found[rows[rows >= 0]] = positions[rows >= 0]
        return found


def _frame_lock_waits(records: Records, wake: Ints, composing: Ints) -> tuple[Ints, Ints]:
    """Each frame's last lock wait of its composing thread between its wake and its composing, or MISSING."""
    ends = records.of(Point.LOCK_WAIT_END)
    begins = records.of(Point.LOCK_WAIT_BEGIN)
    has_both = (wake >= 0) & (composing >= 0)
    thread = take(records.source, composing)
    end = np.full(len(composing), -1, np.int64)
    end[has_both] = before(thread[has_both], composing[has_both], records.source[ends], ends)
    end = take(ends, end)
    end = np.where(end > wake, end, -1)
    begin = np.full(len(composing), -1, np.int64)
    begin[end >= 0] = before(thread[end >= 0], end[end >= 0], records.source[begins], begins)
    begin = np.maximum(take(begins, begin), -1)
    begin_ns = np.where(end >= 0, take(records.t_ns, begin), MISSING)
    return begin_ns, np.where(begin >= 0, take(records.t_ns, end), MISSING)


def _nonzero(column: Ints) -> Ints:
    """Times that are not positive stand for "unknown"."""
    return np.where(column > 0, column, MISSING)


def _has_flag(flags: Ints, flag: int) -> Bools:
    bits: Ints = known_or(flags, 0) & int(flag)
    return bits.astype(np.bool_)
