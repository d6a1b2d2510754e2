"""Finds the vblanks that a client let pass: it was asked for a frame in time, and answered too late.

A commit answers the frame callback before it. It was due for the first vblank that leaves, after the callback, the time
in which this client usually answers (the lower quartile of its last 64 answers) and the time that its frame needs; and
never before the vblank after the surface's previous frame. Every vblank from then on to the one that its frame was
planned for is the client's, less those in which the compositor itself was late.

Not judged, because the run file cannot tell them from having nothing to show: answers after more than a second, and
surfaces that usually take more than four refresh periods. A surface without frame callbacks keeps its own time. A
client's surfaces on one output miss a vblank once.

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
from minicomp.lab.pipeline.plans import Plans, next_on_grid
from minicomp.lab.pipeline.tables import MISSING, Ints, Joined, take

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
    """A commit that came too late for the vblank it was due for; ns."""

    latch_row: int
    due_ns: int
    target_ns: int
    """The vblank that its frame was planned for instead."""
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
    """Every answer that was due for an earlier vblank than it was planned for; none with the step clock."""
    if joined.run.stepped:
        return  # stamps of commits are on another clock than vblanks
    latches, commits = joined.latches, joined.commits
    content = take(commits.flags, latches.commit_row)
    usable = (latches.commit_row >= 0) & ((np.where(content == MISSING, 0, content) & int(CONTENT)) != 0)
    order = np.lexsort((latches.number, latches.output_id, latches.surface_id))
    busy = _BusyLoop(joined)
    key, usual, previous_ns = None, _Usual(), MISSING
    for row in order[usable[order]].tolist():
        if key != (latches.surface_id[row], latches.output_id[row]):
            key, usual, previous_ns = (latches.surface_id[row], latches.output_id[row]), _Usual(), MISSING
        answer = _judge(joined, plans, row, usual, previous_ns, busy)
        frame = latches.frame_row[row]
        previous_ns = int(plans.target_ns[frame] if plans.shown_ns[frame] == MISSING else plans.shown_ns[frame])
        if answer is not None:
            yield answer


def _judge(joined: Joined, plans: Plans, row: int, usual: _Usual, previous_ns: int, busy: _BusyLoop) -> Answer | None:
    commit, frame = int(joined.latches.commit_row[row]), int(joined.latches.frame_row[row])
    callback, request = int(joined.commits.callback_ns[commit]), int(joined.commits.request_ns[commit])
    target, period = int(plans.target_ns[frame]), float(plans.refresh_ns[frame])
    if MISSING in (callback, request):
        return None
    taken = request - callback
    expected = usual.add(taken)
    if MISSING in (target, previous_ns) or np.isnan(period) or taken > IDLE_NS or expected > ANIMATES_PERIODS * period:
        return None
    ready = max(callback + expected + _needed_ns(joined, plans, frame) - EARLY_NS, previous_ns + period / 2)
    due = next_on_grid(ready, target, period)
    if due > target - period / 2 or taken <= expected:
        return None
    return Answer(row, due, target, callback, request, expected, busy.before(request))


def _needed_ns(joined: Joined, plans: Plans, frame: int) -> int:
    """How long before its vblank the compositor wants a frame's content."""
    budget = int(joined.frames.budget_ns[frame])
    if budget != MISSING:
        return budget
    known = [plans.expected_cost_ns[frame], plans.target_ns[frame] - plans.latest_ns[frame]]
    return int(sum(value for value in known if 0 < value < plans.refresh_ns[frame]))


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
        self.wake = np.where(turns.wake_ns == MISSING, self.begin, turns.wake_ns)
        self.end = np.where(turns.dispatch_end_ns == MISSING, self.begin, turns.dispatch_end_ns)

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
