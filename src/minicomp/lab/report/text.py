"""Plain-text reports: `minicomp trace summary` and the demo's "where each frame's time went".

Fixed-width columns and no colour, so that a report can be kept, compared and mailed; tests compare them to the letter.
"""

from __future__ import annotations

from collections.abc import Sequence

from minicomp.lab.pipeline.percentiles import PERMILLES, Stats
from minicomp.lab.pipeline.runfile import Run, describe_drops
from minicomp.lab.pipeline.stages import FRAME_STAGES
from minicomp.lab.report.columns import table
from minicomp.lab.report.misses_text import causes_table
from minicomp.lab.report.summary import OutputSummary, Row, Summary, clock_sentences, summarise_run

UNKNOWN = "-"
BAR_CELLS = 40
BESIDE = ("wake lateness", "callback -> commit", "input -> delivered", "input -> presented")
"""Stages that pipeline_table shows below the waterfall: they are no part of a frame's way to the display."""


def summary_text(summary: Summary) -> str:
    """The whole summary of a run."""
    parts = [_heading(summary), _outputs_table(summary.outputs), _misses_table(summary.outputs)]
    parts.append(causes_table(summary.causes))
    if summary.refused:
        parts.append(summary.refused)
    else:
        parts.append(_percentile_table("Stages, ms", summary.stages))
        parts.append(_percentile_table("Metrics (PresentMon's names), ms", summary.metrics))
        parts.append(_beside_lines(summary))
    parts.append("\n".join(clock_sentences(summary)) or "Nothing was shown.")
    return "\n\n".join(part for part in parts if part) + "\n"


def pipeline_table(run: Run, *, force: bool = False) -> str:
    """Where each frame's time went, one waterfall an output: for `minicomp demo`."""
    whole = summarise_run(run, force=force)
    parts = []
    for output in whole.outputs:
        if not output.composed:
            continue
        summary = whole if len(whole.outputs) == 1 else summarise_run(run, output=output.name, force=force)
        parts.append(whole.refused or _waterfall(output, summary))
        parts.append(_verdict_lines(output, run))
    parts.append("\n".join(clock_sentences(whole)) or "Nothing was shown.")
    return "\n\n".join(parts) + "\n"


def _heading(summary: Summary) -> str:
    run = summary.run
    facts = [
        f"{key} {run.meta[key]}" for key in ("backend", "clock", "renderer", "kernel", "minicomp") if key in run.meta
    ]
    lines = [
        run.path.name,
        ", ".join(facts),
        f"{summary.duration_s:.3f} s, {len(run.records)} records, dropped {describe_drops(run)}",
    ]
    if run.cut_short:
        lines.append(f"The file is not complete: {run.cut_short}. What is there was read.")
    return "\n".join(lines)


def _outputs_table(outputs: Sequence[OutputSummary]) -> str:
    head = [
        "output",
        "refresh Hz",
        "composed",
        "shown",
        "shown/s",
        "discarded",
        "refused",
        "scanned out",
        "callback only",
    ]
    rows = [
        [
            output.name,
            _number(output.refresh_hz),
            str(output.composed),
            str(output.shown),
            _number(output.shown_per_s),
            str(output.discarded),
            str(output.refused),
            str(output.scanned_out),
            str(output.callback_only),
        ]
        for output in outputs
    ]
    return "Frames\n" + table(head, rows)


def _misses_table(outputs: Sequence[OutputSummary]) -> str:
    head = ["output", "in time", "missed", "rate", "95 % interval", "in frames", "client late", "late but shown"]
    head += ["discarded", "unjudged"]
    rows = []
    for output in outputs:
        misses = output.misses
        numbers = (misses.missed_frames, misses.client_late, misses.late_but_shown, misses.discarded, misses.unjudged)
        counts = [str(misses.in_time), str(misses.missed), *_rate_words(output), *map(str, numbers)]
        rows.append([output.name, *counts])
    title = "Missed vblanks, in surface commits\n"
    meaning = (
        "in time: committed before the planned start; missed: in time, but shown more than half a refresh late;\n"
        "client late: committed after the planned start and shown that late"
    )
    return title + table(head, rows) + "\n" + meaning


