"""The root helper's loop: one client, known by its socket, whose requests are taken with distrust.

Everything done is undone when the socket ends (the compositor has ended, or was killed), on SIGTERM, and when the
client breaks the protocol.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import struct
import sys
from select import POLLIN, poll
from typing import Any

from minicomp.lab.helper.journal import Journal, prepared_directory, restore_left
from minicomp.lab.knobs.operations import Forbidden, Operation, Owner
from minicomp.lab.knobs.protocol import BadLine, Lines, encode
from minicomp.lab.knobs.registry import operation_from_wire

MOST_ENTRIES = 65536  # of one journal; more is no experiment
SEND_TIMEOUT_S = 5.0


def owner_of(connection: socket.socket) -> Owner:
    """Who made the other end of the socket, by the kernel's word."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _gid = struct.unpack("3i", credentials)
    return Owner(pid, uid)


class Helper:
    """Serves one compositor until it is gone."""

    def __init__(self, connection: socket.socket, journal: Journal, owner: Owner) -> None:
        self._connection = connection
        self._journal = journal
        self._owner = owner
        self._machine_lock = -1
        self._entries = 0

    def serve(self, stop_fd: int) -> None:
        """Until the client has gone, or a byte comes from `stop_fd`. Raises BadLine."""
        lines = Lines()
        poller = poll()
        poller.register(self._connection, POLLIN)
        poller.register(stop_fd, POLLIN)
        while True:
            ready = {fd for fd, _ in poller.poll()}
            if stop_fd in ready:
                return
            try:
                data = self._connection.recv(4096)
            except ConnectionResetError:
                return
            if not data:
                return
            for message in lines.feed(data):
                self._send({"id": message.get("id"), **self._answer(message)})

    def undo_all(self) -> list[str]:
        failed = self._journal.undo()
        if self._machine_lock >= 0:
            os.close(self._machine_lock)
            self._machine_lock = -1
        return failed

    def say_goodbye(self, failed: list[str]) -> None:
        with contextlib.suppress(OSError):  # it may be gone
            self._send({"bye": failed})

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        if type(message.get("id")) is not int or not set(message) <= {"id", "knob", "do", "undo"}:
            raise BadLine("a request has an id, and either do and knob, or undo")
        try:
            if "undo" in message:
                return {"ok": True, "failed": self._journal.undo(_name(message["undo"]))}
            self._do(_name(message.get("knob")), operation_from_wire(message.get("do")))
            return {"ok": True}
        except Forbidden as error:
            return {"forbidden": str(error)}
        except OSError as error:
            return {"errno": error.errno, "file": error.filename if isinstance(error.filename, str) else ""}

    def _do(self, knob: str, operation: Operation) -> None:
        operation.permit(self._owner)
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise Forbidden("too many operations")
        if operation.machine_wide:
            self._lock_machine()
        undoing = operation.undoing()
        number = self._journal.note(knob, undoing) if undoing is not None else None
        try:
            operation.perform()
        except BaseException:
            if number is not None:
                self._journal.forget(number)
            raise

    def _lock_machine(self) -> None:
        """Two helpers that undo each other's settings in the wrong order would leave the machine changed."""
        if self._machine_lock >= 0:
            return
        path = self._journal.path.parent / "machine.lock"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
            os.close(fd)
            raise Forbidden(f"another compositor (pid {other}) has changed the machine's settings") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(self._owner.pid).encode(), 0)
        self._machine_lock = fd

    def _send(self, message: dict[str, Any]) -> None:
        self._connection.settimeout(SEND_TIMEOUT_S)  # a client that does not read is gone for us
        self._connection.sendall(encode(message))


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("knobs.") or len(value) > 100:
        raise Forbidden("a knob's name begins with knobs.")
    return value


def main() -> int:
    """The helper's life: stdin is the socket. 0, or 1 when something could not be undone."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    stop_read, stop_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(stop_write)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the wake-up fd ends the loop
    try:
        connection = socket.socket(fileno=os.dup(0))
        owner = owner_of(connection)
    except OSError as error:
        return _complain(f"stdin is not the compositor's socket ({error.strerror}); minicomp run starts this program")
    try:
        folder = prepared_directory()
        left, failed_before = restore_left(folder)
        journal = Journal(folder, owner.pid, owner.uid)
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}")
    helper = Helper(connection, journal, owner)
    try:
        connection.sendall(encode({"hello": 1, "left": left + failed_before}))
        helper.serve(stop_read)
    except (BadLine, OSError) as error:
        _complain(f"pid {owner.pid}: {error}")
    finally:
        failed = helper.undo_all()
        journal.close()
    helper.say_goodbye(failed)
    for line in failed:
        _complain(f"could not be undone: {line}")
    return 1 if failed else 0


def _complain(text: str) -> int:
    print(f"minicomp helper: {text}", file=sys.stderr)
    return 1
