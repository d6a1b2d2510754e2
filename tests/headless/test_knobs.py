"""The knobs of a running compositor: each is read back by a way of its own, and everything is as before afterwards.

These tests change the machine for seconds; each checks that nothing stays changed. What this machine cannot do is
skipped with the reason.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from minicomp.compositor.knobs import CompositorKnobs, apply_change, effects
from minicomp.errors import ConfigError, ExitCode
from minicomp.lab.knobs import syscalls
from minicomp.lab.knobs.knob import KnobRefused
from minicomp.lab.pipeline.points import Point
from minicomp.lab.pipeline.runfile import read_run
from minicomp.testing.instance import InProcess, configure
from tests.headless.conftest import CLIENTS
from tests.headless.test_run import environment

AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")
RT_RUNTIME = Path("/proc/sys/kernel/sched_rt_runtime_us")
LATENCY = Path("/dev/cpu_dma_latency")
TIMEOUT_S = 60.0

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give threads other classes here")


@pytest.fixture
def runtime_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    return tmp_path / "journals"


@pytest.fixture(autouse=True)
def machine_unchanged() -> Iterator[None]:
    before = machine()
    yield
    assert machine() == before


def machine() -> tuple[str, str, int]:
    return AUTOGROUP.read_text(), RT_RUNTIME.read_text(), cpu_latency_us()


def cpu_latency_us() -> int:
    """The wish in force now, of all processes; 2000 s when there is none."""
    if not os.access(LATENCY, os.R_OK):
        return -1
    with LATENCY.open("rb", buffering=0) as file:
        return int(struct.unpack("=i", file.read(4))[0])


class Running:
    """`minicomp run` in a process of its own, with knobs."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def tid(self, name: str) -> int:
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            if (task / "comm").read_text().strip() == name:
                return int(task.name)
        raise AssertionError(f"no thread {name}")

    def sched_file(self, name: str) -> dict[str, str]:
        """/proc/PID/task/TID/sched of a thread: not the way in which minicomp sets it."""
        text = Path(f"/proc/{self.process.pid}/task/{self.tid(name)}/sched").read_text()
        return dict(re.findall(r"^(\S+)\s*:\s*(\S+)$", text, re.M))

    def wait_for(self, condition: Callable[[], Any], what: str) -> Any:
        until = time.monotonic() + TIMEOUT_S
        while not (value := condition()):
            assert time.monotonic() < until, f"waited for {what}; log:\n{self.log}"
            time.sleep(0.02)
        return value


@contextmanager
def running(
    runtime_dir: Path, knobs: dict[str, Any], *more: str, command: tuple[str, ...] = (), **env: str
) -> Iterator[Running]:
    """A headless compositor that is ready, in other words: whose knobs have been applied. Ended by SIGTERM."""
    log = runtime_dir.parent / "log"
    ready_read, ready_write = os.pipe()
    settings = [argument for key, value in knobs.items() for argument in ("--set", f"knobs.{key}={value}")]
    argv = [sys.executable, "-m", "minicomp", "run", "--backend", "headless", *settings, *more]
    argv += ["--ready-fd", str(ready_write), *(("--", *command) if command else ())]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            argv, env=environment(runtime_dir, **env), stderr=stderr, text=True, pass_fds=(ready_write,)
        )
    os.close(ready_write)
    try:
        os.read(ready_read, 100)
        os.close(ready_read)
        assert process.poll() is None, log.read_text()
        yield Running(process, log)
        if process.poll() is None:
            process.terminate()
        process.wait(TIMEOUT_S)
    finally:
        process.kill()
        process.wait()


def effects_of(trace: Path) -> dict[str, dict[str, Any]]:
    return {effect["name"]: effect for effect in read_run(trace).meta["knobs"]}


# ---- threads ----


@needs_root
def test_fifo_and_round_robin(runtime_dir: Path, tmp_path: Path) -> None:
    knobs = {"render.class": "fifo", "render.priority": 7, "loop.class": "rr"}
    with running(runtime_dir, knobs, "--trace", str(tmp_path / "run.mct")) as compositor:
        render, loop = compositor.sched_file("mc-render"), compositor.sched_file("mc-loop")
        assert (render["policy"], render["prio"]) == ("1", str(99 - 7))
        assert (loop["policy"], loop["prio"]) == ("2", str(99 - 10))
        flags = syscalls.sched_getattr(compositor.tid("mc-render")).flags
        assert flags & syscalls.RESET_ON_FORK
        assert compositor.sched_file("mc-trace")["policy"] == "0", "no other thread is meant"
    effects = effects_of(tmp_path / "run.mct")
    assert effects["knobs.render"]["wanted"] == {"class": "fifo", "priority": 7}
    assert effects["knobs.render"]["effective"] == {"class": "fifo", "priority": 7}
    assert effects["knobs.loop"]["took_effect"] is True


