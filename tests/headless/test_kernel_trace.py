"""The kernel's side of a trace: recorded beside a real run, it tells who ran instead, and it leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from minicomp.lab.kernel.attach import describe
from minicomp.lab.kernel.events import Event
from minicomp.lab.kernel.reader import RUNNING, read_beside, read_kernel_trace
from minicomp.lab.pipeline.attribution import Cause, explain, shares
from minicomp.lab.pipeline.join import join
from minicomp.lab.pipeline.runfile import read_run
from minicomp.testing.instance import configure
from tests.headless.conftest import CLIENTS
from tests.headless.kernel_side import (
    DL_OVERRUN,
    hog,
    instances,
    kernel_trace,
    needs_root,
    set_deadline,
    tracefs_is_mounted,
)
from tests.headless.pages import PagedWindow
from tests.headless.traced import MS, assert_mostly, traced, traced_program, within

pytestmark = needs_root
ON_RENDER_THREAD = {"headless__outputs": ["320x200@60"], "render__early": "no"}


def causes_with_kernel(path: Path) -> list[Cause]:
    return explain(join(read_run(path)), read_beside(path))


@pytest.mark.parametrize("method", ["tracefs", "bpftrace"])
def test_wake_late_names_who_ran_instead(tmp_path: Path, method: str) -> None:
    """A program of a higher class keeps the render thread's CPU for 30 ms at a time."""
    if method == "bpftrace" and shutil.which("bpftrace") is None:
        pytest.skip("bpftrace is not installed (scripts/packages.txt, [test])")
    path = tmp_path / "run.mct"
    # Adaptive pacing would learn to begin earlier.
    with traced(configure(**ON_RENDER_THREAD, pacing__mode="fixed", pacing__fixed_ms=2), path) as run:
        cpu = min(os.sched_getaffinity(0))
        with kernel_trace(run, method) as collector:
            os.sched_setaffinity(run.tid(1), {cpu})
            run.animate()
            windows = hog(cpu, 12)
    causes = within(causes_with_kernel(path), windows)
    assert_mostly(causes, "wake late", 10)
    named = [c for c in causes if " was runnable " in c.evidence and "SCHED_FIFO or RR" in c.evidence]
    assert len(named) >= 0.6 * len(causes), [cause.evidence for cause in causes]
    assert all(f"on CPU {cpu}" in cause.evidence for cause in named)
    facts = collector.facts
    assert facts["events"] > 500 and facts["lost"] == 0
    assert "% of a CPU" in describe(facts)


def test_deadline_throttled(tmp_path: Path) -> None:
    """The render thread gets 1.2 ms of CPU time in 60 ms for a while, and each frame needs about 1.5 ms."""
    path = tmp_path / "run.mct"
    settings = {**ON_RENDER_THREAD, "headless__outputs": ["1920x1080@60"]}
    with traced(configure(**settings), path) as run, PagedWindow(run, 1920, 1080) as window:
        run.compositor.lib.mc_overrun_watch()  # SIGXCPU is deadly without
        with kernel_trace(run):
            window.draw(60, whole=True)

            def throttle() -> None:
                set_deadline(run.tid(1), 1_200, 60_000, DL_OVERRUN)
                window.draw(3, whole=True)
                run.prefer_ours()

            for _ in range(12):
                run.inject(throttle, 1, 0)
                window.draw(6, whole=True)
    with_kernel = within(causes_with_kernel(path), run.windows, after_ns=0)
    assert_mostly(with_kernel, "deadline throttled", 4, share=0.6)  # where events were lost, it looks like waking late
    # The run file alone knows only of the overruns that were signalled, and signals that are pending together are one.
    alone = shares(within(explain(join(read_run(path))), run.windows, after_ns=0))
    assert alone["deadline throttled"] >= 0.2 * sum(alone.values()) > 0, alone
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)


def test_time_lines_add_up(tmp_path: Path) -> None:
    """What the trace says the render thread ran is what the thread itself measured."""
    path = tmp_path / "run.mct"
    with traced(configure(**ON_RENDER_THREAD), path) as run, kernel_trace(run):
        run.animate()
        time.sleep(1)
    trace = read_beside(path)
    assert trace is not None and trace.meta["scope"] == "all"
    line = trace.slices("mc-render")
    assert all(one.end_ns == other.begin_ns for one, other in pairwise(line))
    begin_ns, end_ns = line[0].begin_ns, line[-1].end_ns
    account = trace.account("mc-render", begin_ns, end_ns)
    assert account is not None
    whole = account.ran_ns + account.waiting_ns + account.throttled_ns + account.asleep_ns
    assert whole == end_ns - begin_ns
    ran_ns = sum(piece.end_ns - piece.begin_ns for piece in line if piece.state == RUNNING)
    joined = join(read_run(path))
    within_ns = (joined.frames.compose_begin_ns > begin_ns) & (joined.frames.kms_end_ns < end_ns)
    measured_ns = int(joined.frames.cpu_ns[within_ns][1:].sum())
    # A thread's CPU time begins and ends some microseconds outside its switches, a few times a frame.
    assert measured_ns * 0.5 < ran_ns < measured_ns * 1.5 + 20 * MS
    assert {Event.SWITCH, Event.WAKING, Event.WAKEUP} <= set(trace.records["kind"].tolist())
    assert trace.account("mc-render", begin_ns - 1, end_ns) is None
    assert trace.account("no such thread", begin_ns, end_ns) is None


