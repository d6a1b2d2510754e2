"""The control thread's loop: accepts, reads, answers, sends events, until told to stop.

Everything waits in one selector; no request can hold up another connection's, since what takes long is a generator that
is looked at from time to time (jsonrpc.Waiting).
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
import time
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import TYPE_CHECKING

from minicomp.compositor.control.acting import Acting
from minicomp.compositor.control.connection import Connection
from minicomp.compositor.control.context import Context
from minicomp.compositor.control.events import TICK_S, Events
from minicomp.compositor.control.injecting import Injecting
from minicomp.compositor.control.jsonrpc import RpcError, error_line
from minicomp.compositor.control.looking import Looking
from minicomp.compositor.control.methods import Methods
from minicomp.compositor.control.picture import Picturing
from minicomp.compositor.control.tuning import Tuning
from minicomp.compositor.globals import trusts_own_uid
from minicomp.msg.interface import MAX_CONNECTIONS, REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicomp.compositor.control.parts import Parts, Waker
    from minicomp.compositor.server import Compositor

log = logging.getLogger("minicomp.control")

_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid
_TRY_AGAIN_S = 1.0  # after accept() found no file descriptor left


class Server:
    """`listener_fd` is a listening, non-blocking socket; it stays the caller's."""

    def __init__(self, parts: Parts, listener_fd: int, waker: Waker, stopping: Callable[[], bool]) -> None:
        self._waker = waker
        self._stopping = stopping
        context = Context(parts, waker)
        looking = Looking(context)
        self._events = Events(context)
        owners = (
            looking,
            Acting(context),
            Injecting(context),
            Picturing(context),
            Tuning(context, looking),
            self._events,
        )
        self._methods = Methods(owners, may_spy=may_spy(parts.compositor))
        self._listener = socket.socket(fileno=os.dup(listener_fd))
        self._selector = DefaultSelector()
        self._connections: dict[Connection, int] = {}  # and what the selector watches of it
        self._accept_at: float | None = None  # accepting pauses until then
        self._tick_at = 0.0

    def run(self) -> None:
        """Until `stopping()`, which `waker` makes it look at."""
        self._selector.register(self._listener, EVENT_READ)
        self._selector.register(self._waker.fd, EVENT_READ)
        try:
            while not self._stopping():
                self._once()
        finally:
            self._events.end()
            for connection in self._connections:
                connection.close()
                connection.release()
            self._selector.close()
            self._listener.close()

    def _once(self) -> None:
        woken = False
        for key, mask in self._selector.select(self._timeout_s()):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.fileobj, Connection):
                if mask & EVENT_READ:
                    key.fileobj.on_readable()
                if mask & EVENT_WRITE and not key.fileobj.closed:
                    key.fileobj.on_writable()
            else:
                self._waker.clear()
                woken = True
        self._events.send_noticed()
        now = time.monotonic()
        if self._events.wanted and now >= self._tick_at:
            self._tick_at = now + TICK_S
            self._events.tick()
        if self._accept_at is not None and now >= self._accept_at:
            self._accept_at = None
            self._selector.register(self._listener, EVENT_READ)
        for connection in list(self._connections):
            due = connection.wait_until
            if woken or (due is not None and due <= now):
                connection.go_on(woken)
            self._watch(connection)

    def _timeout_s(self) -> float | None:
        """Until the next thing that is due; None: nothing is."""
        moments = [due for connection in self._connections if (due := connection.wait_until) is not None]
        if self._events.wanted:
            moments.append(self._tick_at)
        if self._accept_at is not None:
            moments.append(self._accept_at)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _watch(self, connection: Connection) -> None:
        """Tells the selector what the connection waits for now."""
        before = self._connections[connection]
        if connection.closed:
            del self._connections[connection]
            self._events.forget(connection)
            if before:
                self._selector.unregister(connection)
            connection.release()
            return
        wanted = (EVENT_READ if connection.wants_read else 0) | (EVENT_WRITE if connection.wants_write else 0)
        if wanted == before:
            return
        self._connections[connection] = wanted
        if not before:
            self._selector.register(connection, wanted)
        elif wanted:
            self._selector.modify(connection, wanted)
        else:
            self._selector.unregister(connection)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            log.warning("a connection waits: %s", error.strerror)
            self._accept_at = time.monotonic() + _TRY_AGAIN_S
            self._selector.unregister(self._listener)
            return
        pid, uid, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        refusal = ""
        if uid not in (os.geteuid(), 0):
            refusal = f"this compositor belongs to another user (uid {os.geteuid()}, yours is {uid})"
        elif len(self._connections) >= MAX_CONNECTIONS:
            refusal = f"there are {MAX_CONNECTIONS} connections already"
        connection = Connection(sock, pid, self._methods)
        if refusal:
            log.warning("%s refused: %s", connection, refusal)
            connection.push(error_line(None, RpcError(REFUSED, refusal)))
            connection.close()
            connection.release()
            return
        self._connections[connection] = 0
        self._watch(connection)


def may_spy(compositor: Compositor) -> bool:
    """Whether screenshots and injected input are permitted: like the Wayland protocols that do the same."""
    wanted = compositor.config.control.spy
    return wanted == "yes" or (wanted == "auto" and trusts_own_uid(compositor.config, compositor.backend_kind))
