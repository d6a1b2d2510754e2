"""Weston.

Source: libweston/compositor.c, weston_output_finish_frame, output_repaint_timer_arm (7 to 13).

A frame begins 7 ms before the vblank after the one just shown; when that is past, after a millisecond. The timer counts
whole milliseconds, rounded down, one at least. Out of rest the same deadline counts from the last vblank, or when it
has passed, that of the next one. Clients are asked after each repaint.
"""

from __future__ import annotations

from minicomp.lab.replay.policies.base import Display, Done, Plan, Policy

MSEC = 1_000_000
REPAINT_WINDOW_NS = 7 * MSEC


class Weston(Policy):
    def __init__(self, display: Display) -> None:
        super().__init__("weston", display)
        self.stamp_ns = 0
        self.armed_ns = 0
        """When the timer that the last flip armed goes off."""

    def plan(self, now_ns: int, shown_ns: int) -> Plan:
        refresh = self.display.refresh_ns
        if not self.stamp_ns:
            return Plan(now_ns + MSEC, 0)
        if now_ns <= self.armed_ns:
            return Plan(self.armed_ns, self.stamp_ns + refresh)
        # The repaint loop had come to rest: it is begun anew from the newest vblank, which the driver is asked for.
        stamp_ns = self.stamp_ns + (now_ns - self.stamp_ns) // refresh * refresh
        deadline_ns = stamp_ns + refresh - REPAINT_WINDOW_NS
        while deadline_ns < now_ns:
            deadline_ns += refresh
        return Plan(self._armed_at(now_ns, deadline_ns), deadline_ns + REPAINT_WINDOW_NS)

    def presented(self, done: Done, seq: int, shown_ns: int, told_ns: int) -> None:
        self.stamp_ns = shown_ns
        self.armed_ns = self._armed_at(told_ns, shown_ns + self.display.refresh_ns - REPAINT_WINDOW_NS)

    @staticmethod
    def _armed_at(now_ns: int, deadline_ns: int) -> int:
        return now_ns + max(1, int((deadline_ns - now_ns) / MSEC)) * MSEC
