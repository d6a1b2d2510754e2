"""Which cpuset groups a [knobs.cpuset] table asks for, in cgroup v2 and in v1. Pure: nothing is touched here.

v2. One thread of a process can be elsewhere than the others only inside a *threaded* subtree, whose top holds the
process: `minicomp-PID` becomes "domain threaded" as soon as a child is threaded, and cpuset is one of the controllers
that threaded groups have. A partition of such a child is a *remote* partition (Linux 6.7): its CPUs are reserved by
`cpuset.cpus.exclusive` from the top down, its parent stays a member. Without render_cpus `minicomp-PID` itself is the
partition, which older kernels have, too. A partition takes its CPUs from everybody else by itself.

v1. Groups lie side by side and hold threads as they like. There are no partitions, but the same comes of
`cpu_exclusive` and of switching load balancing off in the root group: the scheduler then makes a root domain of each
group. Since tasks left in the root group would no longer be balanced at all, everything else gets a group, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from minicomp.lab.knobs.cgroup import Hierarchy, parse_cpus, shown_cpus
from minicomp.lab.knobs.cgroup_operations import WriteCgroup

if TYPE_CHECKING:
    from minicomp.config.knobs import CpusetKnobs


class Places(NamedTuple):
    """A [knobs.cpuset] table with its lists as the kernel takes them; "" is no change."""

    partition: str
    render_cpus: str
    compositor_cpus: str
    client_cpus: str
    other_cpus: str
    mems: str

    @classmethod
    def of(cls, settings: CpusetKnobs) -> Places:
        return cls(*("" if getattr(settings, name) is None else str(getattr(settings, name)) for name in cls._fields))


class Group(NamedTuple):
    name: str
    files: tuple[tuple[str, str], ...]  # written in this order


class Layout(NamedTuple):
    """The groups in the order in which they are made; who goes where, "" for staying where it is."""

    hierarchy: Hierarchy
    before: tuple[WriteCgroup, ...]
    groups: tuple[Group, ...]
    after: tuple[WriteCgroup, ...]
    render: str = ""
    compositor: str = ""  # the whole process
    compositor_threads: str = ""  # v2: and then its threads one by one
    clients: str = ""
    other: str = ""
    partition: str = ""  # the group that is one


def layout_for(hierarchy: Hierarchy, places: Places, pid: int, online: frozenset[int]) -> Layout:
    """The layout for the compositor `pid` on a machine with these CPUs."""
    layout = _layout_v2 if hierarchy.version == 2 else _layout_v1
    return layout(hierarchy, places, f"minicomp-{pid}", online)


def _partition(places: Places) -> str:
    return places.partition if places.partition in ("root", "isolated") else ""


def _layout_v2(hierarchy: Hierarchy, places: Places, base: str, online: frozenset[int]) -> Layout:
    partition = _partition(places)
    mems = (("cpuset.mems", places.mems),) if places.mems else ()
    groups: list[Group] = []
    after: list[WriteCgroup] = []
    layout = Layout(hierarchy, (WriteCgroup("", "cgroup.subtree_control", "+cpuset"),), (), ())
    if places.render_cpus:
        render = f"{base}/render"
        both = parse_cpus(places.compositor_cpus) | parse_cpus(places.render_cpus)
        top = shown_cpus(both if places.compositor_cpus else online)
        exclusive = (("cpuset.cpus.exclusive", places.render_cpus),) if partition else ()
        groups.append(Group(base, (("cpuset.cpus", top), *mems, *exclusive)))
        groups.append(Group(render, (("cgroup.type", "threaded"),)))
        after.append(WriteCgroup(base, "cgroup.subtree_control", "+cpuset"))
        after.append(WriteCgroup(render, "cpuset.cpus", places.render_cpus))
        layout = layout._replace(render=render, compositor=base)
        if partition:
            after += [WriteCgroup(render, *file) for file in exclusive]
            after.append(WriteCgroup(render, "cpuset.cpus.partition", partition))
            layout = layout._replace(partition=render)
        elif places.compositor_cpus:  # else they would have the render thread's CPUs as well
            rest = f"{base}/compositor"
            groups.append(Group(rest, (("cgroup.type", "threaded"),)))
            after.append(WriteCgroup(rest, "cpuset.cpus", places.compositor_cpus))
            layout = layout._replace(compositor_threads=rest)
    elif places.compositor_cpus or places.mems:
        cpus = (("cpuset.cpus", places.compositor_cpus),) if places.compositor_cpus else ()
        groups.append(Group(base, (*cpus, *mems)))
        layout = layout._replace(compositor=base)
        if partition:
            after.append(WriteCgroup(base, "cpuset.cpus.partition", partition))
            layout = layout._replace(partition=base)
    if places.client_cpus or layout.compositor:  # what the compositor starts must not stay in its group
        clients = f"{base}-clients"
        cpus = (("cpuset.cpus", places.client_cpus),) if places.client_cpus else ()
        groups.append(Group(clients, (*cpus, *mems)))
        layout = layout._replace(clients=clients)
    if places.other_cpus:
        other = f"{base}-other"
        groups.append(Group(other, (("cpuset.cpus", places.other_cpus),)))
        layout = layout._replace(other=other)
    return layout._replace(groups=tuple(groups), after=tuple(after))


def _layout_v1(hierarchy: Hierarchy, places: Places, base: str, online: frozenset[int]) -> Layout:
    partition = _partition(places)
    mems = places.mems or hierarchy.read("", "cpuset.mems")
    taken = parse_cpus(places.render_cpus or places.compositor_cpus) if partition else frozenset()
    rest = shown_cpus(online - taken)
    groups: list[Group] = []
    layout = Layout(hierarchy, (), (), ())

    def add(name: str, cpus: str) -> str:
        # A group without CPUs or nodes takes no tasks.
        groups.append(Group(name, (("cpuset.cpus", cpus), ("cpuset.mems", mems))))
        return name

    if places.other_cpus or partition:
        layout = layout._replace(other=add(f"{base}-other", places.other_cpus or rest))
    if places.compositor_cpus or places.mems:
        layout = layout._replace(compositor=add(base, places.compositor_cpus or rest))
    if places.render_cpus:
        layout = layout._replace(render=add(f"{base}-render", places.render_cpus))
    if places.client_cpus or layout.compositor:
        layout = layout._replace(clients=add(f"{base}-clients", places.client_cpus or rest))
    after: list[WriteCgroup] = []
    if partition:
        target = layout.render or layout.compositor
        after.append(WriteCgroup(target, "cpuset.cpu_exclusive", "1"))
        if partition == "isolated":
            after.append(WriteCgroup(target, "cpuset.sched_load_balance", "0"))
        after.append(WriteCgroup("", "cpuset.sched_load_balance", "0"))
        layout = layout._replace(partition=target)
    return layout._replace(groups=tuple(groups), after=tuple(after))
