"""The causes that a miss can have, a cause with its sentence, and what the kernel's side of a trace has to offer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np

CauseName = Literal[
    "client late",
    "wake late",
    "lock wait",
    "page fault",
    "deadline throttled",
    "compose overrun",
    "KMS late",
    "prediction error",
    "unknown",
]

CAUSES: tuple[CauseName, ...] = get_args(CauseName)
EXPLAINS_SHARE = 0.5
"""What makes up at least this part of a lateness explains it."""


@dataclass(frozen=True)
class Cause:
    """One miss: `vblanks` vblanks in a row of one output, from `vblank_ns` on, for one reason."""

    name: CauseName
    evidence: str
    """One sentence, without a full stop."""
    output_id: int
    frame_id: int
    """The frame that was shown too late; for a client's miss the frame that took its answer."""
    frame_row: int
    surface_id: int
    """0 when the miss is the compositor's: then it is that of every surface in the frame."""
    vblank_ns: int
    vblanks: int
    times_ns: dict[str, int] = field(default_factory=dict)
    """What contributed: each stage's excess over its plan."""

    @property
    def compositor_side(self) -> bool:
        return self.name != "client late"


class Reason(NamedTuple):
    name: CauseName
    evidence: str
    times_ns: dict[str, int] = {}


class Runner(Protocol):
    """A program that ran while a thread of ours waited."""

    @property
    def words(self) -> str: ...
    @property
    def ran_ns(self) -> int: ...


class Account(Protocol):
    """Where the time of one thread went between two times; ns."""

    @property
    def ran_ns(self) -> int: ...
    @property
    def waiting_ns(self) -> int: ...
    @property
    def throttled_ns(self) -> int: ...
    @property
    def idle_ns(self) -> int: ...
    @property
    def asleep_ns(self) -> int: ...
    @property
    def instead(self) -> Sequence[Runner]: ...
    @property
    def in_deadline_class(self) -> bool: ...


class KernelSide(Protocol):
    """The kernel's half of a trace; `lab.kernel` has it."""

    def account(self, thread: str, begin_ns: int, end_ns: int) -> Account | None:
        """None when the trace does not cover the thread or the time."""


def ms(ns: float | np.integer[Any]) -> str:
    """ "8.1 ms"; below a tenth of one two more digits."""
    value = float(ns) / 1e6
    return f"{value:.1f} ms" if abs(value) >= 0.1 or value == 0 else f"{value:.3f} ms"
