"""Pictures with one row an arm: miss rates with intervals, stages of a frame, causes of misses."""

from __future__ import annotations

from minicomp.lab.report.experiment_frames import STAGES, ArmFrames
from minicomp.lab.report.experiment_words import percent, rate_words
from minicomp.lab.report.svg import Canvas, Scale, x_axis
from minicomp.lab.statistics.analysis import Analysis
from minicomp.lab.statistics.measures import CAUSES
from minicomp.lab.statistics.rates import Rate

RIGHT, BOTTOM = 14, 40
_BAR = 18
_LETTER = 6.6
"""Width of an average letter of the labels, in pixels."""


def rates(analysis: Analysis, width: int) -> str:
    """Compositor-side and client-late rates of each arm, with whiskers, on a log scale."""
    shown = [
        (place, arm.name, kind, arm.rates[kind])
        for place, arm in enumerate(analysis.arms)
        if arm.runs
        for kind in ("compositor", "client")
    ]
    narrow = width < 500
    left = 14.0 if narrow else _room([name for _place, name, _kind, _rate in shown])
    values_room = 0.0 if narrow else 150.0
    step = 44 if narrow else 26
    top = 8.0
    canvas = Canvas(width, top + step * len(shown) + BOTTOM)
    bottom = canvas.height - BOTTOM
    ends = [end for *_rest, rate in shown for end in (rate.low, rate.value, rate.high) if end > 0]
    low = max(min(ends, default=1e-3) / 1.5, 1e-5)
    x = Scale(
        100 * low, 100 * min(1.0, max(ends, default=1e-2) * 1.5), left + 10, width - RIGHT - values_room, log=True
    )
    x_axis(canvas, x, top, bottom, about=4 if narrow else 6)
    canvas.text(width - RIGHT - values_room, canvas.height - 4, "% of the vblanks that were due", "end", "label")
    for row, (place, name, kind, rate) in enumerate(shown):
        y = top + row * step + (32 if narrow else step / 2)
        words = f"{name}{', client late' if kind == 'client' else ''}"
        if narrow:
            canvas.text(left, y - 12, words, style="label")
            canvas.text(width - RIGHT, y - 12, rate_words(rate), "end", "tick")
        else:
            if kind == "compositor":
                canvas.text(left - 6, y + 4, name, "end", "label")
            canvas.text(width - RIGHT - values_room + 10, y + 4, rate_words(rate), style="tick")
        _whisker(canvas, x, y, rate, f"a{place % 8}", hollow=kind == "client", title=f"{words}: {rate_words(rate)}")
    return canvas.finish("Miss rates of each arm with 95 % intervals")


def stages(arms: list[ArmFrames], width: int) -> str:
    """The mean of each stage, end to end."""
    means = [arm.stages_ms for arm in arms]
    canvas, x, tops = _rows([arm.name for arm in arms], max(float(mean.sum()) for mean in means), width, "ms, means")
    for y, mean in zip(tops, means, strict=True):
        begin = 0.0
        for place, (name, length) in enumerate(zip(STAGES, mean.tolist(), strict=True)):
            title = f"{name}: {length:.3f} ms"
            canvas.rect(x(begin), y, x(begin + length) - x(begin), _BAR, f"fill s{place}", title)
            begin += length
        canvas.text(x(begin) + 6, y + 13, f"{begin:.2f}", style="tick")
    return canvas.finish("Mean time of each stage of a frame, a bar for each arm")


def causes(analysis: Analysis, width: int) -> str:
    """Missed vblanks by cause, in percent of those that were due."""
    shown = [arm for arm in analysis.arms if arm.due]
    totals = [sum(arm.causes.values()) / arm.due for arm in shown]
    most = 100 * max([*totals, 1e-6])
    canvas, x, tops = _rows([arm.name for arm in shown], most, width, "% of the vblanks that were due")
    for y, arm, total in zip(tops, shown, totals, strict=True):
        begin = 0.0
        for place, cause in enumerate(CAUSES):
            share = 100 * arm.causes[cause] / arm.due
            if share:
                title = f"{cause}: {arm.causes[cause]} of {arm.due:,}"
                canvas.rect(x(begin), y, x(begin + share) - x(begin), _BAR, f"fill c{place}", title)
            begin += share
        canvas.text(x(begin) + 6, y + 13, percent(total), style="tick")
    return canvas.finish("Missed vblanks by cause, a bar for each arm")


def _rows(names: list[str], most: float, width: int, label: str) -> tuple[Canvas, Scale, list[float]]:
    """A canvas with an axis from 0, and the top of each row's bar."""
    narrow = width < 500
    left = 14.0 if narrow else _room(names)
    step = 42 if narrow else 30
    canvas = Canvas(width, 8 + step * len(names) + BOTTOM)
    bottom = canvas.height - BOTTOM
    x = Scale(0.0, most, left, width - RIGHT - 56)
    x_axis(canvas, x, 8, bottom, about=4 if narrow else 6)
    canvas.text(width - RIGHT, canvas.height - 4, label, "end", "label")
    tops = []
    for row, name in enumerate(names):
        y = 8 + row * step + (20 if narrow else (step - _BAR) / 2)
        canvas.text(
            left if narrow else left - 8, y - 5 if narrow else y + 13, name, "start" if narrow else "end", "label"
        )
        tops.append(y)
    return canvas, x, tops


def _whisker(canvas: Canvas, x: Scale, y: float, rate: Rate, colour: str, *, hollow: bool, title: str) -> None:
    low, high = x(100 * rate.low if rate.low > 0 else x.low), x(100 * rate.high)
    canvas.line(low, y, high, y, f"line {colour}{' thin' if hollow else ''}")
    canvas.line(high, y - 4, high, y + 4, f"line {colour} thin")
    if rate.low > 0:
        canvas.line(low, y - 4, low, y + 4, f"line {colour} thin")
    else:
        canvas.polyline([(low + 5, y - 4), (low, y), (low + 5, y + 4)], f"line {colour} thin")
    if rate.hits:
        canvas.circle(x(100 * rate.value), y, 4.5, f"{'hollow' if hollow else 'fill'} {colour}", title)


def _room(names: list[str]) -> float:
    return 20 + _LETTER * max(len(name) for name in names)
