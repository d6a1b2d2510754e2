"""One frame as a sequence of messages between client, compositor and kernel, with the times of its trace.

Each step is a record of the run file that belongs to one frame of one output: the commit that it shows (its descriptors
and request come before), its planning, composing, KMS commit, vblank and frame callback. A buffer's descriptor comes
once, and the buffer is used for many frames: then the client's last one is shown before the frame's begin. What the
trace does not have (a client's own GPU work) is not drawn. Times are CLOCK_MONOTONIC nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minicomp.errors import ExitCode, MinicompError
from minicomp.lab.pipeline.join import join
from minicomp.lab.pipeline.points import Point
from minicomp.lab.pipeline.runfile import Run
from minicomp.lab.pipeline.tables import MISSING, Joined

CLIENT, COMPOSITOR, KERNEL = "Client", "minicomp", "Kernel"
_RECEIVED = "recvmsg + SCM_RIGHTS"


@dataclass(frozen=True)
class Step:
    """An arrow; from a participant to itself, it is work, and `took_ns` may say how long."""

    t_ns: int
    sender: str
    receiver: str
    words: str
    took_ns: int | None = None


@dataclass(frozen=True)
class Sequence:
    """One frame's steps, by time."""

    output: str
    frame_id: int
    surface: str
    steps: tuple[Step, ...]
    begin_ns: int  # the first step but for descriptors that came earlier


def frame_sequence(run: Run, frame_id: int | None = None, output: str | None = None) -> Sequence:
    """The frame of that number, or the middle one of those that were shown with a new commit in them.

    Raises MinicompError when there is none.
    """
    joined = join(run)
    row, latch = _choose(joined, frame_id, output)
    frames = joined.frames
    steps = [*_client_steps(joined, latch), *_frame_steps(joined, row)]
    if latch >= 0:
        surface = int(joined.latches.surface_id[latch])
        steps += _callback(run, surface, _known(frames.kms_end_ns[row]) or _known(frames.told_ns[row]) or 0)
    else:
        surface = 0
    steps.sort(key=lambda step: step.t_ns)
    if not steps:
        raise _none("that frame has no records")
    begin_ns = steps[0].t_ns
    if latch >= 0 and not any(step.words.startswith(_RECEIVED) for step in steps):
        steps[:0] = _earlier_descriptors(run, surface, begin_ns)
    name = run.name("surface", surface) if surface else ""
    output_name = run.name("output", int(frames.output_id[row]))
    return Sequence(output_name, int(frames.frame_id[row]), name, tuple(steps), begin_ns)


