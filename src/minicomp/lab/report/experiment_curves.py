"""Pictures of distributions: percentile curves, the wake-lateness histogram, predicted against actual."""

from __future__ import annotations

import math

import numpy as np

from minicomp.lab.pipeline.tables import Floats
from minicomp.lab.report.experiment_frames import ArmFrames
from minicomp.lab.report.svg import Canvas, Scale, number_words, x_axis, y_axis
from minicomp.lab.statistics.measures import LATENCY
from minicomp.lab.statistics.omission import corrected

MOST_DOTS = 1200
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 22, 40
_PERCENTILES = (
    (0.0, "0"),
    (0.5, "50"),
    (0.9, "90"),
    (0.99, "99"),
    (0.999, "99.9"),
    (0.9999, "99.99"),
    (0.99999, "99.999"),
)
_BINS_A_DECADE = 10
_SHORTEST_US = 1.0


def percentile_curves(arms: list[ArmFrames], width: int) -> str:
    """HdrHistogram's picture: the rarer the further right, each step of the scale ten times as rare."""
    canvas = Canvas(width, 320 if width > 500 else 280)
    right, bottom = width - RIGHT, canvas.height - BOTTOM
    latencies = [np.sort(arm.known(LATENCY)) for arm in arms]
    most = max(len(values) for values in latencies)
    # The maximum of n samples stands where one in n is.
    x = Scale(1.0, max(10.0, float(most)), LEFT, right, log=True)
    low = min(float(values[0]) for values in latencies if len(values))
    high = max(float(values[-1]) for values in latencies if len(values))
    log = low > 0 and high / low > 20
    y = Scale(_below(low) if log else 0.0, high * (1.15 if log else 1.05), bottom, TOP, log=log)
    y_axis(canvas, y, LEFT, right)
    marks = [(1 / (1 - share), words) for share, words in _PERCENTILES if 1 / (1 - share) <= x.high * 1.01]
    if width < 500:
        marks = [mark for mark in marks if mark[1] != "0"]
    x_axis(canvas, x, TOP, bottom, marks)
    canvas.text(right, canvas.height - 4, "percentile", "end", "label")
    canvas.text(LEFT - 40, 12, "commit → presented, ms", style="label")
    refresh = arms[0].refresh_ms
    if y.low < refresh < y.high:
        canvas.line(LEFT, y(refresh), right, y(refresh), "reference")
    for arm, values in zip(arms, latencies, strict=True):
        if not len(values):
            continue
        refresh_ms, missed = arm.columns["refresh_ns"] / 1e6, np.nan_to_num(arm.columns["missed_vblanks"])
        more, _rows = corrected(arm.columns[LATENCY], refresh_ms, missed.astype(np.int64))
        canvas.polyline(_curve(np.sort(more[~np.isnan(more)]), x, y), f"line a{arm.place % 8} dashed")
        canvas.polyline(_curve(values, x, y), f"line a{arm.place % 8}")
        top = float(values[-1])
        title = f"{arm.name}: maximum {top:.3f} ms of {len(values):,}"
        canvas.circle(x(float(len(values))), y(top), 3.5, f"fill a{arm.place % 8}", title)
    if y.low < refresh < y.high:
        canvas.text(right - 4, y(refresh) + 14, "one refresh", "end", "tick")  # over the lines
    return canvas.finish("Latency by percentile, a line for each arm")


def wake_histogram(arms: list[ArmFrames], width: int) -> str:
    """Lateness in us on a log scale, frames on another; a step line an arm."""
    canvas = Canvas(width, 300 if width > 500 else 270)
    right, bottom = width - RIGHT, canvas.height - BOTTOM
    lateness = [np.maximum(arm.known("wake_late_ms") * 1e3, _SHORTEST_US) for arm in arms]
    latest = max(float(values.max()) for values in lateness if len(values))
    decades = max(1, math.ceil(math.log10(latest / _SHORTEST_US) - 1e-9))
    edges = _SHORTEST_US * 10 ** (np.arange(decades * _BINS_A_DECADE + 1) / _BINS_A_DECADE)
    counts = [np.histogram(values, edges)[0] for values in lateness]
    x = Scale(_SHORTEST_US, float(edges[-1]), LEFT, right, log=True)
    y = Scale(0.7, 1.5 * max(int(count.max()) for count in counts if len(count)), bottom, TOP, log=True)
    y_axis(canvas, y, LEFT, right)
    x_axis(canvas, x, TOP, bottom, [(tick, _microseconds(tick)) for tick in x.ticks(7)])
    canvas.text(right, canvas.height - 4, "later than planned", "end", "label")
    canvas.text(LEFT - 40, 12, "frames", style="label")
    for arm, values, count in zip(arms, lateness, counts, strict=True):
        if not len(values):
            continue
        canvas.polyline(_steps(edges, count, x, y), f"line a{arm.place % 8}")
        title = f"{arm.name}: latest {float(values.max()):.0f} µs"
        canvas.circle(x(float(values.max())), bottom, 3.5, f"fill a{arm.place % 8}", title)
    return canvas.finish("Histogram of wake lateness, a line for each arm")


