"""Mutter, with a fixed refresh rate.

Source: GNOME/mutter, clutter/clutter/clutter-frame-clock.c (47 and newer: dynamic triple buffering).

A frame begins at: target - clamp(longest update + vblank time + 1 ms, 0, two refreshes)
  longest update  max(long-term, short-term) of: dispatch lateness + dispatch to swap + max(GPU, swap to flip).
                  The short-term maximum starts anew every second; the long-term one then goes half the way down to it,
                  or up to it at once. Neither exceeds two refreshes.
  target          the refresh after the last presentation, one more for a frame in flight; later while less than half
                  a refresh (or less than the estimate) is left
After a pause (the vblank after the last presentation has passed) a frame begins at once. Until something was measured:
one refresh after the previous frame's start. Clients are asked after each update.

Left out: the "deadline evasion" of the real-time KMS thread, and early presentations.
"""

from __future__ import annotations

from minicomp.lab.replay.policies.base import VBLANK_SHARE, Display, Done, Plan, Policy

RENDER_TIME_CONSTANT_NS = 1_000_000
PROMOTION_NS = 1_000_000_000


class Mutter(Policy):
    max_in_flight = 2

    def __init__(self, display: Display) -> None:
        super().__init__("mutter", display)
        self.last_ns = 0
        self.last_start_ns = 0
        self.in_flight = 0
        self.short_ns = 0
        self.long_ns = 0
        self.promoted_ns = 0
        self.measured = False

    def plan(self, now_ns: int, shown_ns: int) -> Plan:
        refresh = self.display.refresh_ns
        if not self.measured:
            start_ns = self.last_start_ns + refresh if self.last_start_ns else now_ns
            return Plan(max(start_ns, now_ns), 0)
        estimate = min(self._longest_ns() + round(refresh * VBLANK_SHARE) + RENDER_TIME_CONSTANT_NS, 2 * refresh)
        smooth_ns = self.last_ns + (1 + self.in_flight) * refresh
        target_ns = smooth_ns
        if target_ns < now_ns:
            target_ns += -(-(now_ns - target_ns) // refresh) * refresh
            return Plan(now_ns, target_ns)
        least_ns = min(refresh // 2, estimate)
        while target_ns - least_ns < now_ns:
            target_ns += refresh
        return Plan(max(target_ns - estimate, now_ns), target_ns)

    def committed(self, done: Done) -> None:
        self.in_flight += 1
        self.last_start_ns = done.plan.start_ns

    def presented(self, done: Done, seq: int, shown_ns: int, told_ns: int) -> None:
        self.in_flight -= 1
        self.last_ns = shown_ns
        update_ns = done.committed_ns - done.plan.start_ns
        self.short_ns = min(max(update_ns, self.short_ns), 2 * self.display.refresh_ns)
        if shown_ns - self.promoted_ns >= PROMOTION_NS:
            if self.long_ns > self.short_ns:
                self.long_ns -= (self.long_ns - self.short_ns) // 2
            else:
                self.long_ns = self.short_ns
            self.short_ns = 0
            self.promoted_ns = shown_ns
        self.measured = True

    def _longest_ns(self) -> int:
        return max(self.long_ns, self.short_ns)
