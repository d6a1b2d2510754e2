"""knobs.cpuset: which CPUs and memory nodes the render thread, the compositor, clients and everything else may use.

All of the table is one knob: groups are made, filled and, last, the partition is asked for, since the kernel's answer
depends on all of them. `cpuset_layout` says which groups; here they are made, filled and looked at. Effects are read
from /proc/TID/status, and the partition's state from its file, where the kernel says why it is invalid.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING, Any

from minicomp.lab.knobs import proc
from minicomp.lab.knobs.cgroup import Hierarchy, allowed_cpus, allowed_mems, find_hierarchy, parse_cpus, shown_cpus
from minicomp.lab.knobs.cgroup_operations import MakeCgroup, MoveRest, MoveThread, WriteCgroup
from minicomp.lab.knobs.cpuset_layout import Layout, Places, layout_for
from minicomp.lab.knobs.knob import Effect, Hands, Knob, KnobRefused, Subject, refused
from minicomp.lab.knobs.operations import read_file

if TYPE_CHECKING:
    from minicomp.config.knobs import CpusetKnobs, KnobSettings

NAME = "knobs.cpuset"
_SETTLE_S = 1.0
ONLINE = "/sys/devices/system/cpu/online"


def knobs(settings: KnobSettings) -> list[Knob]:
    """One knob when any key of [knobs.cpuset] is set."""
    return [Cpuset(settings.cpuset)] if settings.cpuset.is_set() else []


class Cpuset(Knob):
    """Groups for everybody whose place is set, and the partition."""

    def __init__(self, settings: CpusetKnobs) -> None:
        super().__init__(NAME, settings.given())
        self._places = Places.of(settings)
        self._layout: Layout | None = None
        self._given_up: set[int] = set()  # clients that could not be moved

    # ---- apply ----

    def apply(self, subject: Subject, hands: Hands) -> None:
        hierarchy = find_hierarchy()
        if hierarchy is None:
            reason = "no cpuset controller is mounted"
            remedy = "mount cgroup v2, or v1's cpuset; in a container, let the host do it (docker --cpuset-cpus)"
            raise KnobRefused(NAME, self.wanted, errno.ENODEV, reason, remedy)
        online = parse_cpus(read_file(ONLINE))
        self._check(online)
        layout = layout_for(hierarchy, self._places, subject.pid, online)
        try:
            self._make(layout, subject, hands)
        except (OSError, KnobRefused) as error:
            hands.undo(NAME)
            if isinstance(error, OSError):
                raise refused(NAME, self.wanted, error, *_explained(error, hierarchy)) from None
            raise
        self._layout = layout

    def _check(self, online: frozenset[int]) -> None:
        """What the kernel would refuse with a bare number, in words."""
        places = self._places
        for key in ("render_cpus", "compositor_cpus", "client_cpus", "other_cpus"):
            missing = parse_cpus(getattr(places, key)) - online
            if missing:
                reason = f"{key}: CPU {shown_cpus(missing)} is not there; this machine has {shown_cpus(online)}"
                raise KnobRefused(NAME, self.wanted, errno.ERANGE, reason, "other CPUs")
        if places.partition in ("root", "isolated"):
            cpus = parse_cpus(places.render_cpus or places.compositor_cpus)
            if not cpus:
                remedy = "set render_cpus, or compositor_cpus for the whole compositor"
                raise KnobRefused(NAME, self.wanted, errno.EINVAL, "a partition of which CPUs?", remedy)
            if cpus == online:
                reason = "it would leave no CPU to everything else"
                raise KnobRefused(NAME, self.wanted, errno.EBUSY, reason, "fewer CPUs, or a machine with more")

    def _make(self, layout: Layout, subject: Subject, hands: Hands) -> None:
        hierarchy = layout.hierarchy
        for step in layout.before:
            hands.do(NAME, step)
        for group in layout.groups:
            hands.do(NAME, MakeCgroup(group.name))
            for file, value in group.files:
                hands.do(NAME, WriteCgroup(group.name, file, value))
        if layout.other:
            hands.do(NAME, MoveRest(layout.other))
            for sibling in hierarchy.groups_below_root() if hierarchy.version == 2 else ():
                if os.path.exists(hierarchy.path(sibling, "cpuset.cpus")):
                    hands.do(NAME, WriteCgroup(sibling, "cpuset.cpus", self._places.other_cpus))
        if layout.compositor:
            hands.do(NAME, MoveThread(subject.pid, proc.started(subject.pid), layout.compositor, True))
        if layout.compositor_threads:
            for tid in sorted(int(name) for name in os.listdir(f"/proc/{subject.pid}/task")):
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                    hands.do(NAME, MoveThread(tid, proc.started(tid), layout.compositor_threads, False))
        if layout.render:
            tid = composing_tid(subject)
            hands.do(NAME, MoveThread(tid, proc.started(tid), layout.render, False))
        for step in layout.after:
            hands.do(NAME, step)
        _settle(subject)
        state = partition_state(layout)
        if "invalid" in state:
            reason = f"the kernel says {state!r}"
            remedy = "the CPUs must be nobody else's: not in another partition, and not all that the parent has"
            raise KnobRefused(NAME, self.wanted, errno.EINVAL, reason, remedy)

    # ---- afterwards ----

    def update(self, subject: Subject, hands: Hands) -> bool:
        """Clients start where the compositor is, or come from elsewhere: they go to their group."""
        layout = self._layout
        if layout is None or not layout.clients:
            return False
        moved = False
        for pid in sorted(self._clients(layout, subject) - self._given_up):
            try:
                if layout.hierarchy.group_of(pid) == layout.clients:
                    continue
                hands.do(NAME, MoveThread(pid, proc.started(pid), layout.clients, True))
                moved = True
            except (ProcessLookupError, FileNotFoundError):
                continue
            except OSError as error:
                self._given_up.add(pid)
                raise refused(NAME, f"client {pid} to {layout.clients}", error) from None
            except KnobRefused:
                self._given_up.add(pid)
                raise
        return moved

    @staticmethod
    def _clients(layout: Layout, subject: Subject) -> set[int]:
        """Connected clients, and what the compositor has started, which begins where the compositor is."""
        pids = set(subject.client_pids)
        for group in filter(None, (layout.compositor, layout.compositor_threads)):
            with contextlib.suppress(OSError):  # EOPNOTSUPP: a threaded group lists threads only
                pids.update(int(line) for line in layout.hierarchy.read(group, "cgroup.procs").split())
        return pids - {subject.pid}

    def read_back(self, subject: Subject) -> Effect:
        layout = self._layout
        if layout is None:
            return Effect(NAME, self.wanted, None, False, "not in force")
        effective: dict[str, Any] = {"cgroup": layout.hierarchy.version}
        problems: list[str] = []
        if self._places.partition:
            state = partition_state(layout)
            effective["partition"] = state
            if state != (self._places.partition if layout.partition else "member"):
                problems.append(f"the partition is {state}")
        tids_of = {
            "render_cpus": (composing_tid(subject),),
            "compositor_cpus": (subject.pid,),
            "client_cpus": tuple(pid for pid in subject.client_pids if pid != subject.pid),
            "other_cpus": self._others(layout),
        }
        for key, tids in tids_of.items():
            wanted = parse_cpus(getattr(self._places, key))
            if wanted:
                self._compare(key, wanted, tids, effective, problems)
        if self._places.mems:
            mems = allowed_mems(subject.pid)
            effective["mems"] = shown_cpus(mems)
            if mems != parse_cpus(self._places.mems):
                problems.append(f"memory nodes are {shown_cpus(mems)}")
        return Effect(NAME, self.wanted, effective, not problems, "; ".join(problems))

    @staticmethod
    def _compare(
        key: str, wanted: frozenset[int], tids: tuple[int, ...], effective: dict[str, Any], problems: list[str]
    ) -> None:
        found: set[frozenset[int]] = set()
        for tid in tids:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found.add(allowed_cpus(tid))
        effective[key] = " and ".join(sorted(shown_cpus(cpus) for cpus in found)) or "(none yet)"
        # Other people's programs may have chosen fewer CPUs for themselves.
        exactly = key in ("render_cpus", "compositor_cpus")
        if any(cpus != wanted if exactly else not cpus <= wanted for cpus in found):
            problems.append(f"{key} are {effective[key]}")

    @staticmethod
    def _others(layout: Layout) -> tuple[int, ...]:
        if not layout.other:
            return ()
        return tuple(int(line) for line in layout.hierarchy.read(layout.other, "cgroup.procs").split())


def _settle(subject: Subject) -> None:
    """Until loop and render thread have run where they may: a sleeping thread stays on its old CPU until it wakes, and
    the kernel judges a later request for deadline scheduling by that CPU's root domain.
    """
    until = time.monotonic() + _SETTLE_S
    waiting = {tid for tid in (subject.loop_tid, subject.render_tid) if tid}
    while subject.wake is not None and time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            waiting = {tid for tid in waiting if proc.last_cpu(tid) not in allowed_cpus(tid)}
        if not waiting:
            return
        subject.wake()
        time.sleep(0.002)


def composing_tid(subject: Subject) -> int:
    """The thread that composes: the loop thread where there is no render thread."""
    return subject.render_tid or subject.loop_tid


def partition_state(layout: Layout) -> str:
    """What the kernel says of the partition: "root", "isolated", "member", or "root invalid (why)"."""
    hierarchy = layout.hierarchy
    if not layout.partition:
        return "member"
    if hierarchy.version == 2:
        return hierarchy.read(layout.partition, "cpuset.cpus.partition")
    # v1 has no such file: a group that shares no CPU, cut off from the root's load balancing.
    if hierarchy.read("", "cpuset.sched_load_balance") != "0":
        return "root invalid (the root group balances over all CPUs)"
    if hierarchy.read(layout.partition, "cpuset.cpu_exclusive") != "1":
        return "root invalid (its CPUs are not exclusive)"
    return "root" if hierarchy.read(layout.partition, "cpuset.sched_load_balance") == "1" else "isolated"


def _explained(error: OSError, hierarchy: Hierarchy) -> tuple[str, ...]:
    """Remedy and reason where more is known than the error's text."""
    file = os.path.basename(error.filename or "")
    if file == "cgroup.subtree_control":
        return (
            "run on the host, or in a container with a cgroup of its own that is empty (systemd: Delegate=cpuset)",
            f"{error.filename}: the kernel lets no group with processes of its own hand on controllers",
        )
    if file == "cpuset.cpus.exclusive" and error.errno == errno.ENOENT:
        return (
            "leave render_cpus out and give the whole compositor the partition by compositor_cpus",
            "a partition for one thread is a remote partition, which needs Linux 6.7",
        )
    if error.errno == errno.EINVAL and hierarchy.version == 1 and file in ("cpuset.cpu_exclusive", "cpuset.cpus"):
        return ("other CPUs, or remove the other groups", f"{error.filename}: other cpusets have some of these CPUs")
    return ()
