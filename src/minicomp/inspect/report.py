"""Everything known of a process's fds put together, and written as a table or as JSON."""

from __future__ import annotations

import os
import select
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from minicomp.inspect.descriptors import Descriptor, command_of, fd_limit, read_descriptors
from minicomp.inspect.sharing import NotAvailable, Owner, same_files
from minicomp.inspect.sockets import Socket, find_holders, read_sockets

_EPOLL_NAMES = {
    select.EPOLLIN: "in",
    select.EPOLLPRI: "pri",
    select.EPOLLOUT: "out",
    select.EPOLLRDHUP: "rdhup",
    select.EPOLLET: "edge",
    select.EPOLLONESHOT: "oneshot",
    select.EPOLLEXCLUSIVE: "exclusive",
}
_CLOCKS = {0: "realtime", 1: "monotonic", 7: "boottime", 8: "realtime alarm", 9: "boottime alarm"}


@dataclass
class Report:
    """`groups` are fds of one struct file each, as (pid, fd); group n is groups[n - 1]."""

    pid: int
    command: str
    fd_limit: int | None
    descriptors: list[Descriptor]
    groups: list[list[Owner]] = field(default_factory=list)
    sharing_unknown: str = ""  # why groups are not known
    commands: dict[int, str] = field(default_factory=dict)  # of the other processes in groups and at sockets' ends


def inspect_process(pid: int, others: list[int]) -> Report:
    """Looks at process `pid`; struct files are compared within it, with ours and with those of `others`."""
    descriptors = read_descriptors(pid)
    report = Report(pid, command_of(pid), fd_limit(pid), descriptors)
    _add_sockets(report)
    _add_groups(report, others)
    return report


def _add_sockets(report: Report) -> None:
    ends = [descriptor for descriptor in report.descriptors if descriptor.kind == "socket"]
    if not ends:
        return
    sockets = read_sockets(report.pid)
    known = {end.fd: sockets[_socket_inode(end)] for end in ends if _socket_inode(end) in sockets}
    holders = find_holders({found.peer for found in known.values() if found.peer})
    for end in ends:
        found = known.get(end.fd)
        if found is None:
            continue  # a family that has no table
        end.details = {**_socket_details(found), **end.details}
        if found.peer:
            end.details["peers"] = [{"pid": pid, "fd": fd} for pid, fd in holders[found.peer]]
            report.commands.update((pid, command_of(pid)) for pid, _ in holders[found.peer] if pid != report.pid)


def _socket_inode(descriptor: Descriptor) -> int:
    return int(descriptor.link.removeprefix("socket:[").removesuffix("]"))


def _socket_details(found: Socket) -> dict[str, Any]:
    """Only what is known; a listening socket's queue is of connections, not bytes."""
    details = {key: value for key, value in asdict(found).items() if value not in (None, "") and key != "inode"}
    if found.state == "listening" and "received" in details:
        details["waiting_connections"] = details.pop("received")
    return details


def _add_groups(report: Report, others: list[int]) -> None:
    owners: list[Owner] = [(report.pid, descriptor.fd) for descriptor in report.descriptors]
    for pid in dict.fromkeys([os.getpid(), *others]):
        if pid != report.pid:
            owners += [(pid, descriptor.fd) for descriptor in read_descriptors(pid)]
    try:
        groups = same_files(owners)
    except NotAvailable as error:
        report.sharing_unknown = str(error)
        return
    mine = [group for group in groups if any(pid == report.pid for pid, _ in group)]
    report.groups = sorted(mine, key=lambda group: min(fd for pid, fd in group if pid == report.pid))
    numbers = {owner: number for number, group in enumerate(report.groups, 1) for owner in group}
    for descriptor in report.descriptors:
        descriptor.group = numbers.get((report.pid, descriptor.fd), 0)
    report.commands.update((pid, command_of(pid)) for pid, _ in numbers if pid != report.pid)


# ---- writing ----


def as_dict(report: Report) -> dict[str, Any]:
    """For JSON: nothing but lists, dicts, strings and numbers."""
    return {
        "pid": report.pid,
        "command": report.command,
        "fd_limit": report.fd_limit,
        "fds": [asdict(descriptor) for descriptor in report.descriptors],
        "shared_files": [[{"pid": pid, "fd": fd} for pid, fd in group] for group in report.groups],
        "shared_files_unknown": report.sharing_unknown,
        "commands": {str(pid): command for pid, command in sorted(report.commands.items())},
    }


def as_table(report: Report) -> str:
    """For people: one line an fd, then the shared files, then the sums."""
    rows = [("FD", "KIND", "MODE", "SHARED", "WHAT")]
    rows += [
        (str(d.fd), d.kind, d.access, f"#{d.group}" if d.group else "", describe(d, report)) for d in report.descriptors
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    title = f"{report.command or 'process'} (pid {report.pid}): {len(report.descriptors)} open"
    lines = [title + (f" of at most {report.fd_limit}" if report.fd_limit is not None else ""), ""]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip() for row in rows
    ]
    lines += ["", *_shared_lines(report), _sums(report)]
    return "\n".join(lines)


