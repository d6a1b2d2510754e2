"""A run with one missed vblank for each cause, and the kernel's side of it: made by arithmetic, like `scenarios`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scenarios import MS, US, Output, Trace, commit, surface_entry

from minicomp.lab.kernel.collector import finished
from minicomp.lab.kernel.events import RECORD, VERSION, Event, result_path
from minicomp.lab.pipeline.points import KmsFlag, Point, PresentKind, QueueReason, Source, present_flags

RENDER, LOOP, HOG, OTHER = 4243, 4244, 4711, 4712
DEADLINE, FIFO, FAIR = -1, 49, 120
FRAMES = 260
SURFACE = 7


@dataclass
class Step:
    """What differs from the usual in one frame; ns unless said otherwise."""

    answer: int = 3 * MS
    wake_late: int = 40 * US
    lock: int = 0
    compose: int = 900 * US
    cpu: int = 950 * US
    minor_faults: int = 0
    preempted: bool = False
    overran: bool = False
    shown_late: int = 0
    """Vblanks."""
    shifted: int = 0
    refused: bool = False
    lost_points: bool = False


STEPS = {
    20: Step(answer=34 * MS),
    40: Step(wake_late=8100 * US),
    60: Step(lock=9 * MS, shown_late=1),
    80: Step(compose=9 * MS, cpu=8800 * US, minor_faults=200, shown_late=1),
    100: Step(compose=9 * MS, cpu=1200 * US, preempted=True, overran=True, shown_late=1),
    120: Step(compose=9 * MS, cpu=9 * MS, shown_late=1),
    140: Step(shown_late=1),
    160: Step(refused=True, shown_late=1),
    180: Step(shifted=10 * MS),
    200: Step(lost_points=True, shown_late=1),
}
USUAL = Step()


class Kernel:
    """Collects the kernel's events."""

    def __init__(self) -> None:
        self.events: list[bytes] = []

    def switch(
        self, t_ns: int, cpu: int, left: int, come: int, *, asleep: bool, prio: int = FAIR, of: int = FAIR
    ) -> None:
        self.events.append(RECORD.pack(t_ns, left, come, prio, of, cpu, Event.SWITCH, int(asleep)))

    def woken(self, t_ns: int, cpu: int, pid: int, prio: int = FAIR) -> None:
        self.events.append(RECORD.pack(t_ns, pid, 0, prio, 0, cpu, Event.WAKING, 0))

    def write(self, run_path: Path) -> None:
        threads = {"mc-render": RENDER, "mc-loop": LOOP}
        meta = {"version": VERSION, "method": "tracefs", "scope": "all", "pid": 4242, "threads": threads}
        names = {0: "swapper", RENDER: "mc-render", LOOP: "mc-loop", HOG: "yes", OTHER: "cc1"}
        end = {"events": len(self.events), "lost": 0, "cpu_s": 0.01, "elapsed_s": 4.0, "events_per_s": 1.0}
        self.events.sort(key=lambda event: int.from_bytes(event[:8], "little"))
        Path(result_path(run_path)).write_bytes(b"".join(finished(meta, b"".join(self.events), names, end)))


def every_cause(path: Path, *, kernel: bool) -> Path:
    """Frames are planned 4 ms before each vblank of a 60 Hz display with a latch of 0.5 ms."""
    trace, output, side = Trace(), Output(), Kernel()
    vblank, callback_ns, shift_ns = 1, output.vblank_ns(0) + 10 * MS, 0
    for number in range(1, FRAMES + 1):
        step = STEPS.get(number, USUAL)
        asked_ns = callback_ns + step.answer
        while output.vblank_ns(vblank) + shift_ns - 4 * MS < asked_ns + 100 * US:
            vblank += 1
        callback_ns = _frame(trace, side, output, number, step, vblank, asked_ns, shift_ns)
        shift_ns += step.shifted
        vblank += 1 + step.shown_late + (step.wake_late > MS)
    trace.write(path, [output.entry, surface_entry(SURFACE, "pulse")])
    if kernel:
        side.write(path)
    return path


