"""What one frame of ours asks of the kernel: system calls and ioctls by kind, and the frame's steps in order."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minicomp.errors import MinicompError
from minicomp.lab.pipeline.points import Point
from minicomp.lab.pipeline.runfile import Run, read_run
from minicomp.lab.pipeline.sequence import frame_sequence
from minicomp.lab.probes.probe import Budget, Missing, Number, Probe, Result, Untestable, cannot_test, holds, near
from minicomp.lab.probes.processes import slowness
from minicomp.lab.probes.requirements import cards
from minicomp.native.probes import ffi, lib

CLIENT = Path(__file__).resolve().parents[5] / "build/clients/pulse"
SETTLE_MS = 500
"""From the moment that clients can connect, for the client's start and its first frames; longer where code is emulated."""
EMULATED = 3
"""So many times the usual window is counted there: stops at each system call make frames rarer."""
LEAST_FRAMES = 10
BUDGET_CALLS = 40
"""System calls a frame, all threads of the compositor: docs/performance.md."""
BUDGET_DRM = 7
"""Of them ioctls to DRM, on a display."""
NAMES = {
    0: "read", 1: "write", 7: "poll", 9: "mmap", 11: "munmap", 16: "ioctl", 20: "writev", 28: "madvise", 35: "nanosleep",
    46: "sendmsg", 47: "recvmsg", 72: "fcntl", 202: "futex", 230: "clock_nanosleep", 232: "epoll_wait", 233: "epoll_ctl",
    281: "epoll_pwait", 286: "timerfd_settime", 3: "close", 271: "ppoll", 441: "epoll_pwait2", 426: "io_uring_enter",
    24: "sched_yield", 8: "lseek", 10: "mprotect", 247: "waitid", 257: "openat", 262: "newfstatat", 98: "getrusage", 228: "clock_gettime", 39: "getpid", 14: "rt_sigprocmask", 5: "fstat",
}  # fmt: skip
"""x86_64's numbers; others are shown as numbers."""
DRM_IOCTL, DMABUF_IOCTL = ord("d"), ord("b")


@dataclass(frozen=True)
class Counted:
    frames: int
    calls: dict[str, float]  # a frame
    drm: dict[int, float]
    dmabuf: float
    run: Run
    backend: str

    @property
    def total(self) -> float:
        return sum(self.calls.values())


def has_client() -> Missing | None:
    return None if CLIENT.exists() else Missing("the client build/clients/pulse is not built", "scripts/setup --tests")


def count(count_ms: int, settings: Sequence[str] = (), backends: Sequence[str] = ()) -> Counted:
    """On the display where there is one that nobody has, else headless; with these `--set`.

    Raises RuntimeError when minicomp fails, Untestable when it shows too few frames.
    """
    said = []
    for backend in backends or ["drm"] * bool(cards()) + ["headless"]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                return _count(backend, count_ms, Path(folder), settings)
            except _Failed as failure:
                said.append(f"{backend}: {failure}")
    raise RuntimeError(f"minicomp could not be counted; {'; '.join(said)}")


class _Failed(Exception):
    """minicomp ended early, or had not got as far as its trace; its last words."""


