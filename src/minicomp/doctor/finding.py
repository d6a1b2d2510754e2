"""What a check has found, and how serious that is for what minicomp is to be used for."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Purpose(StrEnum):
    """What the machine is to be used for; each has its own list of things it cannot do without."""

    HEADLESS = "headless"  # clients under test, no screen
    KIOSK = "kiosk"  # a screen driven through DRM/KMS
    LAB = "lab"  # latency experiments: scheduler classes, cpusets, tracing


class Status(StrEnum):
    PASS = "pass"
    WARN = "warn"  # missing, but not needed for the purpose asked about
    FAIL = "fail"  # missing and needed


class Finding(NamedTuple):
    """One line of the doctor's table."""

    name: str
    good: bool
    why: str  # what was seen
    todo: str = ""  # what to do about it, when it is not good
    needed_for: tuple[Purpose, ...] = ()  # it fails for these, and is a warning for the others

    def status_for(self, purpose: Purpose) -> Status:
        if self.good:
            return Status.PASS
        return Status.FAIL if purpose in self.needed_for else Status.WARN


ALL = tuple(Purpose)
Check = Callable[[], Iterator[Finding]]


def read_text(path: str) -> str | None:
    """A small file's text without the line end; None when it is not there or not for us."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def bracketed(text: str) -> str:
    """The chosen one of a kernel setting such as `always [madvise] never`."""
    start, end = text.find("["), text.find("]")
    return text[start + 1 : end] if 0 <= start < end else text
