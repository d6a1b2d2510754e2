"""sched_setattr(2) and sched_getattr(2) on any thread, prctl(2), mlockall(2) and capset(2), through ctypes: Python
wraps none of them.

Numbers for x86-64 and for the generic table of newer architectures (include/uapi/asm-generic/unistd.h); struct and
flags from include/uapi/linux/sched.h and sched/types.h. Errors are OSError.
"""

from __future__ import annotations

import ctypes
import os
import platform

SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_DEADLINE = 0, 1, 2, 6
CLASS_NAMES = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline", 7: "ext"}

RESET_ON_FORK = 0x01
RECLAIM = 0x02
DL_OVERRUN = 0x04
KEEP_POLICY = 0x08
KEEP_PARAMS = 0x10
UTIL_CLAMP_MIN = 0x20

_CAPABILITY_VERSION_3 = 0x20080522

_X86_64 = platform.machine() == "x86_64"
_SCHED_SETATTR = 314 if _X86_64 else 274
_SCHED_GETATTR = 315 if _X86_64 else 275

_libc = ctypes.CDLL(None, use_errno=True)


class SchedAttr(ctypes.Structure):
    """struct sched_attr; times in nanoseconds. `runtime_ns` of class other is the EEVDF slice (kernel 6.12)."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
        ("util_min", ctypes.c_uint32),
        ("util_max", ctypes.c_uint32),
    ]


def sched_setattr(tid: int, attr: SchedAttr) -> None:
    """Gives a thread (0: the calling one) the scheduling in `attr`."""
    attr.size = ctypes.sizeof(attr)
    _checked(_libc.syscall(ctypes.c_long(_SCHED_SETATTR), ctypes.c_int(tid), ctypes.byref(attr), ctypes.c_uint(0)))


def sched_getattr(tid: int) -> SchedAttr:
    """A thread's scheduling (0: the calling one)."""
    attr = SchedAttr()
    size = ctypes.c_uint(ctypes.sizeof(attr))
    _checked(
        _libc.syscall(ctypes.c_long(_SCHED_GETATTR), ctypes.c_int(tid), ctypes.byref(attr), size, ctypes.c_uint(0))
    )
    return attr


def prctl(option: int, *arguments: int) -> int:
    padded = [*arguments, 0, 0, 0, 0][:4]
    return _checked(_libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(value) for value in padded)))


def mlockall(flags: int) -> None:
    """Flags 0: munlockall."""
    _checked(_libc.mlockall(ctypes.c_int(flags)) if flags else _libc.munlockall())


def capset_none() -> None:
    """Empties the calling thread's effective, permitted and inheritable capability sets."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _checked(_libc.capset(header, nothing))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
