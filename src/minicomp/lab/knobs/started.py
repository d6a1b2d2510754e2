"""For knobs that the compositor itself turns while it starts, from its configuration: what they were started with."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from minicomp.lab.knobs.knob import KnobRefused, MemoryState, Subject


def check_started_with(name: str, wanted: Any, subject: Subject, value: Callable[[MemoryState], Any]) -> None:
    """Raises KnobRefused when memory was not mapped that way, which cannot be changed any more."""
    if subject.memory is None or value(subject.memory()) != wanted:
        reason = "it is decided when the memory is mapped"
        raise KnobRefused(name, wanted, errno.EBUSY, reason, "start minicomp with it")