def predicted_against_actual(arms: list[ArmFrames], width: int) -> str:
    """A panel an arm, all with the same scales."""
    pairs = [_pairs(arm) for arm in arms]
    known = [values for pair in pairs for values in pair if len(values)]
    if not known:
        return Canvas(width, 20).finish("no data")
    across = min(len(arms), 2 if width < 500 else 3 if len(arms) != 4 else 4)
    gap, head = 12, 20
    size = (width - LEFT - RIGHT - gap * (across - 1)) / across
    tall = size * (1.0 if width < 500 or across > 2 else 0.7)
    rows = -(-len(arms) // across)
    canvas = Canvas(width, 14 + rows * (tall + head + 26) + 16)
    top_ms = max(float(np.quantile(values, 0.999)) for values in known) * 1.08
    most_x = max(float(np.quantile(predicted, 0.999)) for predicted, _actual in pairs if len(predicted)) * 1.15
    canvas.text(LEFT - 40, 12, "actual, ms after the commit", style="label")
    canvas.text(width - RIGHT, canvas.height - 4, "predicted, ms after the commit", "end", "label")
    for place, (arm, (predicted, actual)) in enumerate(zip(arms, pairs, strict=True)):
        left = LEFT + (place % across) * (size + gap)
        begin = 14 + (place // across) * (tall + head + 26) + head
        x, y = Scale(0.0, most_x, left, left + size), Scale(0.0, top_ms, begin + tall, begin)
        for tick in y.ticks(4):
            canvas.line(left, y(tick), left + size, y(tick))
            if place % across == 0:
                canvas.text(left - 6, y(tick) + 4, number_words(tick), "end", "tick")
        x_axis(canvas, x, begin, begin + tall, about=3 if width < 500 else 4)
        canvas.text(left + 2, begin - 5, arm.name, style="label")
        _diagonals(canvas, x, y, arm.refresh_ms)
        rows_drawn = _chosen(arm, predicted, actual)
        late = actual[rows_drawn] > predicted[rows_drawn] + arm.refresh_ms / 2
        points = np.stack([predicted[rows_drawn], actual[rows_drawn]], axis=1)
        canvas.dots([(x(a), y(b)) for a, b in points[~late].tolist()], f"dots a{arm.place % 8}")
        canvas.dots([(x(a), y(b)) for a, b in points[late].tolist()], "dots late")
    return canvas.finish("Predicted against actual presentation, a panel for each arm")


def _curve(ordered: Floats, x: Scale, y: Scale) -> list[tuple[float, float]]:
    """Points where the curve moves: at most a few hundred, the last sixty of them samples."""
    count = len(ordered)
    ranks = np.unique(
        np.concatenate([count - np.geomspace(1, count, 160), np.arange(max(0, count - 60), count)]).astype(int)
    )
    return [(x(count / (count - rank)), y(float(ordered[rank]))) for rank in ranks.tolist()]


def _steps(edges: Floats, counts: np.ndarray, x: Scale, y: Scale) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    filled = np.flatnonzero(counts)
    for place in range(int(filled[0]), int(filled[-1]) + 1):
        height = y(max(float(counts[place]), y.low))
        points += [(x(float(edges[place])), height), (x(float(edges[place + 1])), height)]
    return [(points[0][0], y(y.low)), *points, (points[-1][0], y(y.low))]


def _pairs(arm: ArmFrames) -> tuple[Floats, Floats]:
    """Predicted and actual time from commit to presentation, in ms, for frames that have both."""
    commit = arm.columns["commit_ns"]
    predicted = (arm.columns["predicted_vblank_ns"] - commit) / 1e6
    actual = (arm.columns["presented_ns"] - commit) / 1e6
    known = ~np.isnan(predicted) & ~np.isnan(actual)
    return predicted[known], actual[known]


def _chosen(arm: ArmFrames, predicted: Floats, actual: Floats) -> np.ndarray:
    """Which rows are drawn: those that came late first, then evenly spaced ones."""
    late = np.flatnonzero(actual > predicted + arm.refresh_ms / 2)
    rest = np.flatnonzero(actual <= predicted + arm.refresh_ms / 2)
    late = late[:: max(1, -(-len(late) // (MOST_DOTS // 2)))]
    room = MOST_DOTS - len(late)
    return np.concatenate([late, rest[:: max(1, -(-len(rest) // room))]])


def _diagonals(canvas: Canvas, x: Scale, y: Scale, refresh_ms: float) -> None:
    """As predicted, and each whole refresh later, as far as there is room."""
    late = 0.0
    while late < y.high and not math.isnan(refresh_ms) and late <= 8 * refresh_ms:
        end = min(x.high, y.high - late)
        canvas.line(x(0.0), y(late), x(end), y(end + late), "reference" if late else "reference strong")
        late += refresh_ms


def _below(value: float) -> float:
    """The power of ten, or thrice it, at or below a value."""
    power = 10.0 ** math.floor(math.log10(value))
    return 3 * power if value >= 3 * power else power


def _microseconds(value: float) -> str:
    return f"{value:g} µs" if value < 1000 else f"{value / 1000:g} ms" if value < 1e6 else f"{value / 1e6:g} s"
