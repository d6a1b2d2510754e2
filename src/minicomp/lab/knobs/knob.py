"""What a knob is: one setting of the kernel that is applied, read back, and undone.

A family of knobs (scheduler, system, cpuset, huge pages, memory, lock) is a module with a function
`knobs(settings: KnobSettings) -> list[Knob]` that returns one Knob for every key, or group of keys, that is set;
`registry` lists the families in the order in which they are applied.

A knob changes the machine only through `Hands`: each `hands.do(name, operation)` first notes how the operation is
undone, then performs it, in this process where the kernel lets it and otherwise in the root helper, whose journal
outlives us. So knobs restore nothing themselves: the undoing is done in reverse order, by `hands.undo(name)`, at exit,
by the helper when this process is killed, or by `minicomp lab restore` when the helper is killed too.

Nothing here imports the compositor: it describes itself as a `Subject`.
"""

from __future__ import annotations

import errno as errors
import os
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from minicomp.errors import PreconditionError

if TYPE_CHECKING:
    from minicomp.lab.knobs.operations import Operation


class Stage(IntEnum):
    """When a knob is applied."""

    BEFORE = 0  # before the compositor exists: what acts on future mappings, the process itself, the lock's kind
    RUNNING = 1  # loop and render thread exist, nothing has said "ready" yet


class StartedWith(NamedTuple):
    """How the compositor's own memory is mapped: settled when it starts."""

    populate: bool
    advise: bool
    released: str
    stack_kib: int


class MemoryState(NamedTuple):
    """The compositor's own big memory (native/pure/memory.h), and what the kernel said to the advice on it."""

    started_with: StartedWith
    regions: tuple[tuple[str, int, int], ...]  # "ring", "frame" or "stack"; address; bytes
    populated: int  # calls that worked
    advised: int
    released: int
    populate_error: int  # errno of the last call that did not; 0: none
    advise_error: int
    release_error: int


class Subject(NamedTuple):
    """The process that the knobs are for. Thread ids are 0 where there is no such thread (or not yet)."""

    pid: int
    loop_tid: int = 0
    render_tid: int = 0
    client_pids: tuple[int, ...] = ()
    refresh_ns: int = 0  # of the fastest output that is on; 0: none yet
    # CPU time (ns) that a thread ("render", "loop") used per refresh: the given quantile of what was measured lately,
    # or 0 while too little was. None: nothing measures.
    cpu_per_refresh_ns: Callable[[str, float], int] | None = None
    overruns: Callable[[], int] | None = None  # how often a deadline budget was spent since the start
    # Lets loop and render thread run once: until then a sleeping thread is still where it slept.
    wake: Callable[[], None] | None = None
    memory: Callable[[], MemoryState] | None = None
    lock_inherits: Callable[[], bool] | None = None  # whether the compositor lock inherits priorities


class Effect(NamedTuple):
    """What became of a knob. `wanted` and `effective` are plain values, ready for JSON."""

    name: str  # "knobs.render", "knobs.system.governor": the dotted key, or the table that is applied as one
    wanted: Any
    effective: Any  # what the kernel says, read by another way than it was set where there is one
    took_effect: bool
    note: str = ""  # the kernel's reason and the remedy when it did not; else what else is worth knowing

    def to_dict(self) -> dict[str, Any]:
        return self._asdict()


class KnobRefused(Exception):
    """The kernel, or the helper, refuses a knob. `errno` is 0 where no system call failed."""

    def __init__(self, knob: str, wanted: Any, errno: int, reason: str, remedy: str) -> None:
        self.knob, self.wanted, self.errno, self.reason, self.remedy = knob, wanted, errno, reason, remedy
        code = f"{errors.errorcode.get(errno, errno)}: " if errno else ""
        super().__init__(f"{knob} = {wanted}: {code}{reason}")

    def as_effect(self) -> Effect:
        return Effect(self.knob, self.wanted, None, False, f"{self} ({self.remedy})")

    def as_error(self) -> PreconditionError:
        """For knobs.strict: one line, exit code 69."""
        return PreconditionError(str(self), todo=self.remedy)


def refused(knob: str, wanted: Any, error: OSError, remedy: str = "", reason: str = "") -> KnobRefused:
    """The refusal for a system call's error; reason and remedy are the general ones unless given."""
    number = error.errno or errors.EIO
    text = reason or os.strerror(number)
    if error.filename and not reason:
        text = f"{error.filename}: {text}"
    return KnobRefused(knob, wanted, number, text, remedy or "`minicomp doctor --for lab` says what is possible here")


class Hands(Protocol):
    """How a knob changes something. Implemented in `hands`."""

    def do(self, knob: str, operation: Operation) -> None:
        """Performs `operation` and remembers under the knob's name how to undo it.

        Raises OSError with the kernel's errno, or KnobRefused when it needs the helper and there is none.
        """

    def undo(self, knob: str) -> list[str]:
        """Undoes, last first, what was done under that name; what could not be undone, in words."""


class Knob:
    """One knob with the value it is to have. Subclasses are small; their `name` is as `Effect.name`."""

    name: str
    stage: Stage = Stage.RUNNING

    def __init__(self, name: str, wanted: Any) -> None:
        self.name = name
        self.wanted = wanted

    def apply(self, subject: Subject, hands: Hands) -> None:
        """Raises KnobRefused."""
        raise NotImplementedError

    def read_back(self, subject: Subject) -> Effect:
        """What the kernel says now. Called after apply(), and again at any time."""
        raise NotImplementedError

    def update(self, subject: Subject, hands: Hands) -> bool:
        """Called about twice a second with the subject as it is now: new clients, another mode, other measured costs.

        True when something was changed (it is read back and reported again). Raises KnobRefused.
        """
        return False
