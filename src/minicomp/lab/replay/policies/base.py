"""What a frame scheduler is to a replay: when does a frame begin, and when are clients asked for the next.

The replay calls, for each output and in time order: `plan` when a frame is wanted and may be begun, `committed` when
its commit has returned, `callback_after_commit` for each surface whose content it took, `presented` when the compositor
is told that it was shown, `at_frame_event` for schedulers that ask clients when a flip is done. A policy knows only
what its compositor would know. All times are ns of one clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

VBLANK_SHARE = 45 / 1125
"""Share of a refresh that a display spends between two pictures: CEA-861's 1920x1080 has 1125 lines, 45 of them blank.
KWin and Mutter take it from the mode; a run file does not hold it."""


@dataclass(frozen=True)
class Display:
    """What a compositor is told of an output before its first frame."""

    refresh_ns: int
    """By the mode."""
    target_miss_rate: float = 0.001
    """The share of missed vblanks that the user allows; only our own adaptive pacing asks."""


@dataclass(frozen=True)
class Plan:
    start_ns: int
    """When to begin; not before the plan was made."""
    target_ns: int
    """The vblank it is for; 0: none in particular, the first one after the start."""
    frame_event: bool = False
    """The wish came while nothing went on: clients are asked as when a flip is done."""
    native: Any = None


@dataclass(frozen=True)
class Done:
    """How a frame went, up to its commit's return."""

    plan: Plan
    begun_ns: int
    """Composing began: the start, wake lateness and lock wait later."""
    composed_ns: int
    committed_ns: int


class Policy:
    """The base of all; as it stands it begins frames at once and asks clients right after each commit."""

    max_in_flight = 1
    """How many committed frames may wait for their vblanks (2: triple buffering)."""
    replace_margin_ns: int | None = None
    """A newer frame replaces one that waits for its vblank, until this long before it; None: each is shown in turn."""

    def __init__(self, name: str, display: Display) -> None:
        self.name = name
        self.display = display

    def plan(self, now_ns: int, shown_ns: int) -> Plan:
        """A frame is wanted now. shown_ns: the vblank whose flip has just been reported, 0 when nothing went on."""
        del shown_ns
        return Plan(now_ns, 0)

    def replan(self, plan: Plan, now_ns: int) -> Plan:
        """A frame was shown while this plan waits for its start."""
        del now_ns
        return plan

    def committed(self, done: Done) -> None:
        """A frame was handed over."""

    def presented(self, done: Done, seq: int, shown_ns: int, told_ns: int) -> None:
        """It was shown at shown_ns, known at told_ns; seq counts the display's vblanks from 1."""

    def callback_after_commit(self, surface_id: int, done: Done) -> int | None:
        """When to ask a surface that the frame took for its next one; None: `at_frame_event` does."""
        del surface_id
        return done.committed_ns

    def at_frame_event(self, now_ns: int) -> int | None:
        """When to ask all surfaces that wish to be asked by then; None: `callback_after_commit` does."""
        del now_ns
        return None

    def answered(self, surface_id: int, called_ns: int, now_ns: int) -> None:
        """A surface answered its callback."""
