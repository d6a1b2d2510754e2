"""Starting, watching and ending client programs, by pidfd: a background grandchild keeps nothing alive, and a recycled
pid is never signalled."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from select import POLLIN, poll
from typing import Any, NamedTuple

from minicomp.compositor.open_files import limit_of_programs
from minicomp.errors import ExitCode, MinicompError, exit_code_of_child
from minicomp.native.wlr import ffi, lib


def spawn(argv: list[str], environment: dict[str, str]) -> int:
    """Starts argv[0] (looked up in PATH) with default signal handling; its pid.

    Raises MinicompError with exit code 127 (not found) or 126 (cannot be executed).
    """
    arguments = _strings(map(os.fsencode, argv))
    variables = _strings(os.fsencode(f"{name}={value}") for name, value in environment.items())
    result: int = lib.mc_spawn(arguments.array, variables.array, limit_of_programs())
    if result > 0:
        return result
    if result == -errno.ENOENT:
        raise MinicompError(
            f"{argv[0]}: command not found", exit_code=ExitCode.NOT_FOUND, todo="is it installed and in PATH?"
        )
    raise MinicompError(f"{argv[0]}: cannot be executed: {os.strerror(-result)}", exit_code=ExitCode.CANNOT_EXECUTE)


class _Strings(NamedTuple):
    array: Any  # char *[], NULL at the end
    owners: list[Any]  # of the memory that it points to


def _strings(values: Iterable[bytes]) -> _Strings:
    owners = [ffi.new("char[]", value) for value in values]
    return _Strings(ffi.new("char *[]", [*owners, ffi.NULL]), owners)


class Child:
    """A program that is being watched. `pidfd` is owned: close() it.

    It is reaped by close() only: until then nobody else can have its number, by which its clients are known.
    """

    def __init__(self, pid: int, pidfd: int, *, sandboxed: bool = False) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self._sandboxed = sandboxed

    @classmethod
    def start(cls, argv: list[str], environment: dict[str, str], *, sandboxed: bool = False) -> Child:
        """`sandboxed`: argv is bubblewrap's, which ends as the program in it does but hands no signal on."""
        pid = spawn(argv, environment)
        return cls(pid, os.pidfd_open(pid), sandboxed=sandboxed)

    def poll(self) -> int | None:
        """The exit code (128+n for signal n) once it has ended, else None."""
        result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if result is None:
            return None
        return exit_code_of_child(result.si_code, result.si_status)

    def end(self, grace_ms: int) -> int:
        """Asks it to end (SIGTERM), insists (SIGKILL) after the grace time; its exit code."""
        for number, wait_ms in ((signal.SIGTERM, grace_ms), (signal.SIGKILL, -1)):
            code = self.poll()
            if code is not None:
                return code
            self._signal(number)
            self._wait(wait_ms)
        code = self.poll()
        assert code is not None
        return code

    def _signal(self, number: signal.Signals) -> None:
        """SIGKILL of bubblewrap takes everything inside with it."""
        if self._sandboxed and number != signal.SIGKILL:
            from minicomp.compositor.sandbox import app_inside  # 20 ms of every start, for those who need it only

            inside = app_inside(self.pid)
            if inside is not None:
                with suppress(ProcessLookupError):
                    os.kill(inside, number)
                return
        signal.pidfd_send_signal(self.pidfd, number)

    def _wait(self, timeout_ms: int) -> None:
        poller = poll()
        poller.register(self.pidfd, POLLIN)
        deadline = time.monotonic() + timeout_ms / 1000
        while not poller.poll(None if timeout_ms < 0 else max(0.0, (deadline - time.monotonic()) * 1000)):
            if timeout_ms >= 0 and time.monotonic() >= deadline:
                return

    def close(self) -> None:
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        os.close(self.pidfd)
