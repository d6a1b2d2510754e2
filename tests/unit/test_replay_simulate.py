"""Replays of constructed workloads: what each scheduler's published rule comes to, to the nanosecond if it can be."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_traces import BEGIN_NS, LATCH_NS, MS, PERIOD_NS, US, workload

from minicomp.errors import MinicompError
from minicomp.lab.replay.measure import Share, pareto_front, score
from minicomp.lab.replay.policies import DEFAULT, make_policy
from minicomp.lab.replay.policies.base import Display, Done, Plan, Policy
from minicomp.lab.replay.policies.own import Own
from minicomp.lab.replay.simulate import Outcome, simulate
from minicomp.lab.replay.workload import Commit, Cost, Surface, Workload

DISPLAY = Display(PERIOD_NS)
EVERY = DEFAULT.split(",")


def replayed(name: str, work: Workload) -> Outcome:
    return simulate(work, make_policy(name, replace(DISPLAY, refresh_ns=work.nominal_ns)))


@pytest.mark.parametrize(
    ("name", "latency_ns", "callback_ns"),
    [
        # Composed at the vblank that ended the last flip, from what was committed 1 ms after that one was composed.
        ("asap", 30 * MS, 31 * MS),
        ("sway", 30 * MS, 31 * MS),
        # 16 ms left at the flip: asked 16 - 4 - 4 after it, composed 16 - 4 after it.
        ("sway:4/4", 7 * MS, 8 * MS),
        ("sway:2/1", 2 * MS, 3 * MS),
        # Composed 7 ms before the vblank, asked 1 ms later, shown at the one after.
        ("weston", 21 * MS, 22 * MS),
        # 1 ms of composing, 0.64 + 1.5 + 1 ms of margin: 4.14 before the vblank; its timer makes that 5.
        ("kwin", 19 * MS, 20 * MS),
        # 1 ms of update, 0.64 ms of blanking, 1 ms.
        ("mutter", 16_640 * US, 17_640 * US),
    ],
)
def test_steady_state(name: str, latency_ns: int, callback_ns: int) -> None:
    outcome = replayed(name, workload(40))
    settled = outcome.shown[20:]
    assert {one.shown_ns - one.committed_ns for one in settled} == {latency_ns}
    assert {one.shown_ns - (one.callback_ns or 0) for one in settled} == {callback_ns}
    assert {after.shown_ns - one.shown_ns for one, after in pairwise(settled)} == {PERIOD_NS}
    assert not any(frame.shown_ns > frame.target_ns for frame in outcome.frames[20:])


@pytest.mark.parametrize("fixed_us", [4000, 2500])
def test_fixed_asks_a_little_earlier_than_the_answer_takes(fixed_us: int) -> None:
    """By the slack for late answers: a 128th of a refresh, which no answer is late enough to raise."""
    settled = replayed(f"fixed:{fixed_us}us", workload(40)).shown[20:]
    first_ns = PERIOD_NS // 128
    for one in settled:
        slack_ns = one.shown_ns - one.committed_ns - fixed_us * US
        assert 0.9 * first_ns <= slack_ns <= first_ns
        assert one.callback_ns == one.committed_ns - 1 * MS
    assert {after.shown_ns - one.shown_ns for one, after in pairwise(settled)} == {PERIOD_NS}


def test_gamescope_decays_to_its_least_draw_time() -> None:
    """From 3 ms to 2.4 ms, and 1.65 ms of red zone; asked 1 ms after that, the answer 1 ms later."""
    last = replayed("gamescope", workload(600)).shown[-1]
    assert abs(last.shown_ns - last.committed_ns - (PERIOD_NS + 2_400 * US + 1_650 * US - 2 * MS)) < 2 * US


def test_adaptive_is_the_compositors_own_code_and_finds_the_latch() -> None:
    policy = make_policy("adaptive", DISPLAY)
    assert isinstance(policy, Own)
    outcome = simulate(workload(2500), policy)
    assert LATCH_NS <= policy.pacing.latch_high_ns <= 1.2 * LATCH_NS
    result = score(workload(2500), outcome, warm_up=2000)
    assert result.missed.hits == 0
    # 1 ms to compose, the latch, nothing for answers that never vary; the rest is what it has not yet let go of.
    assert 2.0 <= (result.commit_ms.percentiles["p50"] or 0) <= 2.3


def test_a_frame_that_is_too_late_for_the_latch_is_shown_a_refresh_later_and_counts_as_missed() -> None:
    """fixed:2ms with 1 ms to compose leaves 1 ms: just enough for a latch of 1 ms, too little for 1 ns more.

    Then each answer, a little before its frame ought to begin, finds the display still busy with the one before.
    """
    enough = replayed("fixed:2ms", workload(30))
    assert score(workload(30), enough, 5).missed == Share(0, 25)
    work = workload(30, latch_ns=LATCH_NS + 1)
    short = replayed("fixed:2ms", work)
    assert score(work, short, 5).missed == Share(25, 25)
    for one in short.shown[5:]:
        assert 0 < one.shown_ns - one.committed_ns - (2 * PERIOD_NS + 2_000 * US) <= PERIOD_NS // 128


def test_wake_lateness_lock_wait_and_late_news_of_the_flip_all_delay() -> None:
    work = workload(40, cost=lambda _number: Cost(100 * US, 200 * US, 1 * MS, 300 * US, 400 * US))
    frame = replayed("asap", work).frames[20]
    assert frame.planned_ns % PERIOD_NS == 400 * US
    assert frame.done.begun_ns - frame.planned_ns == 300 * US
    assert frame.done.committed_ns - frame.done.begun_ns == 1_300 * US


def test_a_commit_while_a_frame_is_composed_waits_for_the_next() -> None:
    surface = Surface(9, "clock", (Commit(at_ns=BEGIN_NS + 3 * MS + 500 * US, wants_callback=False),))
    work = workload(1)
    outcome = replayed("asap", replace(work, surfaces=(*work.surfaces, surface)))
    first, second = outcome.shown
    assert (first.surface_id, first.shown_ns) == (7, BEGIN_NS + PERIOD_NS)
    assert (second.surface_id, second.committed_ns) == (9, BEGIN_NS + 4 * MS)
    assert second.shown_ns == BEGIN_NS + 2 * PERIOD_NS


def test_a_client_with_its_own_clock_keeps_its_gaps_and_can_outrun_the_display() -> None:
    commits = (Commit(at_ns=BEGIN_NS + 1), *[Commit(gap_ns=4 * MS, wants_callback=False)] * 40)
    work = replace(workload(1), surfaces=(Surface(7, "clock", commits),))
    outcome = replayed("fixed:4ms", work)
    times = [one.committed_ns for one in outcome.shown]
    assert len(outcome.shown) + outcome.superseded == 41
    assert outcome.superseded > 20 and times == sorted(times)
    assert score(work, outcome).callback_ms.count == 0


def test_repeats_are_refreshes_without_a_new_picture() -> None:
    """A client that now and then takes 12 ms although sway leaves it 4: its commit comes after the frame was due."""
    work = workload(60, response_ns=lambda number: (12 if number % 2 else 1) * MS)
    result = score(work, replayed("sway:4/4", work), 10)
    assert result.repeats.rate is not None and result.repeats.rate > 0.2
    assert score(workload(60), replayed("sway:4/4", workload(60)), 10).repeats.hits == 0


def test_kwin_replaces_a_frame_that_still_waits() -> None:
    """After one frame that came too late, the next two meet in the queue: the newer one is shown, without a backlog."""
    work = workload(60, cost=lambda number: Cost(0, 0, (9 if number == 30 else 1) * MS, 0, 0))
    outcome = replayed("kwin", work)
    assert len(outcome.frames) + outcome.replaced == 60
    assert sum(frame.shown_ns > frame.target_ns for frame in outcome.frames[5:]) <= 2
    assert outcome.shown[-1].shown_ns - outcome.shown[-1].committed_ns <= 20 * MS


@pytest.mark.parametrize("name", EVERY)
def test_the_same_workload_gives_the_same_outcome(name: str) -> None:
    rng = random.Random(1)
    costs = [Cost(rng.randrange(MS), 0, rng.randrange(3 * MS), rng.randrange(MS), rng.randrange(MS)) for _ in range(50)]
    work = workload(50, cost=lambda number: costs[number])
    one, again = replayed(name, work), replayed(name, work)
    assert one.shown == again.shown and one.superseded == again.superseded


class _Checked(Policy):
    """Passes everything on, and fails when a schedule lies in the past."""

    def __init__(self, inner: Policy) -> None:
        super().__init__(inner.name, inner.display)
        self.inner = inner
        self.max_in_flight = inner.max_in_flight
        self.replace_margin_ns = inner.replace_margin_ns
        self.plans = 0

    def plan(self, now_ns: int, shown_ns: int) -> Plan:
        self.plans += 1
        plan = self.inner.plan(now_ns, shown_ns)
        assert plan.start_ns >= now_ns, "a frame in the past"
        assert plan.start_ns - now_ns <= 3.1 * self.display.refresh_ns, "a frame that is put off for ever"
        return plan

    def replan(self, plan: Plan, now_ns: int) -> Plan:
        anew = self.inner.replan(plan, now_ns)
        assert anew is plan or anew.start_ns >= now_ns
        return anew

    def committed(self, done: Done) -> None:
        self.inner.committed(done)

    def presented(self, done: Done, seq: int, shown_ns: int, told_ns: int) -> None:
        assert shown_ns >= done.committed_ns
        self.inner.presented(done, seq, shown_ns, told_ns)

    def callback_after_commit(self, surface_id: int, done: Done) -> int | None:
        at_ns = self.inner.callback_after_commit(surface_id, done)
        assert at_ns is None or at_ns >= done.committed_ns, "a callback in the past"
        return at_ns

    def at_frame_event(self, now_ns: int) -> int | None:
        at_ns = self.inner.at_frame_event(now_ns)
        assert at_ns is None or at_ns >= now_ns, "a callback in the past"
        return at_ns

    def answered(self, surface_id: int, called_ns: int, now_ns: int) -> None:
        self.inner.answered(surface_id, called_ns, now_ns)


TIMES = st.integers(0, 60 * MS)


@pytest.mark.parametrize("name", EVERY)
@given(
    st.floats(24, 360),
    st.integers(0, 2_000),
    st.lists(st.tuples(TIMES, TIMES, TIMES, TIMES, TIMES), min_size=1, max_size=12),
    st.lists(st.integers(0, 400 * MS), min_size=1, max_size=12),
)
@settings(max_examples=25, deadline=None)
def test_no_policy_schedules_in_the_past_and_none_starves(
    name: str, hz: float, latch_us: int, costs: list[tuple[int, int, int, int, int]], responses: list[int]
) -> None:
    """Whatever frames cost and clients take: every commit is made, and shown or replaced by a newer one, in order."""
    period_ns = round(1e9 / hz)
    work = workload(
        60,
        latch_ns=min(latch_us * US, int(0.4 * period_ns)),
        response_ns=lambda number: responses[number % len(responses)],
        cost=lambda number: Cost(*costs[number % len(costs)]),
        period_ns=period_ns,
    )
    policy = _Checked(make_policy(name, Display(period_ns)))
    outcome = simulate(work, policy)
    assert policy.plans >= len(outcome.frames) > 0
    assert outcome.unanswered == 0
    assert len(outcome.shown) + outcome.superseded == 60
    vblanks = [frame.vblank for frame in outcome.frames]
    assert all(earlier < later for earlier, later in pairwise(vblanks))
    numbers = [one.number for one in outcome.shown]
    assert numbers == sorted(numbers)
    for frame in outcome.frames:
        assert frame.done.committed_ns + work.latch.ns <= frame.shown_ns


@pytest.mark.parametrize("name", ["", "fixed", "fixed:4", "fixed:-1ms", "sway:4", "sway:a/b", "kwin "])
def test_an_unknown_policy_is_a_users_mistake(name: str) -> None:
    with pytest.raises(MinicompError, match="no policy"):
        make_policy(name, DISPLAY)


def test_the_front_holds_what_nothing_else_beats() -> None:
    work = workload(80)
    scores = [score(work, replayed(name, work), 20) for name in ("asap", "fixed:4ms", "fixed:1500us", "weston")]
    assert scores[2].missed.hits == 60
    assert [one.policy for one in pareto_front(scores)] == ["fixed:4ms"]
