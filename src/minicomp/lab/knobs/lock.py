"""knobs.lock: whether the compositor lock inherits priorities: decided as it is made, read back from the mutex."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from minicomp.lab.knobs.knob import Effect, Hands, Knob, KnobRefused, Subject

if TYPE_CHECKING:
    from minicomp.config.knobs import KnobSettings


def knobs(settings: KnobSettings) -> list[Knob]:
    """The kind of the lock, when it is set."""
    return [LockKind(settings.lock.kind)] if settings.lock.kind is not None else []


class LockKind(Knob):
    """ "pi": while somebody more urgent waits, the holder runs as urgently. "plain": an ordinary mutex."""

    def __init__(self, wanted: str) -> None:
        super().__init__("knobs.lock.kind", wanted)

    def apply(self, subject: Subject, hands: Hands) -> None:
        if _kind(subject) != self.wanted:
            reason = "the lock was made with the compositor"
            raise KnobRefused(self.name, self.wanted, errno.EBUSY, reason, "start minicomp with it")

    def read_back(self, subject: Subject) -> Effect:
        kind = _kind(subject)
        return Effect(self.name, self.wanted, kind, kind == self.wanted)


def _kind(subject: Subject) -> str:
    if subject.lock_inherits is None:
        return ""
    return "pi" if subject.lock_inherits() else "plain"
