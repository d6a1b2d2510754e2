"""Where the time of a frame goes: the stages between a client's commit and the flip, in milliseconds.

Each stage is a span between two trace points (docs/trace-format.md). The stages of FRAME_STAGES follow each other on a
frame's way to the display; those of the event loop, of clients and of input run beside them. With the step clock, spans
from a stamp to a vblank time would mix two clocks and are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minicomp.lab.pipeline.tables import MISSING, Bools, Floats, Ints, Joined, known_or, span_ns, take

FRAME_STAGES = (
    "import",
    "commit -> queued",
    "queued -> wake",
    "lock wait",
    "compose",
    "KMS commit",
    "KMS commit -> presented",
)


@dataclass(frozen=True)
class Stage:
    """One row of the stage table; `per` says what one sample is. NaN: the sample lacks one of its two points."""

    name: str
    per: str
    meaning: str
    values_ms: Floats


def stages(joined: Joined, output_id: int | None = None) -> list[Stage]:
    """Every stage, for one output or for all; loop turns serve all outputs."""
    loop = _loop_stages(joined)
    surfaces = _surface_stages(joined, output_id)
    frames = _frame_stages(joined, output_id)
    inputs = _input_stages(joined, output_id)
    return [*loop, surfaces[0], *frames, *surfaces[1:], *inputs]


def _loop_stages(joined: Joined) -> list[Stage]:
    turns = joined.turns
    wake = span_ns(turns.wake_ns, turns.dispatch_begin_ns)
    dispatch = span_ns(turns.dispatch_begin_ns, turns.dispatch_end_ns)
    return [
        _stage("epoll wake", "loop turn", "epoll returned -> dispatch begins, the lock included", wake),
        _stage("dispatch", "loop turn", "requests and events are handled", dispatch),
    ]


def _frame_stages(joined: Joined, output_id: int | None) -> list[Stage]:
    frames = joined.frames
    to_display = _unless_stepped(joined, span_ns(frames.kms_end_ns, frames.presented_ns))
    rows = [
        ("commit -> queued", "the commit that needed a frame -> frame queued", _commit_to_queued(joined)),
        ("queued -> wake", "frame queued -> the rendering thread wakes", span_ns(frames.queued_ns, frames.wake_ns)),
        ("wake lateness", "planned wake -> wake", span_ns(frames.wake_planned_ns, frames.wake_ns)),
        ("lock wait", "waiting for the compositor lock", span_ns(frames.lock_begin_ns, frames.lock_end_ns)),
        ("compose", "composing the frame", span_ns(frames.compose_begin_ns, frames.compose_end_ns)),
        ("KMS commit", "handing the frame to the display", span_ns(frames.kms_begin_ns, frames.kms_end_ns)),
        ("KMS commit -> presented", "waiting for the vblank", to_display),
        ("composing thread CPU", "CPU time since its previous frame", _known_ns(frames.cpu_ns)),
    ]
    here = _here(frames.output_id, output_id)
    return [_stage(name, "frame", meaning, spans[here]) for name, meaning, spans in rows]


def _surface_stages(joined: Joined, output_id: int | None) -> list[Stage]:
    commits, latches = joined.commits, joined.latches
    here = _here(latches.output_id, output_id)
    if output_id is None:
        of_output = np.ones(len(commits), np.bool_)
    else:
        of_output = np.isin(np.arange(len(commits)), latches.commit_row[here])
    asked = known_or(commits.request_ns, commits.commit_ns)
    displayed = take(joined.frames.presented_ns, latches.shown_row)
    to_display = _unless_stepped(joined, span_ns(take(asked, latches.commit_row), displayed))
    imported = span_ns(commits.request_ns, commits.commit_ns)
    answer = span_ns(commits.callback_ns, asked)
    return [
        _stage("import", "commit", "commit request -> applied, buffer import included", imported[of_output]),
        _stage("commit -> presented", "commit", "commit request -> displayed, everything included", to_display[here]),
        _stage("callback -> commit", "commit", "frame callback sent -> the client's commit", answer[of_output]),
    ]


def _input_stages(joined: Joined, output_id: int | None) -> list[Stage]:
    inputs, latches = joined.inputs, joined.latches
    displayed = take(take(joined.frames.presented_ns, latches.shown_row), inputs.latch_row)
    to_display = _unless_stepped(joined, span_ns(inputs.own_ns, displayed))
    delivery = span_ns(inputs.event_ns, inputs.delivered_ns)
    here = np.ones(len(inputs), np.bool_)
    if output_id is not None:
        here = take(latches.output_id, inputs.latch_row) == output_id
    return [
        _stage("input -> delivered", "input", "event arrived -> sent to the surface", delivery[here]),
        _stage(
            "input -> presented", "input", "event's own time -> the surface's next commit displayed", to_display[here]
        ),
    ]


def _commit_to_queued(joined: Joined) -> Floats:
    """For each frame: from the last of its commits that came before it was queued, which is the one that needed it."""
    latches, frames = joined.latches, joined.frames
    spans = span_ns(take(joined.commits.commit_ns, latches.commit_row), frames.queued_ns[latches.frame_row])
    shortest = np.full(len(frames), np.inf)
    usable = spans >= 0
    np.minimum.at(shortest, latches.frame_row[usable], spans[usable])
    return np.where(np.isinf(shortest), np.nan, shortest)


def _stage(name: str, per: str, meaning: str, spans_ns: Floats) -> Stage:
    return Stage(name, per, meaning, spans_ns / 1e6)


def _here(outputs: Ints, output_id: int | None) -> Bools:
    return np.ones(len(outputs), np.bool_) if output_id is None else np.equal(outputs, output_id)


def _known_ns(column: Ints) -> Floats:
    return np.where(column != MISSING, column, np.nan).astype(np.float64)


def _unless_stepped(joined: Joined, spans: Floats) -> Floats:
    return np.full(len(spans), np.nan) if joined.run.stepped else spans