def test_run_records_it_and_cleans_up(tmp_path: Path) -> None:
    """`minicomp run --set trace.kernel=tracefs`: the file, the cost in the log, nothing mounted, no instance left.

    The compositor gives up its privileges meanwhile; the collector keeps its own.
    """
    path = tmp_path / "run.mct"
    command = [sys.executable, "-m", "minicomp", "run", "--backend", "headless", "--trace", str(path)]
    command += ["--set", "trace.kernel=tracefs", "--set", "knobs.drop_privileges=true"]
    command += ["--", str(CLIENTS / "pulse"), "--frames", "60", "--quiet"]
    mounted, before = tracefs_is_mounted(), set(instances())
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "kernel trace:" in done.stderr and "% of a CPU" in done.stderr
    trace = read_beside(path)
    assert trace is not None and trace.end["events"] == len(trace.records) > 100
    assert trace.end["lost"] == 0
    assert tracefs_is_mounted() == mounted
    assert set(instances()) <= before


def test_killed_collectors_leave_nothing_for_long(tmp_path: Path) -> None:
    """After SIGKILL of compositor and collector the file is readable, and the next start removes the instance."""
    path = tmp_path / "run.mct"
    with traced_program(path, "--set", "trace.kernel=tracefs") as process:
        collector = _child_with(process.pid, "minicomp.lab.kernel.collector")
        time.sleep(1)
        os.kill(collector, signal.SIGKILL)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    assert f"minicomp-{collector}" in instances()
    trace = read_kernel_trace(Path(f"{path}.kernel"))
    assert trace.end is None and len(trace.records) > 100
    assert trace.slices("mc-loop")  # which renders here

    program = "from minicomp.lab.kernel.tracefs import *; mount_privately(); print(*remove_stale())"
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert f"minicomp-{collector}" in said.split()
    assert f"minicomp-{collector}" not in instances()


def test_killed_compositor_ends_the_collector(tmp_path: Path) -> None:
    path = tmp_path / "run.mct"
    with traced_program(path, "--set", "trace.kernel=tracefs") as process:
        collector = _child_with(process.pid, "minicomp.lab.kernel.collector")
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{collector}/cmdline").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert f"minicomp-{collector}" not in instances()
    assert read_kernel_trace(Path(f"{path}.kernel")).end is not None


def test_without_root_the_run_says_so(tmp_path: Path) -> None:
    command = ["setpriv", "--bounding-set", "-sys_admin", sys.executable, "-m", "minicomp", "run"]
    command += ["--backend", "headless", "--trace", str(tmp_path / "run.mct"), "--set", "trace.kernel=tracefs"]
    done = subprocess.run([*command, "--", "true"], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    assert "CAP_SYS_ADMIN" in done.stderr and "minicomp lab kernel-trace --pid" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_needs_a_run_file() -> None:
    command = [sys.executable, "-m", "minicomp", "run", "--backend", "headless", "--set", "trace.kernel=tracefs"]
    done = subprocess.run([*command, "--", "true"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "--trace FILE" in done.stderr


def test_lab_kernel_trace_records_a_compositor_that_runs(tmp_path: Path) -> None:
    """`minicomp lab kernel-trace`, by root beside a compositor that may not do it itself."""
    path = tmp_path / "run.mct"
    with traced_program(path) as process:
        lab = [sys.executable, "-m", "minicomp", "lab", "kernel-trace", "--out", f"{path}.kernel"]
        lab += ["--duration-s", "1", "--scope", "own"]
        done = subprocess.run([*lab, "--pid", str(process.pid)], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0 and "% of a CPU" in done.stdout, done.stderr
        gone = subprocess.run([*lab, "--pid", "999999999"], capture_output=True, text=True, timeout=30)
        assert gone.returncode != 0 and gone.stderr.count("\n") == 1
        other = subprocess.run([*lab, "--pid", str(os.getpid())], capture_output=True, text=True, timeout=30)
        assert other.returncode != 0 and "no running minicomp" in other.stderr
    trace = read_beside(path)
    assert trace is not None and trace.meta["scope"] == "own"
    switches = trace.records[trace.records["kind"] == Event.SWITCH]
    ours = set(trace.threads.values())
    assert len(switches) > 50 and all(row["a"] in ours or row["b"] in ours for row in switches)


def _child_with(pid: int, words: str) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if words in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
        time.sleep(0.02)
    raise AssertionError(f"no child with {words}")
