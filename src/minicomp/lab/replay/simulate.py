"""Runs one policy on one workload: a simulation of clients, compositor and display, event by event.

A client commits; when the policy's start has come, and the frame's own wake lateness and lock wait have passed, what
was committed until then is composed; the commit returns after the frame's own composing and commit times; the display
shows it at the first vblank at least `latch` later that no earlier frame has; the compositor is told as late as it was
in the recording. While a frame is composed the lock is held: commits wait for its end. Who composes also asks clients
for their next frames, so callbacks wait from a frame's start to its commit's return.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from minicomp.lab.replay.policies.base import Done, Plan, Policy
from minicomp.lab.replay.workload import Cost, Surface, Workload

Content = tuple[int, int | None, int]
"""A commit: its place in the surface's commits, the callback that it answers, when it was made."""


@dataclass(frozen=True)
class Shown:
    """A commit that became visible."""

    surface_id: int
    number: int
    """Place in the surface's commits, from 0."""
    callback_ns: int | None
    """The callback that it answers."""
    committed_ns: int
    shown_ns: int


@dataclass(frozen=True, eq=False)
class Frame:
    planned_ns: int
    done: Done
    target_ns: int
    """The vblank that it was for."""
    shown_ns: int
    vblank: int
    """Number of the vblank that showed it."""
    contents: dict[int, Content]
    """By surface: what it showed for the first time."""


@dataclass
class Outcome:
    policy: str
    frames: list[Frame] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    superseded: int = 0
    """Commits that a newer one of the same surface replaced before a vblank."""
    replaced: int = 0
    """Frames that a newer one replaced before their vblank (`Policy.replace_margin_ns`)."""
    unanswered: int = 0
    """Commits of the recording that never came, because their callback never did."""


class _Client:
    """One surface on its way through its commits."""

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self.next = 0
        self.wishes = False
        self.called_ns: int | None = None
        self.pending: Content | None = None
        """The newest content that no frame has taken."""


def simulate(workload: Workload, policy: Policy) -> Outcome:
    """Runs until every commit of the workload has been made and shown."""
    return _Simulation(workload, policy).run()


