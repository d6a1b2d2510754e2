"""Where this machine keeps its cpusets, and which groups of ours there are: cgroup v2 (unified), or v1's own hierarchy.

Groups are named by their path below the hierarchy's mount, "" being the root. Ours begin with "minicomp-PID". Sources:
Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/cpusets.rst.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from minicomp.lab.knobs import proc
from minicomp.lab.knobs.operations import write_file

V2_TYPE, V1_TYPE = "cgroup2", "cgroup"
OWN_GROUP = re.compile(r"minicomp-([1-9][0-9]{0,9})(-clients|-other|-render|/render|/compositor)?")


class Hierarchy(NamedTuple):
    """The mounted hierarchy that has the cpuset controller."""

    version: int  # 1 or 2
    mount: str

    def path(self, group: str, file: str = "") -> str:
        return os.path.join(self.mount, group, file) if file else os.path.join(self.mount, group).rstrip("/")

    def read(self, group: str, file: str) -> str:
        """The text of a group's file. Raises OSError."""
        with open(self.path(group, file), encoding="utf-8") as opened:
            return opened.read().strip()

    def write(self, group: str, file: str, value: str) -> None:
        """Raises OSError with the kernel's reason and the file's name."""
        path = self.path(group, file)
        try:
            write_file(path, value)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None

    def group_of(self, tid: int) -> str:
        """The group that a thread is in now, by /proc. Raises OSError."""
        with open(f"/proc/{tid}/cgroup", encoding="utf-8") as file:
            for line in file:
                number, controllers, path = line.rstrip("\n").split(":", 2)
                if (number == "0" and self.version == 2) or (self.version == 1 and "cpuset" in controllers.split(",")):
                    return path.strip("/")
        return ""

    def groups_below_root(self) -> list[str]:
        """The top-level groups that are not ours."""
        with os.scandir(self.mount) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        return sorted(name for name in names if not OWN_GROUP.fullmatch(name))


def find_hierarchy() -> Hierarchy | None:
    """The hierarchy with cpusets; None where no cpuset controller is mounted (or it is hidden from this container)."""
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        fields = [line.split() for line in mounts]
    for _device, mount, kind, options, *_ in fields:
        if kind == V1_TYPE and "cpuset" in options.split(","):
            return Hierarchy(1, mount)
    for _device, mount, kind, *_ in fields:
        if kind == V2_TYPE:
            hierarchy = Hierarchy(2, mount)
            if "cpuset" in hierarchy.read("", "cgroup.controllers").split():
                return hierarchy
    return None


def parse_cpus(text: str) -> frozenset[int]:
    """The CPUs of a list such as "0,2-3"; "" has none."""
    cpus: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def shown_cpus(cpus: frozenset[int]) -> str:
    """As the kernel writes a list: "0,2-3"."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and parts[-1][1] == cpu - 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def allowed_cpus(tid: int) -> frozenset[int]:
    """What the scheduler lets a thread run on, by /proc: how effects are read back. Raises OSError."""
    return parse_cpus(proc.status_line(tid, "Cpus_allowed_list"))


def allowed_mems(tid: int) -> frozenset[int]:
    """The memory nodes that a thread may allocate from. Raises OSError."""
    return parse_cpus(proc.status_line(tid, "Mems_allowed_list"))
