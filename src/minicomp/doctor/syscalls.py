"""The system calls that the doctor tries and that neither Python nor glibc 2.36 wraps, through ctypes.

Numbers for x86-64 and for the generic table that all newer architectures share (include/uapi/asm-generic/unistd.h).
Each raises OSError as a wrapped call would.
"""

import ctypes
import os
import platform

_X86_64 = platform.machine() == "x86_64"
_SCHED_SETATTR = 314 if _X86_64 else 274
_SCHED_GETATTR = 315 if _X86_64 else 275
_BPF = 321 if _X86_64 else 280
_IO_URING_SETUP = 425

SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_DEADLINE = 0, 1, 2, 6
SCHED_FLAG_RESET_ON_FORK = 0x01
_BPF_MAP_CREATE, _BPF_MAP_TYPE_ARRAY = 0, 2

_libc = ctypes.CDLL(None, use_errno=True)


class SchedAttr(ctypes.Structure):
    """struct sched_attr of sched_setattr(2); times in nanoseconds."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    ]


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def sched_setattr(attr: SchedAttr) -> None:
    """Gives the calling thread the scheduling in `attr`."""
    attr.size = ctypes.sizeof(attr)
    _call(_SCHED_SETATTR, ctypes.c_int(0), ctypes.byref(attr), ctypes.c_uint(0))


def sched_getattr() -> SchedAttr:
    """The calling thread's scheduling."""
    attr = SchedAttr()
    _call(_SCHED_GETATTR, ctypes.c_int(0), ctypes.byref(attr), ctypes.c_uint(ctypes.sizeof(attr)), ctypes.c_uint(0))
    return attr


def try_io_uring() -> None:
    """Makes an io_uring of one entry and closes it."""
    parameters = ctypes.create_string_buffer(120)  # struct io_uring_params
    os.close(_call(_IO_URING_SETUP, ctypes.c_uint(1), parameters))


def try_bpf() -> None:
    """Makes the smallest BPF map and closes it."""
    attributes = (ctypes.c_uint32 * 18)(_BPF_MAP_TYPE_ARRAY, 4, 4, 1)  # map_type, key_size, value_size, max_entries
    os.close(
        _call(_BPF, ctypes.c_int(_BPF_MAP_CREATE), ctypes.byref(attributes), ctypes.c_uint(ctypes.sizeof(attributes)))
    )