class _Simulation:
    def __init__(self, workload: Workload, policy: Policy) -> None:
        self.workload = workload
        self.policy = policy
        self.outcome = Outcome(policy.name)
        self.clients = [_Client(surface) for surface in workload.surfaces]
        self.events: list[tuple[int, int, Callable[[int], None]]] = []
        self.order = 0
        self.plan: Plan | None = None
        self.plan_number = 0
        self.busy = False
        """From a frame's start to its commit's return."""
        self.composing_until_ns = 0
        self.waiting_calls: list[_Client] = []
        self.in_flight: deque[Frame] = deque()
        self.told_of_any = False
        self.told_ns = 0
        self.last_vblank: int | None = None
        self.frames = 0

    def run(self) -> Outcome:
        for client in self.clients:
            at_ns = client.surface.commits[0].at_ns
            assert at_ns is not None
            self._at(at_ns, self._committer(client))
        while self.events:
            now_ns, _order, act = heapq.heappop(self.events)
            act(now_ns)
        self.outcome.unanswered = sum(len(client.surface.commits) - client.next for client in self.clients)
        return self.outcome

    def _at(self, t_ns: int, act: Callable[[int], None]) -> None:
        self.order += 1
        heapq.heappush(self.events, (t_ns, self.order, act))

    # ---- clients

    def _committer(self, client: _Client) -> Callable[[int], None]:
        return lambda now_ns: self._commit(client, now_ns)

    def _commit(self, client: _Client, now_ns: int) -> None:
        if now_ns < self.composing_until_ns:
            self._at(self.composing_until_ns, self._committer(client))
            return
        commits = client.surface.commits
        commit = commits[client.next]
        answered = client.called_ns if commit.response_ns is not None else None
        if answered is not None:
            self.policy.answered(client.surface.surface_id, answered, now_ns)
        if client.pending is not None:
            self.outcome.superseded += 1
        client.pending = (client.next, answered, now_ns)
        client.wishes = commit.wants_callback
        client.next += 1
        if client.next < len(commits) and (gap_ns := commits[client.next].gap_ns) is not None:
            self._at(now_ns + gap_ns, self._committer(client))
        self._plan_if_wanted(now_ns, 0)

    def _call(self, client: _Client, now_ns: int) -> None:
        if self.busy:
            self.waiting_calls.append(client)
            return
        if not client.wishes:
            return
        client.wishes = False
        client.called_ns = now_ns
        commits = client.surface.commits
        if client.next < len(commits) and (response_ns := commits[client.next].response_ns) is not None:
            self._at(now_ns + response_ns, self._committer(client))

    def _frame_event(self, now_ns: int) -> None:
        at_ns = self.policy.at_frame_event(now_ns)
        if at_ns is not None:
            for client in self.clients:
                self._at(max(at_ns, now_ns), self._caller(client))

    def _caller(self, client: _Client) -> Callable[[int], None]:
        return lambda now_ns: self._call(client, now_ns)

    # ---- frames

    def _plan_if_wanted(self, now_ns: int, shown_ns: int) -> None:
        wanted = any(client.pending is not None for client in self.clients)
        if not wanted or self.busy or self.plan is not None or len(self.in_flight) >= self.policy.max_in_flight:
            return
        self._take_plan(self.policy.plan(now_ns, shown_ns), now_ns)
        if self.plan is not None and self.plan.frame_event:
            self._frame_event(now_ns)

    def _take_plan(self, plan: Plan, now_ns: int) -> None:
        # Before the first flip nobody knows where the vblanks are: such a plan aims at none.
        self.plan = plan if self.told_of_any else replace(plan, target_ns=0)
        self.plan_number += 1
        number = self.plan_number
        self._at(max(plan.start_ns, now_ns), lambda t_ns: self._start(number, t_ns))

    def _start(self, number: int, now_ns: int) -> None:
        if number != self.plan_number or self.plan is None:
            return  # planned anew meanwhile
        plan, self.plan, self.busy = self.plan, None, True
        costs = self.workload.costs
        cost = costs[self.frames % len(costs)]
        self.frames += 1
        begun_ns = now_ns + cost.wake_ns + cost.lock_ns
        self._at(begun_ns, lambda t_ns: self._compose(plan, cost, t_ns))

    def _compose(self, plan: Plan, cost: Cost, now_ns: int) -> None:
        contents = {}
        for client in self.clients:
            if client.pending is not None:
                contents[client.surface.surface_id] = client.pending
                client.pending = None
        composed_ns = now_ns + cost.compose_ns
        done = Done(plan, now_ns, composed_ns, composed_ns + cost.commit_ns)
        self.composing_until_ns = done.committed_ns
        self._at(done.committed_ns, lambda t_ns: self._committed(done, contents, cost))

    def _committed(self, done: Done, contents: dict[int, Content], cost: Cost) -> None:
        now_ns = done.committed_ns
        self.busy = False
        frame = self._flip(done, contents)
        self.in_flight.append(frame)
        self.policy.committed(done)
        for client in self.clients:
            if client.surface.surface_id in contents:
                at_ns = self.policy.callback_after_commit(client.surface.surface_id, done)
                if at_ns is not None:
                    self._at(max(at_ns, now_ns), self._caller(client))
        # News of flips comes in order: a late one delays the next.
        self.told_ns = max(now_ns, frame.shown_ns + cost.told_ns, self.told_ns)
        self._at(self.told_ns, lambda t_ns: self._presented(frame, t_ns))
        calls, self.waiting_calls = self.waiting_calls, []
        for client in calls:
            self._call(client, now_ns)
        self._plan_if_wanted(now_ns, 0)

    def _flip(self, done: Done, contents: dict[int, Content]) -> Frame:
        """When the display will show the frame whose commit has just returned."""
        grid, margin_ns = self.workload.grid, self.policy.replace_margin_ns
        vblank = grid.index_at_or_after(done.committed_ns + self.workload.latch.ns)
        if self.in_flight and margin_ns is not None and done.committed_ns <= self.in_flight[-1].shown_ns - margin_ns:
            older = self.in_flight.pop()
            self.outcome.replaced += 1
            self.outcome.superseded += len(older.contents.keys() & contents.keys())
            contents = {**older.contents, **contents}
            self.last_vblank = older.vblank - 1
        if self.last_vblank is not None:
            vblank = max(vblank, self.last_vblank + 1)
        self.last_vblank = vblank
        target_ns = done.plan.target_ns or grid.time_ns(grid.index_at_or_after(done.plan.start_ns + 1))
        return Frame(done.plan.start_ns, done, target_ns, grid.time_ns(vblank), vblank, contents)

    def _presented(self, frame: Frame, now_ns: int) -> None:
        if frame not in self.in_flight:
            return  # replaced
        self.in_flight.remove(frame)
        self.told_of_any = True
        self.outcome.frames.append(frame)
        for surface_id, content in frame.contents.items():
            self.outcome.shown.append(Shown(surface_id, *content, frame.shown_ns))
        self.policy.presented(frame.done, frame.vblank + 1, frame.shown_ns, now_ns)
        if self.plan is not None and self.plan.start_ns > now_ns:
            plan = self.policy.replan(self.plan, now_ns)
            if plan is not self.plan:
                self._take_plan(plan, now_ns)
        self._plan_if_wanted(now_ns, frame.shown_ns)
        self._frame_event(now_ns)
