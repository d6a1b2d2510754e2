"""Knobs of the compositor's own memory (native/pure/memory.h): it turns them itself, as it maps the memory.

Here is what they have in common: whether it was started with them, and that they are looked at in smaps.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from minicomp.lab.knobs.knob import Effect, Hands, Knob, KnobRefused, MemoryState, StartedWith, Subject


class OwnMemory(Knob):
    """A knob of our own mappings: given when they are made, looked at in smaps."""

    def __init__(self, name: str, wanted: Any) -> None:
        super().__init__(name, wanted)
        self._seen: MemoryState | None = None

    def apply(self, subject: Subject, hands: Hands) -> None:
        """Raises KnobRefused when memory was not mapped that way, which cannot be changed any more."""
        if subject.memory is None or self.given_by(subject.memory().started_with) != self.wanted:
            reason = "it is decided when the memory is mapped"
            raise KnobRefused(self.name, self.wanted, errno.EBUSY, reason, "start minicomp with it")

    def update(self, subject: Subject, hands: Hands) -> bool:
        """Buffers come and go with outputs and their modes."""
        now = subject.memory() if subject.memory is not None else None
        changed = now is not None and (self._seen is None or self._seen.regions != now.regions)
        self._seen = now
        return changed

    def read_back(self, subject: Subject) -> Effect:
        if subject.memory is None:
            return Effect(self.name, self.wanted, None, False, "not running")
        return self.look(subject, subject.memory())

    def given_by(self, started_with: StartedWith) -> Any:
        """The value that the compositor was started with."""
        raise NotImplementedError

    def look(self, subject: Subject, memory: MemoryState) -> Effect:
        raise NotImplementedError

    def effect(self, effective: Any, took: bool, error: int, what: str) -> Effect:
        note = f"{what}: {os.strerror(error)}" if error else ""
        return Effect(self.name, self.wanted, effective, took and not error, note)
