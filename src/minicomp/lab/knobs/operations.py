"""What the knobs do to the machine: few kinds of operation, each of which knows its opposite.

An operation is a value: it travels to the helper as JSON and into the helper's journal as the operation that undoes it.
The helper trusts nothing that it reads: `from_wire` accepts known kinds with fields of the right types only, and
`permit(owner)` says no to what an ordinary user's compositor may not ask for (other users' threads, files that no knob
knows). A family may add kinds of its own: subclass Operation, decorate with `@operation("kind")`, and be imported by
`registry`.
"""

from __future__ import annotations

import os
import re
import types
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, TypeVar, get_args, get_type_hints

from minicomp.lab.knobs import proc


class Owner(NamedTuple):
    """For whom an operation is done: the process at the other end of the helper's socket."""

    pid: int
    uid: int


class Forbidden(Exception):
    """An operation that is malformed, or not for this owner."""


@dataclass(frozen=True)
class Operation(ABC):
    """Fields are int, str or bool (or None): they travel as JSON."""

    kind: ClassVar[str] = ""
    machine_wide: ClassVar[bool] = False  # outlives the process: by the helper only, for one compositor at a time
    capability: ClassVar[int] = proc.CAP_SYS_NICE  # what it takes: who has it in vain needs no helper

    @abstractmethod
    def permit(self, owner: Owner) -> None:
        """Raises Forbidden. Called in the helper before anything else."""

    @abstractmethod
    def undoing(self) -> Operation | None:
        """The operation that brings back the present state, read now; None when there is nothing to bring back."""

    @abstractmethod
    def perform(self) -> None:
        """Raises OSError. In force when it returns."""

    def to_wire(self) -> dict[str, Any]:
        return {"kind": self.kind, **{field.name: getattr(self, field.name) for field in fields(self)}}


_KINDS: dict[str, type[Operation]] = {}
_Kind = TypeVar("_Kind", bound=type[Operation])


def operation(kind: str) -> Callable[[_Kind], _Kind]:
    """Makes a class known under a name of its own."""

    def register(cls: _Kind) -> _Kind:
        assert kind not in _KINDS, kind
        cls.kind = kind
        _KINDS[kind] = cls
        return cls

    return register


def from_wire(message: Any) -> Operation:
    """The operation behind a decoded JSON object. Raises Forbidden."""
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise Forbidden("an operation is an object with a kind")
    cls = _KINDS.get(message["kind"])
    if cls is None:
        raise Forbidden(f"unknown operation {message['kind'][:40]!r}")
    hints = get_type_hints(cls)
    names = [field.name for field in fields(cls)]
    if set(message) - {"kind"} != set(names):
        raise Forbidden(f"{cls.kind} has the fields {', '.join(names)}")
    values = {name: message[name] for name in names}
    for name, value in values.items():
        allowed = get_args(hints[name]) if isinstance(hints[name], types.UnionType) else (hints[name],)
        if type(value) not in allowed:  # exactly: True is no int here
            raise Forbidden(f"{cls.kind}.{name} is of the wrong type")
    return cls(**values)


# ---- files ----


class KnownFile(NamedTuple):
    """A file of /proc/sys or /sys that a knob may write, and the values that it may write there (whole match)."""

    path: re.Pattern[str]
    values: re.Pattern[str]


_KNOWN_FILES: list[KnownFile] = []


def know_file(path: str, values: str) -> None:
    """Allows a family's file; both are regular expressions. Paths must not leave room for "..": no dots in classes."""
    _KNOWN_FILES.append(KnownFile(re.compile(path), re.compile(values)))


@operation("write-file")
@dataclass(frozen=True)
class WriteFile(Operation):
    """One of the machine's settings: a file that knob families declared by `know_file`."""

    machine_wide = True
    path: str
    value: str

    def permit(self, owner: Owner) -> None:
        known = [file for file in _KNOWN_FILES if file.path.fullmatch(self.path)]
        if not known:
            raise Forbidden(f"{self.path[:100]} is no knob's file")
        if not any(file.values.fullmatch(self.value) for file in known):
            raise Forbidden(f"{self.path}: {self.value[:40]!r} is no value that a knob sets")

    def undoing(self) -> WriteFile:
        return WriteFile(self.path, chosen(read_file(self.path)))

    def perform(self) -> None:
        write_file(self.path, self.value)


def read_file(path: str) -> str:
    """The text of a small kernel file, without the line end."""
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def write_file(path: str, text: str) -> None:
    """In one write(2), which is one setting; never through a symbolic link. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def chosen(text: str) -> str:
    """The value in force of a file that lists its choices, `always [madvise] never`; any other text as it is."""
    match = re.search(r"\[([^\]]*)\]", text)
    return match[1] if match else text