@needs_root
def test_nice_and_slice(runtime_dir: Path) -> None:
    knobs = {"render.class": "other", "render.nice": -5, "render.slice_us": 500, "loop.nice": 3}
    with running(runtime_dir, knobs) as compositor:
        render, loop = compositor.sched_file("mc-render"), compositor.sched_file("mc-loop")
        assert (render["policy"], render["prio"]) == ("0", "115")
        assert loop["prio"] == "123"
        release = tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])
        if release >= (6, 12):
            assert render["se.slice"] == "500000"
        else:
            assert "the slice was ignored" in compositor.log


@needs_root
def test_a_given_deadline(runtime_dir: Path) -> None:
    knobs = {"render": '{class = "deadline", runtime_us = 2000, deadline_us = 8000, period_us = 16000, reclaim = true}'}
    with running(runtime_dir, knobs) as compositor:
        assert compositor.sched_file("mc-render")["policy"] == "6"
        attr = syscalls.sched_getattr(compositor.tid("mc-render"))
        assert (attr.runtime_ns, attr.deadline_ns, attr.period_ns) == (2_000_000, 8_000_000, 16_000_000)
        assert attr.flags & syscalls.RECLAIM
        assert attr.flags & syscalls.DL_OVERRUN


@needs_root
def test_a_derived_deadline_follows_the_measured_cost(runtime_dir: Path, tmp_path: Path) -> None:
    knobs = {"render.class": "deadline", "render.headroom": 2}
    trace = tmp_path / "run.mct"
    command = (str(CLIENTS / "pulse"), "--duration-s", "4")
    with running(
        runtime_dir, knobs, "--set", 'headless.outputs=["640x480@100"]', "--trace", str(trace), command=command
    ) as compositor:
        first = syscalls.sched_getattr(compositor.tid("mc-render"))
        assert (first.deadline_ns, first.period_ns) == (10_000_000, 10_000_000), "the output's refresh"
        assert first.runtime_ns == 3_000_000, "30 % until something was measured"

        def derived() -> bool:
            return bool(syscalls.sched_getattr(compositor.tid("mc-render")).runtime_ns < 3_000_000)

        compositor.wait_for(derived, "a reservation from the measured cost")
        assert "CPU time are used per refresh" in compositor.log
        compositor.process.wait(TIMEOUT_S)
    effect = effects_of(trace)["knobs.render"]
    assert effect["took_effect"] is True
    assert effect["effective"]["runtime_us"] < 3000


@needs_root
def test_a_spent_budget_is_counted_and_traced_and_kills_nobody(runtime_dir: Path, tmp_path: Path) -> None:
    # The kernel tells of it only when its tick finds the thread running. The period is none of the tick's, so that it
    # does some time.
    knobs = {"render": '{class = "deadline", runtime_us = 500, deadline_us = 16667, period_us = 16667}'}
    trace = tmp_path / "run.mct"
    size = ("--set", 'headless.outputs=["1920x1080@60"]')

    def overruns() -> int:
        records = read_run(trace).records
        return int(records[records["point"] == Point.DEADLINE_OVERRUN]["flags"].sum())

    with running(runtime_dir, knobs, *size, "--trace", str(trace), command=(str(CLIENTS / "pulse"),)) as compositor:
        compositor.wait_for(overruns, "an overrun in the trace")
        assert compositor.process.poll() is None
    assert re.search(r"throttled \d+ times", effects_of(trace)["knobs.render"]["note"])


