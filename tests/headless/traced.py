"""A traced compositor for attribution tests: frames flow, something is injected at known times, the run file is read."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from minicomp.compositor.tracefile import TraceFile
from minicomp.config import Config
from minicomp.lab.pipeline.attribution import Cause, shares
from minicomp.testing.instance import InProcess
from tests.headless.conftest import CLIENTS

MS = 1_000_000
SETTLE_S = 0.7
"""Until the pacing knows what frames cost."""
QUIET_S = 0.1
"""Between two injections: the frames in between are in time."""
OUR_PRIORITY = 10
Window = tuple[int, int]


class Traced:
    """A compositor in this process that writes `path`; `finish` ends the trace."""

    def __init__(self, instance: InProcess, path: Path) -> None:
        self.instance, self.path = instance, path
        self.compositor = instance.compositor
        self.trace = TraceFile(self.compositor, path)
        self.windows: list[Window] = []

    @property
    def output(self) -> Any:
        return next(iter(self.compositor.outputs))

    def tid(self, source: int) -> int:
        """Of the loop (0) or render (1) thread."""
        return int(self.compositor.lib.mc_thread_id(self.compositor.server, source))

    def prefer_ours(self) -> None:
        """Keeps this machine's other programs out of the picture, where that is allowed."""
        with suppress(PermissionError):
            for source in (0, 1):
                os.sched_setscheduler(self.tid(source), os.SCHED_FIFO, os.sched_param(OUR_PRIORITY))

    def animate(self, *options: str) -> subprocess.Popen[str]:
        """Starts pulse, and lets it run until the pacing has settled."""
        pulse = self.instance.launch([str(CLIENTS / "pulse"), "--quiet", *options])
        with suppress(PermissionError):
            os.sched_setscheduler(pulse.pid, os.SCHED_FIFO, os.sched_param(OUR_PRIORITY - 1))
        time.sleep(SETTLE_S)
        return pulse

    def inject(self, what: Callable[[], object], times: int, quiet_s: float = QUIET_S) -> None:
        """Does `what` so often, and remembers when."""
        for _ in range(times):
            begin_ns = time.monotonic_ns()
            what()
            self.windows.append((begin_ns, time.monotonic_ns()))
            time.sleep(quiet_s)

    def finish(self) -> None:
        self.trace.update_names()
        self.instance.settle()  # nobody writes records when the trace ends
        self.compositor.stop_threads()
        assert self.trace.close() == ""


@contextmanager
def traced(config: Config, path: Path) -> Iterator[Traced]:
    with InProcess(config) as instance:
        run = Traced(instance, path)
        run.prefer_ours()
        try:
            yield run
        finally:
            run.finish()


@contextmanager
def traced_program(path: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`minicomp run` in a session of its own, with pulse and these options, that writes `path`; ready at the start."""
    command = [sys.executable, "-m", "minicomp", "run", "--backend", "headless", "--trace", str(path)]
    command += ["--ready-fd", "1", *options, "--", str(CLIENTS / "pulse"), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield process
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def within(causes: list[Cause], windows: list[Window], after_ns: int = 60 * MS) -> list[Cause]:
    """The compositor's misses in or shortly after an injection.

    The others are this machine's own, where other programs run; so are those of the client, which is starved by them.
    """
    ours = [cause for cause in causes if cause.compositor_side]
    return [c for c in ours if any(b - 17 * MS <= c.vblank_ns <= e + after_ns for b, e in windows)]


def assert_mostly(causes: list[Cause], name: str, at_least: int, share: float = 0.8) -> None:
    """At least so many missed vblanks, such a share for this cause (the machine has its own), below 5 % unknown."""
    counts = shares(causes)
    total = sum(counts.values())
    lines = "\n".join(f"frame {c.frame_id}: {c.vblanks} x {c.name}: {c.evidence} {c.times_ns}" for c in causes)
    assert total >= at_least, f"only {total} vblanks were missed\n{lines}"
    assert counts[name] >= share * total, f"{counts}\n{lines}"  # type: ignore[index]
    assert counts["unknown"] < 0.05 * total, f"{counts}\n{lines}"
