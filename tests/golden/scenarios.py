"""Run files made by arithmetic: a compositor's frames as they would be traced, the same bytes every time.

Each scenario is a function that writes one run file; SCENARIOS names them. Reports on them are kept as exact text
beside this file; `test_reports.py` compares them and says how to write them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from minicomp.lab.pipeline.points import (
    CommitFlag,
    InputKind,
    KmsFlag,
    Origin,
    Point,
    PresentKind,
    QueueReason,
    Source,
    present_flags,
)
from minicomp.lab.pipeline.runfile import RunWriter

US, MS = 1_000, 1_000_000
START_NS = 1_000_000 * MS
NORMAL_COMMIT = CommitFlag.BUFFER | CommitFlag.DAMAGE | CommitFlag.CALLBACK
META = {
    "minicomp": "0.1.0",
    "backend": "headless",
    "clock": "real",
    "renderer": "pixman",
    "pid": 4242,
    "start_ns": START_NS,
    "start_unix_ns": 1_790_000_000_000_000_000,
    "kernel": "6.18.0",
    "config": {},
}


class Trace:
    """Collects records of a thread each; `write` puts them into a run file in time order."""

    def __init__(self) -> None:
        self.rows: dict[int, list[tuple[int, ...]]] = {}

    def add(
        self,
        t_ns: int,
        point: Point,
        *,
        arg: int = 0,
        frame: int = 0,
        surface: int = 0,
        output: int = 0,
        flags: int = 0,
        source: int = Source.LOOP,
    ) -> None:
        self.rows.setdefault(source, []).append((t_ns, arg, frame, surface, int(point), output, int(flags)))

    def write(
        self,
        path: Path,
        names: Iterable[dict[str, object]],
        *,
        meta: dict[str, object] | None = None,
        dropped: dict[int, int] | None = None,
        chunk: int = 500,
        end: bool = True,
    ) -> Path:
        last_ns = max(row[0] for rows in self.rows.values() for row in rows)
        with RunWriter(path, {**META, **(meta or {})}) as writer:
            writer.names(names)
            for source, rows in sorted(self.rows.items()):
                rows.sort(key=lambda row: row[0])
                for first in range(0, len(rows), chunk):
                    writer.records(source, rows[first : first + chunk], (dropped or {}).get(source, 0))
            if end:
                writer.end(last_ns)
        return path


@dataclass
class Output:
    """A display: its vblanks are at START_NS + k * refresh_ns."""

    number: int = 1
    name: str = "HEADLESS-1"
    refresh_mhz: int = 60_000
    origin: Origin = Origin.MODELLED
    frames: int = 0

    @property
    def refresh_ns(self) -> int:
        return round(1e12 / self.refresh_mhz)

    def vblank_ns(self, count: int) -> int:
        return START_NS + count * self.refresh_ns

    @property
    def entry(self) -> dict[str, object]:
        facts = {"refresh_mhz": self.refresh_mhz, "width": 1280, "height": 720, "latch_us": 500}
        return {"type": "output", "id": self.number, "name": self.name, **facts}


def surface_entry(number: int, app_id: str) -> dict[str, object]:
    facts = {"client_pid": 5000 + number, "role": "xdg_toplevel", "app_id": app_id}
    return {"type": "surface", "id": number, "name": app_id, **facts}


def wobble_us(step: int, spread_us: int) -> int:
    """A fixed sequence that looks like jitter: 0 to spread_us, without a random generator."""
    return (step * 7919 + step * step * 31) % (spread_us + 1)


def commit(trace: Trace, t_ns: int, surface: int, number: int, import_us: int = 20, flags: int = NORMAL_COMMIT) -> int:
    """A loop turn that handles one commit; the time it was applied at."""
    applied_ns = t_ns + import_us * US
    trace.add(t_ns - 9 * US, Point.EPOLL_WAKE, arg=1)
    trace.add(t_ns - 6 * US, Point.DISPATCH_BEGIN, arg=2 * US)
    trace.add(t_ns, Point.COMMIT_REQUEST, surface=surface)
    trace.add(applied_ns, Point.SURFACE_COMMIT, surface=surface, arg=number, flags=flags)
    trace.add(applied_ns + 11 * US, Point.DISPATCH_END)
    return applied_ns


def frame(
    trace: Trace,
    output: Output,
    latched: list[tuple[int, int]],
    *,
    queued_ns: int,
    planned_ns: int,
    predicted: int,
    shown: int | None,
    late_us: int = 40,
    compose_us: int = 900,
    refused: bool = False,
    discarded: bool = False,
    reason: int = QueueReason.DAMAGE,
    source: int = Source.RENDER,
    callbacks: bool = True,
) -> None:
    """One frame from queued to presented. `shown` is a vblank count."""
    output.frames += 1
    ids = {"frame": output.frames, "output": output.number}
    mine = {**ids, "source": source}
    trace.add(queued_ns, Point.FRAME_QUEUED, arg=output.vblank_ns(predicted), flags=reason, **ids)
    trace.add(queued_ns + US, Point.FRAME_PLANNED, arg=planned_ns, **ids)
    wake_ns = max(planned_ns, queued_ns + US) + late_us * US
    trace.add(wake_ns, Point.RENDER_WAKE, arg=planned_ns, **mine)
    trace.add(wake_ns + 3 * US, Point.LOCK_WAIT_BEGIN, flags=source, source=source)
    trace.add(wake_ns + 8 * US, Point.LOCK_WAIT_END, flags=Source.LOOP, source=source)
    begin_ns = wake_ns + 10 * US
    trace.add(begin_ns, Point.COMPOSE_BEGIN, **mine)
    for surface, number in latched:
        trace.add(begin_ns + 5 * US, Point.SURFACE_LATCHED, surface=surface, arg=number, **mine)
    end_ns = begin_ns + compose_us * US
    trace.add(end_ns, Point.COMPOSE_END, **mine)
    trace.add(end_ns + 2 * US, Point.KMS_COMMIT_BEGIN, **mine)
    done_ns = end_ns + 32 * US
    trace.add(done_ns, Point.KMS_COMMIT_END, flags=KmsFlag.REFUSED if refused else 0, **mine)
    trace.add(done_ns + 4 * US, Point.SCHED, arg=(compose_us + 60) * US, flags=1, **mine)
    if callbacks:
        for surface, _number in latched:
            trace.add(done_ns + 6 * US, Point.FRAME_CALLBACK, arg=1, surface=surface, source=source)
    if shown is not None:
        vblank_ns = output.vblank_ns(shown)
        flags = present_flags(PresentKind.VSYNC, output.origin, shown, discarded=discarded)
        trace.add(vblank_ns + 15 * US, Point.PRESENTED, arg=0 if discarded else vblank_ns, flags=flags, **ids)


def asap_frames(trace: Trace, output: Output, surface: int, count: int, *, inputs: bool = False) -> None:
    """A client on frame callbacks, which come 2 ms after each vblank; each commit is composed at once."""
    callback_ns = output.vblank_ns(0) + 2 * MS
    for number in range(1, count + 1):
        if inputs and number % 10 == 0:
            key_ns = callback_ns + 300 * US
            kind = InputKind.BUTTON if number % 20 else InputKind.MOTION
            trace.add(key_ns + 50 * US, Point.INPUT_EVENT, arg=key_ns, flags=kind)
            trace.add(key_ns + 58 * US, Point.INPUT_DELIVERED, arg=key_ns, flags=kind, surface=surface)
        asked_ns = callback_ns + 1500 * US + wobble_us(number, 400) * US
        applied_ns = commit(trace, asked_ns, surface, number, 20 + wobble_us(number, 15))
        composed = {"late_us": 5 + wobble_us(number, 30), "compose_us": 800 + wobble_us(number, 250)}
        frame(
            trace,
            output,
            [(surface, number)],
            queued_ns=applied_ns + 3 * US,
            planned_ns=applied_ns + 4 * US,
            predicted=number,
            shown=number,
            source=Source.LOOP,
            callbacks=False,
            **composed,
        )
        callback_ns = output.vblank_ns(number) + 2 * MS
        trace.add(callback_ns, Point.FRAME_CALLBACK, arg=1, surface=surface)


def asap_60hz(path: Path) -> Path:
    """One surface, drawn as soon as it commits, on a modelled 60 Hz display; a pointer event every tenth frame."""
    trace, output = Trace(), Output()
    asap_frames(trace, output, 7, 120, inputs=True)
    return trace.write(path, [output.entry, surface_entry(7, "pulse")])


def misses(path: Path) -> Path:
    """Planned 4 ms before each vblank. The compositor wakes too late for three frames; a fourth is discarded by the
    display, a fifth refused and made again one refresh later."""
    trace, output = Trace(), Output()
    vblank = 0
    for number in range(1, 201):
        vblank += 1
        late = number in (50, 100, 150)
        planned_ns = output.vblank_ns(vblank) - 4 * MS
        applied_ns = commit(trace, planned_ns - 3 * MS, 7, number)
        plan = {"queued_ns": applied_ns + 3 * US, "planned_ns": planned_ns, "predicted": vblank}
        if number == 120:
            frame(trace, output, [(7, number)], **plan, shown=None, refused=True, callbacks=False)
            vblank += 1
            retry_ns = output.vblank_ns(vblank) - 4 * MS
            retry = {"queued_ns": retry_ns - MS, "planned_ns": retry_ns, "predicted": vblank, "shown": vblank}
            frame(trace, output, [], **retry, reason=QueueReason.FAULT_RETRY)
            trace.add(retry_ns + 2 * MS, Point.FRAME_CALLBACK, arg=1, surface=7, source=Source.RENDER)
            continue
        vblank += late
        late_us = 9_000 if late else 15 + wobble_us(number, 60)
        frame(trace, output, [(7, number)], **plan, shown=vblank, late_us=late_us, discarded=number == 170)
        if number == 100:
            trace.add(
                planned_ns + 8_900 * US, Point.LOCK_HOLD, arg=8_700 * US, flags=Source.POLICY, source=Source.POLICY
            )
    return trace.write(path, [output.entry, surface_entry(7, "pulse")])


def client_late(path: Path) -> Path:
    """Planned 4 ms before each vblank; the client commits after the planned start in eight frames of a hundred: five
    are shown a refresh late, three are lucky because the compositor woke late as well."""
    trace, output = Trace(), Output()
    vblank = 0
    for number in range(1, 101):
        vblank += 1
        predicted = vblank
        planned_ns = output.vblank_ns(vblank) - 4 * MS
        late, lucky = number % 20 == 10, number in (33, 55, 77)
        asked_ns = planned_ns + (3 * MS if late else MS if lucky else -2 * MS)
        applied_ns = commit(trace, asked_ns, 7, number)
        vblank += late
        plan = {"queued_ns": applied_ns + 3 * US, "planned_ns": planned_ns, "predicted": predicted}
        frame(trace, output, [(7, number)], **plan, shown=vblank)
    return trace.write(path, [output.entry, surface_entry(7, "slow-client")])


def dropped(path: Path) -> Path:
    """The asap trace, from rings that overflowed."""
    trace, output = Trace(), Output()
    asap_frames(trace, output, 7, 30)
    names = [output.entry, surface_entry(7, "pulse")]
    trace.add(START_NS + MS, Point.LOCK_HOLD, arg=600 * US, source=Source.POLICY)
    return trace.write(path, names, dropped={Source.LOOP: 10, Source.POLICY: 2})


def two_outputs(path: Path) -> Path:
    """60 Hz and 75 Hz with real hardware stamps; each its own surface, and one surface that both outputs show."""
    trace = Trace()
    slow = Output(1, "DP-1", 60_000, Origin.HARDWARE)
    fast = Output(2, "HDMI-A-1", 75_000, Origin.HARDWARE)
    for number in range(1, 61):
        shared_ns = commit(trace, slow.vblank_ns(number) - 9 * MS, 9, number)
        commit(trace, slow.vblank_ns(number) - 7 * MS, 7, number)
        plan = {"planned_ns": slow.vblank_ns(number) - 3 * MS, "predicted": number, "shown": number}
        frame(trace, slow, [(7, number), (9, number)], queued_ns=shared_ns + 3 * US, **plan)
    for number in range(1, 76):
        own_ns = commit(trace, fast.vblank_ns(number) - 5 * MS, 8, number)
        planned_ns = fast.vblank_ns(number) - 2 * MS
        newest = max((n for n in range(1, 61) if slow.vblank_ns(n) - 9 * MS + 20 * US < planned_ns), default=0)
        seen = [(8, number)] + ([(9, newest)] if newest else [])
        plan = {"planned_ns": planned_ns, "predicted": number, "shown": number, "compose_us": 600}
        frame(trace, fast, seen, queued_ns=own_ns + 3 * US, **plan, callbacks=False)
    surfaces = [surface_entry(7, "left"), surface_entry(8, "right"), surface_entry(9, "shared")]
    return trace.write(path, [slow.entry, fast.entry, *surfaces], meta={"backend": "drm", "renderer": "gles2"})


def callback_only(path: Path) -> Path:
    """A client that asks for callbacks without damage: every tenth commit draws, the others only tick."""
    trace, output = Trace(), Output()
    for number in range(1, 101):
        planned_ns = output.vblank_ns(number) - 4 * MS
        draws = number % 10 == 0
        flags = NORMAL_COMMIT if draws else CommitFlag.CALLBACK
        applied_ns = commit(trace, planned_ns - MS, 7, number, flags=flags)
        if draws:
            plan = {"planned_ns": planned_ns, "predicted": number, "shown": number}
            frame(trace, output, [(7, number)], queued_ns=applied_ns + 3 * US, **plan)
        else:
            ids = {"frame": output.frames + 1, "output": 1}
            why = QueueReason.CALLBACK_ONLY
            trace.add(applied_ns + 3 * US, Point.FRAME_QUEUED, arg=output.vblank_ns(number), flags=why, **ids)
            trace.add(output.vblank_ns(number), Point.FRAME_CALLBACK, arg=1, surface=7)
    return trace.write(path, [output.entry, surface_entry(7, "idle")])


def truncated(path: Path) -> Path:
    """The asap trace of a compositor that was killed: its last chunk is half written."""
    trace, output = Trace(), Output()
    asap_frames(trace, output, 7, 60)
    trace.write(path, [output.entry, surface_entry(7, "pulse")], chunk=200, end=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 1000])
    return path


def step_clock(path: Path) -> Path:
    """A stepped display: vblanks are on the modelled clock, stamps on the machine's; one late flip was injected."""
    trace, output = Trace(), Output()
    shown = 0
    for number in range(1, 31):
        real_ns = START_NS + 5_000 * MS + number * 2 * MS
        applied_ns = commit(trace, real_ns, 7, number)
        predicted = shown + 1
        shown = predicted + (number == 20)
        ids = {"frame": number, "output": 1}
        trace.add(applied_ns + 3 * US, Point.FRAME_QUEUED, arg=output.vblank_ns(predicted), flags=1, **ids)
        trace.add(applied_ns + 4 * US, Point.FRAME_PLANNED, arg=output.vblank_ns(predicted) - 4 * MS, **ids)
        trace.add(applied_ns + 20 * US, Point.COMPOSE_BEGIN, **ids)
        trace.add(applied_ns + 25 * US, Point.SURFACE_LATCHED, surface=7, arg=number, **ids)
        trace.add(applied_ns + 420 * US, Point.COMPOSE_END, **ids)
        trace.add(applied_ns + 422 * US, Point.KMS_COMMIT_BEGIN, **ids)
        trace.add(applied_ns + 440 * US, Point.KMS_COMMIT_END, **ids)
        flags = present_flags(PresentKind.VSYNC, Origin.MODELLED, shown)
        trace.add(applied_ns + 900 * US, Point.PRESENTED, arg=output.vblank_ns(shown), flags=flags, **ids)
        trace.add(applied_ns + 905 * US, Point.FRAME_CALLBACK, arg=1, surface=7)
    return trace.write(path, [output.entry, surface_entry(7, "pulse")], meta={"clock": "step"})


SCENARIOS: dict[str, Callable[[Path], Path]] = {
    "asap_60hz": asap_60hz,
    "misses": misses,
    "client_late": client_late,
    "dropped": dropped,
    "two_outputs": two_outputs,
    "callback_only": callback_only,
    "truncated": truncated,
    "step_clock": step_clock,
}
