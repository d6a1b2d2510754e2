"""The frame-time strip: a lane an arm, all its runs in time order, misses marked by cause below it."""

from __future__ import annotations

import numpy as np

from minicomp.lab.report.experiment_frames import ArmFrames
from minicomp.lab.report.svg import Canvas, Scale, y_axis
from minicomp.lab.statistics.measures import CAUSES

LEFT, RIGHT = 46, 14
LANE, MARKS, HEAD, GAP = 64, 10, 18, 10
_HIGHEST_REFRESHES = 6.0
"""Longer gaps are cut off, so that one stall does not flatten everything else."""


def frame_strip(arms: list[ArmFrames], width: int) -> str:
    """ms between presents; columns are a pixel wide and show the range of their frames."""
    step = HEAD + LANE + MARKS + GAP
    canvas = Canvas(width, 16 + step * len(arms))
    canvas.text(LEFT - 40, 12, "ms between presents", style="label")
    refresh = float(np.nanmax([arm.refresh_ms for arm in arms]))
    longest = max(float(values.max()) for arm in arms if len(values := arm.known("ms_between_presents")))
    top_ms = min(longest * 1.05, _HIGHEST_REFRESHES * refresh)
    for place, arm in enumerate(arms):
        begin = 16 + place * step + HEAD
        _lane(canvas, arm, begin, width, Scale(0.0, top_ms, begin + LANE, begin), cut=longest > top_ms)
    return canvas.finish("Time between presents of every frame, a lane for each arm")


def _lane(canvas: Canvas, arm: ArmFrames, begin: float, width: int, y: Scale, *, cut: bool) -> None:
    right = width - RIGHT
    missed = int(np.nansum(arm.columns["missed_vblanks"][arm.cause >= 0]))
    canvas.text(LEFT, begin - 5, f"{arm.name}: {missed} missed", style="label")
    y_axis(canvas, y, LEFT, right, about=3)
    count = len(arm.cause)
    x = Scale(0.0, float(max(count, 1)), LEFT, right)
    for start in arm.run_starts.tolist()[1:]:
        canvas.line(x(start), begin, x(start), begin + LANE, "parting")
    columns = int(right - LEFT)
    column = np.minimum(np.arange(count) * columns // max(count, 1), columns - 1)
    values = arm.columns["ms_between_presents"]
    known = ~np.isnan(values)
    style = f"strip a{arm.place % 8}"
    if count <= columns:
        # Fewer frames than pixels: a line through all of them.
        canvas.polyline([(x(float(n)), y(float(values[n]))) for n in np.flatnonzero(known).tolist()], style)
    else:
        low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
        np.minimum.at(low, column[known], values[known])
        np.maximum.at(high, column[known], values[known])
        drawn = np.flatnonzero(np.isfinite(low)).tolist()
        # A column whose frames are all alike still gets a pixel.
        canvas.bars([(LEFT + n + 0.5, y(float(low[n])) + 0.75, y(float(high[n])) - 0.75) for n in drawn], style)
    if cut:
        over = np.unique(column[known & (values > y.high)]).tolist()
        canvas.bars([(LEFT + n + 0.5, begin - 1.0, begin + 3.0) for n in over], "over")
    for number in range(len(CAUSES)):
        marked = np.unique(column[arm.cause == number]).tolist()
        canvas.bars([(LEFT + n + 0.5, begin + LANE + 2, begin + LANE + MARKS) for n in marked], f"mark c{number}")
