"""The compositor's end of the helper: starts it, asks it, ends it.

The helper is this program as root: started directly by root, reached through systemd's socket where an administrator
has set that up, or started by `sudo -n`. It knows who we are from the socket itself (SO_PEERCRED), and notices by the
socket's end when we are gone, however that came about.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
from typing import Any

from minicomp.lab.knobs.operations import Operation
from minicomp.lab.knobs.protocol import SOCKET, BadLine, Lines, encode

ANSWER_TIMEOUT_S = 20.0  # a machine under the loads of an experiment starts programs slowly
REMEDY = (
    "run minicomp as root, enable minicomp-helper.socket (configs/systemd), or let sudo start the helper without a "
    "password; docs/knobs.md says how"
)


class NoHelper(Exception):
    """There is no helper to be had, or it has gone; the text says why."""


class Forbidden(Exception):
    """The helper refuses what it was asked."""


class HelperClient:
    """A running helper. Not thread-safe: the session calls it under its own lock."""

    def __init__(self) -> None:
        """Starts or reaches the helper. Raises NoHelper."""
        self._pid = 0
        self._next_id = 1
        self._lines = Lines()
        self._received: list[dict[str, Any]] = []
        self._socket = self._connect()
        hello = self._receive()
        if hello.get("hello") != 1:
            self._abandon()
            raise NoHelper("the helper speaks another protocol")
        self.left: list[str] = [str(line) for line in hello.get("left", [])]

    def do(self, knob: str, operation: Operation) -> None:
        """Raises OSError (the kernel's refusal), Forbidden or NoHelper."""
        self._ask({"knob": knob, "do": operation.to_wire()})

    def undo(self, knob: str) -> list[str]:
        return [str(line) for line in self._ask({"undo": knob}).get("failed", [])]

    def close(self) -> list[str]:
        """Lets the helper undo everything, and waits for its end; what could not be undone."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
            message = self._receive()
            while "bye" not in message:
                message = self._receive()
            return [str(line) for line in message["bye"]]
        except (OSError, NoHelper) as error:
            return [f"the helper ended early ({error}); `minicomp lab restore`, as root, undoes what it left"]
        finally:
            self._abandon()

    def _connect(self) -> socket.socket:
        if os.geteuid() == 0:
            return self._spawn([sys.executable, "-I", "-m", "minicomp.lab.helper"])
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(ANSWER_TIMEOUT_S)
        try:
            connection.connect(SOCKET)
            return connection
        except OSError as error:
            connection.close()
            if not isinstance(error, FileNotFoundError):
                raise NoHelper(f"{SOCKET}: {error.strerror}") from None
        for folder in os.get_exec_path():
            sudo = os.path.join(folder, "sudo")
            if os.access(sudo, os.X_OK):
                return self._spawn([sudo, "-n", "--", sys.executable, "-I", "-m", "minicomp.lab.helper"])
        raise NoHelper("it needs root, and there is neither minicomp-helper.socket nor sudo")

    def _spawn(self, argv: list[str]) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        ours.settimeout(ANSWER_TIMEOUT_S)
        try:
            # Its stdin: sudo closes everything above stderr. Its own session: ^C on our terminal is not meant for it.
            actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0), (os.POSIX_SPAWN_DUP2, 2, 1)]
            self._pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsid=True)
        except OSError as error:
            ours.close()
            raise NoHelper(f"{argv[0]}: {error.strerror}") from None
        finally:
            theirs.close()
        return ours

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        number, self._next_id = self._next_id, self._next_id + 1
        try:
            self._socket.sendall(encode({"id": number, **message}))
        except OSError as error:
            raise NoHelper(f"it has ended ({error.strerror})") from None
        answer = self._receive()
        while answer.get("id") != number:
            answer = self._receive()
        if "forbidden" in answer:
            raise Forbidden(str(answer["forbidden"]))
        if "errno" in answer:
            code = int(answer["errno"])
            raise OSError(code, os.strerror(code), answer.get("file") or None)
        return answer

    def _receive(self) -> dict[str, Any]:
        """The next message. Raises NoHelper when it ends, is silent too long, or talks nonsense."""
        while not self._received:
            try:
                data = self._socket.recv(4096)
                self._received += self._lines.feed(data)
            except TimeoutError:
                raise NoHelper(f"it has not answered for {ANSWER_TIMEOUT_S:.0f} s") from None
            except (OSError, BadLine) as error:
                raise NoHelper(str(error)) from None
            if not data and not self._received:
                raise NoHelper("it ended without an answer (sudo wants a password?)")
        return self._received.pop(0)

    def _abandon(self) -> None:
        """Closes the socket, which ends the helper, and reaps it when it is our child."""
        self._socket.close()
        if not self._pid:
            return
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(self._pid)
            try:
                if select.select([pidfd], [], [], ANSWER_TIMEOUT_S)[0]:
                    os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
            finally:
                os.close(pidfd)
        self._pid = 0
