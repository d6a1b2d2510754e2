"""knobs.cpuset on this machine's own hierarchy (v1, or v2 where it is the host's), read from /proc/TID/status.

tests/vm/test_cpuset.py does the same for cgroup v2 partitions. Everybody on the machine is moved for a second or two.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicomp.errors import ExitCode
from minicomp.lab.knobs.cgroup import find_hierarchy, parse_cpus, shown_cpus
from tests.headless.conftest import CLIENTS
from tests.headless.test_knobs import Running, effects_of, needs_root, running
from tests.headless.test_run import environment

HIERARCHY = find_hierarchy()
ONLINE = parse_cpus(Path("/sys/devices/system/cpu/online").read_text())
LAST = max(ONLINE)
REST = shown_cpus(ONLINE - {LAST})
PULSE = (str(CLIENTS / "pulse"), "--duration-s", "20")

pytestmark = [
    needs_root,
    pytest.mark.skipif(HIERARCHY is None, reason="no cpuset controller is mounted"),
    pytest.mark.skipif(len(ONLINE) < 2, reason="pinning needs two CPUs"),
]


@pytest.fixture
def runtime_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(autouse=True)
def machine_unchanged() -> Iterator[None]:
    before = machine()
    yield
    assert machine() == before


def machine() -> tuple[list[str], str, str, str]:
    """Groups of ours (none), the root's settings, and where this very process may run."""
    assert HIERARCHY is not None
    groups = [name for name in os.listdir(HIERARCHY.mount) if name.startswith("minicomp-")]
    file = "cpuset.sched_load_balance" if HIERARCHY.version == 1 else "cgroup.subtree_control"
    return groups, HIERARCHY.read("", file), HIERARCHY.group_of(os.getpid()), cpus_of(os.getpid())


def cpus_of(tid: int) -> str:
    match = re.search(r"^Cpus_allowed_list:\s+(\S+)$", Path(f"/proc/{tid}/status").read_text(), re.M)
    assert match
    return match[1]


def pulse_of(compositor: Running) -> int:
    pid = compositor.process.pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if Path(f"/proc/{child}/comm").read_text().strip() == "pulse":
            return int(child)
    return 0


def test_everybody_in_a_place_of_their_own(runtime_dir: Path, tmp_path: Path) -> None:
    trace = tmp_path / "run.mct"
    knobs = {"cpuset.render_cpus": LAST, "cpuset.compositor_cpus": 0, "cpuset.client_cpus": f'"{REST}"'}
    knobs["cpuset.mems"] = 0
    with running(runtime_dir, knobs, "--trace", str(trace), command=PULSE) as compositor:
        assert cpus_of(compositor.tid("mc-render")) == str(LAST)
        assert cpus_of(compositor.tid("mc-loop")) == "0"
        assert cpus_of(compositor.process.pid) == "0"
        pulse = compositor.wait_for(lambda: pulse_of(compositor), "the client")
        assert HIERARCHY is not None
        compositor.wait_for(lambda: HIERARCHY.group_of(pulse).endswith("-clients"), "the client's move")
        assert cpus_of(pulse) == REST
        assert re.search(r"^Mems_allowed_list:\s+0$", Path(f"/proc/{pulse}/status").read_text(), re.M)
        assert cpus_of(os.getpid()) == shown_cpus(ONLINE), "nothing was said of everything else"
    effect = effects_of(trace)["knobs.cpuset"]
    assert effect["took_effect"] is True, effect
    assert effect["effective"]["render_cpus"] == str(LAST)
    assert effect["effective"]["mems"] == "0"


def test_a_deadline_in_a_partition_of_one_cpu(runtime_dir: Path) -> None:
    """By affinity alone the kernel refuses it (test_knobs.py); inside a root domain of its own it does not."""
    knobs = {"cpuset.render_cpus": LAST, "cpuset.partition": "root", "render.class": "deadline", "strict": "true"}
    with running(runtime_dir, knobs, command=PULSE) as compositor:
        assert cpus_of(compositor.tid("mc-render")) == str(LAST)
        assert compositor.sched_file("mc-render")["policy"] == "6"
        assert cpus_of(os.getpid()) == REST, "everything else is kept off the partition"
        assert cpus_of(compositor.tid("mc-loop")) == REST


def test_loop_and_render_thread_share_a_partition_and_the_compositor_is_killed(runtime_dir: Path) -> None:
    knobs = {"cpuset.compositor_cpus": LAST, "cpuset.partition": "root", "strict": "true"}
    before = machine()
    with running(
        runtime_dir, knobs | {"render.class": "deadline", "loop.class": "deadline"}, command=PULSE
    ) as compositor:
        assert compositor.sched_file("mc-render")["policy"] == "6"
        assert compositor.sched_file("mc-loop")["policy"] == "6"
        assert cpus_of(compositor.process.pid) == str(LAST)
        pulse = compositor.wait_for(lambda: pulse_of(compositor), "the client")
        compositor.wait_for(lambda: cpus_of(pulse) == REST, "the client off the partition")
        compositor.process.kill()
        compositor.wait_for(lambda: machine() == before, "the helper to restore")


def test_everything_else_moves_and_comes_back(runtime_dir: Path) -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        with running(runtime_dir, {"cpuset.other_cpus": 0}):
            assert cpus_of(sleeper.pid) == "0"
        assert cpus_of(sleeper.pid) == shown_cpus(ONLINE)
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"render_cpus": "4000"}, f"CPU 4000 is not there; this machine has {shown_cpus(ONLINE)}"),
        (
            {"compositor_cpus": f'"{shown_cpus(ONLINE)}"', "partition": "root"},
            "it would leave no CPU to everything else",
        ),
        ({"partition": "root"}, "a partition of which CPUs?"),
        ({"render_cpus": "0", "mems": "63"}, "cpuset.mems"),
    ],
)
def test_refusals(runtime_dir: Path, knobs: dict[str, str], reason: str) -> None:
    settings = [argument for key, value in knobs.items() for argument in ("--set", f"knobs.cpuset.{key}={value}")]
    command = [sys.executable, "-m", "minicomp", "run", "--backend", "headless", "--set", "knobs.strict=true"]
    done = subprocess.run(
        [*command, *settings, "--", "true"], env=environment(runtime_dir), capture_output=True, text=True, timeout=30
    )
    assert done.returncode == ExitCode.UNAVAILABLE, done.stderr
    assert reason in done.stderr
