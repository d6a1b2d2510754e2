"""What a replay takes from a run file: vblanks, the latch, costs, clients' answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replay_traces import BEGIN_NS, MS, PERIOD_NS, US, record

from minicomp.errors import MinicompError
from minicomp.lab.pipeline.cost import frame_costs, predicted_cost_ns
from minicomp.lab.pipeline.join import join
from minicomp.lab.pipeline.points import Origin
from minicomp.lab.pipeline.runfile import read_run
from minicomp.lab.replay.grid import Grid, build_grid
from minicomp.lab.replay.latch import Latch, learn_latch
from minicomp.lab.replay.workload import Commit, Cost, workloads
from minicomp.native.pure import ffi, lib


def test_vblanks_between_stamps_are_laid_evenly() -> None:
    grid = build_grid([(1000, 5), (2000, 6), (5030, 9), (6030, 10)], 1000.0)
    assert grid.stamps_ns == (1000, 2000, 3010, 4020, 5030, 6030)
    assert grid.period_ns == 1006


def test_a_counter_that_jumps_is_not_believed() -> None:
    assert build_grid([(1000, 5), (3000, 90)], 1000.0).stamps_ns == (1000, 2000, 3000)
    assert build_grid([(1000, 0), (3000, 0)], 1000.0).stamps_ns == (1000, 2000, 3000)
    assert build_grid([(1000, (1 << 24) - 1), (3000, 1)], 1000.0).stamps_ns == (1000, 2000, 3000)


def test_two_stamps_of_one_vblank_are_one() -> None:
    assert build_grid([(1000, 1), (1010, 1), (2000, 2)], 1000.0).stamps_ns == (1000, 2000)


@given(st.integers(-10_000_000, 60_000_000), st.floats(900.0, 20_000.0))
def test_the_grid_finds_the_first_vblank_not_before(t_ns: int, period_ns: float) -> None:
    stamps = tuple(round(1_000_000 + n * period_ns) for n in range(50))
    grid = Grid(stamps, period_ns)
    index = grid.index_at_or_after(t_ns)
    assert grid.time_ns(index - 1) < t_ns <= grid.time_ns(index)


@pytest.mark.parametrize("latch_us", [200, 1500, 3000])
def test_the_latch_is_learned_between_what_was_enough_and_what_was_not(latch_us: int) -> None:
    committed, shown = [], []
    for frame in range(200):
        committed_ns = BEGIN_NS + frame * 3 * PERIOD_NS - (frame * 37 % 5000) * US
        committed.append(committed_ns)
        shown.append(-(-(committed_ns + latch_us * US) // PERIOD_NS) * PERIOD_NS)
    latch = learn_latch(committed, shown, float(PERIOD_NS))
    assert latch.low_ns < latch_us * US <= latch.ns == latch.high_ns
    assert latch.high_ns - latch.low_ns < 100 * US


def test_one_contradiction_does_not_spoil_the_latch() -> None:
    """A frame that was shown with no time to spare (a stamp that jittered) is outvoted."""
    committed = [BEGIN_NS + frame * 4 * PERIOD_NS - slack for frame, slack in enumerate([2 * MS] * 5 + [1 * MS] * 5)]
    shown = [BEGIN_NS + frame * 4 * PERIOD_NS + (PERIOD_NS if frame >= 5 else 0) for frame in range(10)]
    committed.append(shown[-1] + 4 * PERIOD_NS - 100 * US)
    shown.append(shown[-1] + 4 * PERIOD_NS)
    assert learn_latch(committed, shown, float(PERIOD_NS)) == Latch(2 * MS, "learned", 1 * MS, 2 * MS)


def test_a_recorded_run_becomes_its_workload(tmp_path: Path) -> None:
    (found,) = workloads(join(read_run(record(tmp_path / "run.mct", 12))))
    assert (found.name, found.nominal_ns, found.period_ns) == ("A", PERIOD_NS, PERIOD_NS)
    assert found.latch == Latch(1 * MS, "modelled")
    assert found.costs == (Cost(100 * US, 100 * US, 1 * MS, 100 * US, 50 * US),) * 12
    (surface,) = found.surfaces
    assert surface.surface_id == 7
    assert surface.commits[0] == Commit(at_ns=BEGIN_NS - 15 * MS)
    assert surface.commits[1:] == (Commit(response_ns=1 * MS),) * 11
    # 12 frames, one of them a refresh late: 13 vblanks.
    assert found.grid.stamps_ns == tuple(BEGIN_NS + n * PERIOD_NS for n in range(13))


def test_a_latch_that_is_given_counts_more(tmp_path: Path) -> None:
    joined = join(read_run(record(tmp_path / "run.mct", 12)))
    assert workloads(joined, 700 * US)[0].latch == Latch(700 * US, "given")


def test_hardware_has_a_learned_latch_whatever_the_names_say(tmp_path: Path) -> None:
    joined = join(read_run(record(tmp_path / "run.mct", 12, origin=Origin.HARDWARE)))
    latch = workloads(joined)[0].latch
    assert latch.source == "learned" and latch.high_ns == 2700 * US


def test_a_stepped_run_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MinicompError, match="step clock"):
        workloads(join(read_run(record(tmp_path / "stepped.mct", 3, clock="step"))))
    with pytest.raises(MinicompError, match="nothing to replay"):
        workloads(join(read_run(record(tmp_path / "empty.mct", 0))))


def test_lock_waits_are_told_from_wake_lateness(tmp_path: Path) -> None:
    costs = frame_costs(join(read_run(record(tmp_path / "run.mct", 3))))
    assert costs.wake_ns.tolist() == costs.lock_ns.tolist() == [100 * US] * 3
    assert costs.total_ns.tolist() == [1300 * US] * 3


@given(st.lists(st.integers(0, 50_000), min_size=1, max_size=150))
def test_the_predicted_cost_is_what_the_pacing_expects(costs_us: list[int]) -> None:
    pacing, plan = ffi.new("struct mc_pacing *"), ffi.new("struct mc_plan *")
    lib.mc_pacing_init(pacing, lib.MC_PACING_ADAPTIVE, 0, 0.001)
    plan.start_ns = BEGIN_NS
    for cost_us in costs_us:
        lib.mc_pacing_committed(pacing, plan, BEGIN_NS + cost_us * US)
    expected_ns = lib.mc_pacing_budget_ns(pacing) - pacing.latch_high_ns - pacing.loads[0].safety.ns
    assert predicted_cost_ns([cost_us * US for cost_us in costs_us]) == expected_ns
