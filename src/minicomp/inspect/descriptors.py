"""The fd table of a process: /proc/PID/fd and what /proc/PID/fdinfo says of each (proc(5), filesystems/proc.rst).

An fd that is closed while we look is left out. Sizes are in bytes, times in ns.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from typing import Any

from minicomp.errors import ConfigError, PreconditionError

_ACCESS = {os.O_RDONLY: "r", os.O_WRONLY: "w", os.O_RDWR: "rw"}
_FLAGS = {
    os.O_APPEND: "append",
    os.O_NONBLOCK: "nonblock",
    os.O_CLOEXEC: "cloexec",
    os.O_PATH: "path",
}
_ANON = {  # anon_inode names -> kind
    "[eventfd]": "eventfd",
    "[eventpoll]": "epoll",
    "[timerfd]": "timerfd",
    "[signalfd]": "signalfd",
    "[pidfd]": "pidfd",
    "inotify": "inotify",
    "[fanotify]": "fanotify",
    "[io_uring]": "io_uring",
    "[perf_event]": "perf",
    "[userfaultfd]": "userfaultfd",
    "sync_file": "sync_file",
    "bpf-map": "bpf",
    "bpf-prog": "bpf",
    "bpf_link": "bpf",
}


@dataclass
class Descriptor:
    """One open fd. `group` is the number of the `struct file` it shares with others, 0 where it shares none."""

    fd: int
    kind: str
    link: str  # what /proc/PID/fd/N points to
    inode: int
    access: str
    flags: list[str]
    details: dict[str, Any] = field(default_factory=dict)
    group: int = 0


def read_descriptors(pid: int) -> list[Descriptor]:
    """The open fds of a process by number. Raises ConfigError (no such process), PreconditionError (not allowed)."""
    folder = f"/proc/{pid}/fd"
    try:
        numbers = sorted(int(name) for name in os.listdir(folder))
        found = (_read_one(pid, number) for number in numbers)
        return [descriptor for descriptor in found if descriptor is not None]
    except FileNotFoundError:
        raise ConfigError("there is no such process", where=f"inspect {pid}", todo="ps -e lists them") from None
    except PermissionError:  # also of each fd, when the process has a capability that we have not
        raise PreconditionError(
            "its file descriptors may not be seen",
            where=f"inspect {pid}",
            todo=f"it belongs to {owner_name(pid)}: run this as that user or as root (ptrace access is needed)",
        ) from None


def owner_name(pid: int) -> str:
    """The user a process runs as; its number when it has no name."""
    import pwd

    try:
        uid = os.stat(f"/proc/{pid}").st_uid
        return pwd.getpwuid(uid).pw_name
    except FileNotFoundError:
        return "nobody any more"
    except KeyError:
        return f"uid {uid}"


def command_of(pid: int) -> str:
    """The command line of a process, or its short name in brackets when it has none (kernel threads, zombies)."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().rstrip(b"\0").split(b"\0")
        if words != [b""]:
            return " ".join(word.decode(errors="replace") for word in words)
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return f"[{file.read().strip()}]"
    except OSError:
        return ""


def fd_limit(pid: int) -> int | None:
    """RLIMIT_NOFILE's soft value, or None when it is unlimited or may not be seen."""
    try:
        with open(f"/proc/{pid}/limits", encoding="ascii") as file:
            match = re.search(r"^Max open files\s+(\d+)", file.read(), re.MULTILINE)
    except OSError:
        return None
    return int(match.group(1)) if match else None


def _read_one(pid: int, number: int) -> Descriptor | None:
    path = f"/proc/{pid}/fd/{number}"
    try:
        link = os.readlink(path)
        info = parse_fdinfo(_read_text(f"/proc/{pid}/fdinfo/{number}"))
    except (FileNotFoundError, ProcessLookupError):
        return None  # closed meanwhile
    flags = int(info.pop("flags", "0"), 8)
    kind = kind_of(link, info)
    descriptor = Descriptor(
        fd=number,
        kind=kind,
        link=link,
        inode=int(info.pop("ino", "0")),
        access="" if flags & os.O_PATH else _ACCESS.get(flags & os.O_ACCMODE, "?"),
        flags=[name for bit, name in _FLAGS.items() if flags & bit],
    )
    descriptor.details = _details(path, kind, link, info)
    return descriptor


