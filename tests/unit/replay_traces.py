"""Workloads and run files for the tests of `lab/replay`: a display of 62.5 Hz (16 ms) and one client.

Everything is exact: vblanks at multiples of 16 ms, frames that cost what they are told to, a client that answers in the
time it is told to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from minicomp.lab.pipeline.points import Origin, Point, Source, present_flags
from minicomp.lab.pipeline.runfile import RunWriter
from minicomp.lab.replay.grid import Grid
from minicomp.lab.replay.latch import Latch
from minicomp.lab.replay.workload import Commit, Cost, Surface, Workload

MS = 1_000_000
US = 1_000
PERIOD_NS = 16 * MS
BEGIN_NS = 1_000 * PERIOD_NS
LATCH_NS = 1 * MS


def workload(
    frames: int,
    *,
    latch_ns: int = LATCH_NS,
    response_ns: Callable[[int], int] = lambda _number: 1 * MS,
    cost: Callable[[int], Cost] = lambda _number: Cost(0, 0, 1 * MS, 0, 0),
    period_ns: int = PERIOD_NS,
) -> Workload:
    commits = [Commit(at_ns=BEGIN_NS + 3 * MS)]
    commits += [Commit(response_ns=response_ns(number)) for number in range(1, frames)]
    return Workload(
        output_id=1,
        name="A",
        nominal_ns=period_ns,
        grid=Grid((BEGIN_NS, BEGIN_NS + period_ns), float(period_ns)),
        latch=Latch(latch_ns, "given"),
        costs=tuple(cost(number) for number in range(max(frames, 1))),
        surfaces=(Surface(7, "client", tuple(commits)),),
    )


def record(
    path: Path,
    frames: int,
    *,
    clock: str = "real",
    origin: Origin = Origin.MODELLED,
    latch_us: int | None = 1000,
    ended: bool = True,
    mode: str = "fixed",
    pid: int = 1,
) -> Path:
    """A run file of frames that begin 4 ms before their vblanks, as fixed pacing makes them.

    Each begins 0.2 ms late, 0.1 ms of it waiting for the lock, is composed in 1 ms and committed in 0.1 ms. The client
    is asked right after, and answers 1 ms later. Every tenth frame is shown one refresh late.
    """
    rows: list[list[tuple[int, ...]]] = [[], []]
    vblank_ns = BEGIN_NS
    asked_ns = 0
    for number in range(1, frames + 1):
        ids = {"frame_id": number, "output_id": 1}
        committed_ns = asked_ns + 1 * MS if asked_ns else vblank_ns - 15 * MS
        start_ns = vblank_ns - 4 * MS
        composing_ns = start_ns + 200 * US
        loop, render = rows[Source.LOOP], rows[Source.RENDER]
        loop.append(_row(committed_ns - 50 * US, Point.COMMIT_REQUEST, surface_id=7))
        loop.append(_row(committed_ns, Point.SURFACE_COMMIT, surface_id=7, arg=number, flags=7))
        loop.append(_row(committed_ns + 1, Point.FRAME_QUEUED, arg=vblank_ns, flags=1, **ids))
        loop.append(_row(committed_ns + 2, Point.FRAME_PLANNED, arg=start_ns, flags=4000, **ids))
        render.append(_row(start_ns + 100 * US, Point.LOCK_WAIT_BEGIN, flags=Source.RENDER))
        render.append(_row(composing_ns, Point.LOCK_WAIT_END, flags=Source.LOOP))
        render.append(_row(composing_ns, Point.RENDER_WAKE, arg=start_ns, **ids))
        render.append(_row(composing_ns, Point.COMPOSE_BEGIN, **ids))
        render.append(_row(composing_ns + 1 * MS, Point.COMPOSE_END, **ids))
        render.append(_row(composing_ns + 1 * MS, Point.SURFACE_LATCHED, surface_id=7, arg=number, **ids))
        render.append(_row(composing_ns + 1 * MS, Point.KMS_COMMIT_BEGIN, **ids))
        render.append(_row(composing_ns + 1100 * US, Point.KMS_COMMIT_END, **ids))
        asked_ns = composing_ns + 1200 * US
        render.append(_row(asked_ns, Point.FRAME_CALLBACK, surface_id=7, arg=1, **ids))
        if number % 10 == 0:
            vblank_ns += PERIOD_NS
        flags = present_flags(1, origin, vblank_ns // PERIOD_NS)
        loop.append(_row(vblank_ns + 50 * US, Point.PRESENTED, arg=vblank_ns, flags=flags, **ids))
        vblank_ns += PERIOD_NS
    output = {"type": "output", "id": 1, "name": "A", "refresh_mhz": 62_500, "width": 640, "height": 480}
    if latch_us is not None:
        output["latch_us"] = latch_us
    meta = {
        "clock": clock,
        "backend": "headless",
        "renderer": "pixman",
        "pid": pid,
        "config": {"pacing": {"mode": mode}},
    }
    with RunWriter(path, meta) as writer:
        writer.names([output, {"type": "surface", "id": 7, "client_pid": 4321, "app_id": "pulse"}])
        for source, mine in enumerate(rows):
            writer.records(source, sorted(mine, key=lambda row: row[0]))
        if ended:
            writer.end(vblank_ns)
    return path


def _row(
    t_ns: int, point: Point, *, arg: int = 0, frame_id: int = 0, surface_id: int = 0, output_id: int = 0, flags: int = 0
) -> tuple[int, ...]:
    return (t_ns, arg, frame_id, surface_id, point, output_id, flags)
