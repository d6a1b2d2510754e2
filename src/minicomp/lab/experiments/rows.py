"""From a run file to a table: one row for each frame of a measured surface, in the measured time.

A row is a surface's commit with content that an output took. Missed vblanks are counted once, on the row of the frame
that should have been shown at them, with their cause; those for which there was no frame, mostly because the client
answered too late, are a row of their own, with nothing but the vblank, the cause and the evidence. Times are
CLOCK_MONOTONIC ns of the machine that ran it; NaN or MISSING becomes null in the file. Measured are windows and panels
of clients that no [[load]] started.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from minicomp.lab.experiments.causes import Miss, misses_of
from minicomp.lab.pipeline.join import CONTENT, join
from minicomp.lab.pipeline.misses import refresh_by_row
from minicomp.lab.pipeline.points import Origin, Point
from minicomp.lab.pipeline.reasons import KernelSide
from minicomp.lab.pipeline.runfile import Run
from minicomp.lab.pipeline.tables import MISSING, Bools, Floats, Ints, Joined, span_ns, take

ROLES = ("xdg_toplevel", "zwlr_layer_surface_v1", "wlr_xwayland_surface")
"""Roles of surfaces whose frames are measured; popups, cursors and subsurfaces are parts of them."""

TIMES = (
    "commit_ns",
    "planned_start_ns",
    "woke_ns",
    "compose_begin_ns",
    "compose_end_ns",
    "kms_commit_ns",
    "predicted_vblank_ns",
    "presented_ns",
)
SPANS = (
    "commit_to_presented_ms",
    "wake_late_ms",
    "lock_wait_ms",
    "compose_ms",
    "kms_ms",
    "callback_to_presented_ms",
    "ms_between_presents",
)
COUNTS = ("faults_minor", "faults_major", "switches_involuntary")
Columns = dict[str, npt.NDArray[Any] | list[Any]]


def frame_rows(
    run: Run,
    begin_ns: int,
    end_ns: int,
    clients: Mapping[int, str],
    load_pids: Collection[int] = (),
    kernel: KernelSide | None = None,
) -> Columns:
    """The columns of the table, in time order: frames whose vblank (or plan, when never shown) is in [begin, end).

    `clients` names surfaces by their client's pid, so that a surface has one name in all runs. `kernel` is the trace of
    the kernel's side, where there is one: it tells who ran instead.
    """
    joined = join(run)
    latches = joined.latches
    measured = _measured(joined, frozenset(load_pids))
    misses = misses_of(joined, measured, kernel)
    every = _of_latches(joined, misses.of_frames, clients)
    when = _or_else(every["presented_ns"], every["predicted_vblank_ns"])
    inside = measured & (when >= begin_ns) & (when < end_ns)
    rows = {name: np.asarray(column)[inside] for name, column in every.items()}
    late = [miss for miss in misses.of_surfaces if begin_ns <= miss.vblank_ns < end_ns]
    rows = _with_passed(rows, every, late)

    when = _or_else(rows["presented_ns"], rows["predicted_vblank_ns"])
    order = np.lexsort((latches.number[rows["latch"]], when))
    ordered = {name: column[order] for name, column in rows.items() if name != "latch"}
    return {**ordered, "frame": np.arange(1, len(order) + 1)}


def count(run: Run, columns: Columns, begin_ns: int, end_ns: int) -> dict[str, Any]:
    """What is in the table, in numbers; `vblanks`: of one output in the measured time."""
    presented = np.asarray(columns["presented_ns"])
    refresh = np.asarray(columns["refresh_ns"])
    missed: dict[str, int] = {}
    for cause, vblanks in zip(columns["cause"], columns["missed_vblanks"], strict=True):
        if vblanks:
            missed[cause] = missed.get(cause, 0) + int(vblanks)
    known = [entry["refresh_mhz"] for (kind, _), entry in run.names.items() if kind == "output"]
    period_ns = int(refresh.min()) if len(refresh) else 1e12 / max(known, default=60_000)
    inside = (run.column("t_ns") >= begin_ns) & (run.column("t_ns") < end_ns)
    overruns = inside & (run.records["point"] == Point.DEADLINE_OVERRUN)
    return {
        "rows": len(columns["frame"]),
        "shown": len(np.unique(presented[presented != MISSING])),
        "vblanks": int((end_ns - begin_ns) / period_ns),
        "missed": missed,
        "throttled": int(run.column("flags")[overruns].sum()),
        "dropped": run.dropped_total,
    }


def facts_of(run: Run) -> dict[str, Any]:
    """What the run file says of the whole run: drops, how it ended, what the knobs and settings became."""
    return {
        "records": len(run.records),
        "dropped": run.dropped_total,
        "cut_short": run.cut_short,
        "backend": run.meta.get("backend", ""),
        "renderer": run.meta.get("renderer", ""),
        "clock": run.meta.get("clock", ""),
        "kernel": run.meta.get("kernel", ""),
        "minicomp": run.meta.get("minicomp", ""),
        "knobs": run.meta.get("knobs", []),
        "config": run.meta.get("config", {}),
        "outputs": [dict(entry) for (kind, _), entry in run.names.items() if kind == "output"],
    }


def _of_latches(joined: Joined, own: Mapping[int, Miss], clients: Mapping[int, str]) -> dict[str, npt.NDArray[Any]]:
    """Every column for every latch; `latch` is its row."""
    frames, latches, commits, run = joined.frames, joined.latches, joined.commits, joined.run
    frame, count = latches.frame_row, len(latches)
    commit = take(commits.commit_ns, latches.commit_row)
    presented = take(frames.presented_ns, latches.shown_row)
    origin = take(frames.origin, latches.shown_row)
    sched = np.where(frames.sched_flags[frame] == MISSING, 0, frames.sched_flags[frame])
    counted = frames.sched_flags[frame] != MISSING
    lock = span_ns(frames.lock_begin_ns, frames.lock_end_ns)[frame]
    missed = np.zeros(count, np.int64)
    cause = np.full(count, "", dtype=object)
    evidence = np.full(count, "", dtype=object)
    for row, miss in own.items():
        missed[row], cause[row], evidence[row] = miss.vblanks, miss.cause, miss.evidence
    return {
        "latch": np.arange(count),
        "surface": _named(latches.surface_id, _surface_names(run, clients)),
        "output": _named(latches.output_id, {key[1]: run.name(*key) for key in run.names if key[0] == "output"}),
        "refresh_ns": np.nan_to_num(refresh_by_row(joined)[frame], nan=0).round().astype(np.int64),
        "commit_ns": commit,
        "planned_start_ns": frames.planned_ns[frame],
        "woke_ns": frames.wake_ns[frame],
        "compose_begin_ns": frames.compose_begin_ns[frame],
        "compose_end_ns": frames.compose_end_ns[frame],
        "kms_commit_ns": frames.kms_end_ns[frame],
        "predicted_vblank_ns": frames.predicted_ns[frame],
        "presented_ns": presented,
        "presented_kind": np.array(["" if o == MISSING else Origin(o).name.lower() for o in origin.tolist()], object),
        "commit_to_presented_ms": _ms(commit, presented, joined),
        "wake_late_ms": _ms(frames.wake_planned_ns[frame], frames.wake_ns[frame], joined),
        "lock_wait_ms": np.where(np.isnan(lock), 0.0, lock) / 1e6,
        "compose_ms": span_ns(frames.compose_begin_ns[frame], frames.compose_end_ns[frame]) / 1e6,
        "kms_ms": span_ns(frames.kms_begin_ns[frame], frames.kms_end_ns[frame]) / 1e6,
        "callback_to_presented_ms": _ms(take(commits.callback_ns, latches.commit_row), presented, joined),
        "ms_between_presents": _between_presents(joined, presented),
        "missed_vblanks": missed,
        "cause": cause,
        "evidence": evidence,
        "faults_minor": np.where(counted, sched >> 16 & 255, MISSING),
        "faults_major": np.where(counted, sched >> 24 & 255, MISSING),
        "switches_involuntary": np.where(counted, sched >> 8 & 255, MISSING),
    }


def _with_passed(
    rows: dict[str, npt.NDArray[Any]], every: dict[str, npt.NDArray[Any]], late: list[Miss]
) -> dict[str, npt.NDArray[Any]]:
    """The rows, and one more for each time a client let vblanks pass: nothing of it happened but the vblank."""
    latch = np.array([miss.latch_row for miss in late], np.int64)
    same = ("latch", "surface", "output", "refresh_ns")
    result = {}
    for name, column in rows.items():
        if name in same:
            more: npt.NDArray[Any] = every[name][latch]
        elif name == "predicted_vblank_ns":
            more = np.array([miss.vblank_ns for miss in late], np.int64)
        elif name == "missed_vblanks":
            more = np.array([miss.vblanks for miss in late], np.int64)
        elif name in ("cause", "evidence"):
            more = np.array([getattr(miss, name) for miss in late], object)
        elif column.dtype == object:
            more = np.full(len(late), "", object)
        else:
            more = np.full(len(late), np.nan if column.dtype.kind == "f" else MISSING, column.dtype)
        result[name] = np.concatenate([column, more])
    return result


def _measured(joined: Joined, load_pids: frozenset[int]) -> Bools:
    """Which latches are content of surfaces that count."""
    run, latches = joined.run, joined.latches
    flags = take(joined.commits.flags, latches.commit_row)
    content = (flags != MISSING) & (np.where(flags == MISSING, 0, flags) & int(CONTENT) != 0)
    wanted = []
    for surface in np.unique(latches.surface_id).tolist():
        entry = run.names.get(("surface", surface), {})
        # A surface that was gone before it was named had no role that counts for long.
        if entry.get("role") in ROLES and entry.get("client_pid") not in load_pids:
            wanted.append(surface)
    found: Bools = content & np.isin(latches.surface_id, wanted)
    return found


def _between_presents(joined: Joined, presented: Ints) -> Floats:
    """For each shown latch: ms since the surface's previous shown one on the same output."""
    latches = joined.latches
    shown = np.flatnonzero(presented != MISSING)
    order = shown[np.lexsort((latches.number[shown], latches.output_id[shown], latches.surface_id[shown]))]
    same = (latches.surface_id[order][1:] == latches.surface_id[order][:-1]) & (
        latches.output_id[order][1:] == latches.output_id[order][:-1]
    )
    between = np.full(len(latches), np.nan)
    between[order[1:][same]] = np.diff(presented[order])[same] / 1e6
    return between


def _ms(begin: Ints, end: Ints, joined: Joined) -> Floats:
    """A span in ms; with the step clock, stamps and vblanks are of two clocks and have no difference."""
    return np.full(len(begin), np.nan) if joined.run.stepped else span_ns(begin, end) / 1e6


def _surface_names(run: Run, clients: Mapping[int, str]) -> dict[int, str]:
    """ "pulse", and "pulse/2" for a client's second measured surface; without a known client what the run calls it."""
    names: dict[int, str] = {}
    seen: dict[str, int] = {}
    for (kind, number), entry in sorted(run.names.items(), key=lambda item: item[0][1]):
        if kind == "surface" and entry.get("role") in ROLES:
            pid = entry.get("client_pid")
            client = clients.get(pid, "") if isinstance(pid, int) else ""
            seen[client] = seen.get(client, 0) + 1
            suffix = f"/{seen[client]}" if seen[client] > 1 else ""
            names[number] = f"{client}{suffix}" if client else run.name("surface", number)
    return names


def _named(ids: Ints, names: Mapping[int, str]) -> npt.NDArray[Any]:
    return np.array([names.get(number, str(number)) for number in ids.tolist()], object)


def _or_else(column: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.where(column != MISSING, column, other)
