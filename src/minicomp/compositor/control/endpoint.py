"""The control socket's file and thread. All that start-up imports of it: the rest comes with the first connection.

The socket exists before the compositor says that it is ready; whoever connects before the thread runs waits in the
backlog. Its name goes with the Wayland socket's, which libwayland's lock file makes ours alone: so a control socket
that is there already was left behind by a compositor that was killed.
"""

from __future__ import annotations

import _socket  # not `socket`: importing that is 4 ms of every start, for its enumerations; this is its C part
import errno
import logging
import os
import stat
import threading
from contextlib import suppress
from select import POLLIN, poll
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicomp.compositor.control.parts import Parts, Waker
    from minicomp.compositor.dispatch import Dispatcher
    from minicomp.compositor.policy_thread import PolicyThread
    from minicomp.compositor.server import Compositor

log = logging.getLogger("minicomp.control")

_BACKLOG = 128  # a burst of scripts, while the thread is busy or still importing


def control_path(display: str) -> str:
    """Where the control socket of the compositor with that Wayland socket is."""
    return os.path.join(os.environ["XDG_RUNTIME_DIR"], f"minicomp-{display}.sock")


class ControlSocket:
    """`path` is where it listens, or "" when it could not be made, which is logged and ends nothing."""

    def __init__(self, display: str) -> None:
        self.path = ""
        self._listener: _socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._waker: Waker | None = None
        self._stopping = False
        path = control_path(display)
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
        try:
            _remove_stale(path)
            os.fchmod(listener.fileno(), 0o600)  # of an unbound socket: the mode that bind gives the file (unix(7))
            listener.bind(path)
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            log.warning("there is no control socket %s: %s", path, error.strerror or error)
            return
        self._listener = listener
        self.path = path

    def start(
        self, compositor: Compositor, dispatcher: Dispatcher, policy: PolicyThread, request_stop: Callable[[], None]
    ) -> None:
        """Starts the thread; call it when the compositor is ready. `request_stop` ends the run."""
        if self._listener is None:
            return
        from minicomp.compositor.control.parts import Parts, Waker

        parts = Parts(compositor, dispatcher, policy, request_stop)
        self._waker = waker = Waker()
        self._thread = threading.Thread(
            target=self._run, args=(parts, self._listener.fileno(), waker), name="control", daemon=True
        )
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Ends the thread, before anything that it uses goes; False when it does not end in time."""
        if self._thread is None or self._waker is None:
            return True
        self._stopping = True
        self._waker.wake()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("the control thread does not end")
            return False
        self._waker.close()
        self._thread = self._waker = None
        return True

    def close(self) -> None:
        """Removes the socket. Safe to call twice."""
        self.stop()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with suppress(FileNotFoundError):
                os.unlink(self.path)

    def __enter__(self) -> ControlSocket:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _run(self, parts: Parts, listener_fd: int, waker: Waker) -> None:
        try:
            poller = poll()
            poller.register(listener_fd, POLLIN)
            poller.register(waker.fd, POLLIN)
            poller.poll()
            if not self._stopping:
                from minicomp.compositor.control.serve import Server

                Server(parts, listener_fd, waker, lambda: self._stopping).run()
        except Exception:
            log.exception("the control socket failed; the compositor goes on without it")


def _remove_stale(path: str) -> None:
    """Raises OSError for anything there that is not a socket."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "something else has that name", path)
        os.unlink(path)
