"""Which groups a [knobs.cpuset] table makes, and what the helper lets nobody do with cgroups. Nothing here is applied."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minicomp.config.knobs import CpusetKnobs
from minicomp.lab.knobs.cgroup import Hierarchy, parse_cpus, shown_cpus
from minicomp.lab.knobs.cgroup_operations import MakeCgroup, MoveRest, MoveThread, RemoveCgroup, WriteCgroup
from minicomp.lab.knobs.cpuset_layout import Layout, Places, layout_for
from minicomp.lab.knobs.operations import Forbidden, Operation, Owner
from minicomp.lab.knobs.registry import operation_from_wire
from minicomp.lab.knobs.smaps import parse_smaps

ONLINE = parse_cpus("0-3")
PID = 42


def layout(version: int, tmp_path: Path, **settings: str) -> Layout:
    (tmp_path / "cpuset.mems").write_text("0\n")
    places = Places.of(CpusetKnobs(**settings))  # type: ignore[arg-type]
    return layout_for(Hierarchy(version, str(tmp_path)), places, PID, ONLINE)


def files_of(found: Layout) -> dict[str, dict[str, str]]:
    """All that is written into groups, in the end."""
    files = {group.name: dict(group.files) for group in found.groups}
    for step in (*found.before, *found.after):
        files.setdefault(step.group, {})[step.file] = step.value
    return files


@pytest.mark.parametrize(
    ("text", "cpus"), [("", set()), ("3", {3}), ("0,2-3", {0, 2, 3}), ("0-1,5", {0, 1, 5}), ("0-3", {0, 1, 2, 3})]
)
def test_lists(text: str, cpus: set[int]) -> None:
    assert parse_cpus(text) == cpus
    assert shown_cpus(frozenset(cpus)) == text


def test_v2_one_thread_is_a_threaded_remote_partition(tmp_path: Path) -> None:
    found = layout(2, tmp_path, render_cpus="3", partition="root")
    assert (found.compositor, found.render, found.partition) == ("minicomp-42", "minicomp-42/render", found.render)
    files = files_of(found)
    assert files["minicomp-42"]["cpuset.cpus.exclusive"] == "3"
    assert files["minicomp-42/render"] == {
        "cgroup.type": "threaded",
        "cpuset.cpus": "3",
        "cpuset.cpus.exclusive": "3",
        "cpuset.cpus.partition": "root",
    }
    assert found.clients == "minicomp-42-clients", "programs start in the compositor's group and must leave it"


def test_v2_the_whole_compositor_is_a_partition_that_older_kernels_have(tmp_path: Path) -> None:
    found = layout(2, tmp_path, compositor_cpus="2-3", partition="isolated", client_cpus="0", mems="0")
    assert (found.compositor, found.render, found.partition) == ("minicomp-42", "", "minicomp-42")
    files = files_of(found)
    assert files["minicomp-42"] == {"cpuset.cpus": "2-3", "cpuset.mems": "0", "cpuset.cpus.partition": "isolated"}
    assert files["minicomp-42-clients"]["cpuset.cpus"] == "0"


def test_v2_without_partition_the_other_threads_need_a_group_as_well(tmp_path: Path) -> None:
    found = layout(2, tmp_path, render_cpus="3", compositor_cpus="1-2")
    assert found.compositor_threads == "minicomp-42/compositor"
    assert files_of(found)["minicomp-42"]["cpuset.cpus"] == "1-3"
    assert not found.partition


def test_v1_a_partition_takes_the_root_groups_balancing_and_everything_else_along(tmp_path: Path) -> None:
    found = layout(1, tmp_path, render_cpus="3", partition="root")
    files = files_of(found)
    assert files["minicomp-42-render"] == {"cpuset.cpus": "3", "cpuset.mems": "0", "cpuset.cpu_exclusive": "1"}
    assert files["minicomp-42-other"]["cpuset.cpus"] == "0-2"
    assert files[""] == {"cpuset.sched_load_balance": "0"}
    assert found.after[-1].group == "", "the root's balancing goes last, when nobody is left there"
    assert found.compositor == "" and found.other == "minicomp-42-other"


def test_v1_isolated_is_not_balanced_itself(tmp_path: Path) -> None:
    files = files_of(layout(1, tmp_path, compositor_cpus="3", partition="isolated"))
    assert files["minicomp-42"]["cpuset.sched_load_balance"] == "0"


@pytest.mark.parametrize(
    "operation",
    [
        MakeCgroup("system.slice/x"),
        MakeCgroup("minicomp-43"),
        MakeCgroup("minicomp-42/../x"),
        MakeCgroup(""),
        RemoveCgroup("minicomp-43-other"),
        RemoveCgroup("system.slice"),
        MoveRest("minicomp-43-other"),
        MoveThread(os.getpid(), 0, "system.slice", True),
        WriteCgroup("", "cgroup.procs", "1"),
        WriteCgroup("", "cgroup.subtree_control", "-memory"),
        WriteCgroup("minicomp-42", "cgroup.kill", "1"),
        WriteCgroup("minicomp-42", "cpuset.cpus", "0\n1"),
        WriteCgroup("minicomp-43", "cpuset.cpus", "0"),
        WriteCgroup("system.slice/sshd.service", "cpuset.cpus", "0"),
        WriteCgroup("..", "cpuset.cpus", "0"),
        WriteCgroup("system.slice", "cpuset.cpus.partition", "root"),
        WriteCgroup("system.slice", "memory.max", "0"),
    ],
)
def test_the_helper_refuses(operation: Operation) -> None:
    uid = os.getuid()
    assert operation_from_wire(operation.to_wire()) == operation
    with pytest.raises(Forbidden):
        operation.permit(Owner(PID, uid))


@pytest.mark.parametrize(
    "operation",
    [
        MakeCgroup("minicomp-42/render"),
        WriteCgroup("", "cgroup.subtree_control", "+cpuset"),
        WriteCgroup("minicomp-42-render", "cpuset.cpu_exclusive", "1"),
        WriteCgroup("system.slice", "cpuset.cpus", "0,2-3"),
        MoveThread(os.getpid(), 0, "minicomp-42/render", False),
    ],
)
def test_the_helper_permits(operation: Operation) -> None:
    operation.permit(Owner(PID, os.getuid()))


SMAPS = """\
7f2fb1200000-7f2fb1600000 rw-p 00000000 00:00 0
Size:               4096 kB
Rss:                4096 kB
AnonHugePages:      4096 kB
THPeligible:           1
VmFlags: rd wr mr mw me ac sd hg
7f2fb19ff000-7f2fb21ff000 rw-s 00000000 00:01 2066 /memfd:client buffer (deleted)
Size:               8192 kB
Rss:                  12 kB
ShmemPmdMapped:        0 kB
VmFlags: rd wr sh mr mw me ms sd
"""


def test_smaps() -> None:
    first, second = parse_smaps(SMAPS.splitlines(keepends=True))
    assert (first.end - first.start, first.kib["AnonHugePages"], "hg" in first.flags) == (4 << 20, 4096, True)
    assert first.name == "" and second.name == "/memfd:client buffer (deleted)"
    assert second.kib["Rss"] == 12 and "hg" not in second.flags
    assert first.overlap_bytes(first.start - 100, first.start + 4096) == 4096
    assert first.overlap_bytes(0, first.start) == 0
