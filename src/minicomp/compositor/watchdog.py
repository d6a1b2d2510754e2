"""systemd's watchdog (sd_notify(3), WATCHDOG=1): fed only while the loop thread turns.

The loop thread is asked and answers at the end of its next turn, when it has taken the compositor lock, dispatched and
given the lock back. So a loop, a client's request or a render thread that hangs with the lock ends the feeding, and
systemd's WatchdogSec ends and restarts the service. Policy that hangs does not: clients and frames go on, and
policy_thread says so in the log.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from minicomp.compositor.readiness import notify
from minicomp.native.wlr import lib

log = logging.getLogger("minicomp.run")


class Watchdog:
    """`tick` is called by the main thread several times per interval. Takes no lock: it cannot hang with the loop."""

    def __init__(self, server: Any, interval_s: float) -> None:
        self._server = server
        self._interval_s = interval_s
        self._asked_s = time.monotonic()
        self._fed_s = 0.0  # at once, then twice per interval, as sd_notify(3) advises
        self._reported = False
        lib.mc_loop_ask(server)

    def tick(self) -> None:
        now_s = time.monotonic()
        if lib.mc_loop_answered(self._server):
            if self._reported:
                self._reported = False
                log.warning("the event loop answers again")
            if now_s - self._fed_s >= self._interval_s / 3:
                notify("WATCHDOG=1")
                self._fed_s = self._asked_s = now_s
                lib.mc_loop_ask(self._server)
        elif not self._reported and now_s - self._asked_s > self._interval_s / 2:
            self._reported = True
            log.error(
                "the event loop has not answered for %.1f s; systemd's watchdog is not fed any more",
                now_s - self._asked_s,
            )


def interval_s() -> float:
    """What systemd wants of this process, in seconds; 0: nothing."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        log.warning("WATCHDOG_USEC is no number: no watchdog")
        return 0.0
