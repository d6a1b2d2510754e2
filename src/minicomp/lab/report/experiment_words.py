"""Numbers and verdicts of an experiment in words. Every interval that is printed is a 95 % interval.

A verdict never says "no difference": it says what was seen, what could have been seen, and how many runs would settle
it.
"""

from __future__ import annotations

import math

from minicomp.lab.statistics.analysis import Analysis
from minicomp.lab.statistics.arms import ArmAnalysis
from minicomp.lab.statistics.bootstrap import ENOUGH_BLOCKS, Interval
from minicomp.lab.statistics.comparisons import Comparison
from minicomp.lab.statistics.measures import LATENCY, SMALLER, words_for
from minicomp.lab.statistics.rates import Contrast, Rate

UNKNOWN = "–"
ORIGINS = {
    "hardware": "the display's hardware, as the kernel reports it",
    "modelled": "the modelled display's clock (exact, no photons)",
    "estimated": "estimated from the refresh rate",
    "now": "the moment the kernel reported the flip (no hardware stamp)",
}
"""Where presentation times come from, by the column `presented_kind`."""


def percent(fraction: float) -> str:
    """ "0.02 %", with as many digits as it deserves."""
    return f"{_percent_number(fraction, _digits(fraction))} %"


def rate_words(rate: Rate) -> str:
    """ "0.02 % [0.00, 0.08]"."""
    if not rate.trials:
        return UNKNOWN
    digits = _digits(rate.value or rate.high)
    low, high = (_percent_number(end, digits) for end in (rate.low, rate.high))
    return f"{_percent_number(rate.value, digits)} % [{low}, {high}]"


def milliseconds(value: float | None) -> str:
    if value is None or math.isnan(value):
        return UNKNOWN
    size = abs(value)
    return f"{value:.{5 if 0 < size < 0.01 else 3 if size < 10 else 2 if size < 100 else 1}f}"


def interval_words(interval: Interval | None) -> str:
    """ "3.50 [3.49, 3.51]"; only the value when there is no interval."""
    if interval is None:
        return UNKNOWN
    if interval.low is None or interval.high is None:
        return milliseconds(interval.value)
    return f"{milliseconds(interval.value)} [{milliseconds(interval.low)}, {milliseconds(interval.high)}]"


def factor(value: float) -> str:
    """ "0", "0.00045", "0.18", "0.995", "3.40", "120", "∞"."""
    if math.isnan(value):
        return UNKNOWN
    if math.isinf(value) or value >= 100_000:
        return "∞"
    if value == 0:
        return "0"
    if value < 0.0001:
        return "< 0.0001"
    if value < 0.1:
        return f"{value:.{1 - math.floor(math.log10(value))}f}"
    if 0.9 < value < 1.1:
        return f"{value:.3f}"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def ratio_words(ratio: Contrast) -> str:
    """ "0.18 [0.08, 0.39]"."""
    if ratio.low <= 0 and math.isinf(ratio.high):
        return factor(ratio.value)  # an interval that says nothing
    return f"{factor(ratio.value)} [{factor(ratio.low)}, {factor(ratio.high)}]"


def p_words(p: float | None) -> str:
    if p is None:
        return UNKNOWN
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def clock_words(analysis: Analysis) -> str:
    """Where the presentation times in the usable runs came from."""
    kinds = {str(kind) for run in analysis.results.usable for kind in set(run.frames.kind.tolist()) if kind}
    return "; ".join(ORIGINS.get(kind, kind) for kind in sorted(kinds)) or "unknown"


def tested_words(comparison: Comparison) -> str:
    """The name of what was compared."""
    if comparison.of == "rate":
        kind = comparison.column.removesuffix(" misses")
        return {"all": "misses, all causes", "compositor": "misses, compositor-side", "client": "misses, client late"}[
            kind
        ]
    if comparison.of == SMALLER:
        return f"{words_for(comparison.column)}, smaller in"
    return f"{words_for(comparison.column)}, {comparison.of}"


def more_words(comparison: Comparison) -> str:
    """How many runs an arm it would take: "no", "about 12", or that nobody would wait for it."""
    if comparison.resolved:
        return "no"
    if comparison.adjusted_p is None:
        return "at least 2 in all"
    if comparison.more_blocks is None:
        return "too many"
    return f"about {comparison.more_blocks}"


def could_see(comparison: Comparison) -> str:
    """The smallest difference that these runs would probably have told: "2.8 points", "15 %", "factor 3.1"."""
    smallest = comparison.smallest
    if math.isnan(smallest):
        return UNKNOWN
    if comparison.of == SMALLER:
        return f"{50 + 50 * min(smallest, 1.0):.0f} %"
    if comparison.of == "rate":
        points = 100 * smallest
        return f"{min(points, 100.0):.0f} points" if points >= 10 else f"{points:.2g} points"
    if smallest > 100:
        return "factor > 100"
    return f"factor {smallest:.2g}" if smallest >= 2 else f"{100 * (smallest - 1):.2g} %"


