"""unshare(2) and setns(2) of the probes' own process (Python 3.11 has neither)."""

from __future__ import annotations

import ctypes
import os
from typing import NoReturn

from minicomp.lab.probes.probe import Missing
from minicomp.lab.probes.processes import answer_of, drop_root

FLAGS = {
    "pid": 0x20000000,
    "mnt": 0x00020000,
    "net": 0x40000000,
    "user": 0x10000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "cgroup": 0x02000000,
    "time": 0x00000080,
}
"""CLONE_NEW*, by the name in /proc/PID/ns."""
_libc = ctypes.CDLL(None, use_errno=True)


def unshare(*kinds: str) -> None:
    flags = 0
    for kind in kinds:
        flags |= FLAGS[kind]
    if _libc.unshare(flags) != 0:
        _failed(f"unshare {' '.join(kinds)}")


def enter_network(pid: int) -> None:
    """The network namespace of another process."""
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        if _libc.setns(fd, FLAGS["net"]) != 0:
            _failed("setns")
    finally:
        os.close(fd)


def allowed(*kinds: str) -> Missing | None:
    code, said = answer_of(lambda: unshare(*kinds))
    return Missing(said, "CAP_SYS_ADMIN, and a kernel with these namespaces") if code else None


def user_allowed() -> Missing | None:
    """User namespaces for users without privileges."""

    def try_it() -> None:
        drop_root()
        unshare("user")

    code, said = answer_of(try_it)
    needed = "CONFIG_USER_NS; not 0: user.max_user_namespaces, kernel.unprivileged_userns_clone; "
    needed += "0: kernel.apparmor_restrict_unprivileged_userns"
    return Missing(said, needed) if code else None


def _failed(what: str) -> NoReturn:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")
