"""minicomp's own modes: asap, fixed and adaptive, by calling native/pure/pacing.c itself.

Nothing is computed here: the same functions that run in the compositor plan the replay's frames and callbacks. A client
that took longer than LONGEST_RESPONSE_NS had nothing to draw, as in native/wlr/surface.c.
"""

from __future__ import annotations

from typing import Any

from minicomp.lab.replay.policies.base import Display, Done, Plan, Policy
from minicomp.native.pure import ffi, lib

LONGEST_RESPONSE_NS = 100_000_000


def asap(display: Display) -> Policy:
    return Own(display, "asap", lib.MC_PACING_ASAP, 0)


def adaptive(display: Display) -> Policy:
    return Own(display, "adaptive", lib.MC_PACING_ADAPTIVE, 0)


def fixed(display: Display, name: str, fixed_ns: int) -> Policy:
    return Own(display, name, lib.MC_PACING_FIXED, fixed_ns)


class Own(Policy):
    def __init__(self, display: Display, name: str, mode: int, fixed_ns: int) -> None:
        super().__init__(name, display)
        self.pacing: Any = ffi.new("struct mc_pacing *")
        self.clients: dict[int, _Client] = {}
        lib.mc_pacing_init(self.pacing, mode, fixed_ns, display.target_miss_rate)
        self.late_rate: float = lib.mc_pacing_late_rate(display.target_miss_rate)
        lib.mc_pacing_reset(self.pacing, display.refresh_ns)

    def plan(self, now_ns: int, shown_ns: int) -> Plan:
        native = ffi.new("struct mc_plan *")
        native[0] = lib.mc_pacing_plan(self.pacing, now_ns, shown_ns)
        return Plan(native.start_ns, native.vblank_ns, native=native)

    def committed(self, done: Done) -> None:
        lib.mc_pacing_committed(self.pacing, done.plan.native, done.committed_ns)

    def presented(self, done: Done, seq: int, shown_ns: int, told_ns: int) -> None:
        lib.mc_pacing_presented(self.pacing, done.plan.native, done.committed_ns, seq, shown_ns)

    def callback_after_commit(self, surface_id: int, done: Done) -> int | None:
        client = self._client(surface_id)
        client.ask[0] = lib.mc_pacing_ask(self.pacing, client.response, done.committed_ns, done.plan.target_ns or 1)
        at_ns: int = client.ask.at_ns
        return at_ns

    def answered(self, surface_id: int, called_ns: int, now_ns: int) -> None:
        if now_ns - called_ns < LONGEST_RESPONSE_NS:
            client = self._client(surface_id)
            lib.mc_response_answered(client.response, client.ask, called_ns, now_ns, self.late_rate)

    def _client(self, surface_id: int) -> _Client:
        if surface_id not in self.clients:
            self.clients[surface_id] = _Client()
        return self.clients[surface_id]


class _Client:
    def __init__(self) -> None:
        self.response: Any = ffi.new("struct mc_response *")
        self.ask: Any = ffi.new("struct mc_ask *")
