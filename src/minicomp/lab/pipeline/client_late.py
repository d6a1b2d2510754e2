"""Finds the vblanks that passed because a client was asked for its frame too late, or answered too late.

A surface that asks for frame callbacks with its commits is to be shown at every vblank. After the frame that took its
last commit was handed over, it was to be *asked* so early that the next vblank could still be reached with the time in
which it usually answers (the lower quartile of its last 64 answers) and the time that its frame needs. Vblanks that had
passed before the callback came are the compositor's. Vblanks between those that the callback left time for and the one
that the answer's frame was planned for are the client's.

Not judged, because the run file cannot tell them from having nothing to show: answers after more than a second, and
surfaces that usually take more than four refresh periods. A surface without frame callbacks keeps its own time; one on
several outputs keeps that of the output that asks it. A client's surfaces on one output miss a vblank once.

What kept the *compositor* from reading the answer is no fault of the client: the loop thread waiting for the lock, or
(with a kernel trace) for a CPU. `Answer.loop_wait_ns` has what the run file knows of that.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minicomp.lab.pipeline.join import CONTENT
from minicomp.lab.pipeline.lookup import Records
from minicomp.lab.pipeline.plans import Plans, next_on_grid
from minicomp.lab.pipeline.points import CommitFlag, Point
from minicomp.lab.pipeline.tables import MISSING, Ints, Joined, known_or, take

ANSWERS = 64
IDLE_NS = 1_000_000_000
ANIMATES_PERIODS = 4
EARLY_NS = 150_000
"""The pacing leaves clients 100 us more than it expects them to need; plans are in whole microseconds."""
BUSY_TURN_NS = 500_000
"""A dispatch of this length before the answer was read may have kept it waiting (the limit of LOCK_HOLD)."""
BACK_TO_BACK_NS = 50_000


@dataclass(frozen=True)
class Answer:
    """A callback and its answer, for which vblanks passed: [asked_for, due) before it, [due, target) after it; ns."""

    latch_row: int
    asked_for_ns: int
    """The first vblank that the surface could have been shown at again."""
    due_ns: int
    """The first one after the callback, with the usual answer."""
    target_ns: int
    """The one that its frame was planned for."""
    ask_by_ns: int
    """When the callback had to be sent for `asked_for_ns`."""
    callback_ns: int
    request_ns: int
    usual_ns: int
    loop_wait_ns: int
    """How long the loop thread waited for the lock before it read the commit, or was busy with other requests."""

    @property
    def late_ns(self) -> int:
        """How much longer than usual the answer took."""
        return self.request_ns - self.callback_ns - self.usual_ns


def late_answers(joined: Joined, plans: Plans) -> Iterator[Answer]:
    """Every one for which vblanks passed; none with the step clock."""
    if joined.run.stepped:
        return  # stamps of commits are on another clock than vblanks
    latches, commits = joined.latches, joined.commits
    content = take(commits.flags, latches.commit_row)
    usable = (latches.commit_row >= 0) & ((known_or(content, 0) & int(CONTENT)) != 0)
    order = np.lexsort((latches.number, latches.output_id, latches.surface_id))
    busy = _BusyLoop(joined)
    asking = _asking_outputs(joined)
    key, usual, previous = None, _Usual(), -1
    for row in order[usable[order]].tolist():
        if key != (latches.surface_id[row], latches.output_id[row]):
            key, usual, previous = (latches.surface_id[row], latches.output_id[row]), _Usual(), -1
        if asking.get(int(latches.surface_id[row])) != latches.output_id[row]:
            continue
        answer = _judge(joined, plans, row, usual, previous, busy)
        previous = row
        if answer is not None:
            yield answer


def _judge(joined: Joined, plans: Plans, row: int, usual: _Usual, previous: int, busy: _BusyLoop) -> Answer | None:
    """`previous`: the surface's latch before, or -1."""
    commits, latches = joined.commits, joined.latches
    commit, frame = int(latches.commit_row[row]), int(latches.frame_row[row])
    callback, request = int(commits.callback_ns[commit]), int(commits.request_ns[commit])
    target, period = int(plans.target_ns[frame]), float(plans.refresh_ns[frame])
    if MISSING in (callback, request):
        return None
    taken = request - callback
    expected = usual.add(taken)
    if previous < 0 or MISSING in (target, plans.shown_ns[latches.frame_row[previous]]) or np.isnan(period):
        return None
    if taken > IDLE_NS or expected > ANIMATES_PERIODS * period:
        return None
    shown = int(plans.shown_ns[latches.frame_row[previous]])
    needs = expected + _needed_ns(joined, plans, frame) - EARLY_NS
    due = min(next_on_grid(max(callback + needs, shown + period / 2), target, period), target)
    asked_for = due
    free = int(plans.handed_ns[latches.frame_row[previous]])
    in_turn = commits.number[commit] == latches.number[previous] + 1
    if in_turn and commits.flags[latches.commit_row[previous]] & CommitFlag.CALLBACK and free != MISSING:
        asked_for = min(next_on_grid(max(free + needs, shown + period / 2), target, period), due)
    if taken <= expected:
        target = due
    if target - asked_for < period / 2:
        return None
    return Answer(
        row, asked_for, due, target, asked_for - needs, callback, request, expected, busy.before(request)
    )  # fmt: skip


