"""knobs.memory, knobs.thp and knobs.lock: what the kernel made of them, seen from outside the compositor.

From outside: /proc of the compositor read by the test, the machine's own files, page faults in the run file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minicomp.compositor.knobs import CompositorKnobs, apply_change
from minicomp.errors import ExitCode
from minicomp.lab.knobs.knob import KnobRefused
from minicomp.lab.pipeline.points import Point
from minicomp.lab.pipeline.runfile import read_run
from minicomp.testing.client import Client, Window
from minicomp.testing.instance import InProcess, configure
from tests.headless.conftest import CLIENTS
from tests.headless.test_knobs import Running, effects_of, needs_root, running
from tests.headless.test_run import environment

THP = Path("/sys/kernel/mm/transparent_hugepage")
HUGETLB = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
PULSE = (str(CLIENTS / "pulse"), "--duration-s", "3", "--size", "640x480", "--damage", "16x16", "--fullscreen")

needs_thp = pytest.mark.skipif(not THP.is_dir(), reason="this kernel has no transparent huge pages")


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


def machine() -> dict[str, str]:
    files = [*THP.glob("*enabled"), THP / "defrag", *THP.glob("hugepages-*/enabled"), HUGETLB / "nr_hugepages"]
    return {str(file): file.read_text() for file in files if file.exists()}


def rollup_kib(pid: int) -> dict[str, int]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(kib) for name, kib in re.findall(r"^(\w+): +(\d+) kB$", text, re.M)}


def status_kib(pid: int, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert match, f"no {name}"
    return int(match[1])


def minor_faults(trace: Path) -> list[int]:
    """Of the render thread, for each frame but the first few."""
    run = read_run(trace)
    flags = run.records[run.records["point"] == Point.SCHED]["flags"]
    return [int(fault) for fault in (flags >> 16 & 0xFF)[5:]]


# ---- our own memory ----


@needs_thp
def test_populated_huge_rings_and_frames(runtime_dir: Path, tmp_path: Path) -> None:
    trace = tmp_path / "run.mct"
    knobs = {"memory.populate": "true", "thp.advise_buffers": "true", "memory.prefault_stack_kib": 300}
    if "[never]" in (THP / "enabled").read_text():
        pytest.skip("huge pages are switched off on this machine")
    with running(runtime_dir, knobs, "--trace", str(trace), command=PULSE) as compositor:
        compositor.wait_for(lambda: rollup_kib(compositor.process.pid)["AnonHugePages"] >= 4 * 2048, "huge pages")
        stacks = [stack_kib(compositor, name) for name in ("mc-loop", "mc-render")]
        assert all(kib >= 300 for kib in stacks), stacks
        assert stack_kib(compositor, "mc-trace") < 300, "the knob is for loop and render thread"
    effects = effects_of(trace)
    assert effects["knobs.thp.advise_buffers"]["took_effect"] is True
    assert effects["knobs.memory.populate"]["took_effect"] is True
    assert effects["knobs.memory.prefault_stack_kib"]["effective"]["threads"] == 2


def stack_kib(compositor: Running, thread: str) -> int:
    """What is resident of the mapping that a thread's stack pointer (the kernel's word) is in."""
    pid, tid = compositor.process.pid, compositor.tid(thread)
    pointer = int(Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()[-2], 16)
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(match[1], 16) <= pointer < int(match[2], 16)
        elif inside and line.startswith("Rss:"):
            return int(line.split()[1])
    raise AssertionError(f"no mapping at {pointer:x}")


def test_without_knobs_nothing_is_populated(runtime_dir: Path, tmp_path: Path) -> None:
    with running(runtime_dir, {}, "--trace", str(tmp_path / "run.mct"), command=PULSE) as compositor:
        assert stack_kib(compositor, "mc-render") < 300
        sizes = re.findall(
            r"^Size: +2048 kB\n(?:.*\n){2}Rss: +(\d+) kB",
            Path(f"/proc/{compositor.process.pid}/smaps").read_text(),
            re.M,
        )
        assert any(int(rss) < 1024 for rss in sizes), "the rings' pages come as they are written"


def test_wiped_buffers_fault_on_every_frame_recycled_ones_do_not(runtime_dir: Path, tmp_path: Path) -> None:
    """MADV_DONTNEED takes the pages (300 of 640x480), MADV_FREE leaves them while there is memory."""
    median: dict[str, float] = {}
    for released in ("keep", "wipe", "recycle"):
        trace = tmp_path / f"{released}.mct"
        size = ("--set", 'headless.outputs=["640x480@60"]')
        with running(
            runtime_dir, {"memory.released": released}, *size, "--trace", str(trace), command=PULSE
        ) as compositor:
            compositor.process.wait(20)
        median[released] = float(np.median(minor_faults(trace)))
        effect = effects_of(trace)["knobs.memory.released"]
        assert effect["took_effect"] is True, effect
        assert (effect["effective"]["released"] > 0) == (released != "keep")
    assert median["wipe"] == 255, "the count saturates"
    assert median["keep"] < 10
    assert median["recycle"] < 10


@pytest.mark.parametrize("released", ["wipe", "recycle"])
def test_pictures_are_whole_though_buffers_lose_their_contents(released: str) -> None:
    config = configure(knobs__memory__released=released, headless__outputs=["320x200@60"])
    with InProcess(config) as instance, Client(instance.compositor.socket) as client:
        window = Window(client)

        def wait(condition: Any, what: str) -> Any:
            return instance.wait_for(condition, what)

        window.initial_commit(wait)
        window.commit(320, 200, 0xFF336699)
        client.roundtrip()
        instance.wait_for(lambda: colours(instance) == {0x336699}, "the window")
        for _ in range(5):  # frames without any damage: a buffer that kept nothing would be black
            assert colours(instance) == {0x336699}


def colours(instance: InProcess) -> set[int]:
    _width, _height, data = instance.compositor.capture()
    return {int(pixel) & 0xFFFFFF for pixel in np.unique(np.frombuffer(data, "<u4"))}


def test_what_is_settled_at_start_is_refused_later() -> None:
    with InProcess(configure(knobs__lock__kind="plain")) as instance:
        knobs = CompositorKnobs(instance.config.knobs)
        knobs.attach(instance.compositor)
        knobs.running()
        (effect,) = knobs.session.effects()
        assert (effect.effective, effect.took_effect) == ("plain", True)
        for key, value in (
            ("lock.kind", "pi"),
            ("memory.populate", True),
            ("memory.released", "wipe"),
            ("memory.prefault_stack_kib", 64),
            ("thp.advise_buffers", True),
        ):
            with pytest.raises(KnobRefused, match=r"decided when|made with"):
                apply_change(instance.compositor, f"knobs.{key}", value)
        knobs.session.close()


# ---- locked memory ----


@needs_root
@pytest.mark.parametrize("on_fault", [False, True])
def test_locked_memory(runtime_dir: Path, on_fault: bool) -> None:
    knobs = {"memory.lock_all": "true", "memory.lock_on_fault": str(on_fault).lower()}
    with running(runtime_dir, knobs) as compositor:
        pid = compositor.process.pid
        # What is reserved and may not be touched (the allocator's arenas) is mapped, but not locked.
        assert status_kib(pid, "VmLck") > 0.5 * status_kib(pid, "VmSize")
        # Without ONFAULT all 8 MiB of every thread's stack are there at once.
        assert (status_kib(pid, "VmRSS") > 40_000) is not on_fault


@needs_root
def test_memory_that_may_not_be_locked(runtime_dir: Path) -> None:
    """Neither the capability nor a helper that has more rights: the limit is named."""
    without = ("setpriv", "--bounding-set", "-ipc_lock,-sys_resource", "--inh-caps", "-all")
    limit = ("prlimit", "--memlock=8388608:8388608")
    command = (sys.executable, "-m", "minicomp", "run", "--backend", "headless")
    settings = ("--set", "knobs.memory.lock_all=true", "--set", "knobs.strict=true")
    done = subprocess.run(
        [*limit, *without, *command, *settings, "--", "true"],
        env=environment(runtime_dir),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == ExitCode.UNAVAILABLE, done.stderr
    assert "RLIMIT_MEMLOCK is 8192 KiB" in done.stderr
    assert "LimitMEMLOCK=infinity" in done.stderr


# ---- the machine's huge pages ----


@needs_root
@needs_thp
def test_huge_page_settings_are_in_force_and_come_back(runtime_dir: Path) -> None:
    before = machine()
    knobs = {"thp.enabled": "always", "thp.defrag": "never", "thp.shmem_enabled": "advise"}
    with running(runtime_dir, knobs) as compositor:
        assert "[always]" in (THP / "enabled").read_text()
        assert "[never]" in (THP / "defrag").read_text()
        assert "[advise]" in (THP / "shmem_enabled").read_text()
        compositor.process.kill()
        compositor.wait_for(lambda: machine() == before, "the helper to restore")


@needs_root
@needs_thp
@pytest.mark.parametrize(("enabled", "huge"), [("always", True), ("never", False)])
def test_what_became_huge(runtime_dir: Path, tmp_path: Path, enabled: str, huge: bool) -> None:
    """The rings and frame buffers are aligned: with always they are huge once they are touched, unadvised."""
    knobs = {"thp.enabled": enabled, "memory.populate": "true"}
    with running(runtime_dir, knobs, "--trace", str(tmp_path / "run.mct")) as compositor:
        assert (rollup_kib(compositor.process.pid)["AnonHugePages"] >= 3 * 2048) is huge


@needs_root
@pytest.mark.skipif(not (THP / "hugepages-64kB").is_dir(), reason="this kernel knows one size only (Linux 6.8)")
def test_sizes(runtime_dir: Path) -> None:
    with running(runtime_dir, {"thp": '{mthp = {"64" = "always", "128" = "madvise"}}'}):
        assert "[always]" in (THP / "hugepages-64kB/enabled").read_text()
        assert "[madvise]" in (THP / "hugepages-128kB/enabled").read_text()
    with running(runtime_dir, {"thp": '{mthp = {"63" = "always"}}'}) as compositor:
        assert "sizes here: " in compositor.log


def test_no_huge_pages_for_the_compositor_and_its_clients(runtime_dir: Path) -> None:
    command = ("sh", "-c", "grep THP_enabled /proc/self/status >&2; sleep 30")
    with running(runtime_dir, {"thp.disable_self": "true"}, command=command) as compositor:
        assert re.search(r"^THP_enabled:\s+0$", Path(f"/proc/{compositor.process.pid}/status").read_text(), re.M)
        compositor.wait_for(lambda: re.search(r"^THP_enabled:\s+0$", compositor.log, re.M), "the client's state")


# ---- hugetlb ----


@needs_root
@pytest.mark.skipif(not HUGETLB.is_dir(), reason="this kernel has no hugetlb pages of 2 MiB")
def test_clients_get_reserved_huge_pages(runtime_dir: Path) -> None:
    before = int((HUGETLB / "nr_hugepages").read_text())
    command = (str(CLIENTS / "pulse"), "--duration-s", "30", "--size", "640x480")
    with running(runtime_dir, {"memory.hugetlb_pool": "2M", "memory.hugetlb_pages": 24}, command=command) as compositor:
        assert int((HUGETLB / "nr_hugepages").read_text()) == before + 24

        def client_huge_kib() -> int:
            children = (
                Path(f"/proc/{compositor.process.pid}/task/{compositor.process.pid}/children").read_text().split()
            )
            pulses = [int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == "pulse"]
            huge = [rollup_kib(pid) for pid in pulses]
            return sum(kib["Shared_Hugetlb"] + kib["Private_Hugetlb"] for kib in huge)

        compositor.wait_for(client_huge_kib, "a client's buffers in huge pages")
        assert compositor.process.poll() is None
    assert int((HUGETLB / "nr_hugepages").read_text()) == before


def test_a_client_without_reserved_pages_says_so(runtime_dir: Path) -> None:
    if int((HUGETLB / "free_hugepages").read_text()):
        pytest.skip("this machine has huge pages to give")
    done = subprocess.run(
        [sys.executable, "-m", "minicomp", "run", "--backend", "headless", "--", *PULSE, "--pool", "hugetlb-2M"],
        env=environment(runtime_dir) | {"LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 4, done.stderr
    assert "cannot allocate" in done.stderr
    assert os.environ.get("MINICOMP_POOL") is None
