"""A command in the guest, seen from the host: its output as it comes, its end, its time limit."""

from __future__ import annotations

import base64
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import CommandTimeout, GuestDied, LabError

if TYPE_CHECKING:
    from .guest import Guest

# Called from the reader thread with "out" or "err" and the bytes.
OutputSink = Callable[[str, bytes], None]
# After the time limit: this long for a clean end after SIGTERM, then SIGKILL.
GRACE_S = 3.0


@dataclass(frozen=True)
class Completed:
    """A command that has ended. `code` is 128+n when a signal ended it, as a shell says it."""

    argv: Sequence[str]
    code: int
    out: str
    err: str

    def check(self) -> Completed:
        if self.code != 0:
            raise LabError(f"{' '.join(self.argv)} exited {self.code}: {(self.err or self.out).strip()}")
        return self


class GuestProcess:
    """Made by Guest.spawn. Output is kept whole, and waited for by content with `wait_for`."""

    def __init__(self, guest: Guest, id: int, argv: Sequence[str], sink: OutputSink | None) -> None:
        self.id = id
        self.argv = argv
        self._guest = guest
        self._sink = sink
        self._changed = threading.Condition()
        self._pieces: dict[str, list[bytes]] = {"out": [], "err": []}
        self._both: list[bytes] = []
        self._code: int | None = None
        self._failure = ""

    @property
    def running(self) -> bool:
        return self._code is None and not self._failure

    def output(self) -> str:
        """Standard output and error so far, in the order of arrival."""
        with self._changed:
            return b"".join(self._both).decode(errors="replace")

    def wait_for(self, text: str, timeout_s: float) -> str:
        """Wait until the output contains `text`; the output so far. LabError when the command ends without it."""
        if not self._await(lambda: text in self.output() or not self.running, timeout_s):
            raise CommandTimeout(f"{text!r} did not appear within {timeout_s:g} s in: {self.output()!r}")
        if text not in self.output():
            raise LabError(f"{self.argv[0]} ended ({self._code}) without writing {text!r}: {self.output()!r}")
        return self.output()

    def wait(self, timeout_s: float) -> Completed:
        """Wait for the end; past the limit the command's process group is ended and CommandTimeout raised."""
        if not self._await(lambda: not self.running, timeout_s):
            self.stop()
            message = f"{' '.join(self.argv)} ran over its time limit of {timeout_s:g} s"
            raise CommandTimeout(message, b"".join(self._both))
        if self._failure:
            raise GuestDied(self._failure)
        assert self._code is not None
        out, err = (b"".join(self._pieces[name]).decode(errors="replace") for name in ("out", "err"))
        return Completed(self.argv, self._code, out, err)

    def send_signal(self, number: int) -> None:
        """To the whole process group."""
        self._guest.signal(self, number)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """SIGTERM, and SIGKILL for what is still there after `grace_s`."""
        for number, limit_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, GRACE_S)):
            if self.running:
                self.send_signal(number)
                self._await(lambda: not self.running, limit_s)

    def on_message(self, message: dict[str, Any]) -> None:
        """From the guest's reader thread."""
        with self._changed:
            if message["event"] == "output":
                data = base64.b64decode(message["data"])
                self._pieces[message["stream"]].append(data)
                self._both.append(data)
                if self._sink is not None:
                    self._sink(message["stream"], data)
            elif message["event"] == "exit":
                self._code = message["code"]
            elif message["event"] == "error":
                self._failure = f"the guest's agent failed: {message['text']}"
            self._changed.notify_all()

    def on_guest_gone(self) -> None:
        with self._changed:
            self._failure = self._failure or self._guest.describe_death()
            self._changed.notify_all()

    def _await(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while not condition():
                remaining_s = deadline_s - time.monotonic()
                if remaining_s <= 0:
                    return False
                self._changed.wait(remaining_s)
        return True
