"""What outlives a probe's process and must be put back: kernel files and cgroups.

A guardian does it: a forked process in a session of its own that waits until the probe is done, or dead (killed by the
runner, crashed), and then writes the old values and removes the cgroups.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_BRACKETED = ("[", "]")
_REMOVING_S = 3.0


def read_setting(path: str | Path) -> str:
    """The value; of "always [madvise] never", the chosen word."""
    text = Path(path).read_text().strip()
    if all(bracket in text for bracket in _BRACKETED):
        return text.partition("[")[2].partition("]")[0]
    return text


_CONTROLLERS = "cgroup.subtree_control"


def controller(mount: str, name: str) -> dict[str, str]:
    """What `changed` has to write so that new groups below a cgroup v2's root have the controller; {} if they do."""
    file = f"{mount}/{_CONTROLLERS}"
    return {} if name in Path(file).read_text().split() else {file: f"+{name}"}


@contextmanager
def changed(values: Mapping[str, str], cgroups: Sequence[str] = ()) -> Iterator[None]:
    """Writes `values` into kernel files and creates `cgroups`; both are undone at the end, whatever ends it.

    Raises OSError when one is refused; those before it are undone as well.
    """
    old = {
        path: value.replace("+", "-") if path.endswith(_CONTROLLERS) else read_setting(path)
        for path, value in values.items()
    }
    reading, writing = os.pipe()
    guardian = os.fork()
    if guardian == 0:
        _guard(reading, writing, old, cgroups)
    os.close(reading)
    try:
        for group in cgroups:
            os.mkdir(group)
        for path, value in values.items():
            Path(path).write_text(value)
        yield
    finally:
        os.write(writing, b"x")  # not only closed: a child of the probe may hold it open
        os.close(writing)
        os.waitpid(guardian, 0)


def _guard(reading: int, writing: int, old: Mapping[str, str], cgroups: Sequence[str]) -> None:
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.close(writing)
        os.read(reading, 1)
        for path, value in reversed(list(old.items())):
            with suppress(OSError):
                Path(path).write_text(value)
        deadline = time.monotonic() + _REMOVING_S
        for group in cgroups:
            _remove(group, deadline)
    finally:
        os._exit(0)


def _remove(group: str, deadline: float) -> None:
    """As soon as its processes have ended or left."""
    while time.monotonic() < deadline:
        try:
            os.rmdir(group)
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)
