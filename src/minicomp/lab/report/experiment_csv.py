"""The summary of an experiment as CSV: one row a number, so that any tool can filter and pivot it.

kind: "rate" (fractions), "percentile" (ms), "difference", "ratio" and "cliffs delta" (of an arm to the baseline).
Empty: not known.
"""

from __future__ import annotations

import csv
import io
import math

from minicomp.lab.report.experiment_document import named_summaries
from minicomp.lab.statistics.analysis import Analysis
from minicomp.lab.statistics.measures import SMALLER

COLUMNS = (
    "experiment",
    "arm",
    "baseline",
    "kind",
    "metric",
    "statistic",
    "value",
    "low95",
    "high95",
    "n",
    "runs",
    "p_holm",
    "told_apart",
    "more_runs",
)


def as_csv(analysis: Analysis) -> str:
    """The table with its head."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows([*_rates(analysis), *_percentiles(analysis), *_comparisons(analysis)])
    return file.getvalue()


def _rates(analysis: Analysis) -> list[dict[str, object]]:
    return [
        _row(analysis, arm.name, "rate", f"{name} misses", "rate", rate.value, rate.low, rate.high)
        | {"n": rate.trials, "runs": arm.runs}
        for arm in analysis.arms
        for name, rate in arm.rates.items()
    ]


def _percentiles(analysis: Analysis) -> list[dict[str, object]]:
    rows = []
    for arm in analysis.arms:
        for metric, summary in named_summaries(arm):
            for name, found in (*summary.percentiles.items(), ("max", summary.max)):
                value, low, high = (found.value, found.low, found.high) if found else (None, None, None)
                row = _row(analysis, arm.name, "percentile", metric, name, value, low, high)
                rows.append(row | {"n": summary.count, "runs": arm.runs})
    return rows


def _comparisons(analysis: Analysis) -> list[dict[str, object]]:
    rows = []
    for one in analysis.comparisons:
        kinds = (
            {"cliffs delta": one.difference}
            if one.of == SMALLER
            else {"difference": one.difference, "ratio": one.ratio}
        )
        for kind, contrast in kinds.items():
            row = _row(analysis, one.arm, kind, one.column, one.of, contrast.value, contrast.low, contrast.high)
            tested = {"p_holm": _number(one.adjusted_p), "told_apart": "yes" if one.resolved else "no"}
            rows.append(row | tested | {"more_runs": "" if one.more_blocks is None else one.more_blocks})
    return rows


def _row(
    analysis: Analysis,
    arm: str,
    kind: str,
    metric: str,
    statistic: str,
    value: float | None,
    low: float | None,
    high: float | None,
) -> dict[str, object]:
    return {
        "experiment": analysis.results.name,
        "arm": arm,
        "baseline": analysis.baseline,
        "kind": kind,
        "metric": metric,
        "statistic": statistic,
        "value": _number(value),
        "low95": _number(low),
        "high95": _number(high),
    }


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.9g}"