def _shared_lines(report: Report) -> list[str]:
    if report.sharing_unknown:
        return [f"shared struct files: unknown: {report.sharing_unknown}", ""]
    if not report.groups:
        return ["no struct file is shared", ""]
    lines = ["shared struct files (by dup, fork or SCM_RIGHTS):"]
    for number, group in enumerate(report.groups, 1):
        parts = [f"fd {fd}" if pid == report.pid else f"{_who(pid, report)} fd {fd}" for pid, fd in group]
        lines.append(f"  #{number}  {' = '.join(parts)}")
    return [*lines, ""]


def _sums(report: Report) -> str:
    counts = Counter(descriptor.kind for descriptor in report.descriptors)
    text = "sum: " + ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    total = sum(d.details["size"] for d in {d.inode: d for d in report.descriptors if d.kind == "dmabuf"}.values())
    return text + (f"; dma-bufs hold {size_text(total)}" if counts["dmabuf"] else "")


def _who(pid: int, report: Report) -> str:
    if pid == os.getpid():
        return "this inspect's"
    command = report.commands.get(pid, "")
    return f"{os.path.basename(command.split(' ')[0]) or 'process'} (pid {pid})"


def size_text(count: int) -> str:
    """Bytes in the largest binary unit that leaves a number of at least 1."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    unit = 0
    while value >= 1024 and unit < len(units) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.4g} {units[unit]}"


def describe(descriptor: Descriptor, report: Report) -> str:
    """The last column: what this fd is, in words."""
    details = descriptor.details
    if descriptor.kind == "dmabuf":
        name = f' "{details["name"]}"' if "name" in details else ""
        return f"{size_text(details['size'])} from {details['exporter']}{name}, {details['references']} references"
    if descriptor.kind == "memfd":
        return f"{details['name']} {_memory(details)}".rstrip()
    if descriptor.kind == "epoll":
        return _epoll_text(descriptor, report)
    if descriptor.kind == "eventfd":
        return f"count {details['count']}"
    if descriptor.kind == "timerfd":
        return _timer_text(details)
    if descriptor.kind == "signalfd":
        return " ".join(details["signals"])
    if descriptor.kind == "socket":
        return _socket_text(descriptor, report)
    if descriptor.kind == "drm":
        driver = details.get("drm-driver", "")
        return f"{descriptor.link} {driver}".rstrip()
    if descriptor.kind == "pidfd":
        return f"process {details['pid']}"
    if descriptor.kind == "inotify":
        return f"{details['watches']} watches"
    return f"{descriptor.link} {_memory(details)}".rstrip()


def _memory(details: dict[str, Any]) -> str:
    return f"({size_text(details['size'])}, {size_text(details['allocated'])} in use)" if "size" in details else ""


def _timer_text(details: dict[str, Any]) -> str:
    clock = _CLOCKS.get(details["clock"], f"clock {details['clock']}")
    if details["expires_in_ns"] == 0:
        return f"{clock}, not armed"
    every = f", then every {details['interval_ns'] / 1e6:g} ms" if details["interval_ns"] else ""
    return f"{clock}, in {details['expires_in_ns'] / 1e6:.3f} ms{every}"


def _epoll_text(descriptor: Descriptor, report: Report) -> str:
    """Targets by fd and kind. A target whose fd is closed or is another file now stays in epoll while a dup lives."""
    open_now = {other.fd: other for other in report.descriptors}
    parts = []
    for target in descriptor.details["targets"]:
        other = open_now.get(target["fd"])
        if other is None:
            what = "closed"
        elif target["inode"] and other.inode and target["inode"] != other.inode:
            what = "closed, the number is another file's"
        else:
            what = other.kind
        events = "+".join(name for bit, name in _EPOLL_NAMES.items() if target["events"] & bit & 0xFFFFFFFF)
        parts.append(f"{target['fd']} {what} ({events or 'nothing'})")
    return "watches " + ", ".join(parts) if parts else "watches nothing"


def _socket_text(descriptor: Descriptor, report: Report) -> str:
    details = descriptor.details
    if "family" not in details:
        return descriptor.link
    parts = [" ".join(part for part in (details["family"], details.get("type"), details.get("state")) if part)]
    if "path" in details:
        parts.append(details["path"])
    if "peers" in details:
        ends = [
            f"{_who(p['pid'], report)} fd {p['fd']}" if p["pid"] != report.pid else f"own fd {p['fd']}"
            for p in details["peers"]
        ]
        parts.append("to " + " = ".join(ends) if ends else f"to socket {details['peer']}, held by nobody we may see")
    if "waiting_connections" in details:
        parts.append(f"{details['waiting_connections']} connections waiting")
    for key, text in (("received", "to read"), ("sent", "unread by the other end")):
        if details.get(key):
            parts.append(f"{size_text(details[key])} {text}")
    if details.get("queued_fds"):
        parts.append(f"{details['queued_fds']} fds queued")
    return ", ".join(parts)