@needs_root
def test_refusals_are_told_apart(runtime_dir: Path) -> None:
    def refusal(*prefix: str, **knobs: Any) -> str:
        settings = [argument for key, value in knobs.items() for argument in ("--set", f"knobs.{key}={value}")]
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "minicomp", "run", "--backend", "headless", *settings, "--", "true"],
            env=environment(runtime_dir),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == ExitCode.UNAVAILABLE, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("minicomp: ")]
        return line

    deadline = {"strict": "true", "render": '{class="deadline", runtime_us=1000}'}
    on_one_cpu = refusal("taskset", "-c", "0", **deadline)
    assert "EPERM" in on_one_cpu
    assert "may run on CPUs 0 only" in on_one_cpu
    assert "cpuset partition" in on_one_cpu
    full = {"strict": "true"} | dict.fromkeys(
        ("render", "loop"), '{class="deadline", runtime_us=99000, period_us=100000}'
    )
    too_much = refusal(**full)
    assert "EBUSY" in too_much
    assert "95%" in too_much
    assert "EINVAL" in refusal(strict="true", render='{class="deadline", runtime_us=1000, period_us=9000000}')
    without = refusal("setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice", **deadline)
    assert "no resource limit stands in for it" in without or "EPERM" in without


@needs_root
def test_without_strict_a_refusal_is_a_warning(runtime_dir: Path, tmp_path: Path) -> None:
    trace = tmp_path / "run.mct"
    with running(runtime_dir, {"system.governor": "nonesuch", "render.class": "fifo"}, "--trace", str(trace)) as comp:
        assert "WARNING did not take effect: knobs.system.governor" in comp.log
        assert comp.sched_file("mc-render")["policy"] == "1"
    effect = effects_of(trace)["knobs.system.governor"]
    assert effect["took_effect"] is False
    assert effect["note"]


# ---- the machine ----


@needs_root
def test_timer_slack_of_the_native_threads_only(runtime_dir: Path) -> None:
    with running(runtime_dir, {"system.timer_slack_ns": 1}, command=("sleep", "30")) as compositor:

        def slack(tid: int) -> int:
            return int(Path(f"/proc/{tid}/timerslack_ns").read_text())

        assert slack(compositor.tid("mc-render")) == 1
        assert slack(compositor.tid("mc-loop")) == 1
        assert slack(compositor.process.pid) == 50_000
        child = compositor.wait_for(lambda: children_of(compositor.process.pid), "the program")[0]
        assert slack(child) == 50_000, "clients keep the kernel's default"


def children_of(pid: int, name: str = "sleep") -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if Path(f"/proc/{child}/comm").read_text().strip() == name]


@needs_root
@pytest.mark.skipif(not LATENCY.exists(), reason="this kernel has no /dev/cpu_dma_latency")
def test_idle_latency_is_held_as_long_as_the_compositor_lives(runtime_dir: Path) -> None:
    before = cpu_latency_us()
    with running(runtime_dir, {"system.cpu_dma_latency_us": 17}) as compositor:
        assert cpu_latency_us() == min(17, before)
        compositor.process.kill()
        compositor.process.wait()
        assert cpu_latency_us() == before


@needs_root
def test_autogroup_and_bandwidth_come_back_at_the_end(runtime_dir: Path, journals: Path) -> None:
    before = AUTOGROUP.read_text()
    other = before.strip() == "0"
    knobs = {"system.autogroup": str(other).lower(), "system.rt_runtime_us": 960000}
    with running(runtime_dir, knobs, MINICOMP_JOURNAL_DIR=str(journals)):
        assert AUTOGROUP.read_text() != before
        assert RT_RUNTIME.read_text().strip() == "960000"
        (journal,) = journals.glob("helper-*.journal")
        assert journal.stat().st_mode & 0o777 == 0o600
        undo = [json.loads(line) for line in journal.read_text().splitlines()][1]
        assert undo["undo"] == {"kind": "write-file", "path": str(AUTOGROUP), "value": before.strip()}
    assert AUTOGROUP.read_text() == before
    assert not list(journals.glob("*.journal"))


@needs_root
def test_everything_comes_back_when_the_compositor_is_killed(runtime_dir: Path, journals: Path) -> None:
    before = RT_RUNTIME.read_text()
    with running(runtime_dir, {"system.rt_runtime_us": 970000}, MINICOMP_JOURNAL_DIR=str(journals)) as compositor:
        assert RT_RUNTIME.read_text().strip() == "970000"
        compositor.process.kill()
        compositor.wait_for(lambda: RT_RUNTIME.read_text() == before, "the helper to restore")
        compositor.wait_for(lambda: not list(journals.glob("*.journal")), "the journal's end")


def helper_of(pid: int) -> int:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if b"minicomp.lab.helper" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise AssertionError("no helper runs")


