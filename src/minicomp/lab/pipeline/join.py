"""Joins a run's records into the tables of `tables`, in whole-array steps: a million records take a few seconds.

How rows meet (docs/trace-format.md gives the ids):
- a frame is (output_id, frame_id); it has a row when something was composed, committed or presented for it;
- a commit is (surface_id, commit number); its request is the last COMMIT_REQUEST of the surface before it, its callback
  the last FRAME_CALLBACK sent to the surface between the previous commit and that request;
- a latch is a commit that became part of a frame of one output. When that frame was refused or discarded, the content
  is shown by the output's next presented frame, unless a newer commit of the surface was latched up to then;
- an input delivery belongs to the newest INPUT_EVENT with the same own time and kind, and is followed by the surface's
  next commit with content.
"""

from __future__ import annotations

import numpy as np

from minicomp.lab.pipeline.frames import join_frames
from minicomp.lab.pipeline.lookup import Records, after, before, find, first_not_before
from minicomp.lab.pipeline.points import CommitFlag, Point, QueueReason, Source
from minicomp.lab.pipeline.runfile import Run
from minicomp.lab.pipeline.tables import MISSING, Commits, Frames, Inputs, Ints, Joined, Latches, LoopTurns, take

CONTENT = CommitFlag.BUFFER | CommitFlag.DAMAGE


def join(run: Run) -> Joined:
    """Builds every table of a run."""
    records = Records(run)
    frames = join_frames(records, stepped=run.stepped)
    commits = _join_commits(records)
    latches = _join_latches(records, frames, commits)
    inputs = _join_inputs(records, commits, latches)
    return Joined(run, frames, commits, latches, inputs, _join_turns(records), _callback_only(records))


def _join_commits(records: Records) -> Commits:
    at = records.of(Point.SURFACE_COMMIT)
    at = at[np.lexsort((at, records.surface_id[at]))]
    surface = records.surface_id[at]
    previous = np.full(len(at), -1, np.int64)
    following = np.full(len(at), MISSING, np.int64)
    same = surface[1:] == surface[:-1]
    previous[1:][same] = at[:-1][same]
    following[:-1][same] = at[1:][same]

    requests = records.of(Point.COMMIT_REQUEST)
    request = take(requests, before(surface, at, records.surface_id[requests], requests))
    request = np.where(request > previous, request, -1)
    asked = np.where(request >= 0, request, at)

    callbacks = records.of(Point.FRAME_CALLBACK)
    callback_surface = records.surface_id[callbacks]
    callback = take(callbacks, before(surface, asked, callback_surface, callbacks))
    callback = np.where(callback > previous, callback, -1)
    next_callback = take(callbacks, after(surface, at, callback_surface, callbacks))
    in_turn = (next_callback >= 0) & ((following == MISSING) | (next_callback < following))
    return Commits(
        surface_id=surface,
        number=records.arg[at],
        flags=records.flags[at],
        request_ns=take(records.t_ns, request),
        commit_ns=records.t_ns[at],
        callback_ns=take(records.t_ns, callback),
        next_callback_ns=take(records.t_ns, np.where(in_turn, next_callback, -1)),
    )


