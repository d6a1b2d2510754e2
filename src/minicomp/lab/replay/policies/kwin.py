"""KWin, with a fixed refresh rate (no VRR, no tearing).

Source: KDE/kwin, src/core/renderloop.cpp (c995ade3), src/core/renderjournal.cpp (2025, "mean and three standard
deviations"), src/backends/drm/drm_commit_thread.cpp (s_safetyMarginMinimum).

A frame begins at: target - min(predicted render time + safety margin + 1 ms, two refreshes)
  predicted render time  mean + 3 standard deviations of the last 100 (composing only, not the commit)
  safety margin          the mode's vblank time + 1.5 ms
  target                 last presentation + n refreshes: as many as the expected time needs, at most two, and at least
                         one after the previous target; a change back from two waits for 10 frames
The timer counts whole milliseconds, rounded down. After 100 refreshes of rest a whole refresh is allowed for, because
the GPU has clocked down. Up to two frames are in flight; the commit thread holds a finished one back until the safety
margin before its vblank, and a newer one finished by then replaces it. Clients are asked after each frame.

Left out: the commit thread widens its margin after commits that came too late; here a commit counts from its return.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import replace

from minicomp.lab.replay.policies.base import VBLANK_SHARE, Display, Done, Plan, Policy

MSEC = 1_000_000
JOURNAL_FRAMES = 100
SIGMAS = 3
SAFETY_MARGIN_MINIMUM_NS = 1_500_000
TIMER_MARGIN_NS = 1 * MSEC
REST_REFRESHES = 100
CALM_FRAMES = 10
ENOUGH_FOR_ONE = 0.95


class KWin(Policy):
    max_in_flight = 2

    def __init__(self, display: Display) -> None:
        super().__init__("kwin", display)
        self.replace_margin_ns = round(display.refresh_ns * VBLANK_SHARE) + SAFETY_MARGIN_MINIMUM_NS
        self.render_ns: deque[int] = deque(maxlen=JOURNAL_FRAMES)
        self.last_ns = 0
        self.next_ns = 0
        self.tripled = False
        self.calm_frames = 0

    def plan(self, now_ns: int, shown_ns: int) -> Plan:
        refresh = self.display.refresh_ns
        expected = self._expected_ns()
        since = max((now_ns - self.last_ns) // refresh, 0)
        if since > REST_REFRESHES:
            expected = max(refresh - 1000, expected)
        since_to_target = max(round((self.next_ns - self.last_ns) / refresh), 0)
        advance = min(expected // refresh + 1, self.max_in_flight)
        if advance > 1:
            self.tripled, self.calm_frames = True, 0
        elif self.tripled and self.calm_frames >= CALM_FRAMES:
            self.tripled = False
        elif self.tripled:
            self.calm_frames = 0 if expected >= ENOUGH_FOR_ONE * refresh else self.calm_frames + 1
            advance, expected = 2, refresh
        self.next_ns = self.last_ns + max(since + advance, since_to_target + 1) * refresh
        return self._armed(Plan(0, self.next_ns), now_ns, expected)

    def replan(self, plan: Plan, now_ns: int) -> Plan:
        """The same vblank, by the new stamp and the new prediction."""
        refresh = self.display.refresh_ns
        intervals = max(round((self.next_ns - self.last_ns) / refresh), 0)
        self.next_ns = self.last_ns + intervals * refresh
        return self._armed(replace(plan, target_ns=self.next_ns), now_ns, self._expected_ns())

    def presented(self, done: Done, seq: int, shown_ns: int, told_ns: int) -> None:
        self.last_ns = max(self.last_ns, shown_ns)
        self.render_ns.append(done.composed_ns - done.begun_ns)

    def _expected_ns(self) -> int:
        margin_ns = self.replace_margin_ns or 0
        return min(self._predicted_ns() + margin_ns + TIMER_MARGIN_NS, 2 * self.display.refresh_ns)

    def _predicted_ns(self) -> int:
        if not self.render_ns:
            return 0
        spread = statistics.stdev(self.render_ns) if len(self.render_ns) > 1 else 0.0
        return round(statistics.fmean(self.render_ns) + SIGMAS * spread)

    @staticmethod
    def _armed(plan: Plan, now_ns: int, expected_ns: int) -> Plan:
        delay_ms = max(0, int((plan.target_ns - expected_ns - now_ns) / MSEC))
        return replace(plan, start_ns=now_ns + delay_ms * MSEC)
