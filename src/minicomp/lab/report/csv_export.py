"""One CSV row a composed frame: PresentMon's metric names and KWin-like scheduling columns.

A frame's present is its surface that committed first (the one that waited longest); `surfaces` counts all that the
frame took. PresentMon columns are milliseconds, as defined in `pipeline.metrics`. Times (`*_ns`) are CLOCK_MONOTONIC;
when `clock` says "step", planned_start_ns, target_flip_ns and flip_ns are on the modelled clock. An empty field means
that the trace does not tell. `origin` says where flip_ns came from: only "hardware" makes the photon columns photon
latencies.

predicted_render_ns is the cost that the pacing expected, from the output's frames before (`pipeline.cost`); margin_ns
is the rest of the budget that the frame was planned with: for the display's latch, and for safety. Mode asap plans with
neither: its margin is 0. Before the first frame's cost is known, the pacing assumes one that the trace does not hold.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from minicomp.lab.pipeline.cost import expected_costs_ns, frame_costs
from minicomp.lab.pipeline.join import join
from minicomp.lab.pipeline.metrics import METRICS, present_metrics
from minicomp.lab.pipeline.misses import Verdict, judge, refresh_by_row
from minicomp.lab.pipeline.plans import is_asap
from minicomp.lab.pipeline.points import Origin, Point, describe_flags
from minicomp.lab.pipeline.runfile import Run
from minicomp.lab.pipeline.tables import MISSING, Floats, Ints, Joined, take
from minicomp.lab.report.files import written

COLUMNS = (
    "output",
    "frame_id",
    "surface_id",
    "surface",
    "surfaces",
    "verdict",
    "reason",
    "clock",
    "origin",
    *METRICS,
    "queued_ns",
    "planned_start_ns",
    "render_start_ns",
    "render_end_ns",
    "target_flip_ns",
    "flip_ns",
    "seq",
    "refresh_ns",
    "margin_ns",
    "predicted_render_ns",
)


def export_csv(run: Run, out_path: str | Path) -> int:
    """Writes the file and returns its number of frames. Raises MinicompError when it cannot be written."""
    with written(out_path) as path, path.open("w", newline="", encoding="utf-8") as file:
        return write_csv(run, file)


def write_csv(run: Run, file: TextIO) -> int:
    """The same to an open text file."""
    joined = join(run)
    columns = _columns(joined)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(zip(*(columns[name] for name in COLUMNS), strict=True))
    return len(joined.frames)


def _columns(joined: Joined) -> dict[str, list[Any]]:
    """Each column as text-ready values, one a frame."""
    run, frames, latches = joined.run, joined.frames, joined.latches
    first, surfaces = _first_latches(joined)
    surface_id = take(latches.surface_id, first)
    predicted = expected_costs_ns(joined, frame_costs(joined))
    metrics = present_metrics(joined)
    verdicts = take(judge(joined), first)
    return {
        "output": [run.name("output", number) for number in frames.output_id.tolist()],
        "frame_id": frames.frame_id.tolist(),
        "surface_id": _ints(surface_id),
        "surface": ["" if number == MISSING else run.name("surface", number) for number in surface_id.tolist()],
        "surfaces": surfaces.tolist(),
        "verdict": [_verdict(joined, row, verdict) for row, verdict in enumerate(verdicts.tolist())],
        "reason": ["" if r == MISSING else describe_flags(Point.FRAME_QUEUED, r) for r in frames.reason.tolist()],
        "clock": [str(run.meta.get("clock", ""))] * len(frames),
        "origin": ["" if o == MISSING else Origin(o).name.lower() for o in frames.origin.tolist()],
        **{name: _milliseconds(metrics[name], first) for name in METRICS},
        "queued_ns": _ints(frames.queued_ns),
        "planned_start_ns": _ints(frames.planned_ns),
        "render_start_ns": _ints(frames.compose_begin_ns),
        "render_end_ns": _ints(frames.kms_end_ns),
        "target_flip_ns": _ints(frames.predicted_ns),
        "flip_ns": _ints(frames.presented_ns),
        "seq": _ints(frames.seq),
        "refresh_ns": _whole(refresh_by_row(joined)),
        "margin_ns": _ints(_margins(joined, predicted)),
        "predicted_render_ns": _ints(predicted),
    }


def _margins(joined: Joined, predicted: Ints) -> Ints:
    if is_asap(joined):
        return np.zeros(len(predicted), np.int64)
    budget = joined.frames.budget_ns
    known = (budget != MISSING) & (predicted != MISSING)
    return np.where(known, budget - np.where(known, predicted, 0), MISSING)


def _first_latches(joined: Joined) -> tuple[Ints, Ints]:
    """For each frame: the latch row of the surface that committed first (or -1), and how many surfaces it took."""
    latches = joined.latches
    committed = take(joined.commits.commit_ns, latches.commit_row)
    rows = np.lexsort((latches.surface_id, committed, latches.frame_row))[::-1]
    first = np.full(len(joined.frames), -1, np.int64)
    first[latches.frame_row[rows]] = rows
    return first, np.bincount(latches.frame_row, minlength=len(joined.frames)).astype(np.int64)


def _verdict(joined: Joined, row: int, verdict: int) -> str:
    if joined.frames.refused[row]:
        return "refused"
    if joined.frames.discarded[row]:
        return "discarded"
    return "" if verdict == MISSING else Verdict(verdict).name.lower()


def _ints(column: Ints) -> list[Any]:
    return ["" if value == MISSING else value for value in column.tolist()]


def _whole(column: Floats) -> list[Any]:
    return ["" if value != value else round(value) for value in column.tolist()]


def _milliseconds(values: Floats, rows: Ints) -> list[str]:
    picked = np.where(rows >= 0, values[np.maximum(rows, 0)], np.nan) if len(values) else np.full(len(rows), np.nan)
    return ["" if value != value else f"{value:.6f}" for value in picked.tolist()]
