"""Finds a compositor's control socket and speaks JSON-RPC 2.0 over it: one request a line, one answer a line."""

import json
import os
import socket
import time
from collections.abc import Iterator
from glob import glob
from typing import Any

from minicomp.errors import MinicompError, PreconditionError

TIMEOUT_S = 30.0  # longer than any method takes


class Refusal(MinicompError):
    """The compositor answered with an error object. `error` is that object."""

    def __init__(self, error: dict[str, Any]) -> None:
        data: dict[str, Any] = error.get("data") or {}
        texts = {key: value for key, value in data.items() if isinstance(value, str)}
        hint = "; ".join(value if key == "todo" else f"{key}: {value}" for key, value in texts.items())
        super().__init__(error["message"], todo=hint)
        self.error = error


class Client:
    """One connection. `with Client(find_socket()) as client: client.call("windows")`"""

    def __init__(self, path: str) -> None:
        """Raises PreconditionError when nobody listens there."""
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(TIMEOUT_S)
        try:
            self._connect()
        except OSError as error:
            self._socket.close()
            raise _unreachable(path, error) from None
        self._lines = self._socket.makefile("rb")
        self._next_id = 0

    def _connect(self) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                self._socket.connect(self.path)
                return
            except BlockingIOError:  # so many others connect just now
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def call(self, method: str, **params: Any) -> Any:
        """A method's result. Raises Refusal, or PreconditionError when the compositor ends before it answers."""
        return self.request(method, params)

    def request(self, method: str, params: dict[str, Any]) -> Any:
        """Likewise, for parameters whose names are no Python names."""
        self._next_id += 1
        self._send({"jsonrpc": "2.0", "method": method, "params": params, "id": self._next_id})
        while True:
            message = self._receive()
            if message is None:
                raise PreconditionError("the compositor ended, or dropped us, before it answered", where=self.path)
            if "error" in message and message.get("id") in (self._next_id, None):
                raise Refusal(message["error"])
            if message.get("id") == self._next_id:
                return message["result"]

    def events(self) -> Iterator[dict[str, Any]]:
        """After call("subscribe"): each event's params, until the compositor ends. Waits without limit."""
        self._socket.settimeout(None)
        while (message := self._receive()) is not None:
            if message.get("method") == "event":
                yield message["params"]

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise _unreachable(self.path, error) from None

    def _receive(self) -> dict[str, Any] | None:
        """None at the end."""
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise PreconditionError(f"no answer within {TIMEOUT_S:g} s", where=self.path) from None
        except ConnectionResetError:
            return None
        message: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return message

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def find_socket(wanted: str = "") -> str:
    """The path of a control socket: `wanted` (a path, or a Wayland socket's name), MINICOMP_SOCKET, the one of
    WAYLAND_DISPLAY, or the only one in XDG_RUNTIME_DIR. Raises PreconditionError."""
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    if wanted:
        return wanted if "/" in wanted else os.path.join(folder, f"minicomp-{wanted}.sock")
    if os.environ.get("MINICOMP_SOCKET"):
        return os.environ["MINICOMP_SOCKET"]
    display = os.environ.get("WAYLAND_DISPLAY", "")
    if display:
        own = os.path.join(folder, f"minicomp-{os.path.basename(display)}.sock")
        if os.path.exists(own):
            return own
    found = sorted(glob(os.path.join(folder, "minicomp-*.sock"))) if folder else []
    if len(found) == 1:
        return found[0]
    if found:
        raise PreconditionError(
            "several compositors run here", where=folder, todo="--socket " + " or ".join(map(os.path.basename, found))
        )
    raise PreconditionError(
        "no minicomp runs here: there is no control socket",
        where=folder or "XDG_RUNTIME_DIR is not set",
        todo="is control.enabled on, and is this the compositor's user? --socket PATH names it",
    )


def _unreachable(path: str, error: OSError) -> PreconditionError:
    todo = {
        "FileNotFoundError": "no compositor runs there, or control.enabled is off",
        "ConnectionRefusedError": "the compositor that made it is gone",
        "PermissionError": "it serves the compositor's own user and root only",
    }.get(type(error).__name__, "")
    return PreconditionError(f"no compositor answers: {error.strerror}", where=path, todo=todo)
