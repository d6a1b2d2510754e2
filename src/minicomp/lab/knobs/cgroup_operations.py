"""What is done to cpusets: groups made and removed, their files written, threads and whole groups' tasks moved.

Each is undone by itself: a group of ours goes back to its parent with all that is in it, a thread to the group it came
from. Groups are named, never given as paths: the helper looks for the hierarchy itself.
"""

from __future__ import annotations

import errno
import os
import re
import time
from dataclasses import dataclass

from minicomp.lab.knobs import proc
from minicomp.lab.knobs.cgroup import OWN_GROUP, Hierarchy, find_hierarchy
from minicomp.lab.knobs.operations import Forbidden, Operation, Owner, operation
from minicomp.lab.knobs.thread_operations import ThreadOperation

_LIST = r"[0-9,-]{0,1000}"
_OWN_FILES = {
    "cpuset.cpus": _LIST,
    "cpuset.mems": _LIST,
    "cpuset.cpus.exclusive": _LIST,
    "cpuset.cpus.partition": "member|root|isolated",
    "cpuset.cpu_exclusive": "[01]",
    "cpuset.sched_load_balance": "[01]",
    "cgroup.type": "threaded",
    "cgroup.subtree_control": r"[+-]cpuset",
}
_ROOT_FILES = {"cgroup.subtree_control": r"[+-]cpuset", "cpuset.sched_load_balance": "[01]"}
_SIBLING = re.compile(r"[A-Za-z0-9_@:.-]{1,255}")
_SIBLING_FILES = {"cpuset.cpus": _LIST, "cpuset.mems": _LIST}
_REMOVAL_S = 2.0  # how long tasks that have just ended may keep a group


def _hierarchy() -> Hierarchy:
    found = find_hierarchy()
    if found is None:
        raise OSError(errno.ENODEV, "no cpuset controller is mounted")
    return found


def _permit_own(group: str, owner: Owner) -> None:
    match = OWN_GROUP.fullmatch(group)
    if match is None or int(match[1]) != owner.pid:
        raise Forbidden(f"{group[:100]!r} is no group of the compositor's")


@dataclass(frozen=True)
class OwnGroupOperation(Operation):
    """Something done to a group of the compositor's own."""

    machine_wide = True
    group: str

    def permit(self, owner: Owner) -> None:
        _permit_own(self.group, owner)


@operation("make-cgroup")
@dataclass(frozen=True)
class MakeCgroup(OwnGroupOperation):
    """An empty group of the compositor's own."""

    def undoing(self) -> RemoveCgroup:
        return RemoveCgroup(self.group)

    def perform(self) -> None:
        os.mkdir(_hierarchy().path(self.group), 0o755)


@operation("remove-cgroup")
@dataclass(frozen=True)
class RemoveCgroup(OwnGroupOperation):
    """Whatever is in the group goes to its parent; then it is removed."""

    def undoing(self) -> None:
        return None

    def perform(self) -> None:
        hierarchy = _hierarchy()
        parent = os.path.dirname(self.group)
        until = time.monotonic() + _REMOVAL_S
        while True:
            move_all(hierarchy, self.group, parent)
            try:
                os.rmdir(hierarchy.path(self.group))
                return
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > until:
                    raise
            time.sleep(0.01)


def move_all(hierarchy: Hierarchy, group: str, target: str) -> None:
    """Every task of a group, as far as it can be moved: kernel threads stay, and what ends meanwhile is gone."""
    threaded = hierarchy.version == 2 and bool(group) and hierarchy.read(group, "cgroup.type") == "threaded"
    _move_listed(hierarchy, group, target, "cgroup.threads" if threaded else "cgroup.procs")
    if hierarchy.version == 1 and group:  # single threads of processes whose others are elsewhere
        _move_listed(hierarchy, group, target, "tasks")


def _move_listed(hierarchy: Hierarchy, group: str, target: str, file: str) -> None:
    seen: set[int] = set()
    while here := _listed(hierarchy, group, file) - seen:  # again: programs fork while they are moved
        seen |= here
        for pid in sorted(here):
            try:
                if not proc.is_kernel_thread(pid):
                    hierarchy.write(target, file, str(pid))
            except OSError as error:
                if error.errno not in (errno.ESRCH, errno.ENOENT):
                    raise


def _listed(hierarchy: Hierarchy, group: str, file: str) -> set[int]:
    try:
        return {int(line) for line in hierarchy.read(group, file).split()} - {0}
    except FileNotFoundError:
        return set()


@operation("move-tasks")
@dataclass(frozen=True)
class MoveRest(OwnGroupOperation):
    """What is directly in the root group, but for kernel threads, goes to a group of ours.

    Undone with the group: its removal puts everything back to where it was, the root.
    """

    def undoing(self) -> None:
        return None

    def perform(self) -> None:
        move_all(_hierarchy(), "", self.group)


@operation("write-cgroup")
@dataclass(frozen=True)
class WriteCgroup(Operation):
    """One file of a group: of ours any, of other top-level groups where they may run, of the root two."""

    machine_wide = True
    group: str
    file: str
    value: str

    def permit(self, owner: Owner) -> None:
        if not self.group:
            allowed = _ROOT_FILES
        elif OWN_GROUP.fullmatch(self.group):
            _permit_own(self.group, owner)
            allowed = _OWN_FILES
        elif _SIBLING.fullmatch(self.group) and self.group not in (".", ".."):
            allowed = _SIBLING_FILES
        else:
            raise Forbidden(f"{self.group[:100]!r} is no group that a knob writes to")
        if self.file not in allowed or not re.fullmatch(allowed[self.file], self.value):
            raise Forbidden(f"{self.file[:40]!r} = {self.value[:40]!r} is nothing that a knob writes there")

    def undoing(self) -> WriteCgroup | None:
        if OWN_GROUP.fullmatch(self.group):
            return None  # it goes with the group
        now = _hierarchy().read(self.group, self.file)
        if self.file == "cgroup.subtree_control":
            is_on = "cpuset" in now.split()
            return None if is_on == self.value.startswith("+") else WriteCgroup(self.group, self.file, "-cpuset")
        return WriteCgroup(self.group, self.file, now)

    def perform(self) -> None:
        # An empty list is written as a line of its own: writing nothing would be no write.
        _hierarchy().write(self.group, self.file, self.value or "\n")


@operation("move-thread")
@dataclass(frozen=True)
class MoveThread(ThreadOperation):
    """One thread, or with `process` the process it is of, goes to a group."""

    machine_wide = True
    group: str
    process: bool

    def permit(self, owner: Owner) -> None:
        super().permit(owner)
        _permit_own(self.group, owner)

    def undoing(self) -> MoveThread:
        self.check_identity()
        return MoveThread(self.tid, self.started, _hierarchy().group_of(self.tid), self.process)

    def perform(self) -> None:
        self.check_identity()
        hierarchy = _hierarchy()
        one = "tasks" if hierarchy.version == 1 else "cgroup.threads"
        hierarchy.write(self.group, "cgroup.procs" if self.process else one, str(self.tid))
