"""Pacing of clients on simulated displays that share one CPU: when they are asked, what they miss, what that costs.

An event simulation around native/pure's own functions: a client's work and the composing of a frame each take the CPU
for their time, one after the other in the order in which they become due. The display keeps KMS's rule. Nothing sleeps.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from minicomp.native.pure import ffi, lib

MS = 1_000_000
US = 1_000
Law = Callable[[random.Random], int]


class Cpu:
    """Runs jobs to their end, in the order of their events."""

    def __init__(self) -> None:
        self.events: list[tuple[int, int, Callable[[int], None]]] = []
        self.count = 0
        self.free_ns = 0

    def at(self, t_ns: int, act: Callable[[int], None]) -> None:
        self.count += 1
        heapq.heappush(self.events, (t_ns, self.count, act))

    def work(self, now_ns: int, took_ns: int, done: Callable[[int], None]) -> None:
        self.free_ns = max(now_ns, self.free_ns) + took_ns
        self.at(self.free_ns, done)

    def run_until(self, enough: Callable[[], bool]) -> None:
        while not enough():
            now_ns, _, act = heapq.heappop(self.events)
            act(now_ns)


class Output:
    """A display, its pacing, and one client that answers each callback."""

    def __init__(self, cpu: Cpu, hz: float, work: Law, *, compose_ns: int = 250 * US, seed: int = 0) -> None:
        self.cpu, self.law, self.compose_ns = cpu, work, compose_ns
        self.random = random.Random(seed)
        self.latch_ns = 300 * US
        self.period_ns = 1e9 / hz
        self.base_ns = 10**12
        self.pacing = ffi.new("struct mc_pacing *")
        lib.mc_pacing_init(self.pacing, lib.MC_PACING_ADAPTIVE, 0, 0.001)
        lib.mc_pacing_reset(self.pacing, int(self.period_ns))
        self.response = ffi.new("struct mc_response *")
        self.ask = ffi.new("struct mc_ask *")
        self.plan = ffi.new("struct mc_plan *")
        self.late_rate = lib.mc_pacing_late_rate(0.001)
        self.wake_late_ns: Law = lambda rng: 0
        """How late a callback is sent."""
        self.shown_ns, self.last_seq, self.committed_ns = 0, 0, 0
        self.latencies_ns: list[int] = []
        self.missed: list[int] = []
        self.starts: list[tuple[int, bool]] = []
        """How long before its vblank each frame was to begin, and whether it was crowded."""
        cpu.at(self.base_ns + 12_345, self._called)

    def _called(self, now_ns: int) -> None:
        self.called_ns = now_ns
        self.cpu.work(now_ns, max(0, self.law(self.random)), self._committed)

    def _committed(self, now_ns: int) -> None:
        lib.mc_response_answered(self.response, self.ask, self.called_ns, now_ns, self.late_rate)
        self.committed_ns = now_ns
        self.plan[0] = lib.mc_pacing_plan(self.pacing, now_ns, self.shown_ns)
        self.starts.append((self.plan.vblank_ns - self.plan.start_ns, self.plan.crowded))
        self.cpu.at(self.plan.start_ns, lambda t_ns: self.cpu.work(t_ns, self.compose_ns, self._handed_over))

    def _handed_over(self, now_ns: int) -> None:
        lib.mc_pacing_committed(self.pacing, self.plan, now_ns)
        self.ask[0] = lib.mc_pacing_ask(self.pacing, self.response, now_ns, self.plan.vblank_ns)
        assert self.ask.at_ns >= now_ns, "a callback in the past"
        latch_ns = self.latch_ns + int(self.random.gauss(0, 10 * US))
        seq = max(math.ceil((now_ns + latch_ns - self.base_ns) / self.period_ns), self.last_seq + 1)
        at_ns = int(self.base_ns + seq * self.period_ns)
        if self.last_seq and seq > self.last_seq + 1:
            self.missed.append(len(self.latencies_ns))
        self.latencies_ns.append(at_ns - self.committed_ns)
        self.last_seq, self.shown_ns = seq, at_ns
        handed_ns, plan, ask_ns = now_ns, ffi.new("struct mc_plan *", self.plan[0]), self.ask.at_ns

        def presented(_now_ns: int) -> None:
            lib.mc_pacing_presented(self.pacing, plan, handed_ns, seq, at_ns)

        self.cpu.at(at_ns, presented)
        late_ns = self.wake_late_ns(self.random)
        self.cpu.at(max(ask_ns, now_ns) + late_ns, self._called)

    def figures(self, after: int) -> tuple[float, float]:
        """Median of commit -> presented in ms, and missed frames' share, from frame `after` on."""
        latencies = sorted(self.latencies_ns[after:])
        missed = [frame for frame in self.missed if frame >= after]
        return latencies[len(latencies) // 2] / MS, len(missed) / len(latencies)


def alone(hz: float, work: Law, frames: int, **options: Any) -> Output:
    cpu = Cpu()
    output = Output(cpu, hz, work, **options)
    cpu.run_until(lambda: len(output.latencies_ns) >= frames)
    return output


def quick_client(rng: random.Random) -> int:
    return 130 * US + int(abs(rng.gauss(0, 5 * US)))


LAWS: dict[str, tuple[Law, float, float]] = {
    # The law; the highest median of commit -> presented, ms; the highest share of missed frames.
    "constant": (lambda rng: 130 * US + int(abs(rng.gauss(0, 5 * US))), 0.8, 0.001),
    "normal": (lambda rng: int(rng.gauss(2 * MS, 0.5 * MS)), 3.0, 0.001),
    "bimodal": (lambda rng: 8 * MS if rng.random() < 0.1 else 1 * MS, 8.5, 0.001),
    # 0.17 % of these take longer than what a refresh leaves them: whoever shows a frame a refresh misses those.
    "heavy-tailed": (lambda rng: int(0.5 * MS * rng.paretovariate(2)), 12.0, 0.001 + 0.0017),
}


@pytest.mark.parametrize("law", list(LAWS))
@pytest.mark.parametrize("seed", range(3))
def test_late_answers_stay_within_the_target_and_are_not_asked_for_absurdly_early(law: str, seed: int) -> None:
    work, median_ms, missed = LAWS[law]
    output = alone(75, work, 11000, seed=seed)
    figures = output.figures(1000)
    assert figures[0] <= median_ms
    assert figures[1] <= missed


def test_callbacks_that_are_sent_late_are_reckoned_with() -> None:
    """Somebody else has the CPU for up to 4 ms at every tenth wake-up."""
    cpu = Cpu()
    output = Output(cpu, 75, quick_client)
    output.wake_late_ns = lambda rng: rng.randrange(4 * MS) if rng.random() < 0.1 else 0
    cpu.run_until(lambda: len(output.latencies_ns) >= 6000)
    median_ms, missed = output.figures(1000)
    assert missed <= 0.001
    assert median_ms <= 5.2


def test_a_client_that_becomes_slower_is_followed_and_one_that_becomes_faster_too() -> None:
    work = {"now": 1 * MS}
    cpu = Cpu()
    output = Output(cpu, 75, lambda rng: work["now"])
    cpu.run_until(lambda: len(output.latencies_ns) >= 1000)
    calm_ms, _ = output.figures(900)
    work["now"] = 6 * MS
    cpu.run_until(lambda: len(output.latencies_ns) >= 1300)
    assert len([frame for frame in output.missed if frame >= 1000]) <= 3
    work["now"] = 1 * MS
    cpu.run_until(lambda: len(output.latencies_ns) >= 1500)
    assert output.figures(1400)[0] <= calm_ms + 75 / 64 * 2, "within the window's length, but for the slack of one step"


def test_a_stopped_client_teaches_nothing() -> None:
    """Answers of 40 ms, which no earlier callback would have brought in time, leave the slack as it was."""
    pauses = {"left": 0}

    def work(_rng: random.Random) -> int:
        pauses["left"] -= 1
        return 40 * MS if pauses["left"] == 0 else 1 * MS

    cpu = Cpu()
    output = Output(cpu, 75, work)
    cpu.run_until(lambda: len(output.latencies_ns) >= 500)
    before_ns = output.response.alone.slack.ns
    for _ in range(5):
        pauses["left"] = 5
        frames = len(output.latencies_ns) + 70
        cpu.run_until(lambda frames=frames: len(output.latencies_ns) >= frames)  # type: ignore[misc]
    assert output.response.alone.slack.ns <= before_ns


def test_two_outputs_on_one_cpu_are_each_as_if_alone() -> None:
    """60 and 144 Hz coincide 12 times a second. Only the frames that do begin earlier; none is missed for it."""
    cpu = Cpu()
    outputs = {hz: Output(cpu, hz, quick_client, seed=int(hz)) for hz in (60.0, 144.0)}
    lib.mc_pacing_join(outputs[144.0].pacing, outputs[60.0].pacing)
    cpu.run_until(lambda: len(outputs[60.0].latencies_ns) >= 4000)
    for hz, output in outputs.items():
        by_itself_ms, by_itself_missed = alone(hz, quick_client, 4000, seed=int(hz)).figures(1000)
        median_ms, missed = output.figures(1000)
        assert median_ms <= by_itself_ms * 1.1
        assert missed <= by_itself_missed + 0.001
        starts = output.starts[1000:4000]
        crowded = [before_ns for before_ns, is_crowded in starts if is_crowded]
        calm = [before_ns for before_ns, is_crowded in starts if not is_crowded]
        # Every fifth of 60 Hz and every twelfth of 144 Hz coincide; no others are taken for such.
        share = len(crowded) / len(starts)
        assert share == pytest.approx(12 / hz, rel=0.2)
        assert sorted(crowded)[len(crowded) // 2] > sorted(calm)[len(calm) // 2]


def test_an_output_that_shows_nothing_crowds_nobody_and_one_that_goes_is_forgotten() -> None:
    cpu = Cpu()
    output = Output(cpu, 60, quick_client)
    idle = ffi.new("struct mc_pacing *")
    lib.mc_pacing_init(idle, lib.MC_PACING_ADAPTIVE, 0, 0.001)
    lib.mc_pacing_reset(idle, int(1e9 / 60))
    lib.mc_pacing_join(idle, output.pacing)
    third = ffi.new("struct mc_pacing *")
    lib.mc_pacing_init(third, lib.MC_PACING_ADAPTIVE, 0, 0.001)
    lib.mc_pacing_join(third, idle)
    cpu.run_until(lambda: len(output.latencies_ns) >= 50)
    assert not any(crowded for _, crowded in output.starts)
    lib.mc_pacing_leave(idle)
    assert {output.pacing.peer, third.peer} == {output.pacing, third}
    lib.mc_pacing_leave(third)
    assert output.pacing.peer == output.pacing