def _count(backend: str, count_ms: int, folder: Path, settings: Sequence[str]) -> Counted:
    file = folder / "run.mct"
    command = [sys.executable, "-m", "minicomp", "run", "--backend", backend, "--trace", str(file)]
    settle_ms = int(SETTLE_MS * slowness())
    count_ms *= EMULATED if slowness() > 1 else 1
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    command += ["--ready-fd", str(writing)]
    command += [word for setting in ("backend.renderer=pixman", *settings) for word in ("--set", setting)]
    command += ["--", str(CLIENT), "--quiet", "--duration-s", str(30 + settle_ms // 1000)]
    words = [ffi.new("char[]", word.encode()) for word in command]
    counts = ffi.new("struct mc_frame_counts *")
    with (folder / "log").open("wb") as log:
        argv = ffi.new("char *[]", [*words, ffi.NULL])
        try:
            code = lib.mc_frame_count(argv, log.fileno(), reading, settle_ms, count_ms, counts)
        finally:
            os.close(reading)
            os.close(writing)
    if not counts.end_ns or not counts.begin_ns or not file.exists():
        raise _Failed(f"code {code}, {(folder / 'log').read_text(errors='replace')[-300:]}")
    run = read_run(file)
    point, t_ns = run.column("point"), run.column("t_ns")
    shown = (point == Point.PRESENTED) & (t_ns >= counts.begin_ns) & (t_ns <= counts.end_ns)
    frames = int(np.count_nonzero(shown))
    if frames < LEAST_FRAMES:
        raise Untestable(f"{frames} frames in {count_ms} ms", "a machine less busy")
    calls = {NAMES.get(number, f"number {number}"): n / frames for number, n in enumerate(counts.calls) if n}
    ioctls = {request: n / frames for request, n in enumerate(counts.ioctls) if n}
    drm = {request & 0xFF: n for request, n in ioctls.items() if request >> 8 == DRM_IOCTL}
    dmabuf = sum(n for request, n in ioctls.items() if request >> 8 == DMABUF_IOCTL)
    return Counted(frames, calls, drm, dmabuf, run, backend)


def measure_calls(budget: Budget) -> Result:
    counted = count(budget.pick(600, 4000))
    kinds = sorted(counted.calls.items(), key=lambda item: -item[1])
    drm = sum(counted.drm.values())
    often = ", ".join(f"{name} {n:.1f}" for name, n in kinds if n >= 0.1)
    seen = f"{counted.backend}, {counted.frames} frames: {counted.total:.1f} system calls a frame of {BUDGET_CALLS} allowed "
    seen += f"({often}); {drm:.1f} DRM ioctls of {BUDGET_DRM}"
    return holds(
        seen,
        *(Number.exact(f"{name} a frame", n) for name, n in kinds if n >= 0.05),
        *(Number.exact(f"DRM ioctl {number:#04x} a frame", n) for number, n in counted.drm.items()),
        Number.exact("DRM ioctls a frame", drm),
        when=counted.total <= BUDGET_CALLS and drm <= BUDGET_DRM,
        doubt=near("the number of calls", counted.total, BUDGET_CALLS) or near("the number of ioctls", drm, BUDGET_DRM),
    )


def measure_subsystems(budget: Budget) -> Result:
    counted = count(budget.pick(600, 2000))
    calls = counted.calls
    touched = {
        "DRM/KMS": sum(counted.drm.values()),
        "dma-buf": counted.dmabuf,
        "Unix sockets": calls.get("sendmsg", 0) + calls.get("recvmsg", 0),
        "epoll": sum(n for name, n in calls.items() if name.startswith("epoll_")),
        "futex": calls.get("futex", 0),
        "virtual memory": sum(calls.get(name, 0) for name in ("mmap", "munmap", "madvise")),
    }
    if counted.backend == "headless":  # nothing there to touch
        touched = {name: n for name, n in touched.items() if name not in ("DRM/KMS", "dma-buf")}
    every = {name for name, n in touched.items() if n >= 0.5}
    words = ", ".join(f"{name} {n:.2f}" for name, n in touched.items())
    return holds(
        f"{counted.backend}: calls a frame: {words}; less than one in two frames: "
        f"{', '.join(sorted(set(touched) - every)) or 'none'}",
        *(Number.exact(f"{name}, calls a frame", n) for name, n in touched.items()),
        when=len(every) == len(touched),
    )


_ORDER = ("wl_surface.commit", "commit applied", "composed", "vblank", "page-flip event")
_FLIP, _CALLBACK = "page-flip event", "wl_callback.done"


def _recorded(folder: str, frames: int) -> Run:
    """A headless minicomp with a client of so many frames."""
    file = Path(folder) / "run.mct"
    command = [sys.executable, "-m", "minicomp", "run", "--backend", "headless", "--trace", str(file), "--"]
    command += [str(CLIENT), "--frames", str(frames), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=8 * slowness())
    if done.returncode != 0:
        raise RuntimeError(f"minicomp run ended with {done.returncode}: {done.stderr[-300:]}")
    return read_run(file)


def measure_descriptors(budget: Budget) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        run = _recorded(folder, 30)
        point, arg = run.column("point"), run.column("arg")
    received = int(arg[point == Point.FD_RECEIVED].sum())
    commits = int(np.count_nonzero(point == Point.SURFACE_COMMIT))
    return holds(
        f"{received} descriptors came with {commits} commits: one when a buffer (or the pool of several) is made, none when it "
        "is shown again",
        Number.exact("descriptors received", received),
        Number.exact("commits", commits),
        when=received >= commits,
    )


def measure_sequence(budget: Budget) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        run = _recorded(folder, 20)
        try:
            sequence = frame_sequence(run)
        except MinicompError as error:
            return cannot_test(f"no frame to look at: {error}", "a machine with CPU time left")
    begin = sequence.begin_ns
    at = [next((step.t_ns for step in sequence.steps if step.words.startswith(words)), None) for words in _ORDER]
    known = [t_ns for t_ns in at if t_ns is not None]
    shown = ", ".join(
        f"{words} {(t_ns - begin) / 1e6:.2f} ms" for words, t_ns in zip(_ORDER, at, strict=True) if t_ns is not None
    )
    return holds(f"frame {sequence.frame_id}: {shown}", when=len(known) == len(at) and known == sorted(known))


def measure_callback(budget: Budget) -> Result:
    """Frame by frame; those whose callback came with another frame have none in their sequence."""
    with tempfile.TemporaryDirectory() as folder:
        run = _recorded(folder, 30)
    after_ms = []
    shown = run.column("frame_id")[run.column("point") == Point.PRESENTED]
    for frame_id in sorted({int(frame) for frame in shown}):
        with suppress(MinicompError):
            steps = {step.words.split(" (")[0]: step.t_ns for step in frame_sequence(run, frame_id).steps}
            if _FLIP in steps and _CALLBACK in steps:
                after_ms.append((steps[_CALLBACK] - steps[_FLIP]) / 1e6)
    if not after_ms:
        return cannot_test("no frame with a callback and a flip to look at", "a machine with CPU time left")
    before = sum(ms < 0 for ms in after_ms)
    number = Number.of("callback after the page-flip event", "ms", after_ms)
    return holds(
        f"in {len(after_ms) - before} of {len(after_ms)} frames the callback came after the page-flip event (median "
        f"{number.value:.1f} ms), in {before} before: minicomp sends it when the client's answer will just be in time",
        number,
        when=before == 0,
    )


PROBES = (
    Probe(
        name="frame-sequence",
        section=9,
        statement="A frame: commit from the socket, import, composing, commit to the display, waiting for vblank, page-flip "
        "event",
        method="A frame of a headless minicomp's trace; its steps have to come in the document's order. On a display, with "
        "dma-buf and EGL, `minicomp trace frame` draws it (tests/vm/test_kms_frame.py).",
        used_by="minicomp trace frame FILE (lab/pipeline/sequence.py).",
        requires=(has_client,),
        measure=measure_sequence,
    ),
    Probe(
        name="frame-callback",
        section=9,
        statement="Page-flip event (epoll notification), then wl_callback.done (frame callback via sendmsg)",
        method="Of each frame in the trace of a headless minicomp with a client of 30 frames: when the callback was sent, "
        "against the page-flip event. Holds: always after it.",
        used_by="Callbacks are planned per client from its own response times (native/wlr/callbacks.c), not tied to the flip.",
        requires=(has_client,),
        measure=measure_callback,
    ),
    Probe(
        name="frame-descriptors",
        section=9,
        statement="wl_surface.commit (SCM_RIGHTS: dma-buf fd)",
        method="Descriptors and commits in the trace of a headless minicomp with a client of 30 frames. Holds: each commit "
        "brings one. The client's buffers are shared memory; with dma-bufs it is the same (docs/frame.svg).",
        used_by="Descriptors are counted per client, so that a hostile one cannot use up the compositor's (clients/hostile.c).",
        requires=(has_client,),
        measure=measure_descriptors,
    ),
    Probe(
        name="frame-syscalls",
        section=9,
        statement="System calls and ioctls of one frame, by kind, within the budget of docs/performance.md",
        method="minicomp, with a client that commits each frame, runs on the display where there is one; once it has settled, "
        "its threads are stopped at each call by ptrace. The calls in a window are divided by the frames shown in it. Tracing is "
        "on, stops slow it down.",
        used_by="The compositor as it is, run with the pixman renderer.",
        requires=(has_client,),
        measure=measure_calls,
    ),
    Probe(
        name="frame-subsystems",
        section=9,
        statement="Kernel subsystems touched in a single frame: DRM/KMS, dma-buf, Unix sockets, epoll, futex, virtual memory",
        method="As frame-syscalls; a subsystem is touched when there is a call in at least every second frame. The "
        "scheduler is touched by each call that sleeps and is not counted.",
        used_by="Where the calls come from: libwayland (sockets, epoll), wlroots (DRM, dma-buf), the lock (futex).",
        requires=(has_client,),
        measure=measure_subsystems,
    ),
)
