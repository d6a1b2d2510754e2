"""Arms against the baseline: rates, percentiles and which is smaller, tested together and with what it would take.

Every comparison belongs to a family of tests (`measures.TESTED`), within which Holm's correction is made.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

from minicomp.lab.pipeline.percentiles import PERMILLES
from minicomp.lab.pipeline.tables import Ints
from minicomp.lab.statistics import bootstrap, power
from minicomp.lab.statistics.arms import ArmAnalysis, Pool, hits_and_trials
from minicomp.lab.statistics.bootstrap import Distribution
from minicomp.lab.statistics.measures import LATENCY, PRIMARY, RATES, SECONDARY, SMALLER, TESTED
from minicomp.lab.statistics.rates import Contrast, rate_difference, rate_ratio

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Comparison:
    """One number of an arm against the baseline's. Differences and errors are ms or fractions."""

    arm: str
    family: str
    column: str
    """A column of MEASURES, or one of RATES followed by " misses"."""
    of: str
    """"p50" or "p99"; "rate"; SMALLER, where `own` and `other` are shares and the difference is Cliff's delta."""
    own: float
    other: float
    difference: Contrast
    ratio: Contrast
    adjusted_p: float | None
    """Holm's, within the family; None: not tested (one block only)."""
    p: float | None
    """Of the ratio for durations, of the difference for rates and where a duration can be 0; None: not tested."""
    smallest: float
    """What these runs would have found with 80 %: a difference of shares, or a factor (1.2: 20 %); nan: unknown."""
    more_blocks: int | None
    """Further runs an arm to find a difference as large as the one seen; 0 when it was resolved; None: see smallest."""

    @property
    def resolved(self) -> bool:
        return self.adjusted_p is not None and self.adjusted_p < SIGNIFICANT


def rate_comparisons(arm: ArmAnalysis, reference: ArmAnalysis, pools: dict[str, Pool]) -> list[Comparison]:
    found = []
    blocks = min(arm.blocks, reference.blocks)
    for name in RATES:
        family = PRIMARY if name == "compositor" else SECONDARY
        own, other = arm.rates[name], reference.rates[name]
        difference = rate_difference(
            *hits_and_trials(pools[arm.name], name), *hits_and_trials(pools[reference.name], name)
        )
        if blocks < 2:
            difference = replace(difference, p=None)  # one run tells nothing about how runs differ
        error = power.rate_error(own, other)
        found.append(
            Comparison(
                arm=arm.name,
                family=family,
                column=f"{name} misses",
                of="rate",
                own=own.value,
                other=other.value,
                difference=difference,
                ratio=rate_ratio(own, other),
                p=difference.p,
                adjusted_p=None,
                smallest=power.smallest_difference(error, blocks, _tests(family, pools)),
                more_blocks=power.more_blocks(difference.value, error, blocks, _tests(family, pools)),
            )
        )
    return found


def percentile_comparisons(
    arm: ArmAnalysis, reference: ArmAnalysis, distributions: dict[str, dict[str, Distribution]], weights: Ints
) -> list[Comparison]:
    found = []
    for family, tests in TESTED.items():
        for column, name in tests:
            summaries = arm.summaries[column], reference.summaries[column]
            own, other = (summary.percentiles[name] for summary in summaries)
            if own is None or other is None:
                continue
            a, b = (distributions[one.name][column] for one in (arm, reference))
            blocks = min(a.blocks, b.blocks)
            own_all, other_all = (one.quantiles(weights, PERMILLES[name]) for one in (a, b))
            ratio = bootstrap.contrast_ratio(own_all, other_all, blocks)
            difference = bootstrap.contrast_difference(own_all, other_all, blocks)
            # Durations spread in proportion to their size: on the log scale tails of few runs are nearer to normal.
            error = bootstrap.log_ratio_error(own_all, other_all, blocks)
            found.append(
                Comparison(
                    arm=arm.name,
                    family=family,
                    column=column,
                    of=name,
                    own=own.value,
                    other=other.value,
                    difference=difference,
                    ratio=ratio,
                    p=difference.p if ratio.p is None else ratio.p,
                    adjusted_p=None,
                    smallest=math.exp(power.smallest_difference(error, blocks, _tests(family, distributions))),
                    more_blocks=power.more_blocks(math.log(ratio.value), error, blocks, _tests(family, distributions)),
                )
            )
    return found


def order_comparison(
    arm: ArmAnalysis, reference: ArmAnalysis, distributions: dict[str, dict[str, Distribution]], weights: Ints
) -> Comparison:
    a, b = (distributions[one.name][LATENCY] for one in (arm, reference))
    share, error = bootstrap.superiority(a, b, weights)
    blocks, tests = min(a.blocks, b.blocks), _tests(PRIMARY, distributions)
    delta = Contrast(2 * share.value - 1, 2 * share.low - 1, 2 * share.high - 1, share.p)
    return Comparison(
        arm=arm.name,
        family=PRIMARY,
        column=LATENCY,
        of=SMALLER,
        own=share.value,
        other=1 - share.value,
        difference=delta,
        ratio=Contrast(math.nan, 0.0, math.inf),
        p=delta.p,
        adjusted_p=None,
        smallest=power.smallest_difference(2 * error, blocks, tests),
        more_blocks=power.more_blocks(delta.value, 2 * error, blocks, tests),
    )


def _tests(family: str, arms: Collection[str]) -> int:
    """How many tests the family has with that many arms."""
    others = 2 if family == PRIMARY else len(RATES) - 1
    return (len(TESTED[family]) + others) * (len(arms) - 1)


def corrected_for_number(comparisons: list[Comparison]) -> list[Comparison]:
    """With Holm's p-values within each family; what is resolved needs no more runs."""
    adjusted: dict[int, float] = {}
    for family in (PRIMARY, SECONDARY):
        places = [n for n, one in enumerate(comparisons) if one.family == family and one.p is not None]
        values = power.holm([comparisons[place].p or 0.0 for place in places])
        adjusted.update(zip(places, values, strict=True))
    done = []
    for place, one in enumerate(comparisons):
        tested = replace(one, adjusted_p=adjusted.get(place))
        if tested.resolved:
            tested = replace(tested, more_blocks=0)
        elif tested.more_blocks == 0:
            # Large enough for one test, not for all of them together.
            tested = replace(tested, more_blocks=1)
        done.append(tested)
    return done
