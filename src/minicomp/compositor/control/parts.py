"""What the control thread is given: the running compositor, and a way to wake it from other threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from minicomp.compositor.dispatch import Dispatcher
    from minicomp.compositor.policy_thread import PolicyThread
    from minicomp.compositor.server import Compositor


class Parts(NamedTuple):
    """The running compositor, as whoever runs it put it together."""

    compositor: Compositor
    dispatcher: Dispatcher
    policy: PolicyThread
    request_stop: Callable[[], None]


class Waker:
    """From any thread, also when the control thread has ended already. `fd` is readable after wake()."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()

    def wake(self) -> None:
        with self._lock:
            if self.fd >= 0:
                os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """What was woken for is done next: call it before looking."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return

    def close(self) -> None:
        with self._lock:
            if self.fd >= 0:
                os.close(self.fd)
                self.fd = -1
