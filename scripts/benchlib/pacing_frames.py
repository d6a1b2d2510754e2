"""From one slot's client log and run file to its figures. Times in ms."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minicomp.lab.pipeline.attribution import explain, shares
from minicomp.lab.pipeline.join import join
from minicomp.lab.pipeline.runfile import read_run

from .errors import BenchError


@dataclass(frozen=True)
class Case:
    """One row of a table: minicomp's settings and what its client does. `group` and `name` are for the report."""

    group: str
    name: str
    variant: str
    refresh_hz: int
    work_us: int
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Slot:
    """One case, once. `p50_ms` is of callback -> presented (work), input -> presented (echo) or commit -> presented."""

    group: str
    name: str
    variant: str
    refresh_hz: int
    work_us: int
    frames: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    causes: dict[str, int] = field(default_factory=dict)  # of missed vblanks, by the run file, the whole run


def read_pulse(case: Case, log: Path, run_file: Path, warm_up_s: float) -> Slot:
    frames = [line for line in _lines(log) if line["type"] == "frame" and line["presented_ns"]]
    if not frames:
        raise BenchError(f"{case.name}: no frame was presented")
    begin_ns = frames[0]["commit_ns"] + int(warm_up_s * 1e9)
    frames = [frame for frame in frames if frame["callback_ns"] >= begin_ns]
    from_key = "callback_ns" if case.group == "work" else "commit_ns"
    times_ms = [(frame["presented_ns"] - frame[from_key]) / 1e6 for frame in frames]
    return _slot(case, times_ms, run_file)


def read_echo(case: Case, log: Path, run_file: Path) -> Slot:
    """From the event's own time stamp: the compositor makes it as the event is injected, in whole ms, cut off."""
    events = [line for line in _lines(log) if line["type"] == "input" and line["presented_ns"]]
    times_ms = [line["presented_ns"] / 1e6 - line["event_ms"] for line in events]
    return _slot(case, times_ms, run_file)


def _slot(case: Case, times_ms: list[float], run_file: Path) -> Slot:
    if len(times_ms) < 20:
        raise BenchError(f"{case.name}, {case.variant}: only {len(times_ms)} frames were presented")
    p50, p99 = np.quantile(times_ms, [0.5, 0.99], method="inverted_cdf")
    return Slot(
        group=case.group,
        name=case.name,
        variant=case.variant,
        refresh_hz=case.refresh_hz,
        work_us=case.work_us,
        frames=len(times_ms),
        p50_ms=float(p50),
        p99_ms=float(p99),
        max_ms=max(times_ms),
        causes=_causes(run_file),
    )


def _causes(run_file: Path) -> dict[str, int]:
    counted = shares(explain(join(read_run(run_file))))
    return {cause: count for cause, count in counted.items() if count}


def _lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]
