"""One client of the control socket: its bytes in and out, and the request that is under way.

Requests of a connection are done one after the other, and the next line is read when the answer to the one before has
been taken: so a client that sends without reading waits for itself, and nobody's memory grows.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

from minicomp.compositor.control.jsonrpc import RpcError, answer, error_line
from minicomp.msg.interface import INVALID_REQUEST, MAX_LINE_BYTES, MAX_UNREAD_EVENT_BYTES, STALLED_AFTER_S

if TYPE_CHECKING:
    from minicomp.compositor.control.methods import Methods

log = logging.getLogger("minicomp.control")

_CHUNK_BYTES = 65536


class Connection:
    """`closed` once it is over; the server then releases it. Never raises for what the peer does."""

    def __init__(self, sock: socket.socket, pid: int, methods: Methods) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._pid = pid
        self._methods = methods
        self._incoming = bytearray()
        self._searched = 0  # of `incoming` there is no newline in the first so many bytes
        self._outgoing = bytearray()
        self._running: Generator[float, None, bytes | None] | None = None
        self._look_at = 0.0  # when the running request wants to be looked at
        self._stalled_since: float | None = None
        self._ended = False  # the peer sends no more
        self._last_words = False  # after what is to be sent: close
        self.closed = False

    def fileno(self) -> int:
        return self._sock.fileno()

    def __str__(self) -> str:
        return f"connection of pid {self._pid}"

    @property
    def wants_read(self) -> bool:
        return not (self._running or self._outgoing or self._ended or self._last_words)

    @property
    def wants_write(self) -> bool:
        return bool(self._outgoing)

    @property
    def wait_until(self) -> float | None:
        """When there is something to do without being readable or writable; None: nothing."""
        if self._running is not None:
            return self._look_at
        return self._stalled_since + STALLED_AFTER_S if self._stalled_since is not None else None

    # ---- what happens ----

    def on_readable(self) -> None:
        try:
            data = self._sock.recv(_CHUNK_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not data:
            self._ended = True
        self._incoming += data
        self.go_on()

    def on_writable(self) -> None:
        self._flush()
        self.go_on()

    def go_on(self, woken: bool = False) -> None:
        """Does what can be done now: the request under way, the next ones, the stall limit."""
        now = time.monotonic()
        if self._stalled_since is not None and now - self._stalled_since >= STALLED_AFTER_S:
            log.warning("%s: it has read nothing for %g s; dropped", self, STALLED_AFTER_S)
            self.close()
        while not self.closed:
            if self._running is None and not self._begin_next():
                break
            if not (woken or self._look_at <= now):
                break
            woken = False
            self._step(now)
            if self._running is not None:
                break
        if not self.closed and not self._outgoing and self._running is None and (self._last_words or self._is_over()):
            self.close()

    def push(self, line: bytes) -> None:
        """An event."""
        if self.closed or self._last_words:
            return
        if len(self._outgoing) + len(line) > MAX_UNREAD_EVENT_BYTES:
            log.warning("%s: %d bytes of events were not read; dropped", self, len(self._outgoing))
            self.close()
            return
        self._send(line)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if self._running is not None:
                self._running.close()

    def release(self) -> None:
        """Gives the descriptor back. Only when nobody watches it any more: its number may be another's at once."""
        self._sock.close()

    # ---- requests ----

    def _begin_next(self) -> bool:
        """Begins the next complete line's request, if there is one and the last answer is gone."""
        if self._outgoing or self._last_words:
            return False
        line = b""
        while not line.strip():
            end = self._incoming.find(b"\n", self._searched)
            if end < 0 and self._ended and self._incoming:
                end = len(self._incoming)  # the last line may do without
            if end < 0:
                self._searched = len(self._incoming)
            if max(end, self._searched) > MAX_LINE_BYTES:
                self._last_words = True
                self._send(error_line(None, RpcError(INVALID_REQUEST, f"a line is longer than {MAX_LINE_BYTES} bytes")))
            if end < 0 or self._last_words:
                return False
            line = bytes(self._incoming[:end])
            del self._incoming[: end + 1]
            self._searched = 0
        self._running = answer(line, lambda method, params: self._methods.invoke(method, params, connection=self))
        self._look_at = 0.0
        return True

    def _step(self, now: float) -> None:
        assert self._running is not None
        try:
            self._look_at = now + next(self._running) / 1000
        except StopIteration as stop:
            self._running = None
            if stop.value is not None:
                self._send(stop.value)

    def _is_over(self) -> bool:
        return self._ended and not self._incoming

    # ---- bytes out ----

    def _send(self, line: bytes) -> None:
        self._outgoing += line
        self._flush()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                sent = self._sock.send(memoryview(self._outgoing)[: 1 << 20])
                del self._outgoing[:sent]
                self._stalled_since = None
        except (BlockingIOError, InterruptedError):
            if self._stalled_since is None:
                self._stalled_since = time.monotonic()
        except OSError:
            self.close()