def _rate_words(output: OutputSummary) -> tuple[str, str]:
    rate, interval = output.misses.rate, output.misses.interval
    if rate is None or interval is None:
        return UNKNOWN, UNKNOWN
    return f"{100 * rate:.2f} %", f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f} %"


def _percentile_table(title: str, rows: Sequence[Row]) -> str:
    names = [*PERMILLES, "max"]
    lines = [[row.name, row.per, str(row.stats.count), *_values(row.stats, names)] for row in rows]
    drawn = table([title, "per", "count", *names], lines, left=2).split("\n")
    notes = ["", *(row.note for row in rows)]
    return "\n".join(f"{line}  {note}".rstrip() for line, note in zip(drawn, notes, strict=True))


def _beside_lines(summary: Summary) -> str:
    holds, counts = summary.lock_holds, summary.scheduling
    lines = []
    if holds.count and holds.longest_ms is not None:
        lines.append(
            f"Lock holds over 500 us: {holds.count}, the longest {holds.longest_ms:.3f} ms by {holds.longest_by}"
        )
    if any(counts.values()):
        words = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        lines.append(f"Composing thread: {words}")
    return "\n".join(lines)


def _waterfall(output: OutputSummary, summary: Summary) -> str:
    """A bar a stage, each beginning where the medians of those before it end."""
    rows = {row.name: row for row in summary.stages}
    medians = {name: rows[name].stats.percentiles["p50"] or 0.0 for name in FRAME_STAGES}
    total = sum(medians.values())
    lines, begin = [], 0.0
    for name in FRAME_STAGES:
        bar = _bar(begin, medians[name], total)
        begin += medians[name]
        lines.append([name, *_values(rows[name].stats, ("p50", "p99", "max")), bar])
    whole = rows["commit -> presented"].stats
    lines.append(["= commit -> presented", *_values(whole, ("p50", "p99", "max")), ""])
    beside = [rows[name] for name in BESIDE if rows[name].stats.count]
    lines += [[row.name, *_values(row.stats, ("p50", "p99", "max")), ""] for row in beside]
    title = f"Where each frame's time went: {output.name}, {output.composed} frames"
    drawn = table(["stage", "p50 ms", "p99 ms", "max ms"], [line[:4] for line in lines]).split("\n")
    bars = ["", *(line[4] for line in lines)]
    return "\n".join([title, *(f"{text}  {bar}".rstrip() for text, bar in zip(drawn, bars, strict=True))])


def _bar(begin: float, length: float, total: float) -> str:
    if total <= 0 or length <= 0:
        return ""
    first = int(BAR_CELLS * begin / total)
    last = int(BAR_CELLS * (begin + length) / total)
    return " " * min(first, BAR_CELLS - 1) + ("█" * (last - first) or "▏")


def _verdict_lines(output: OutputSummary, run: Run) -> str:
    misses = output.misses
    rate, interval = _rate_words(output)
    refresh = f" at {output.refresh_hz:.3f} Hz" if output.refresh_hz else ""
    judged = f" ({rate}, 95 % interval {interval})" if misses.in_time else ""
    return "\n".join(
        [
            f"frames          {output.composed} composed, {output.shown} shown{refresh}, "
            f"{output.discarded} discarded, {output.refused} refused",
            f"missed vblanks  {misses.missed} of the {misses.in_time} commits that came in time{judged}; "
            f"{misses.client_late} client-late",
            f"dropped         {describe_drops(run)} records",
        ]
    )


def _values(stats: Stats, names: Sequence[str]) -> list[str]:
    return [_number(stats.max if name == "max" else stats.percentiles[name]) for name in names]


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"