def _join_latches(records: Records, frames: Frames, commits: Commits) -> Latches:
    at = records.of(Point.SURFACE_LATCHED)
    frame_keys = frames.output_id << 32 | frames.frame_id
    frame_row = find(frame_keys, records.frame[at])
    at, frame_row = at[frame_row >= 0], frame_row[frame_row >= 0]
    # The first frame of an output that took a commit is the one that counts; later ones only kept it.
    surface, number, output = records.surface_id[at], records.arg[at], records.frame[at] >> 32
    order = np.lexsort((at, output, number, surface))
    surface, number, output, frame_row = surface[order], number[order], output[order], frame_row[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (surface[1:] != surface[:-1]) | (number[1:] != number[:-1]) | (output[1:] != output[:-1])
    surface, number, output, frame_row = surface[first], number[first], output[first], frame_row[first]
    return Latches(
        commit_row=find(commits.surface_id << 32 | commits.number, surface << 32 | number),
        surface_id=surface,
        number=number,
        output_id=output,
        frame_row=frame_row,
        shown_row=_shown_rows(frames, surface, output, frame_row),
    )


def _shown_rows(frames: Frames, surface: Ints, output: Ints, frame_row: Ints) -> Ints:
    """The frame that showed each latch: its own, or the next one shown when its own was refused or discarded."""
    if not len(frame_row):
        return frame_row
    shown = frames.presented_ns != MISSING
    row = np.arange(len(frames))
    next_shown = np.minimum.accumulate(np.where(shown, row, len(row))[::-1])[::-1][frame_row]
    found = next_shown < len(row)
    next_shown = np.minimum(next_shown, len(row) - 1)
    found &= frames.output_id[next_shown] == output
    lost = frames.refused[frame_row] | frames.discarded[frame_row]

    # A newer latch of the same surface on the same output, up to the frame that was shown, replaced the content.
    order = np.lexsort((frame_row, output, surface))
    same = (surface[order][1:] == surface[order][:-1]) & (output[order][1:] == output[order][:-1])
    replaced_at = np.full(len(frame_row), len(row), np.int64)
    replaced_at[order[:-1][same]] = frame_row[order[1:][same]]
    carried = lost & (next_shown < replaced_at)
    return np.where(found & (shown[frame_row] | carried), next_shown, -1)


def _join_inputs(records: Records, commits: Commits, latches: Latches) -> Inputs:
    events, delivered = records.of(Point.INPUT_EVENT), records.of(Point.INPUT_DELIVERED)
    both = np.concatenate([events, delivered])
    # An event is known by (own time, kind); equal pairs get one small number.
    _values, group = np.unique(np.stack([records.arg[both], records.flags[both]], axis=1), axis=0, return_inverse=True)
    group = group.reshape(-1).astype(np.int64)
    event = take(events, before(group[len(events) :], delivered, group[: len(events)], events))
    event_ns = take(records.t_ns, np.maximum(event, -1))
    arrived_ns = np.where(event_ns != MISSING, event_ns, records.t_ns[delivered])
    own_ns = records.arg[delivered]

    surface = records.surface_id[delivered]
    content = np.flatnonzero(commits.flags & int(CONTENT) != 0)
    commit = first_not_before(surface, records.t_ns[delivered], commits.surface_id[content], commits.commit_ns[content])
    commit_row = np.where(commit >= 0, content[commit] if len(content) else -1, -1)
    number = take(commits.number, commit_row)
    latch = first_not_before(surface, np.where(commit_row >= 0, number, 0), latches.surface_id, latches.number)
    return Inputs(
        kind=records.flags[delivered],
        own_ns=np.where((own_ns > 0) & (own_ns <= arrived_ns), own_ns, arrived_ns),
        event_ns=event_ns,
        delivered_ns=records.t_ns[delivered],
        surface_id=surface,
        commit_row=commit_row,
        latch_row=np.where(commit_row >= 0, latch, -1),
    )


def _join_turns(records: Records) -> LoopTurns:
    begins = records.of(Point.DISPATCH_BEGIN)
    begins = begins[records.source[begins] == Source.LOOP]
    wakes, ends = records.of(Point.EPOLL_WAKE), records.of(Point.DISPATCH_END)
    limit = np.append(begins[1:], np.iinfo(np.int64).max)
    wake = take(wakes, np.searchsorted(wakes, begins) - 1)
    wake = np.where(wake > np.concatenate([[-1], begins[:-1]])[: len(begins)], wake, -1)
    place = np.searchsorted(ends, begins)
    end = take(ends, np.where(place < len(ends), place, -1))
    end = np.where((end >= 0) & (end < limit[: len(begins)]), end, -1)
    return LoopTurns(take(records.t_ns, wake), records.t_ns[begins], take(records.t_ns, end))


def _callback_only(records: Records) -> dict[int, int]:
    queued = records.of(Point.FRAME_QUEUED)
    alone = queued[records.flags[queued] == int(QueueReason.CALLBACK_ONLY)]
    outputs, counts = np.unique(records.frame[alone] >> 32, return_counts=True)
    return dict(zip(outputs.tolist(), counts.tolist(), strict=True))
