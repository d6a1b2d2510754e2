"""The order of runs: balanced in every block, random between blocks, the same for the same seed."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from minicomp.config.validation import convert, to_builtins
from minicomp.lab.experiments.plan import Plan, make_plan
from minicomp.lab.experiments.spec import Arm, Client, Experiment, Schedule, Validity


def experiment(names: list[str], seed: int, blocks: int, repetitions: int) -> Experiment:
    return Experiment(
        name="plan",
        question="",
        arms=tuple(Arm(name=name, settings={}) for name in names),
        clients=(Client(command=("pulse",)),),
        loads=(),
        schedule=Schedule(blocks=blocks, repetitions=repetitions),
        quick=Schedule(),
        validity=Validity(),
        seed=seed,
    )


NAMES = st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), min_size=1, max_size=6, unique=True)


@settings(max_examples=60, deadline=None)
@given(NAMES, st.integers(0, 2**40), st.integers(1, 12), st.integers(1, 3))
def test_every_block_holds_every_arm_equally_often(names: list[str], seed: int, blocks: int, repetitions: int) -> None:
    plan = make_plan(experiment(names, seed, blocks, repetitions), quick=False)
    assert [run.number for run in plan.runs] == list(range(1, len(plan.runs) + 1))
    assert [run.block for run in plan.runs] == sorted(run.block for run in plan.runs)
    for block in range(1, blocks + 1):
        counts = Counter(run.arm for run in plan.runs if run.block == block)
        assert counts == dict.fromkeys(names, repetitions)
    assert len({run.stem for run in plan.runs}) == len(plan.runs)
    assert plan == make_plan(experiment(names, seed, blocks, repetitions), quick=False)
    # What is written down is read back as the same plan.
    assert convert(json.loads(json.dumps(to_builtins(plan))), Plan) == plan


def test_the_order_is_random_between_blocks_and_seeds() -> None:
    names = ["a", "b", "c", "d"]
    orders = []
    for seed in range(3):
        plan = make_plan(experiment(names, seed, 200, 1), quick=False)
        orders.append([run.arm for run in plan.runs])
        # No arm has a favourite place: 200 blocks, 50 expected, sd about 6.
        for place in range(4):
            counts = Counter(run.arm for index, run in enumerate(plan.runs) if index % 4 == place)
            assert all(25 <= counts[name] <= 75 for name in names), counts
    assert orders[0] != orders[1] != orders[2]


def test_the_order_never_changes() -> None:
    """A killed experiment is resumed by another version of this program, too."""
    plan = make_plan(experiment(["x", "y", "z"], 7, 3, 1), quick=False)
    assert "".join(run.arm for run in plan.runs) == "yxzzxyxzy"


def test_only_some_arms() -> None:
    plan = make_plan(experiment(["x", "y", "z"], 7, 2, 1), quick=False, only=("z", "x"))
    assert plan.arms == ("x", "z")
    assert Counter(run.arm for run in plan.runs) == {"x": 2, "z": 2}
