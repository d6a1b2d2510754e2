"""Which fds are one `struct file`: kcmp(2) with KCMP_FILE, over several processes.

Two fds with the same open file share its flags and position, and one dma-buf or socket; they came about by dup, fork or
SCM_RIGHTS. kcmp orders struct files by their (scrambled) addresses, so sorting finds the groups in n log n calls.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
from collections.abc import Sequence

_KCMP_FILE = 0
_UNORDERED = 3  # not the same, and nothing more is known
_NUMBERS = {"x86_64": 312, "aarch64": 272, "riscv64": 272, "armv7l": 378, "i686": 349, "ppc64le": 354, "s390x": 343}

Owner = tuple[int, int]
"""A process and one of its fds."""


class NotAvailable(Exception):
    """kcmp cannot be used; the text says why."""


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def compare_files(first: Owner, second: Owner) -> int:
    """0 when both are one struct file, else -1 or 1 in an order that is stable until the next boot.

    Raises NotAvailable, or ProcessLookupError when a process or fd is gone.
    """
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise NotAvailable(f"kcmp's number on {platform.machine()} is not known here")
    result = _libc().syscall(
        ctypes.c_long(number),
        ctypes.c_int(first[0]),
        ctypes.c_int(second[0]),
        ctypes.c_int(_KCMP_FILE),
        ctypes.c_ulong(first[1]),
        ctypes.c_ulong(second[1]),
    )
    if result >= 0:
        return {0: 0, 1: -1, 2: 1, _UNORDERED: 1}[result]
    error = ctypes.get_errno()
    if error in (errno.ESRCH, errno.EBADF):
        raise ProcessLookupError(error, os.strerror(error))
    if error in (errno.EPERM, errno.EACCES):
        raise NotAvailable(f"kcmp of processes {first[0]} and {second[0]} needs ptrace access to both")
    raise NotAvailable(f"kcmp: {os.strerror(error)} (a kernel without CONFIG_KCMP?)")


def same_files(owners: Sequence[Owner]) -> list[list[Owner]]:
    """The groups of two or more that share a struct file. Those that are gone are left out. Raises NotAvailable."""
    there = [owner for owner in owners if _exists(owner)]
    groups: list[list[Owner]] = []
    for owner in sorted(there, key=functools.cmp_to_key(_compare_or_apart)):
        if groups and _compare_or_apart(groups[-1][0], owner) == 0:
            groups[-1].append(owner)
        else:
            groups.append([owner])
    return [sorted(group) for group in groups if len(group) > 1]


def _exists(owner: Owner) -> bool:
    try:
        return compare_files(owner, owner) == 0
    except ProcessLookupError:
        return False


def _compare_or_apart(first: Owner, second: Owner) -> int:
    try:
        return compare_files(first, second)
    except ProcessLookupError:
        return -1 if first < second else 1
