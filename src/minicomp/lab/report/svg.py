"""Drawing by hand: a canvas that becomes inline SVG, and scales with ticks for its axes.

Colours are CSS classes of the page (light and dark), never attributes; coordinates are CSS pixels with one decimal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

Point = tuple[float, float]


class Canvas:
    """Collects shapes; `finish` returns the <svg> element for a page, `document` one that stands alone."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._parts: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str = "grid") -> None:
        self._parts.append(f'<path class="{style}" d="M{_at(x1, y1)}L{_at(x2, y2)}"/>')

    def polyline(self, points: Iterable[Point], style: str) -> None:
        words = [_at(x, y) for x, y in points]
        if words:
            self._parts.append(f'<path class="{style}" d="M{"L".join(words)}"/>')

    def bars(self, spans: Iterable[tuple[float, float, float]], style: str) -> None:
        """Vertical strokes (x, y1, y2) as one path."""
        words = [f"M{_at(x, y1)}V{_number(y2)}" for x, y1, y2 in spans]
        if words:
            self._parts.append(f'<path class="{style}" d="{"".join(words)}"/>')

    def dots(self, points: Iterable[Point], style: str) -> None:
        """Round marks of the stroke's width, as one path: a thousandth of the bytes of circles."""
        words = [f"M{_at(x, y)}h0" for x, y in points]
        if words:
            self._parts.append(f'<path class="{style}" d="{"".join(words)}"/>')

    def rect(self, x: float, y: float, width: float, height: float, style: str, title: str = "") -> None:
        inner = f"<title>{escape(title)}</title>" if title else ""
        self._parts.append(
            f'<rect class="{style}" x="{_number(x)}" y="{_number(y)}" width="{_number(max(width, 0.0))}" '
            f'height="{_number(height)}">{inner}</rect>'
        )

    def circle(self, x: float, y: float, radius: float, style: str, title: str = "") -> None:
        inner = f"<title>{escape(title)}</title>" if title else ""
        self._parts.append(
            f'<circle class="{style}" cx="{_number(x)}" cy="{_number(y)}" r="{_number(radius)}">{inner}</circle>'
        )

    def text(self, x: float, y: float, words: str, anchor: str = "start", style: str = "") -> None:
        """`y` is the baseline; anchor is start, middle or end."""
        kind = f' class="{style}"' if style else ""
        place = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._parts.append(f'<text{kind}{place} x="{_number(x)}" y="{_number(y)}">{escape(words)}</text>')

    def finish(self, label: str) -> str:
        """The element; `label` is what a screen reader says."""
        return self._element(label)

    def document(self, label: str, css: str) -> str:
        """The same as a file with a style sheet of its own."""
        size = f' xmlns="http://www.w3.org/2000/svg" width="{_number(self.width)}" height="{_number(self.height)}"'
        return self._element(label, size, f"<style>{css}</style>") + "\n"

    def _element(self, label: str, size: str = "", head: str = "") -> str:
        return (
            f'<svg viewBox="0 0 {_number(self.width)} {_number(self.height)}" role="img" '
            f'aria-label="{escape(label)}"{size}>{head}{"".join(self._parts)}</svg>'
        )


class Scale:
    """Values to pixels, linear or logarithmic; values outside are drawn at the nearer end."""

    def __init__(self, low: float, high: float, begin: float, end: float, *, log: bool = False) -> None:
        self.low, self.high, self.log = low, high if high > low else low * 1.1 + 1e-9, log
        self._begin, self._end = begin, end

    def __call__(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self._begin + share * (self._end - self._begin)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values inside: about that many, or every power of ten (with 2 and 5 where there are few)."""
        if not self.log:
            return _linear_ticks(self.low, self.high, about)
        for factors in ((1,), (1, 3), (1, 2, 5)):
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            found = [
                value
                for power in range(first, last + 1)
                for factor in factors
                if self.low * 0.999 <= (value := factor * 10.0**power) <= self.high * 1.001
            ]
            if len(found) >= 3:
                break
        every = max(1, math.ceil(len(found) / (about + 2)))
        return found[::every]


def number_words(value: float) -> str:
    """A tick's label: no more digits than it has."""
    if value == 0:
        return "0"
    return f"{value:.6g}" if 1e-4 <= abs(value) < 1e6 else f"{value:.0e}"


def y_axis(canvas: Canvas, scale: Scale, left: float, right: float, about: int = 5) -> None:
    """Grid lines from left to right, labels to their left."""
    for tick in scale.ticks(about):
        canvas.line(left, scale(tick), right, scale(tick))
        canvas.text(left - 6, scale(tick) + 4, number_words(tick), "end", "tick")


def x_axis(
    canvas: Canvas,
    scale: Scale,
    top: float,
    bottom: float,
    ticks: Sequence[tuple[float, str]] | None = None,
    about: int = 5,
) -> None:
    """Grid lines from top to bottom, labels below."""
    marks = [(tick, number_words(tick)) for tick in scale.ticks(about)] if ticks is None else ticks
    for tick, words in marks:
        canvas.line(scale(tick), top, scale(tick), bottom)
        canvas.text(scale(tick), bottom + 16, words, "middle", "tick")


def _linear_ticks(low: float, high: float, about: int) -> list[float]:
    raw = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def _at(x: float, y: float) -> str:
    return f"{_number(x)} {_number(y)}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