def verdict(analysis: Analysis, arm: ArmAnalysis) -> str:
    """The sentence of one arm: its compositor-side misses against the baseline's."""
    base = analysis.arm(analysis.baseline)
    if not arm.runs:
        return f"{arm.name}: no usable run."
    if not base.runs:
        return f"{arm.name} misses {rate_words(arm.rates['compositor'])}; no usable run of {base.name} to compare with."
    comparison = analysis.comparison(arm.name, "compositor misses", "rate")
    if comparison is None:
        return f"{arm.name} misses {rate_words(arm.rates['compositor'])} (the baseline)."
    said = f"{arm.name} misses {rate_words(arm.rates['compositor'])} against {rate_words(base.rates['compositor'])}"
    return f"{said}, {_how_different(comparison)}; more runs needed: {_needed(comparison)}."


def latency_verdict(analysis: Analysis, arm: ArmAnalysis) -> str:
    """Commit to presented against the baseline's: all frames, median and p99; empty for the baseline."""
    parts = []
    for name in (SMALLER, "p50", "p99"):
        found = analysis.comparison(arm.name, LATENCY, name)
        if found is None:
            continue
        if name == SMALLER:
            said = f"smaller than {analysis.baseline}'s in {superiority_words(analysis, arm)} of pairs"
            outcome = "told apart" if found.resolved else f"not told apart (more runs needed: {_needed(found)})"
            parts.append(f"{said}: {outcome}")
            continue
        own, other = milliseconds(found.own), milliseconds(found.other)
        outcome = f"{ratio_words(found.ratio)} times" if found.resolved else "not told apart"
        parts.append(f"{name} {own} ms against {other}: {outcome}")
    return f"{arm.name}, commit → presented: {'; '.join(parts)}." if parts else ""


def superiority_words(analysis: Analysis, arm: ArmAnalysis) -> str:
    """ "58 % [52, 64]": how often the arm has the smaller latency; empty for the baseline."""
    found = analysis.comparison(arm.name, LATENCY, SMALLER)
    if found is None or math.isnan(found.own):
        return ""
    low, high = (50 + 50 * end for end in (found.difference.low, found.difference.high))
    interval = "" if found.adjusted_p is None else f" [{low:.0f}, {high:.0f}]"
    return f"{100 * found.own:.0f} %{interval}"


def cautions(analysis: Analysis) -> list[str]:
    """What forbids to conclude too much: few runs, disturbed ones."""
    said = []
    few = [arm for arm in analysis.arms if arm.blocks < ENOUGH_BLOCKS]
    if few:
        listed = ", ".join(f"{arm.name} {arm.blocks}" for arm in few)
        said.append(
            f"Few runs ({listed}): intervals are rough below {ENOUGH_BLOCKS} runs an arm, and with one there are none "
            "for percentiles."
        )
    disturbed = len(analysis.results.disturbed_in_use)
    if disturbed:
        said.append(
            f"{disturbed} of the {len(analysis.results.usable)} runs were disturbed by something else and are counted "
            "all the same, as was asked for: the numbers are those of a busy machine."
        )
    return said


def _how_different(comparison: Comparison) -> str:
    if not comparison.resolved:
        return "not told apart with that many frames"  # which is not "alike"
    ratio = comparison.ratio
    if math.isnan(ratio.value):
        return "told apart"
    if ratio.value > 1:
        return f"{factor(ratio.value)} times as many [{factor(ratio.low)}, {factor(ratio.high)}]"
    times = Contrast(_inverse(ratio.value), _inverse(ratio.high), _inverse(ratio.low))
    if math.isinf(times.value):
        return f"at least {factor(times.low)} times fewer"
    return f"{factor(times.value)} times fewer [{factor(times.low)}, {factor(times.high)}]"


def _needed(comparison: Comparison) -> str:
    if comparison.resolved:
        return "no"
    if comparison.adjusted_p is None:
        return "yes, one run tells nothing about how runs differ"
    if comparison.more_blocks is None:
        return f"too many (from {could_see(comparison)} on it would have been seen)"
    return f"about {comparison.more_blocks} an arm"


def _inverse(value: float) -> float:
    return math.inf if value == 0 else 1.0 / value


def _digits(fraction: float) -> int:
    hundredths = 100 * abs(fraction)
    return 1 if hundredths >= 1 else 2 if hundredths >= 0.01 or hundredths == 0 else 4


def _percent_number(fraction: float, digits: int) -> str:
    return f"{100 * fraction:.{digits}f}"