def _needed_ns(joined: Joined, plans: Plans, frame: int) -> int:
    """How long before its vblank the compositor wants a frame's content."""
    budget = int(joined.frames.budget_ns[frame])
    if budget != MISSING:
        return budget
    known = [plans.expected_cost_ns[frame], plans.target_ns[frame] - plans.latest_ns[frame]]
    return int(sum(value for value in known if 0 < value < plans.refresh_ns[frame]))


def _asking_outputs(joined: Joined) -> dict[int, int]:
    """For each surface: the output that sends its frame callbacks; where the run does not tell, its first output."""
    latches = joined.latches
    order = np.argsort(latches.output_id, kind="stable")[::-1]
    found: dict[int, int] = dict(
        zip(latches.surface_id[order].tolist(), latches.output_id[order].tolist(), strict=True)
    )
    records = Records(joined.run)
    asked = records.of(Point.FRAME_CALLBACK)
    asked = asked[records.frame[asked] >> 32 != 0]
    found |= zip(records.surface_id[asked].tolist(), (records.frame[asked] >> 32).tolist(), strict=True)
    return found


class _Usual:
    """The lower quartile of the last answers of one surface."""

    def __init__(self) -> None:
        self._recent: deque[int] = deque()
        self._sorted: list[int] = []

    def add(self, taken_ns: int) -> int:
        if len(self._recent) == ANSWERS:
            self._sorted.remove(self._recent.popleft())
        self._recent.append(taken_ns)
        insort(self._sorted, taken_ns)
        return self._sorted[(len(self._sorted) - 1) // 4]


class _BusyLoop:
    """Looks up what the loop thread did just before it read a request."""

    def __init__(self, joined: Joined) -> None:
        turns = joined.turns
        self.begin: Ints = turns.dispatch_begin_ns
        self.wake = known_or(turns.wake_ns, self.begin)
        self.end = known_or(turns.dispatch_end_ns, self.begin)

    def before(self, request_ns: int) -> int:
        turn = int(np.searchsorted(self.begin, request_ns, "right")) - 1
        if turn < 0:
            return 0
        waited = int(self.begin[turn] - self.wake[turn])
        within = request_ns - int(self.begin[turn])
        if turn > 0 and self.wake[turn] - self.end[turn - 1] <= BACK_TO_BACK_NS:
            before = int(self.end[turn - 1] - self.wake[turn - 1])
            waited += before if before >= BUSY_TURN_NS else 0
        return waited + (within if within >= BUSY_TURN_NS else 0)
