"""gamescope's vblank timer, with a fixed refresh rate, composing (not scanning a client's buffer out).

Source: ValveSoftware/gamescope, src/vblankmanager.cpp and .hpp (1bd4def7).

It wakes at: last vblank + n refreshes - (rolling draw time + red zone), the first of these that is not past
  rolling draw time  follows the last frame's (scheduled wake-up -> commit returned, at least 2.4 ms when composing)
                     with 98 % decay, and jumps to it when it exceeds the average by more than half the red zone; at
                     most a refresh less the red zone; 3 ms at first
  red zone           1.65 ms
Clients are asked after each of these frames.

Left out: the early wake-up out of deep CPU idle states, and VRR.
"""

from __future__ import annotations

from minicomp.lab.replay.policies.base import Display, Done, Plan, Policy

FIRST_DRAW_NS = 3_000_000
LEAST_DRAW_NS = 2_400_000
RED_ZONE_NS = 1_650_000
DECAY_PERMILLE = 980


class Gamescope(Policy):
    def __init__(self, display: Display) -> None:
        super().__init__("gamescope", display)
        self.last_ns = 0
        self.draw_ns = FIRST_DRAW_NS
        self.rolling_ns = FIRST_DRAW_NS

    def plan(self, now_ns: int, shown_ns: int) -> Plan:
        refresh = self.display.refresh_ns
        draw_ns = max(self.draw_ns, LEAST_DRAW_NS)
        if draw_ns - RED_ZONE_NS // 2 > self.rolling_ns:
            self.rolling_ns = draw_ns
        else:
            self.rolling_ns = (DECAY_PERMILLE * self.rolling_ns + (1000 - DECAY_PERMILLE) * draw_ns) // 1000
        self.rolling_ns = max(0, min(self.rolling_ns, refresh - RED_ZONE_NS))
        offset_ns = self.rolling_ns + RED_ZONE_NS
        start_ns = (self.last_ns or now_ns) + refresh - offset_ns
        if start_ns < now_ns:
            start_ns += ((now_ns - start_ns - 1) // refresh + 1) * refresh
        return Plan(start_ns, start_ns + offset_ns)

    def committed(self, done: Done) -> None:
        self.draw_ns = done.committed_ns - done.plan.start_ns

    def presented(self, done: Done, seq: int, shown_ns: int, told_ns: int) -> None:
        self.last_ns = shown_ns
