"""The thread that runs policy: takes events from the native queue and hands them to the dispatcher.

It is not the main thread, so that a policy that never returns can still be reported and the program still be ended. No
frame and no input event waits for it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from select import POLLIN, poll
from typing import TYPE_CHECKING

from minicomp.native.wlr import ffi, lib

if TYPE_CHECKING:
    from minicomp.compositor.dispatch import Dispatcher
    from minicomp.compositor.server import Compositor

log = logging.getLogger("minicomp.policy")

STUCK_AFTER_S = 1.0
_ALARM_AFTER_MS = int(STUCK_AFTER_S * 1000) + 100  # when check() is sure to find it stuck
_BATCH = 256


class PolicyThread:
    """Runs `dispatcher` until stop(). `errors` counts exceptions that policy code raised."""

    def __init__(self, compositor: Compositor, dispatcher: Dispatcher) -> None:
        self._server = compositor.server
        self._dispatcher = dispatcher
        self._stop_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="policy", daemon=True)
        self._busy_since: float | None = None
        self._reported = False
        self._calls: list[Callable[[], None]] = []
        self.fatal: BaseException | None = None

    @property
    def errors(self) -> int:
        return self._dispatcher.errors

    def has_configured(self, outputs: Iterable[int]) -> bool:
        """Whether each of these outputs has its settings, and the policy was told of it if it is on. For any thread."""
        return self._dispatcher.configured.issuperset(outputs)

    def start(self) -> None:
        self._thread.start()

    def call(self, function: Callable[[], None]) -> None:
        """Runs a function on the policy thread, between events."""
        self._calls.append(function)
        os.eventfd_write(self._stop_fd, 1)

    def stop(self, timeout_s: float = 1.0) -> bool:
        """Ends the thread; False when policy code does not return (the thread is then left behind, a daemon)."""
        self._stopping = True
        os.eventfd_write(self._stop_fd, 1)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        os.close(self._stop_fd)
        return True

    _stopping = False

    @property
    def alarm_fd(self) -> int:
        """Readable when policy code should have returned by now, or the thread has failed: a quiet compositor wakes
        nobody up to look."""
        return int(lib.mc_policy_alarm_fd(self._server))

    @property
    def needs_watching(self) -> bool:
        """Whether check() may have something to say without another alarm."""
        return self._reported or self._busy_since is not None

    @property
    def stuck_s(self) -> float:
        """For how long policy code has not returned. From any thread."""
        since = self._busy_since
        return time.monotonic() - since if since is not None else 0.0

    def check(self) -> None:
        """Says so, once, when policy code has not returned for a while, and when it has again. For the main thread,
        when `alarm_fd` is readable, and while it `needs_watching`."""
        stuck_s = self.stuck_s
        if stuck_s > STUCK_AFTER_S and not self._reported:
            self._reported = True
            log.warning(
                "policy is stuck: %s has not returned for %.1f s; clients and frames go on without it",
                self._dispatcher.current or "a callback",
                stuck_s,
            )
        elif self._reported and stuck_s <= STUCK_AFTER_S:
            self._reported = False
            log.warning("policy has returned and is catching up")

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            log.exception("the policy thread failed")
            self.fatal = error
            lib.mc_policy_alarm(self._server, 1)

    def _loop(self) -> None:
        events = ffi.new("struct mc_event[]", _BATCH)
        overflow = ffi.new("bool *")
        poller = poll()
        poller.register(lib.mc_queue_fd(self._server), POLLIN)
        poller.register(self._stop_fd, POLLIN)
        while True:
            poller.poll()
            if self._stopping:
                return
            self._busy_since = time.monotonic()
            lib.mc_policy_alarm(self._server, _ALARM_AFTER_MS)
            self._run_calls()
            while True:
                count = lib.mc_server_pop(self._server, events, _BATCH, overflow)
                if overflow[0]:
                    log.warning("events were lost while policy was away; reading the state anew")
                    self._dispatcher.resync()
                for event in events[0:count]:
                    self._busy_since = time.monotonic()
                    self._dispatcher.handle(event)
                    if self._stopping:
                        return
                if count == 0:
                    break
            self._busy_since = None
            lib.mc_policy_alarm(self._server, 0)

    def _run_calls(self) -> None:
        try:
            os.eventfd_read(self._stop_fd)
        except BlockingIOError:
            return
        while self._calls:
            self._dispatcher.guard("call", self._calls.pop(0))
