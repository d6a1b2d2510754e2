"""The Pareto plot of a replay: latency against misses, one panel an output. The only module that needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minicomp.errors import ExitCode, MinicompError
from minicomp.lab.replay.measure import RECORDED, Score, pareto_front

FORMATS = (".png", ".svg", ".pdf")
OWN_COLOUR, OTHER_COLOUR, RECORDED_COLOUR = "#0b6e4f", "#39506b", "#8a8a8a"
OWN = ("adaptive", "asap", "fixed")


def draw(panels: Sequence[tuple[str, float, Sequence[Score]]], target_rate: float, out: str | Path) -> None:
    """Writes the plot of (title, refresh Hz, scores) panels. Raises MinicompError when it cannot be written."""
    out = Path(out)
    if out.suffix not in FORMATS:
        raise MinicompError(
            "not a kind of picture", where=str(out), todo=f"one of: {', '.join(FORMATS)}", exit_code=ExitCode.USAGE
        )
    figure = Figure(figsize=(8.0, 0.6 + 4.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False)
    for row, (title, refresh_hz, scores) in enumerate(panels):
        _panel(axes[row][0], f"{title}, {refresh_hz:.3f} Hz", scores, target_rate)
    try:
        figure.savefig(out, dpi=130)
    except OSError as error:
        raise MinicompError(error.strerror or str(error), where=str(out), exit_code=ExitCode.UNAVAILABLE) from error


def _panel(axes: Axes, title: str, scores: Sequence[Score], target_rate: float) -> None:
    points = [
        (100 * one.missed.rate, median, one)
        for one in scores
        if one.missed.rate is not None and (median := one.refreshes(one.commit_ms.percentiles["p50"])) is not None
    ]
    axes.set_title(title)
    axes.set_xlabel("missed vblanks, % (bar: 95 % interval)")
    axes.set_ylabel("commit → presented, refreshes\n(point: median, bar: to p99)")
    axes.grid(True, alpha=0.25)
    # Linear up to the target: most policies miss nothing at all, and 0 has no logarithm.
    axes.set_xscale("symlog", linthresh=max(100 * target_rate, 0.01), linscale=0.6)
    axes.axvline(100 * target_rate, linestyle=":", color="#b03030", linewidth=1, label="target miss rate")
    front = pareto_front([one for _rate, _median, one in points if one.policy != RECORDED])
    line = [(rate, median) for rate, median, one in points if one in front]
    axes.plot(
        [rate for rate, _ in sorted(line)],
        [median for _, median in sorted(line)],
        color="#c8a020",
        linewidth=1.5,
        zorder=1,
        label="best trade-offs",
    )
    for place, (rate, median, one) in enumerate(sorted(points, key=lambda point: (point[0], point[1]))):
        own = one.policy.split(":")[0] in OWN
        colour = RECORDED_COLOUR if one.policy == RECORDED else OWN_COLOUR if own else OTHER_COLOUR
        low, high = one.missed.interval
        above = one.refreshes(one.commit_ms.percentiles["p99"]) or median
        axes.plot([100 * low, 100 * high], [median, median], color=colour, alpha=0.35, linewidth=1)
        axes.plot([rate, rate], [median, above], color=colour, alpha=0.35, linewidth=1)
        axes.plot([rate], [median], "o", color=colour, markersize=6 if own else 5, zorder=3)
        # Labels alternate sides: policies that miss nothing stand in one column.
        left = place % 2 == 1
        axes.annotate(
            one.policy,
            (rate, median),
            textcoords="offset points",
            xytext=(-7 if left else 7, 3),
            ha="right" if left else "left",
            fontsize=8,
            color=colour,
        )
    axes.set_xlim(left=-0.6 * max(100 * target_rate, 0.01))
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right", fontsize=8)