@needs_root
def test_everything_comes_back_when_the_helper_is_terminated(runtime_dir: Path, journals: Path) -> None:
    before = RT_RUNTIME.read_text()
    with running(runtime_dir, {"system.rt_runtime_us": 980000}, MINICOMP_JOURNAL_DIR=str(journals)) as compositor:
        os.kill(helper_of(compositor.process.pid), signal.SIGTERM)
        compositor.wait_for(lambda: RT_RUNTIME.read_text() == before, "the helper to restore")


@needs_root
@pytest.mark.parametrize("by", ["lab restore", "the next helper"])
def test_a_killed_helpers_journal_is_restored(runtime_dir: Path, journals: Path, by: str) -> None:
    before = RT_RUNTIME.read_text()
    env = {"MINICOMP_JOURNAL_DIR": str(journals)}
    with running(runtime_dir, {"system.rt_runtime_us": 965000}, **env) as compositor:
        restore = [sys.executable, "-m", "minicomp", "lab", "restore"]
        idle = subprocess.run(restore, env=environment(None, **env), capture_output=True, text=True)
        assert (idle.returncode, idle.stdout) == (0, "nothing to restore\n"), "its helper lives"
        os.kill(helper_of(compositor.process.pid), signal.SIGKILL)
        compositor.process.terminate()
        compositor.process.wait(TIMEOUT_S)
        assert "`minicomp lab restore`" in compositor.log
    assert RT_RUNTIME.read_text().strip() == "965000", "nobody was left to restore it"
    if by == "lab restore":
        done = subprocess.run(restore, env=environment(None, **env), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"restored  knobs.system.rt_runtime_us: {RT_RUNTIME} = {before.strip()}\n"
    else:
        other = str(AUTOGROUP.read_text().strip() == "0").lower()
        with running(runtime_dir, {"system.autogroup": other}, **env) as compositor:
            assert RT_RUNTIME.read_text() == before
            assert "a killed helper's journal was undone" in compositor.log
    assert RT_RUNTIME.read_text() == before
    assert not list(journals.glob("*.journal"))


@needs_root
def test_one_compositor_at_a_time_changes_the_machine(runtime_dir: Path, journals: Path) -> None:
    env = {"MINICOMP_JOURNAL_DIR": str(journals)}
    with running(runtime_dir, {"system.rt_runtime_us": 970000}, **env) as first:
        with running(runtime_dir, {"system.rt_runtime_us": 990000}, **env) as second:
            assert f"another compositor (pid {first.process.pid})" in second.log
            assert RT_RUNTIME.read_text().strip() == "970000"


@needs_root
def test_privileges_are_dropped_and_the_helper_still_serves(runtime_dir: Path, journals: Path) -> None:
    knobs = {"drop_privileges": "true", "render.class": "fifo", "system.timer_slack_ns": 1}
    with running(runtime_dir, knobs, command=("sleep", "30"), MINICOMP_JOURNAL_DIR=str(journals)) as compositor:
        child = compositor.wait_for(lambda: children_of(compositor.process.pid), "the program")[0]
        tasks = [int(task.name) for task in Path(f"/proc/{compositor.process.pid}/task").iterdir()]
        for tid in [*tasks, child]:
            status = Path(f"/proc/{tid}/status").read_text()
            assert set(re.findall(r"^Cap(?:Prm|Eff|Bnd|Amb):\s*(\w+)", status, re.M)) == {"0" * 16}
        assert compositor.sched_file("mc-render")["policy"] == "1"
        assert "set-scheduling" in next(journals.glob("*.journal")).read_text(), "by the helper"


@needs_root
def test_utilization_clamp(runtime_dir: Path) -> None:
    with running(runtime_dir, {"system.uclamp_min": 512}) as compositor:
        if "a kernel with CONFIG_UCLAMP_TASK" in compositor.log:
            pytest.skip("this kernel has no CONFIG_UCLAMP_TASK: only the refusal could be tested")
        assert compositor.sched_file("mc-render")["uclamp.min"] == "512"


# ---- while it runs ----


def sched_of(instance: InProcess, source: int) -> syscalls.SchedAttr:
    tid = instance.compositor.lib.mc_thread_id(instance.compositor.server, source)
    assert Path(f"/proc/self/task/{tid}/comm").read_text() in ("mc-loop\n", "mc-render\n")
    return syscalls.sched_getattr(tid)


LOOP, RENDER = 0, 1


@needs_root
def test_the_reservation_follows_the_outputs_refresh() -> None:
    settings = configure(headless__outputs=["640x480@50"], knobs__render__class="deadline", knobs__strict=True)
    with InProcess(settings) as instance, CompositorKnobs(settings.knobs) as knobs:
        knobs.before("headless")
        knobs.attach(instance.compositor)
        knobs.running()
        assert sched_of(instance, RENDER).period_ns == 20_000_000
        knobs.tick()
        assert sched_of(instance, RENDER).period_ns == 20_000_000
        instance.compositor.plug(640, 480, 125_000)
        instance.wait_for(lambda: len([o for o in instance.compositor.outputs if o.enabled]) == 2, "the faster output")
        knobs.tick()
        attr = sched_of(instance, RENDER)
        assert (attr.period_ns, attr.deadline_ns) == (8_000_000, 8_000_000)
        (effect,) = knobs.session.effects()
        assert (effect.effective["period_us"], effect.took_effect) == (8000.0, True)
        knobs.session.close()
        assert sched_of(instance, RENDER).policy == syscalls.SCHED_OTHER, "given back"


@needs_root
def test_knobs_are_turned_while_it_runs_and_given_back() -> None:
    with InProcess(configure()) as instance:
        compositor = instance.compositor
        assert effects(compositor) == []
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(apply_change(compositor, "knobs.render.class", "fifo")))
        thread.start()
        thread.join()
        assert results[0].took_effect
        assert sched_of(instance, RENDER).policy == syscalls.SCHED_FIFO
        wanted = {"class": "deadline", "runtime_us": 2000}
        assert apply_change(compositor, "knobs.render", wanted).effective["runtime_us"] == 2000.0
        assert sched_of(instance, RENDER).policy == syscalls.SCHED_DEADLINE
        with pytest.raises(KnobRefused) as refused:
            apply_change(compositor, "knobs.render", {"class": "deadline", "runtime_us": 9, "period_us": 9_000_000})
        assert refused.value.errno == errno.EINVAL
        assert sched_of(instance, RENDER).runtime_ns == 2_000_000, "a refused change leaves what was"
        with pytest.raises(ConfigError):
            apply_change(compositor, "knobs.render.priority", 3)
        apply_change(compositor, "knobs.system.timer_slack_ns", 1)
        assert [effect.name for effect in effects(compositor)] == ["knobs.render", "knobs.system.timer_slack_ns"]
        apply_change(compositor, "knobs.render", {"class": "rr"})
        apply_change(compositor, "knobs.render.class", None)
        assert sched_of(instance, RENDER).policy == syscalls.SCHED_OTHER
        apply_change(compositor, "knobs.render", {"class": "rr"})
        apply_change(compositor, "knobs.render", None)
        assert sched_of(instance, RENDER).policy == syscalls.SCHED_OTHER
        slack = Path(f"/proc/{compositor.lib.mc_thread_id(compositor.server, RENDER)}/timerslack_ns")
        assert slack.read_text() == "50000\n", "the kernel gives the default to who leaves a real-time class"
        assert compositor.knobs is not None
        compositor.knobs.tick()
        assert slack.read_text() == "1\n"


