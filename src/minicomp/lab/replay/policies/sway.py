"""sway, by default or with its two max_render_time settings.

Source: swaywm/sway, sway/desktop/output.c (1.5 to 1.10): output_repaint_timer_handler, handle_frame,
send_frame_done_iterator.

When a flip is done (or a client commits while nothing goes on), with `left` the whole milliseconds, rounded down, until
one refresh after the last presentation:
  repaint  left - (output's max_render_time) ms later, at once when that is less than 1 ms or the setting is off
  clients  are asked left - (output's) - (view's) ms later, at once when that is not positive or either is off
By default both are off: a frame is made of what was committed when the previous one was shown, which is why sway's
commit -> presented is just under two refreshes.
"""

from __future__ import annotations

from minicomp.lab.replay.policies.base import Display, Done, Plan, Policy

MSEC = 1_000_000


class Sway(Policy):
    def __init__(self, display: Display, output_ms: int = 0, view_ms: int = 0) -> None:
        super().__init__(f"sway:{output_ms}/{view_ms}" if output_ms or view_ms else "sway", display)
        self.output_ms = output_ms
        self.view_ms = view_ms
        self.shown_ns = 0
        self.repaint_ns = 0
        """When the repaint timer of the last frame event goes off."""

    def plan(self, now_ns: int, shown_ns: int) -> Plan:
        if shown_ns or now_ns <= self.repaint_ns:
            start_ns, frame_event = max(self.repaint_ns, now_ns), False
        else:  # nothing went on: wlroots emits the frame event for this commit
            start_ns, frame_event = now_ns + self._repaint_delay_ns(now_ns), True
            self.repaint_ns = start_ns
        return Plan(start_ns, self._vblank_after(start_ns), frame_event)

    def presented(self, done: Done, seq: int, shown_ns: int, told_ns: int) -> None:
        self.shown_ns = shown_ns
        self.repaint_ns = told_ns + self._repaint_delay_ns(told_ns)

    def callback_after_commit(self, surface_id: int, done: Done) -> int | None:
        return None

    def at_frame_event(self, now_ns: int) -> int | None:
        delay_ms = self._left_ms(now_ns) - self.output_ms - self.view_ms
        return now_ns + (delay_ms * MSEC if self.output_ms and self.view_ms and delay_ms > 0 else 0)

    def _repaint_delay_ns(self, now_ns: int) -> int:
        delay_ms = self._left_ms(now_ns) - self.output_ms
        return delay_ms * MSEC if self.output_ms and delay_ms >= 1 else 0

    def _left_ms(self, now_ns: int) -> int:
        if not self.shown_ns:
            return 0
        return max(0, (self.shown_ns + self.display.refresh_ns - now_ns) // MSEC)

    def _vblank_after(self, t_ns: int) -> int:
        if not self.shown_ns:
            return 0
        refresh = self.display.refresh_ns
        return self.shown_ns + max(1, -(-(t_ns - self.shown_ns) // refresh)) * refresh
