"""Draws a `View` for a terminal: lines of text that fit its size; the most important ones come first.

Bars: one character a frame, the newest on the right. The upper row is what a frame cost, its height a share of the
budget that it was planned with (red: more than the budget); the lower row is when it was shown against the predicted
vblank: a dot in time, a red number of refreshes late.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.text import Text

from minicomp.lab.top.view import FrameBar, LockView, OutputView, Spread, View

BLOCKS = "▁▂▃▄▅▆▇█"
LABEL_CELLS = 7
STAGE_CELLS = 20
SPREAD_CELLS = 27
UNKNOWN = "-"
GOOD, BAD, DIM, HEAD = "green", "bold red", "dim", "bold"


@dataclass(frozen=True)
class Heading:
    """What is true of the file rather than of its last seconds."""

    title: str
    status: str
    alarm: bool
    dropped: int


def screen(view: View, heading: Heading, width: int, height: int, *, keys: bool) -> Text:
    """At most height lines of at most width cells."""
    lines = _head(view, heading)
    for output in view.outputs:
        lines += ["", *_output(output, width)] if len(view.outputs) == 1 else _output(output, width)
    lines += ["", *_stages(view.outputs, width)]
    lines += _locks(view.locks)
    lines += _clients(view)
    foot = [Text("q quits", DIM)] if keys else []
    return _fitted([line if isinstance(line, Text) else Text(line) for line in lines], foot, width, height)


def _head(view: View, heading: Heading) -> list[Text | str]:
    title = Text.assemble(("minicomp top  ", HEAD), f"{heading.title}, {view.pacing}   last {view.window_s:.1f} s")
    status = Text(heading.status, BAD if heading.alarm else GOOD)
    if not heading.alarm:
        status.append(f"   {view.records_per_s:.0f} records/s", DIM)
    lines = [title, status]
    if heading.dropped:
        lines.append(Text(f"{heading.dropped} records were dropped: what follows has gaps", BAD))
    if view.stepped:
        lines.append(Text("step clock: vblanks are modelled time; costs and latencies are not known", DIM))
    return [*lines]


def _output(output: OutputView, width: int) -> list[Text | str]:
    refresh = f"{output.refresh_hz:.3f} Hz" if output.refresh_hz else "unknown refresh"
    head = Text.assemble((output.name, HEAD), f" {output.mode} {refresh}  shown {output.shown_per_s:.1f}/s  ")
    low, high = output.interval
    share = f" {100 * output.missed / output.judged:.2f} % ({100 * low:.2f}-{100 * high:.2f})" if output.judged else ""
    head.append(f"missed {output.missed}/{output.judged}{share}", BAD if output.missed else GOOD)
    return [head, *_bars(output.bars, width - LABEL_CELLS), _budget(output), _prediction(output)]


def _bars(bars: Sequence[FrameBar], cells: int) -> list[Text | str]:
    newest = bars[-cells:] if cells > 0 else []
    cost, shown = Text("cost".ljust(LABEL_CELLS), DIM), Text("shown".ljust(LABEL_CELLS), DIM)
    for bar in newest:
        cost.append(*_cost_cell(bar))
        shown.append(*_shown_cell(bar))
    return [cost, shown]


def _cost_cell(bar: FrameBar) -> tuple[str, str]:
    if bar.cost_ms is None or not bar.budget_ms:
        return " ", DIM
    share = bar.cost_ms / bar.budget_ms
    return BLOCKS[min(len(BLOCKS) - 1, int(share * len(BLOCKS)))], BAD if share > 1 else GOOD


def _shown_cell(bar: FrameBar) -> tuple[str, str]:
    if bar.late_refreshes is None:
        return "?", DIM
    late = round(bar.late_refreshes)
    return ("·", GOOD) if late < 1 else (str(min(late, 9)), BAD)


def _budget(output: OutputView) -> Text:
    line = Text("margin".ljust(LABEL_CELLS), DIM)
    if output.budget_ms is None:
        return line.append("unknown: the run file does not hold the budget")
    line.append(f"budget {output.budget_ms:.3f} = cost {_ms(output.expected_cost_ms)}", HEAD)
    line.append(f" + latch, safety {_ms(output.margin_ms)} ms")
    if output.latch_ms is not None:
        line.append(
            f"; latch {output.latch_ms:.3f} modelled" if output.latch_modelled else f"; latch ≤{output.latch_ms:.3f}"
        )
    return line


def _prediction(output: OutputView) -> Text:
    line = Text("actual".ljust(LABEL_CELLS), DIM)
    line.append(f"cost {_spread_words(output.cost)} ms; off vblank {_error_words(output.error)} ms")
    return line


def _stages(outputs: Sequence[OutputView], width: int) -> list[Text | str]:
    shown = list(outputs[: max(1, (width - STAGE_CELLS) // SPREAD_CELLS)])
    names = list(dict.fromkeys(name for output in shown for name, _spread in output.stages))
    if not names:
        return []
    columns = "".join(word.rjust(9) for word in ("p50", "p99", "max"))
    lines: list[Text | str] = [Text("stage, ms".ljust(STAGE_CELLS) + columns * len(shown), HEAD)]
    if len(shown) > 1:
        labels = "".join(output.name[: SPREAD_CELLS - 2].rjust(SPREAD_CELLS) for output in shown)
        lines.insert(0, Text(" " * STAGE_CELLS + labels, HEAD))
    for name in names:
        cells = [dict(output.stages).get(name) for output in shown]
        lines.append(name.ljust(STAGE_CELLS) + "".join(_spread_columns(cell) for cell in cells))
    if len(shown) < len(outputs):
        lines.append(Text(f"and {len(outputs) - len(shown)} more outputs: enlarge the terminal", DIM))
    return lines


def _locks(locks: Iterable[LockView]) -> list[Text | str]:
    lines = [
        f"{lock.thread.ljust(STAGE_CELLS)}{_spread_columns(lock.waits)}{lock.per_s:9.1f}/s  mostly for {lock.holder}"
        for lock in locks
    ]
    return [Text("lock waits, ms", HEAD), *lines] if lines else ["No thread had to wait for the lock."]


def _clients(view: View) -> list[Text | str]:
    if not view.clients:
        return ["No client committed anything."]
    head = f"{'client'.ljust(STAGE_CELLS)}{'surfaces':>9}{'commits/s':>11}{'answers in':>12}{'to presented':>14}  ms"
    lines = [
        f"{client.name[: STAGE_CELLS - 1].ljust(STAGE_CELLS)}{client.surfaces:9}{client.commits_per_s:11.1f}"
        f"{_ms(client.response_ms):>12}{_ms(client.latency_ms):>14}"
        for client in view.clients
    ]
    return [Text(head, HEAD), *lines]


def _spread_columns(spread: Spread | None) -> str:
    if spread is None:
        return UNKNOWN.rjust(9) * 3
    return f"{spread.p50:9.3f}{spread.p99:9.3f}{spread.max:9.3f}"


def _spread_words(spread: Spread | None) -> str:
    return UNKNOWN if spread is None else f"p50 {spread.p50:.1f} p99 {spread.p99:.1f} max {spread.max:.1f}"


def _error_words(spread: Spread | None) -> str:
    return UNKNOWN if spread is None else f"p99 {spread.p99:.1f} max {spread.max:.1f}"


def _ms(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"


def _fitted(lines: list[Text], foot: list[Text], width: int, height: int) -> Text:
    room = max(1, height - len(foot))
    if len(lines) > room:
        hidden = len(lines) - room + 1
        lines = [*lines[: room - 1], Text(f"{hidden} more lines: enlarge the terminal", DIM)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
    return Text("\n").join([*lines, *foot])
