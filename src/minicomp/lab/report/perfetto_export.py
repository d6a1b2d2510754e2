"""A run as a Perfetto trace (ui.perfetto.dev, trace_processor).

Process "minicomp" holds: a thread track for each thread that wrote records (what it did); a track for each output
(composing, KMS commits and flips; under it the frames from queued to presented, and counters); a track for each surface
(commits, callbacks and input; under it each commit's way to the display, and its latency). Flow arrows lead from a
commit through the composing of the frame that took it to the flip that showed it. With the kernel's side of the trace
there is also a track a thread for when it ran and when it waited for a CPU (`perfetto_kernel`). Threads' ids are not in
a run file: where the kernel's side does not tell, policy gets the process's id, the others the ids after it.

Times are CLOCK_MONOTONIC; with the step clock a flip is drawn when it was reported and carries its modelled time.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minicomp.lab.pipeline.attribution import explain
from minicomp.lab.pipeline.join import join
from minicomp.lab.pipeline.misses import Verdict, judge
from minicomp.lab.pipeline.points import InputKind, Origin, Point, Source, describe_flags, source_name
from minicomp.lab.pipeline.runfile import Run
from minicomp.lab.pipeline.tables import MISSING, Ints, Joined, known_or, take
from minicomp.lab.report.files import written
from minicomp.lab.report.perfetto_kernel import add_kernel_tracks
from minicomp.lab.report.perfetto_writer import Lanes, PerfettoWriter

if TYPE_CHECKING:
    from minicomp.lab.kernel.reader import KernelTrace

_BEGINS = {
    Point.DISPATCH_BEGIN: "dispatch",
    Point.COMMIT_REQUEST: "surface commit",
    Point.LOCK_WAIT_BEGIN: "lock wait",
    Point.COMPOSE_BEGIN: "compose",
    Point.KMS_COMMIT_BEGIN: "KMS commit",
}
_ENDS = {
    Point.DISPATCH_END: "dispatch",
    Point.SURFACE_COMMIT: "surface commit",
    Point.LOCK_WAIT_END: "lock wait",
    Point.COMPOSE_END: "compose",
    Point.KMS_COMMIT_END: "KMS commit",
}
_INSTANTS = {
    Point.EPOLL_WAKE: "epoll wake",
    Point.FD_RECEIVED: "fd received",
    Point.FRAME_QUEUED: "frame queued",
    Point.RENDER_WAKE: "render wake",
    Point.FRAME_CALLBACK: "frame callback",
    Point.INPUT_EVENT: "input event",
    Point.INPUT_DELIVERED: "input delivered",
    Point.LOCK_HOLD: "long lock hold",
    Point.CLIENT_MUTED: "client muted",
}


def export_perfetto(run: Run, out_path: str | Path, kernel: KernelTrace | None = None) -> int:
    """Writes the trace; returns how many events it has. Raises MinicompError when the file cannot be written."""
    export = _Export(run, kernel)
    with written(out_path) as path, path.open("wb") as file:
        return export.writer.write(file)


class _Export:
    """Fills a PerfettoWriter from one run."""

    def __init__(self, run: Run, kernel: KernelTrace | None) -> None:
        self.run = run
        self.tids = kernel.threads if kernel is not None else {}
        self.joined: Joined = join(run)
        self.writer = PerfettoWriter(monotonic_ns=run.meta["start_ns"], unix_ns=run.meta["start_unix_ns"])
        self.pid = run.meta["pid"] or 1
        self.process = self.writer.process(self.pid, "minicomp")
        # A flip is drawn at its vblank; on the modelled clock that is no place on this time line.
        frames = self.joined.frames
        self.flip_ns = np.where(frames.presented_ns == MISSING, MISSING, frames.told_ns)
        if not run.stepped:
            self.flip_ns = frames.presented_ns
        self.verdicts = self._frame_verdicts()
        self.causes = {cause.frame_row: cause for cause in explain(self.joined, kernel) if not cause.surface_id}
        self.flows = _group(self.joined.latches.frame_row, len(frames))
        self.flow_ends = _group(self.joined.latches.shown_row, len(frames))
        self._threads()
        self._outputs()
        if kernel is not None:
            add_kernel_tracks(self.writer, self.process, kernel)
        self._surfaces()

    def _threads(self) -> None:
        for source in np.unique(self.run.sources).tolist():
            guess = self.pid + {Source.POLICY: 0, Source.LOOP: 1}.get(source, 1 + source)
            tid = self.tids.get(f"mc-{source_name(source)}", guess)
            track = self.writer.thread(self.process, self.pid, tid, source_name(source))
            self._thread(track, source)

    def _thread(self, track: int, source: int) -> None:
        """The slices of one thread, kept nested even where the trace lacks a begin or an end."""
        rows = self.run.records[self.run.sources == source]
        open_slices: list[str] = []
        last_ns = 0
        for last_ns, arg, frame_id, surface_id, point, _output_id, flags in rows.tolist():
            ids = {"frame": frame_id, "surface": surface_id}
            args: dict[str, int | float | str] = {key: value for key, value in ids.items() if value}
            if point in _BEGINS:
                name = _BEGINS[point]
                # A turn of the loop begins afresh; a second request before its commit replaces the first.
                self._close(track, open_slices, name, last_ns)
                open_slices.append(name)
                self.writer.begin(last_ns, track, name, args)
            elif point in _ENDS:
                self._close(track, open_slices, _ENDS[point], last_ns)
            elif point in _INSTANTS:
                words = describe_flags(point, flags)
                if words:
                    args["what"] = words
                if point == Point.LOCK_HOLD:
                    args["held_us"] = arg / 1e3
                self.writer.instant(last_ns, track, _INSTANTS[point], args)
        for _name in open_slices:
            self.writer.end(last_ns, track)

    def _close(self, track: int, open_slices: list[str], name: str, t_ns: int) -> None:
        """Ends the open slice of that name and all inside it; nothing when there is none."""
        if name in open_slices:
            while open_slices.pop() != name:
                self.writer.end(t_ns, track)
            self.writer.end(t_ns, track)

    def _outputs(self) -> None:
        frames = self.joined.frames
        for number in np.unique(frames.output_id).tolist():
            self._output(number, np.flatnonzero(frames.output_id == number).astype(np.int64))

    def _output(self, number: int, rows: Ints) -> None:
        frames, writer = self.joined.frames, self.writer
        label = self.run.name("output", number)
        track = writer.track(f"output {label}", self.process, rank=number)
        lanes = Lanes(writer, f"{label} frames", track, rank=0)
        late = writer.counter(f"{label} wake lateness", "us", track, rank=1)
        spare = writer.counter(f"{label} KMS commit to flip", "ms", track, rank=2)
        events: list[tuple[int, int, int]] = []
        for row in rows[np.argsort(known_or(frames.queued_ns, frames.compose_begin_ns)[rows], kind="stable")].tolist():
            begin, flip = int(frames.queued_ns[row]), int(self.flip_ns[row])
            finished = flip if flip != MISSING else int(frames.kms_end_ns[row])
            if begin != MISSING and finished != MISSING:
                lanes.slice(begin, finished, f"frame {frames.frame_id[row]}", self._frame_args(row, self.verdicts[row]))
            if frames.wake_ns[row] != MISSING and frames.wake_planned_ns[row] != MISSING:
                late_ns = int(frames.wake_ns[row] - frames.wake_planned_ns[row])
                writer.sample(int(frames.wake_ns[row]), late, late_ns / 1e3)
            if flip != MISSING and frames.kms_end_ns[row] != MISSING and not self.run.stepped:
                writer.sample(flip, spare, (flip - int(frames.kms_end_ns[row])) / 1e6)
            events += self._output_events(row)
        self._play(track, sorted(events))

    def _output_events(self, row: int) -> list[tuple[int, int, int]]:
        """(time, row, point) of what an output's own track shows of a frame."""
        frames = self.joined.frames
        times = {
            Point.COMPOSE_BEGIN: frames.compose_begin_ns[row],
            Point.COMPOSE_END: frames.compose_end_ns[row],
            Point.KMS_COMMIT_BEGIN: frames.kms_begin_ns[row],
            Point.KMS_COMMIT_END: frames.kms_end_ns[row],
            Point.PRESENTED: self.flip_ns[row],
        }
        return [(int(t_ns), row, int(point)) for point, t_ns in times.items() if t_ns != MISSING]

    def _play(self, track: int, events: list[tuple[int, int, int]]) -> None:
        frames, writer = self.joined.frames, self.writer
        open_slices: list[str] = []
        for t_ns, row, point in events:
            args: dict[str, int | float | str] = {"frame": int(frames.frame_id[row])}
            if point == Point.PRESENTED:
                origin = Origin(int(frames.origin[row])).name.lower()
                args |= {"seq": int(frames.seq[row]), "origin": origin, "vblank_ns": int(frames.presented_ns[row])}
                writer.instant(t_ns, track, "flip", args, ends_flows=self.flow_ends[row])
            elif point in _BEGINS:
                open_slices.append(_BEGINS[Point(point)])
                flows = self.flows[row] if point == Point.COMPOSE_BEGIN else ()
                writer.begin(t_ns, track, _BEGINS[Point(point)], args, flows)
            else:
                self._close(track, open_slices, _ENDS[Point(point)], t_ns)
        for _name in open_slices:
            writer.end(events[-1][0], track)

    def _frame_args(self, row: int, verdict: str) -> dict[str, int | float | str]:
        frames = self.joined.frames
        args: dict[str, int | float | str] = {"verdict": verdict}
        for name, column in (("predicted_ns", frames.predicted_ns), ("planned_ns", frames.planned_ns)):
            if column[row] != MISSING:
                args[name] = int(column[row])
        if frames.reason[row] != MISSING:
            args["reason"] = describe_flags(Point.FRAME_QUEUED, int(frames.reason[row]))
        if row in self.causes:
            args |= {"cause": self.causes[row].name, "why": self.causes[row].evidence}
        if frames.cpu_ns[row] != MISSING:
            args["cpu_us"] = float(frames.cpu_ns[row]) / 1e3
        return args

    def _frame_verdicts(self) -> list[str]:
        """The worst verdict of each frame's surfaces, in words."""
        frames, latches = self.joined.frames, self.joined.latches
        badness = [Verdict.UNJUDGED, Verdict.ON_TIME, Verdict.LATE_BUT_SHOWN, Verdict.CLIENT_LATE, Verdict.MISSED]
        worst = np.zeros(len(frames), np.int64)
        rank = np.array(
            [badness.index(Verdict(v)) if v != Verdict.DISCARDED else 0 for v in judge(self.joined).tolist()]
        )
        if len(rank):
            np.maximum.at(worst, latches.frame_row, rank)
        words = [badness[place].name.lower().replace("_", " ") for place in worst.tolist()]
        lost = zip(frames.refused.tolist(), frames.discarded.tolist(), words, strict=True)
        return ["refused" if refused else "discarded" if gone else word for refused, gone, word in lost]

    def _surfaces(self) -> None:
        records = self.run.records
        points = (Point.SURFACE_COMMIT, Point.FRAME_CALLBACK, Point.INPUT_DELIVERED)
        rows = records[np.isin(records["point"], points)]
        for number in np.unique(rows["surface_id"]).tolist():
            label = self.run.name("surface", number)
            track = self.writer.track(f"surface {number}: {label}", self.process, rank=1 << 16 | number & 0xFFFF)
            ways = self._surface_ways(track, number)
            for t_ns, arg, _frame, _surface, point, _output, flags in rows[rows["surface_id"] == number].tolist():
                if point == Point.SURFACE_COMMIT:
                    args = {"commit": arg, "flags": describe_flags(point, flags)}
                    self.writer.instant(t_ns, track, "commit", args, flows=ways.get(arg, ()))
                elif point == Point.FRAME_CALLBACK:
                    self.writer.instant(t_ns, track, "frame callback")
                else:
                    kind = InputKind(flags).name.lower() if flags in set(InputKind) else str(flags)
                    self.writer.instant(t_ns, track, f"input: {kind}")

    def _surface_ways(self, track: int, number: int) -> dict[int, list[int]]:
        """Draws each commit's way to the display; returns the flows that leave each commit number."""
        latches, commits = self.joined.latches, self.joined.commits
        rows = np.flatnonzero(latches.surface_id == number)
        asked = take(known_or(commits.request_ns, commits.commit_ns), latches.commit_row)
        flips = take(self.flip_ns, latches.shown_row)
        lanes = Lanes(self.writer, f"surface {number} commit to flip", track, rank=0)
        latency = self.writer.counter(f"surface {number} commit to flip", "ms", track, rank=1)
        flows: dict[int, list[int]] = {}
        for row in rows[np.argsort(asked[rows], kind="stable")].tolist():
            commit = int(latches.number[row])
            flows.setdefault(commit, []).append(row + 1)
            begin, flip = int(asked[row]), int(flips[row])
            if MISSING in (begin, flip):
                continue
            output = self.run.name("output", int(latches.output_id[row]))
            lanes.slice(begin, flip, f"commit {commit}", {"output": output})
            if not self.run.stepped:
                self.writer.sample(flip, latency, (flip - begin) / 1e6)
        return flows


def _group(rows: Ints, count: int) -> list[list[int]]:
    """For each row number below `count`: the flow ids (latch row + 1) that point at it."""
    groups: list[list[int]] = [[] for _ in range(count)]
    for latch, row in enumerate(rows.tolist()):
        if row >= 0:
            groups[row].append(latch + 1)
    return groups
