"""Draws one frame's sequence (lab/pipeline/sequence.py): as text, as Mermaid, as an SVG that stands alone."""

from __future__ import annotations

from minicomp.lab.pipeline.sequence import CLIENT, COMPOSITOR, KERNEL, Sequence, Step
from minicomp.lab.report.svg import Canvas

_LINES = {CLIENT: 180.0, COMPOSITOR: 500.0, KERNEL: 820.0}
_TOP, _STEP, _WIDTH = 56.0, 34.0, 1040.0
_CSS = (
    "text{font:13px sans-serif;fill:#222}.head{font-weight:bold}.time{fill:#666;font-size:12px}"
    "path,rect{fill:none;stroke:#888}.arrow{stroke:#1f5fa8;stroke-width:1.5}.life{stroke-dasharray:4 4}"
    ".paper{fill:#fff;stroke:none}"
)


def sequence_text(sequence: Sequence) -> str:
    """A line a step: milliseconds since the first, who tells whom, what, how long it took."""
    lines = [_title(sequence)]
    width = max(10, *(len(_after(sequence, step)) for step in sequence.steps))
    for step in sequence.steps:
        who = f"{step.sender} -> {step.receiver}" if step.sender != step.receiver else step.sender
        lines.append(f"{_after(sequence, step):>{width}}  {who:<20}  {_words(step)}")
    return "\n".join(lines) + "\n"


def sequence_mermaid(sequence: Sequence) -> str:
    """A sequenceDiagram, as Markdown renderers draw it."""
    lines = ["sequenceDiagram", *(f"    participant {name}" for name in _LINES)]
    lines.append(f"    Note over {CLIENT},{KERNEL}: {_title(sequence)}")
    for step in sequence.steps:
        words = _words(step).replace(";", ",").replace("#", "")
        lines.append(f"    {step.sender}->>{step.receiver}: {_after(sequence, step)} {words}")
    return "\n".join(lines) + "\n"


def sequence_svg(sequence: Sequence) -> str:
    """The same drawn, steps evenly spaced: most of a frame is waiting for the vblank."""
    height = _TOP + _STEP * (len(sequence.steps) + 1)
    canvas = Canvas(_WIDTH, height)
    canvas.rect(0, 0, _WIDTH, height, "paper")
    canvas.text(12, 20, _title(sequence), style="head")
    for name, x in _LINES.items():
        canvas.text(x, 44, name, "middle", "head")
        canvas.line(x, _TOP - 6, x, height - 8, "life")
    for row, step in enumerate(sequence.steps):
        y = _TOP + _STEP * (row + 0.8)
        canvas.text(90, y + 4, _after(sequence, step), "end", "time")
        a, b = _LINES[step.sender], _LINES[step.receiver]
        if a == b:
            canvas.rect(a - 5, y - 8, 10, 16, "arrow")
            canvas.text(a + 12, y + 4, _words(step))
            continue
        canvas.line(a, y, b, y, "arrow")
        back = 8.0 if b > a else -8.0
        canvas.polyline([(b - back, y - 4), (b, y), (b - back, y + 4)], "arrow")
        canvas.text((a + b) / 2, y - 5, _words(step), "middle")
    return canvas.document(_title(sequence), _CSS)


def _title(sequence: Sequence) -> str:
    of = f", {sequence.surface}" if sequence.surface else ""
    return f"frame {sequence.frame_id} of {sequence.output}{of}"


def _after(sequence: Sequence, step: Step) -> str:
    return f"{(step.t_ns - sequence.begin_ns) / 1e6:.3f} ms"


def _words(step: Step) -> str:
    return step.words if step.took_ns is None else f"{step.words} ({step.took_ns / 1e3:.0f} us)"