def test_the_measured_cost_is_the_cpu_time_of_a_refresh(runtime_dir: Path) -> None:
    """Against the kernel's own account of the thread's CPU time, over the same frames."""
    with InProcess(configure(headless__outputs=["1280x720@60"], render__early="no")) as instance:
        lib, server = instance.compositor.lib, instance.compositor.server
        lib.mc_usage_measure(server, 16_666_667)
        tid = lib.mc_thread_id(server, RENDER)
        instance.launch([str(CLIENTS / "pulse"), "--duration-s", "1.5"])

        def account_ns() -> int:
            return int(Path(f"/proc/self/task/{tid}/schedstat").read_text().split()[0])

        instance.pump(0.3)
        begin_ns, begin = account_ns(), time.monotonic_ns()
        instance.pump(1.0)
        used_ns, periods = account_ns() - begin_ns, (time.monotonic_ns() - begin) / 16_666_667
        median_ns = lib.mc_usage_ns(server, RENDER, 0.5)
        assert 0.4 * used_ns / periods < median_ns < 2.5 * used_ns / periods
        assert lib.mc_usage_ns(server, RENDER, 0.99) >= median_ns
        lib.mc_usage_measure(server, 0)
        assert lib.mc_usage_ns(server, RENDER, 0.5) == 0
