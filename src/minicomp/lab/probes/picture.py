"""A probe's curve as inline SVG, drawn by hand: a plotting library takes longer to load than most probes run."""

from __future__ import annotations

from itertools import chain

from minicomp.lab.probes.probe import Curve
from minicomp.lab.report.svg import Canvas, Scale, x_axis, y_axis

WIDTH, HEIGHT = 640.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 12.0, 34.0, 62.0
CSS = """
.curve text { font: 12px system-ui, sans-serif; fill: #444; } .curve .title { font-size: 14px; fill: #222; }
.curve path { fill: none; stroke-width: 1.8; } .curve .grid { stroke: #ddd; stroke-width: 1; }
.curve .dots { stroke-width: 5; stroke-linecap: round; }
.s0 { stroke: #1f5fa8; } .s1 { stroke: #c4610a; }
.s2 { stroke: #2c7a3f; } .s3 { stroke: #8a3f9e; } .s4 { stroke: #777; }
"""
COLOURS = 5


def as_svg(curve: Curve) -> str:
    points = list(chain.from_iterable(curve.series.values()))
    if not points:
        return ""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    across = Scale(min(xs), max(xs), LEFT, WIDTH - RIGHT, log=curve.log_x)
    low = min(ys) * 0.9 if curve.log_y else 0.0
    up = Scale(low, max(ys) * 1.05, HEIGHT - BOTTOM, TOP, log=curve.log_y)
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.text(LEFT, 15, curve.title, style="title")
    y_axis(canvas, up, LEFT, WIDTH - RIGHT)
    x_axis(canvas, across, TOP, HEIGHT - BOTTOM)
    canvas.text(LEFT, 29, curve.y_label)
    canvas.text(WIDTH - RIGHT, HEIGHT - BOTTOM + 32, curve.x_label, "end")
    beside = LEFT
    for place, (name, line) in enumerate(curve.series.items()):
        style = f"s{place % COLOURS}"
        drawn = [(across(x), up(y)) for x, y in line]
        canvas.polyline(drawn, style)
        canvas.dots(drawn, f"{style} dots")
        if len(curve.series) > 1:
            canvas.line(beside, HEIGHT - 12, beside + 18, HEIGHT - 12, style)
            canvas.text(beside + 24, HEIGHT - 8, name)
            beside += 24 + 7 * len(name) + 18
    return f"<figure class=curve>{canvas.finish(curve.title)}</figure>"
