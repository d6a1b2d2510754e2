"""The order of the runs: every block holds each arm equally often, shuffled anew, the same for the same seed.

Whatever drifts (temperature, neighbours on the host) drifts over all arms alike; a block is what the statistics
resample. The order depends on the seed, the arms' names and the schedule, nothing else: a killed experiment finds its
plan again, and two machines with one file do the same.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from minicomp.config.validation import Struct
from minicomp.lab.experiments.spec import Experiment, Schedule

OVERHEAD_S = 1.5
"""A run's time beyond warm-up, measuring and settling, about: start, end, reading the run file."""


class Run(Struct, frozen=True):
    """One run of the plan: `number` from 1, `block` from 1."""

    number: int
    block: int
    arm: str

    @property
    def stem(self) -> str:
        """The name of its files, without suffix."""
        return f"{self.number:04d}-{self.arm}"


class Plan(Struct, frozen=True):
    """What is going to be run, in order."""

    experiment: str
    seed: int
    quick: bool
    arms: tuple[str, ...]
    schedule: Schedule
    runs: tuple[Run, ...]

    @property
    def run_s(self) -> float:
        return self.schedule.warmup_s + self.schedule.measure_s + self.schedule.settle_s + OVERHEAD_S


def make_plan(experiment: Experiment, *, quick: bool, only: Sequence[str] = ()) -> Plan:
    """The plan for all arms, or for those in `only`."""
    schedule = experiment.quick if quick else experiment.schedule
    arms = tuple(arm.name for arm in experiment.arms if not only or arm.name in only)
    draw = random.Random(f"{experiment.seed}:{','.join(arms)}")
    runs: list[Run] = []
    for block in range(1, schedule.blocks + 1):
        order = [name for name in arms for _ in range(schedule.repetitions)]
        draw.shuffle(order)
        runs += [Run(number=len(runs) + 1 + index, block=block, arm=name) for index, name in enumerate(order)]
    return Plan(
        experiment=experiment.name,
        seed=experiment.seed,
        quick=quick,
        arms=arms,
        schedule=schedule,
        runs=tuple(runs),
    )
