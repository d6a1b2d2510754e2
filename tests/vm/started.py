"""Compositors that a test starts on the guest's display, and waiting for what they bring about."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from vmlab import Guest
from vmlab.process import GuestProcess

MINICOMP = (".venv/bin/minicomp", "run", "--backend", "drm")
PIXMAN = {"WLR_RENDERER": "pixman"}
WAIT_S = 30


class Started:
    """The compositors of one test: each is ready when `start` returns, and all are ended with the block."""

    def __init__(self, guest: Guest, timeout_s: float) -> None:
        self.processes: list[GuestProcess] = []
        self._guest, self._timeout_s = guest, timeout_s

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.stop(grace_s=10)

    def start(self, command: Sequence[str], env: Mapping[str, str] = PIXMAN) -> GuestProcess:
        process = self._guest.spawn(list(command), env=dict(env))
        self.processes.append(process)
        process.wait_for("ready:", self._timeout_s)
        return process


def eventually(
    condition: Callable[[], bool], what: str | Callable[[], object], timeout_s: float = WAIT_S, pause_s: float = 0.3
) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, what() if callable(what) else what
        time.sleep(pause_s)
