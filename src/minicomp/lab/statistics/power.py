"""What could have been seen with that many runs, and how many more an unresolved difference needs.

A difference counts as resolved when it would be found with a probability of 80 % at the 5 % level, shared out among the
tests of its family (Bonferroni; Holm's first step): its size is then t + z standard errors, with t for the runs that
there are. Standard errors shrink with the square root of the runs.

The number of further runs takes the difference that was seen for the true one, which is a guess (Hoenig and Heisey,
"The abuse of power", The American Statistician 55, 2001): a report gives it beside the smallest difference that could
have been seen, which is no guess.
"""

from __future__ import annotations

import math

from minicomp.lab.statistics.distributions import normal_quantile, t_quantile
from minicomp.lab.statistics.rates import LEVEL, Rate

POWER = 0.8
HOPELESS = 200
"""Times as many runs as there were: beyond this a report calls the arms alike for practical purposes."""


def smallest_difference(error: float, blocks: int, tests: int = 1) -> float:
    """What `blocks` runs an arm would have found with 80 %, given the standard error; nan below two blocks."""
    if blocks < 2 or math.isnan(error):
        return math.nan
    return _errors_needed(blocks, tests) * error


def more_blocks(difference: float, error: float, blocks: int, tests: int = 1) -> int | None:
    """How many further runs an arm would find this difference with 80 %; None: more than is sensible, or unknown."""
    if blocks < 2 or not math.isfinite(difference) or not math.isfinite(error) or difference == 0:
        return None
    needed = blocks
    while abs(difference) < _errors_needed(needed, tests) * error * math.sqrt(blocks / needed):
        needed = needed + max(1, needed // 50)
        if needed > HOPELESS * blocks:
            return None
    return needed - blocks


def rate_error(a: Rate, b: Rate) -> float:
    """Standard error of the difference of two rates. Half a miss is added to each, so that none is not "certain"."""
    variance = 0.0
    for rate in (a, b):
        if not rate.trials:
            return math.nan
        share = (rate.hits + 0.5) / (rate.trials + 1)
        variance += share * (1 - share) * rate.design_effect / rate.trials
    return math.sqrt(variance)


def holm(p_values: list[float]) -> list[float]:
    """Holm's adjusted p-values (Scandinavian Journal of Statistics 6, 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [1.0] * len(p_values)
    worst = 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = worst
    return adjusted


def _errors_needed(blocks: int, tests: int) -> float:
    return t_quantile(1 - (1 - LEVEL) / (2 * tests), blocks - 1) + normal_quantile(POWER)
