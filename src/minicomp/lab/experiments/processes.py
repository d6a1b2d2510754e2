"""Processes that an experiment starts, and that end with it: also when it is killed.

Each is the leader of a process group of its own in our session (so that all of them share one autogroup, if the
machine has autogroups), and is tied to us by `load under`, PR_SET_PDEATHSIG. They are watched by pidfd: waiting for
the end of a measurement wakes nobody up. Use `Processes` as a context manager; leaving it ends everything.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from minicomp.errors import ExitCode, MinicompError

CLIENTS = Path(__file__).resolve().parents[4] / "build/clients"
GRACE_S = 3.0
"""Between SIGTERM and SIGKILL, for loads and clients."""


def program(command: Sequence[str]) -> list[str]:
    """`command` with one of our own clients found by its name; anything else is looked for in PATH by exec."""
    own = CLIENTS / command[0]
    return [str(own), *command[1:]] if "/" not in command[0] and own.exists() else list(command)


@dataclass
class Process:
    """One of them. `role` says what it is in messages: "the compositor", "client pulse", "load cpu"."""

    role: str
    popen: subprocess.Popen[bytes]
    pidfd: int
    grace_s: float

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def ended(self) -> int | None:
        """Its exit code (negative: the signal), or None."""
        return self.popen.poll()


@dataclass
class Processes:
    """All processes of one run, in the order they were started; they end in the reverse order."""

    running: list[Process] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(list(self.running))

    def start(
        self,
        role: str,
        command: Sequence[str],
        env: Mapping[str, str],
        log: IO[bytes],
        *,
        pass_fds: Sequence[int] = (),
        death_signal: str = "KILL",
        grace_s: float = GRACE_S,
    ) -> Process:
        """Starts one; its output goes to `log`. Raises MinicompError when the tie, `load`, is not built."""
        tie = CLIENTS / "load"
        if not tie.exists():
            raise MinicompError(
                "the loads are not built", where=str(tie), todo="run scripts/setup", exit_code=ExitCode.UNAVAILABLE
            )
        popen = subprocess.Popen(
            [str(tie), "under", death_signal, "--", *command],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=pass_fds,
            process_group=0,
        )
        process = Process(role, popen, os.pidfd_open(popen.pid), grace_s)
        self.running.append(process)
        return process

    def wait(self, seconds: float, tick: Callable[[], None] = lambda: None, tick_s: float = 1.0) -> Process | None:
        """Sleeps for `seconds`, calling `tick` about every `tick_s`; returns early with the process that ended."""
        poll = select.poll()
        by_fd = {process.pidfd: process for process in self.running}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            ready = poll.poll(min(left_s, tick_s) * 1000)
            if ready:
                return by_fd[ready[0][0]]
            tick()
        return None

    def stop(self, processes: Sequence[Process]) -> None:
        """Ends these: SIGTERM to each group, SIGKILL to what is left of it after the grace time."""
        going = [process for process in reversed(self.running) if process in processes]
        for process in going:
            _signal_group(process, signal.SIGTERM)
        for process in going:
            with suppress(subprocess.TimeoutExpired):
                process.popen.wait(process.grace_s)
            # Also when it has ended: what it left behind in its group must not run on.
            _signal_group(process, signal.SIGKILL)
        for process in going:
            process.popen.wait()
            os.close(process.pidfd)
            self.running.remove(process)


def _signal_group(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # all gone
        os.killpg(process.pid, number)