def _frame(
    trace: Trace, side: Kernel, output: Output, number: int, step: Step, vblank: int, asked_ns: int, shift_ns: int
) -> int:
    """One commit and its frame; when the next callback is sent."""
    applied_ns = commit(trace, asked_ns, SURFACE, number)
    target_ns = output.vblank_ns(vblank) + shift_ns
    planned_ns = target_ns - 4 * MS
    ids = {"frame": number, "output": output.number}
    mine = {**ids, "source": Source.RENDER}
    trace.add(applied_ns + 3 * US, Point.FRAME_QUEUED, arg=target_ns, flags=QueueReason.DAMAGE, **ids)
    trace.add(applied_ns + 4 * US, Point.FRAME_PLANNED, arg=planned_ns, flags=4000, **ids)
    wake_ns = planned_ns + step.wake_late
    trace.add(wake_ns, Point.RENDER_WAKE, arg=planned_ns, **mine)
    begin_ns = wake_ns + 10 * US + step.lock
    if step.lock:
        trace.add(wake_ns + US, Point.LOCK_WAIT_BEGIN, flags=Source.RENDER, source=Source.RENDER)
        trace.add(wake_ns + step.lock, Point.LOCK_WAIT_END, flags=Source.POLICY, source=Source.RENDER)
        held = {"arg": step.lock, "flags": Source.POLICY, "source": Source.POLICY}
        trace.add(wake_ns + step.lock - US, Point.LOCK_HOLD, **held)
    trace.add(begin_ns, Point.COMPOSE_BEGIN, **mine)
    trace.add(begin_ns + US, Point.SURFACE_LATCHED, surface=SURFACE, arg=number, **mine)
    end_ns = begin_ns + step.compose
    done_ns = end_ns + 30 * US
    trace.add(end_ns, Point.COMPOSE_END, **mine)
    if not step.lost_points:
        trace.add(end_ns + US, Point.KMS_COMMIT_BEGIN, **mine)
        trace.add(done_ns, Point.KMS_COMMIT_END, flags=KmsFlag.REFUSED if step.refused else 0, **mine)
    counts = 1 | int(step.preempted) << 8 | step.minor_faults << 16
    trace.add(done_ns + US, Point.SCHED, arg=step.cpu, flags=counts, **mine)
    if step.overran:
        overrun_ns = begin_ns + 1200 * US
        trace.add(done_ns + 2 * US, Point.DEADLINE_OVERRUN, arg=overrun_ns, flags=1, source=Source.RENDER)
    shown_ns = target_ns + step.shifted + (step.shown_late + (step.wake_late > MS)) * output.refresh_ns
    if not step.refused:
        flags = present_flags(PresentKind.VSYNC, output.origin, number)
        trace.add(shown_ns + 15 * US, Point.PRESENTED, arg=shown_ns, flags=flags, **ids)
    _kernel_side(side, step, planned_ns, wake_ns, begin_ns, done_ns)
    # Asked so that the next vblank is reached: 3 ms to answer, 4 ms for the frame, and some room.
    callback_ns = max(done_ns + 5 * US, shown_ns + output.refresh_ns - 8 * MS)
    trace.add(callback_ns, Point.FRAME_CALLBACK, arg=1, surface=SURFACE, source=Source.RENDER)
    return callback_ns


def _kernel_side(side: Kernel, step: Step, planned_ns: int, wake_ns: int, begin_ns: int, done_ns: int) -> None:
    prio = DEADLINE if step.overran else FAIR
    late = wake_ns - planned_ns > MS
    before = HOG if late else 0
    if late:
        side.switch(planned_ns - 5 * MS, 1, 0, OTHER, asleep=False)
        side.switch(planned_ns + 200 * US, 1, OTHER, HOG, asleep=True)
    side.woken(planned_ns, 1, RENDER, prio)
    side.switch(wake_ns - 10 * US, 1, before, RENDER, asleep=False, of=prio)
    if step.preempted:
        side.switch(begin_ns + 1100 * US, 1, RENDER, OTHER, asleep=False, prio=prio)
        side.switch(done_ns - 100 * US, 1, OTHER, RENDER, asleep=False, of=prio)
    side.switch(done_ns + 20 * US, 1, RENDER, 0, asleep=True, prio=prio)
