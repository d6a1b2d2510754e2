"""Explains every missed vblank with exactly one cause.

A missed vblank is one at which a frame was due and nothing new was shown: from the vblank that a frame was planned for
to the one before it was shown, less those that another frame took. A miss is counted once, for the first frame it hit;
a client's (`client_late`) where the compositor has none. Frames that the display discarded (switched off, other mode)
are counted elsewhere.

The cause is the stage that exceeded its plan most. The rules, in this order; the first that fits decides:

1. The display refused the frame: *KMS late*.
2. It was shown off the grid of the vblank it was planned for, by more than 1/8 of a refresh period (1/3 when stamps are
   not the hardware's or the model's): *prediction error*.
3. Time is stepped: *KMS late*.
4. A point of the frame is missing in the trace, or no frame was ever in time: *unknown*.
5. It was handed over early enough (`plans.latest_ns`): *KMS late*.
6. It was handed over too late. Each stage's excess over its plan is taken, and the largest one names the cause:
   - the plan itself (also when it is only a quarter of the lateness: it came first), when a frame of the usual cost
     would have been too late. *client late* when the content came only then; *wake late* or *lock wait* when the loop
     thread could not read it sooner, or learned too late of the flip before; else *prediction error* (the pacing tried
     a smaller latch, or aimed at a vblank that it could not reach);
   - planned start to composing, without lock waits: *wake late*;
   - waiting for the compositor lock: *lock wait*;
   - composing: *compose overrun*;
   - the commit itself: *KMS late*.
   A stage's plan is its median in the output's 64 frames before and 64 after. Excesses that together make up less than
   half of what was missing explain nothing: *unknown*.
7. What happened inside a stage is looked at more closely, with the kernel's trace or without it (`closer`): *deadline
   throttled*, *wake late* (another program had the CPU), *page fault*.

A client's miss is *lock wait* instead when the loop thread could not read the answer for at least half of the time it
came too late by, and *wake late* when the kernel trace says that it had no CPU for as long. Vblanks that passed because
the client was not asked in time are *lock wait* when the thread that asks was waiting for the lock for half of that
time, else *wake late* or *deadline throttled*.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from minicomp.lab.pipeline.client_causes import client_causes
from minicomp.lab.pipeline.closer import Closer
from minicomp.lab.pipeline.cost import WINDOW_FRAMES
from minicomp.lab.pipeline.plans import Plans, frame_plans
from minicomp.lab.pipeline.points import Origin
from minicomp.lab.pipeline.reasons import CAUSES, EXPLAINS_SHARE, Cause, CauseName, KernelSide, Reason, ms
from minicomp.lab.pipeline.tables import MISSING, Ints, Joined, take

__all__ = ["CAUSES", "Cause", "explain", "shares"]

OFF_GRID = {Origin.HARDWARE: 1 / 8, Origin.MODELLED: 1 / 8}
OFF_GRID_OTHERWISE = 1 / 3
HOPELESS_SHARE = 0.25
"""A plan that alone makes a frame so much of its lateness late comes before what happened later."""
BACK_NS = 50_000_000
"""A plan made when a flip is told may begin before that: its vblank wanted it to."""


def explain(joined: Joined, kernel: KernelSide | None = None) -> list[Cause]:
    """Every missed vblank of a run with its cause, by output and time. `kernel` adds who ran instead."""
    plans = frame_plans(joined)
    closer = Closer(joined, kernel)
    explainer = _Explainer(joined, plans, closer)
    found = list(explainer.frames())
    found += client_causes(joined, plans, closer, found)
    return sorted(found, key=lambda cause: (cause.output_id, cause.vblank_ns, cause.surface_id))


def shares(causes: Iterable[Cause]) -> dict[CauseName, int]:
    """How many missed vblanks each cause of CAUSES has, those without any included."""
    counts = dict.fromkeys(CAUSES, 0)
    for cause in causes:
        counts[cause.name] += cause.vblanks
    return counts


class _Explainer:
    def __init__(self, joined: Joined, plans: Plans, closer: Closer) -> None:
        self.joined, self.frames_, self.plans, self.closer = joined, joined.frames, plans, closer
        queued, planned = joined.frames.queued_ns, joined.frames.planned_ns
        known = (queued != MISSING) & (planned != MISSING)
        self.wanted_late_ns = np.where(known, np.maximum(queued - planned, 0), 0)
        wake = plans.costs.wake_ns
        self.stages = {
            # Nobody could begin before the frame was wanted.
            "wake": np.where(wake != MISSING, np.maximum(wake - self.wanted_late_ns, 0), MISSING),
            "lock": plans.costs.lock_ns,
            "compose": plans.costs.compose_ns,
            "commit": plans.costs.commit_ns,
        }
        self.asked_ns = self._newest_commits()

    # ---- the compositor's ----

    def frames(self) -> Iterable[Cause]:
        for output_id in np.unique(self.frames_.output_id).tolist():
            rows = np.flatnonzero(self.frames_.output_id == output_id)
            taken = np.sort(self.frames_.presented_ns[rows])
            taken = taken[taken != MISSING]
            claimed_ns = MISSING
            for row in rows[self.plans.late[rows]].tolist():
                vblanks = [v for v in self._missed(row, taken) if v > claimed_ns + self.plans.refresh_ns[row] / 2]
                if not vblanks:
                    continue
                claimed_ns = vblanks[-1]
                name, evidence, times = self._frame(row)
                yield Cause(
                    name, evidence, output_id, int(self.frames_.frame_id[row]), row, 0, vblanks[0], len(vblanks), times
                )

    def _missed(self, row: int, taken: Ints) -> list[int]:
        """The vblanks from the frame's target to the one before it was shown, at which no frame was shown."""
        target, period = int(self.plans.target_ns[row]), float(self.plans.refresh_ns[row])
        count = round((int(self.plans.shown_ns[row]) - target) / period)
        vblanks = target + np.round(np.arange(max(count, 1)) * period).astype(np.int64)
        place = np.clip(np.searchsorted(taken, vblanks), 1, max(len(taken) - 1, 1))
        nearest = np.minimum(
            np.abs(taken[place - 1] - vblanks), np.abs(taken[np.minimum(place, len(taken) - 1)] - vblanks)
        )
        found: list[int] = vblanks[nearest > period / 2].tolist()
        if not found and count <= 1 and not self._on_grid(row):
            return [target]  # half a period off: no other frame can have taken a vblank that never was
        return found

    def _frame(self, row: int) -> Reason:
        frames, plans = self.frames_, self.plans
        late = ms(plans.shown_ns[row] - plans.target_ns[row])
        if frames.refused[row]:
            return Reason("KMS late", f"the display refused the frame; the next one was shown {late} after its vblank")
        if not self._on_grid(row):
            off = self._off_grid_ns(row)
            sentence = (
                f"the vblank that showed it came {late} after the predicted one, {ms(off)} from where any was expected"
            )
            return Reason("prediction error", sentence, {"off": off})
        if self.joined.run.stepped:
            return Reason("KMS late", f"handed over in time, shown {late} after its vblank")
        if MISSING in (plans.handed_ns[row], plans.latest_ns[row], frames.planned_ns[row], self.stages["wake"][row]):
            return Reason("unknown", "the run file lacks a point of this frame, or no frame was ever in time")
        spare = int(plans.latest_ns[row] - plans.handed_ns[row])
        if spare >= 0:
            slack = ms(plans.target_ns[row] - plans.handed_ns[row])
            return Reason(
                "KMS late", f"handed over {slack} before its vblank, which is enough, and shown {late} after it"
            )
        return self._too_late(row, -spare)

    def _too_late(self, row: int, missing_ns: int) -> Reason:
        usual = {name: self._usual_ns(column, row) for name, column in self.stages.items()}
        spent = {name: int(column[row]) for name, column in self.stages.items()}
        excess = {name: max(spent[name] - usual[name], 0) for name in self.stages}
        plan, reason = self._plan_error(row, sum(usual.values()))
        worst = max(excess, key=lambda name: excess[name])
        times = {"missing": missing_ns, "plan": plan, **excess}
        if plan >= min(excess[worst], HOPELESS_SHARE * missing_ns) and plan > 0:
            return Reason(reason.name, reason.evidence, times)
        if sum(excess.values()) + plan < EXPLAINS_SHARE * missing_ns:
            sentence = f"handed over {ms(missing_ns)} too late, and no stage took longer than usual"
            return Reason("unknown", sentence, times)
        found = self.closer.look(row, worst, spent[worst], usual[worst])
        return Reason(found.name, found.evidence, {**times, **found.times_ns})

    def _plan_error(self, row: int, usual_ns: int) -> tuple[int, Reason]:
        """How much too late a frame of the usual cost would have been if it had begun when planned, and why."""
        latest, target = int(self.plans.latest_ns[row]), int(self.plans.target_ns[row])
        begun = int(self.frames_.planned_ns[row]) + int(self.wanted_late_ns[row])
        hopeless = begun + usual_ns - latest
        asked = int(self.asked_ns[row])
        if hopeless > 0 and asked != MISSING and asked > latest - usual_ns:
            late = asked - (latest - usual_ns)
            kept = self.closer.read_late(asked - late, asked)
            if kept is not None:
                return hopeless, kept
            sentence = f"committed {ms(late)} too late for a frame of the usual {ms(usual_ns)}"
            return hopeless, Reason("client late", sentence)
        if hopeless > 0 and (told := self._told_late(row, hopeless)) is not None:
            return hopeless, told
        sentence = f"to begin {ms(target - begun)} before its vblank was too late by plan: a frame takes {ms(usual_ns)}"
        return max(hopeless, 0), Reason("prediction error", f"{sentence}, the display wants {ms(target - latest)}")

    def _told_late(self, row: int, hopeless_ns: int) -> Reason | None:
        """The plan had to wait for the flip before, of which the loop thread learned too late."""
        frames = self.frames_
        if row == 0 or frames.output_id[row - 1] != frames.output_id[row]:
            return None
        vblank, told = int(frames.presented_ns[row - 1]), int(frames.told_ns[row - 1])
        if MISSING in (vblank, told) or told - vblank < EXPLAINS_SHARE * hopeless_ns:
            return None
        if not -BACK_NS <= int(frames.planned_ns[row]) - told <= float(self.plans.refresh_ns[row]):
            return None
        return self.closer.loop_late(vblank, told)

    def _usual_ns(self, column: Ints, row: int) -> int:
        """The median of the output's 64 frames before this one and the 64 after it."""
        around = np.arange(max(row - WINDOW_FRAMES, 0), min(row + WINDOW_FRAMES + 1, len(column)))
        around = around[(self.frames_.output_id[around] == self.frames_.output_id[row]) & (around != row)]
        known = column[around]
        known = known[known != MISSING]
        return int(np.median(known)) if len(known) else 0

    def _off_grid_ns(self, row: int) -> int:
        period = float(self.plans.refresh_ns[row])
        late = int(self.plans.shown_ns[row] - self.plans.target_ns[row])
        return round(abs(late - round(late / period) * period))

    def _on_grid(self, row: int) -> bool:
        origin = int(self.frames_.origin[row])
        share = OFF_GRID.get(Origin(origin), OFF_GRID_OTHERWISE) if origin != MISSING else OFF_GRID_OTHERWISE
        return self._off_grid_ns(row) <= share * float(self.plans.refresh_ns[row])

    def _newest_commits(self) -> Ints:
        """For each frame: when the newest of its commits was applied, or MISSING."""
        latches = self.joined.latches
        newest = np.full(len(self.frames_), MISSING, np.int64)
        np.maximum.at(newest, latches.frame_row, take(self.joined.commits.commit_ns, latches.commit_row))
        return newest
