"""For each cause of a missed vblank: exactly that is injected into a real run, and the attribution names it.

Injections are tens of milliseconds long and many; what is asserted are shares of the vblanks missed while they lasted.
No time of this machine is asserted.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from minicomp.lab.pipeline.attribution import Cause, explain
from minicomp.lab.pipeline.join import join
from minicomp.lab.pipeline.runfile import read_run
from minicomp.testing.instance import configure
from tests.headless.pages import PagedWindow
from tests.headless.traced import MS, assert_mostly, traced, traced_program, within

SMALL = ["320x200@60"]
FIXED_2_MS = {"pacing__mode": "fixed", "pacing__fixed_ms": 2}
"""Adaptive pacing would learn from the injections what frames cost, and begin in time for the next one."""


def causes_of(path: Path) -> list[Cause]:
    return explain(join(read_run(path)))


def test_client_late(tmp_path: Path) -> None:
    """One frame in eight needs 45 ms of the client's time."""
    path = tmp_path / "run.mct"
    with traced(configure(headless__outputs=SMALL), path) as run:
        run.animate("--work-dist", "bimodal:300,45000,0.12", "--seed", "3")
        time.sleep(2.5)
    causes = [cause for cause in causes_of(path) if cause.frame_id > 5]  # those before the pacing knows anything
    assert_mostly(causes, "client late", 20)
    assert sum("answered its frame callback after" in cause.evidence for cause in causes) >= 0.5 * len(causes)


def test_lock_wait(tmp_path: Path) -> None:
    """A policy thread holds the compositor lock for 35 ms."""
    path = tmp_path / "run.mct"
    with traced(configure(headless__outputs=SMALL), path) as run:
        run.animate()

        def hold() -> None:
            with run.compositor.locked():
                time.sleep(0.035)

        run.inject(hold, 15)
    causes = within(causes_of(path), run.windows)
    assert_mostly(causes, "lock wait", 15)
    assert sum("held by policy" in cause.evidence for cause in causes) >= 0.7 * len(causes)


@pytest.mark.parametrize("vblanks", [2, 0], ids=["late flips", "refused commits"])
def test_kms_late(tmp_path: Path, vblanks: int) -> None:
    """The modelled display shows a frame two vblanks late, or refuses it."""
    path = tmp_path / "run.mct"
    with traced(configure(headless__outputs=SMALL), path) as run:
        run.animate()
        lib, server = run.compositor.lib, run.compositor.server
        run.inject(lambda: lib.mc_vdisplay_inject_fault(server, 1, vblanks, 1), 15)
    causes = within(causes_of(path), run.windows, after_ns=100 * MS)
    assert_mostly(causes, "KMS late", 12)


def test_prediction_error(tmp_path: Path) -> None:
    """The display's vblanks come 11 ms later from now on; the pacing learns it from the next ones."""
    path = tmp_path / "run.mct"
    with traced(configure(headless__outputs=SMALL), path) as run:
        run.animate()
        lib, server = run.compositor.lib, run.compositor.server

        def shift() -> None:
            # Just before a vblank the frame for it has been handed over.
            now_ns = time.monotonic_ns()
            until_ns = lib.mc_vdisplay_next_vblank(server, 1, now_ns + 5 * MS) - 150_000
            time.sleep((until_ns - now_ns) / 1e9)
            assert lib.mc_vdisplay_shift(server, 1, 11 * MS) == 0

        run.inject(shift, 12, quiet_s=0.18)
    causes = within(causes_of(path), run.windows)
    assert_mostly(causes, "prediction error", 8)


def test_compose_overrun(tmp_path: Path) -> None:
    """Frames with a small change begin 1 ms before they must be handed over; now and then every pixel changes."""
    path = tmp_path / "run.mct"
    settings = {"headless__outputs": ["3840x2160@60"], "headless__latch_us": 500, **FIXED_2_MS}
    with traced(configure(**settings), path) as run, PagedWindow(run, 3840, 2160) as window:
        window.draw(20, whole=True)  # every page of both buffers is mapped from now on
        window.draw(60)
        for _ in range(12):
            run.inject(lambda: window.draw(1, whole=True), 1, 0)
            window.draw(6)
    causes = within(causes_of(path), run.windows)
    assert_mostly(causes, "compose overrun", 8)


def test_page_fault(tmp_path: Path) -> None:
    """The client gives the pages of a buffer back before it commits: composing has to have each of them made anew."""
    path = tmp_path / "run.mct"
    settings = {"headless__outputs": ["1280x1024@60"], "headless__latch_us": 500, **FIXED_2_MS}
    with traced(configure(**settings), path) as run, PagedWindow(run, 1280, 1024) as window:
        window.draw(50, whole=True)
        for _ in range(14):
            window.draw(1, whole=True, then_chill=True)
            run.inject(lambda: window.draw(1, whole=True), 1, 0)
            window.draw(4, whole=True)
    causes = within(causes_of(path), run.windows)
    assert_mostly(causes, "page fault", 8)


def test_wake_late(tmp_path: Path) -> None:
    """The compositor is stopped for 45 ms at a time. The run file alone cannot say by whom."""
    path = tmp_path / "run.mct"
    windows = []
    with traced_program(path, "--set", 'headless.outputs=["320x200@60"]') as process:
        time.sleep(1)
        for _ in range(20):
            begin_ns = time.monotonic_ns()
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.045)
            process.send_signal(signal.SIGCONT)
            windows.append((begin_ns, time.monotonic_ns()))
            time.sleep(0.08)
    causes = within(causes_of(path), windows)
    assert_mostly(causes, "wake late", 20)