def _read_text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def parse_fdinfo(text: str) -> dict[str, Any]:
    """The `key: value` lines of an fdinfo file; epoll's targets and inotify's watches as lists of lines."""
    info: dict[str, Any] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if line.startswith("inotify "):
            info.setdefault("watches", []).append(line)
        elif key == "tfd":
            info.setdefault("targets", []).append(line)
        elif colon:
            info[key.strip()] = value.strip()
    return info


def kind_of(link: str, info: dict[str, Any]) -> str:
    """What an fd is, by the name /proc gives it and by what only one kind has in its fdinfo."""
    if "exp_name" in info:
        return "dmabuf"
    if "drm-driver" in info or link.startswith("/dev/dri/"):
        return "drm"
    if link.startswith("socket:["):
        return "socket"
    if link.startswith("pipe:["):
        return "pipe"
    if link.startswith("/memfd:"):
        return "memfd"
    if link.startswith("/dev/shm/"):
        return "shm"
    if link.startswith("anon_inode:"):
        name = link.removeprefix("anon_inode:")
        return _ANON.get(name, name.strip("[]") or "anon")
    if link.startswith("pidfd:"):
        return "pidfd"
    if link.startswith("/dev/input/"):
        return "input"
    if link.startswith(("net:[", "mnt:[", "pid:[", "user:[", "uts:[", "ipc:[", "cgroup:[", "time:[")):
        return "namespace"
    return "device" if link.startswith("/dev/") else "file"


def _details(path: str, kind: str, link: str, info: dict[str, Any]) -> dict[str, Any]:
    """What is worth knowing of this kind; numbers as numbers."""
    if kind == "dmabuf":
        return {
            "size": int(info["size"]),
            "exporter": info["exp_name"],
            # The kernel leaves out the reference that our reading of fdinfo holds.
            "references": int(info["count"]),
            **({"name": info["name"]} if info.get("name") else {}),
        }
    if kind == "memfd":
        return {"name": link.removeprefix("/memfd:").removesuffix(" (deleted)"), **_sizes(path)}
    if kind == "epoll":
        return {"targets": [_epoll_target(line) for line in info.get("targets", [])]}
    if kind == "eventfd":
        return {"count": int(info.get("eventfd-count", "0"), 16)}
    if kind == "timerfd":
        return {
            "clock": int(info.get("clockid", "0")),
            "ticks": int(info.get("ticks", "0")),
            "expires_in_ns": _timespec_ns(info.get("it_value", "(0, 0)")),
            "interval_ns": _timespec_ns(info.get("it_interval", "(0, 0)")),
        }
    if kind == "signalfd":
        return {"signals": _signals(int(info.get("sigmask", "0"), 16))}
    if kind == "drm":
        return {key: value for key, value in info.items() if key.startswith("drm-")}
    if kind == "pidfd":
        return {"pid": int(info.get("Pid", "-1"))}
    if kind == "inotify":
        return {"watches": len(info.get("watches", []))}
    if kind == "socket":
        return {"queued_fds": int(info["scm_fds"])} if "scm_fds" in info else {}
    return _sizes(path) if kind in ("file", "shm") else {}


def _sizes(path: str) -> dict[str, Any]:
    try:
        status = os.stat(path)
    except OSError:
        return {}  # closed meanwhile, or a file system that does not answer us
    if not stat.S_ISREG(status.st_mode):
        return {}
    return {"size": status.st_size, "allocated": status.st_blocks * 512}


def _epoll_target(line: str) -> dict[str, Any]:
    words = re.findall(r"(\w+):\s*(\S+)", line)
    values = dict(words)
    return {"fd": int(values["tfd"]), "events": int(values["events"], 16), "inode": int(values.get("ino", "0"), 16)}


def _timespec_ns(text: str) -> int:
    seconds, nanoseconds = (int(number) for number in re.findall(r"\d+", text)[:2])
    return seconds * 1_000_000_000 + nanoseconds


def _signals(mask: int) -> list[str]:
    import signal

    names = {member.value: member.name for member in signal.Signals}
    return [names.get(number, str(number)) for number in range(1, 65) if mask >> (number - 1) & 1]