def _choose(joined: Joined, frame_id: int | None, output: str | None) -> tuple[int, int]:
    """Row of the frame, and of the newest latch in it that shows a commit of this trace (-1: none)."""
    frames, latches = joined.frames, joined.latches
    wanted = np.ones(len(frames), np.bool_)
    if output is not None:
        wanted &= np.array([joined.run.name("output", int(number)) == output for number in frames.output_id], np.bool_)
    if frame_id is not None:
        wanted &= frames.frame_id == frame_id
    else:
        whole = np.zeros(len(frames), np.bool_)
        whole[latches.frame_row[(latches.commit_row >= 0)]] = True
        wanted &= whole & (frames.presented_ns != MISSING) & ~frames.refused
    rows = np.flatnonzero(wanted)
    if not len(rows):
        raise _none("no such frame" if frame_id is not None else "no frame was shown with a new commit in it")
    row = int(rows[len(rows) // 2])
    of_frame = np.flatnonzero((latches.frame_row == row) & (latches.commit_row >= 0))
    return row, int(of_frame[-1]) if len(of_frame) else -1


def _none(what: str) -> MinicompError:
    return MinicompError(what, todo="minicomp trace export FILE --csv OUT lists the frames", exit_code=ExitCode.USAGE)


def _client_steps(joined: Joined, latch: int) -> list[Step]:
    """The commit: descriptors that its request brought, its arrival, its being applied."""
    if latch < 0:
        return []
    commits, run = joined.commits, joined.run
    row = int(joined.latches.commit_row[latch])
    applied = int(commits.commit_ns[row])
    asked = _known(commits.request_ns[row]) or applied
    steps = []
    turns = joined.turns
    turn = int(np.searchsorted(turns.dispatch_begin_ns, asked, side="right")) - 1
    began = asked
    if turn >= 0 and _known(turns.wake_ns[turn]) is not None:
        began = int(turns.wake_ns[turn])
        steps.append(Step(began, KERNEL, COMPOSITOR, "epoll_wait returns (socket readable)"))
    point, t_ns = run.column("point"), run.column("t_ns")
    for at in np.flatnonzero((point == Point.FD_RECEIVED) & (t_ns >= began) & (t_ns <= asked)):
        steps.append(Step(int(t_ns[at]), KERNEL, COMPOSITOR, _received(int(run.column("arg")[at]))))
    steps.append(Step(asked, CLIENT, COMPOSITOR, "wl_surface.commit"))
    steps.append(Step(applied, COMPOSITOR, COMPOSITOR, "commit applied, buffer imported", applied - asked))
    return steps


def _received(count: int) -> str:
    return f"{_RECEIVED} ({count} descriptor{'s' if count > 1 else ''})"


def _earlier_descriptors(run: Run, surface: int, before_ns: int) -> list[Step]:
    """The last ones that the surface's client sent; none when the run does not say whose surface it is."""
    pid = run.names.get(("surface", surface), {}).get("client_pid")
    clients = [
        key[1] for key, known in run.names.items() if key[0] == "client" and pid is not None and known.get("pid") == pid
    ]
    point, t_ns = run.column("point"), run.column("t_ns")
    found = (point == Point.FD_RECEIVED) & (t_ns < before_ns) & np.isin(run.column("surface_id"), clients)
    return [
        Step(int(t_ns[at]), KERNEL, COMPOSITOR, f"{_received(int(run.column('arg')[at]))}, once")
        for at in np.flatnonzero(found)[-1:]
    ]


def _frame_steps(joined: Joined, row: int) -> list[Step]:
    frames = joined.frames
    steps = []

    def work(column: str, words: str, began: str = "", *, sender: str = COMPOSITOR, receiver: str = COMPOSITOR) -> None:
        t_ns = _known(getattr(frames, column)[row])
        if t_ns is not None:
            start = _known(getattr(frames, began)[row]) if began else None
            steps.append(Step(t_ns, sender, receiver, words, None if start is None else t_ns - start))

    work("queued_ns", "the output needs a frame")
    work("wake_ns", "timer: time to compose", sender=KERNEL)
    work("lock_end_ns", "lock taken", "lock_begin_ns")
    work("compose_end_ns", "direct scan-out" if frames.scanout[row] else "composed", "compose_begin_ns")
    work("kms_begin_ns", "atomic commit" if joined.run.meta.get("backend") == "drm" else "commit", receiver=KERNEL)
    work("kms_end_ns", "refused" if frames.refused[row] else "accepted", "kms_begin_ns", sender=KERNEL)
    if not joined.run.stepped and _known(frames.presented_ns[row]) is not None:
        work("presented_ns", "vblank: the frame is shown", sender=KERNEL, receiver=KERNEL)
    work("told_ns", "page-flip event", sender=KERNEL)
    return steps


def _callback(run: Run, surface: int, after_ns: int) -> list[Step]:
    point, t_ns = run.column("point"), run.column("t_ns")
    found = np.flatnonzero((point == Point.FRAME_CALLBACK) & (run.column("surface_id") == surface) & (t_ns >= after_ns))
    return [Step(int(t_ns[at]), COMPOSITOR, CLIENT, "wl_callback.done (sendmsg)") for at in found[:1]]


def _known(value: np.int64) -> int | None:
    return None if value == MISSING else int(value)
