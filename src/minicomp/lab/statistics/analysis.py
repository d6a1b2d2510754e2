"""Everything that is concluded from the results of an experiment, before any of it is put into words or pictures.

Runs that are not ok take no part; `Results` knows them by name. Blocks are what is resampled, for all arms alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from minicomp.lab.statistics import bootstrap
from minicomp.lab.statistics.arms import ArmAnalysis, analyse_arm, pool_of
from minicomp.lab.statistics.comparisons import (
    Comparison,
    corrected_for_number,
    order_comparison,
    percentile_comparisons,
    rate_comparisons,
)
from minicomp.lab.statistics.measures import MEASURES
from minicomp.lab.statistics.results import Results


@dataclass(frozen=True)
class Analysis:
    """Of one experiment."""

    results: Results
    arms: tuple[ArmAnalysis, ...]
    """In the order of the plan, those without a usable run too."""
    baseline: str
    comparisons: tuple[Comparison, ...]

    def arm(self, name: str) -> ArmAnalysis:
        return next(arm for arm in self.arms if arm.name == name)

    def comparison(self, arm: str, column: str, of: str) -> Comparison | None:
        wanted = (arm, column, of)
        return next((one for one in self.comparisons if (one.arm, one.column, one.of) == wanted), None)


def analyse(results: Results, resamples: int = bootstrap.RESAMPLES) -> Analysis:
    """Analyses an experiment; the same results give the same numbers (the plan's seed seeds the resampling)."""
    numbers = sorted({run.block for run in results.usable})
    blocks = {number: place for place, number in enumerate(numbers)}
    weights = bootstrap.resampling(max(1, len(blocks)), results.seed, resamples)
    pools = {name: pool_of(name, results.usable_of(name), blocks) for name in results.arms}
    distributions = {
        name: {m.column: bootstrap.distribution(pool.columns[m.column], pool.block, len(weights[0])) for m in MEASURES}
        for name, pool in pools.items()
    }
    arms = tuple(analyse_arm(pools[name], distributions[name], weights) for name in results.arms)
    reference = next(arm for arm in arms if arm.name == results.baseline)
    comparisons: list[Comparison] = []
    for arm in arms:
        if arm is reference or not arm.runs or not reference.runs:
            continue
        comparisons += rate_comparisons(arm, reference, pools)
        comparisons += percentile_comparisons(arm, reference, distributions, weights)
        comparisons.append(order_comparison(arm, reference, distributions, weights))
    return Analysis(results, arms, results.baseline, tuple(corrected_for_number(comparisons)))
