"""The tables that `join` makes of a run: frames, surface commits, latches, input deliveries and loop turns.

Every table is a set of equally long numpy arrays; a row that lacks a fact has MISSING there. Times are ns. Stamps are
CLOCK_MONOTONIC; predicted, planned and presented times are too, except with the step clock (`Run.stepped`), where they
are the modelled clock. Nothing here reads records or judges a frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minicomp.lab.pipeline.runfile import Run

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

MISSING = int(np.iinfo(np.int64).min)
"""Stands for "no such fact" in int64 columns: -2^63, which no clock reaches."""


@dataclass(frozen=True)
class Frames:
    """One row a composed frame, sorted by (output, frame)."""

    output_id: Ints
    frame_id: Ints
    queued_ns: Ints
    reason: Ints
    predicted_ns: Ints
    planned_ns: Ints
    """When composing was planned to begin: FRAME_PLANNED, else RENDER_WAKE's plan, else when composing began."""
    budget_ns: Ints
    """How long before its vblank the pacing wanted the frame to begin (FRAME_PLANNED's flags)."""
    wake_ns: Ints
    wake_planned_ns: Ints
    lock_begin_ns: Ints
    lock_end_ns: Ints
    compose_begin_ns: Ints
    compose_end_ns: Ints
    scanout: Bools
    kms_begin_ns: Ints
    kms_end_ns: Ints
    refused: Bools
    told_ns: Ints
    """When the compositor learned of the presentation (PRESENTED's t_ns)."""
    presented_ns: Ints
    """The vblank time; MISSING when the frame was not shown."""
    seq: Ints
    kind: Ints
    origin: Ints
    discarded: Bools
    cpu_ns: Ints
    sched_flags: Ints

    def __len__(self) -> int:
        return len(self.frame_id)


@dataclass(frozen=True)
class Commits:
    """One row a surface commit, sorted by (surface, commit number)."""

    surface_id: Ints
    number: Ints
    flags: Ints
    request_ns: Ints
    commit_ns: Ints
    callback_ns: Ints
    """The frame callback that this commit answers."""
    next_callback_ns: Ints
    """The first frame callback after this commit, when it came before the surface's next commit."""

    def __len__(self) -> int:
        return len(self.number)


@dataclass(frozen=True)
class Latches:
    """One row a (commit, output) that became part of a frame, sorted by (surface, commit number, output)."""

    commit_row: Ints
    """Row in Commits, or -1 when the commit lies before the trace."""
    surface_id: Ints
    number: Ints
    output_id: Ints
    frame_row: Ints
    """Row in Frames of the frame that took it; always a real row."""
    shown_row: Ints
    """Row in Frames of the frame that showed it, or -1."""

    def __len__(self) -> int:
        return len(self.number)


@dataclass(frozen=True)
class Inputs:
    """One row an input delivery to a surface, in time order."""

    kind: Ints
    own_ns: Ints
    """The event's own time, or its arrival when the own time is absent or lies after it."""
    event_ns: Ints
    """When the event arrived (INPUT_EVENT), or MISSING."""
    delivered_ns: Ints
    surface_id: Ints
    commit_row: Ints
    """The surface's next commit with content, or -1."""
    latch_row: Ints
    """The first latch of the surface at or after that commit, or -1."""

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True)
class LoopTurns:
    """One row a dispatch of the event loop."""

    wake_ns: Ints
    dispatch_begin_ns: Ints
    dispatch_end_ns: Ints


@dataclass(frozen=True)
class Joined:
    """All tables of one run."""

    run: Run
    frames: Frames
    commits: Commits
    latches: Latches
    inputs: Inputs
    turns: LoopTurns
    callback_only: dict[int, int]
    """Per output: how often a frame was asked for by frame callbacks alone."""


def span_ns(begin: Ints, end: Ints) -> Floats:
    """end - begin as float64, NaN where either is MISSING (differences are exact below 2^53 ns)."""
    known = (begin != MISSING) & (end != MISSING)
    return np.where(known, np.where(known, end, 0) - np.where(known, begin, 0), np.nan).astype(np.float64)


def take(column: Ints, rows: Ints) -> Ints:
    """column[rows], MISSING where a row is -1."""
    if not len(column):
        return np.full(len(rows), MISSING, np.int64)
    return np.where(rows >= 0, column[np.maximum(rows, 0)], MISSING)


def known_or(column: Ints, other: Ints | int) -> Ints:
    """The column, with `other` where it is MISSING."""
    return np.where(column != MISSING, column, other)
