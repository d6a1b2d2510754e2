"""What the tests of the kernel's trace share: whether it may be used here, hogs, and the deadline class from outside."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minicomp.lab.kernel.attach import Collector
from minicomp.lab.kernel.events import result_path
from tests.headless.traced import Traced, Window

SYS_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
SCHED_DEADLINE, RESET_ON_FORK, DL_OVERRUN = 6, 0x01, 0x04
_libc = ctypes.CDLL(None, use_errno=True)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="tracing the kernel and real-time classes need root")

_HOG = """
import os, sys, time
cpu, bursts, length_s, quiet_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
os.sched_setaffinity(0, {cpu})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
time.sleep(quiet_s)  # the trace tells the class that a program had when it was switched in
for _ in range(bursts):
    begin = time.monotonic_ns()
    while time.monotonic_ns() < begin + length_s * 1e9:
        pass
    print(begin, time.monotonic_ns(), flush=True)
    time.sleep(quiet_s)
"""


@contextmanager
def kernel_trace(run: Traced, method: str = "tracefs") -> Iterator[Collector]:
    """Records the kernel's side of a run; the file is complete when the block is left."""
    threads = {"mc-loop": run.tid(0), "mc-render": run.tid(1)}
    collector = Collector(result_path(run.path), method)
    collector.record(os.getpid(), threads)
    try:
        yield collector
    finally:
        collector.stop()
        collector.close()


def hog(cpu: int, bursts: int, length_s: float = 0.03, quiet_s: float = 0.12) -> list[Window]:
    """Keeps a CPU from everything of a lower class, in bursts; when they were."""
    command = [sys.executable, "-c", _HOG, str(cpu), str(bursts), str(length_s), str(quiet_s)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    return [(int(begin), int(end)) for begin, end in (line.split() for line in said.splitlines())]


def set_deadline(tid: int, runtime_us: int, period_us: int, flags: int = 0) -> None:
    """SCHED_DEADLINE for a thread (sched_setattr(2)); OSError with the kernel's reason."""
    times = (runtime_us * 1000, period_us * 1000, period_us * 1000)
    attributes = struct.pack("<IIQiIQQQII", 56, SCHED_DEADLINE, RESET_ON_FORK | flags, 0, 0, *times, 0, 0)
    number = SYS_SCHED_SETATTR[os.uname().machine]
    if _libc.syscall(number, tid, ctypes.c_char_p(attributes), 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def instances() -> list[str]:
    """Trace instances of ours that are left, seen from a mount namespace of its own."""
    program = (
        "from minicomp.lab.kernel.tracefs import *; mount_privately();"
        "print(*[p.name for p in (TRACEFS / 'instances').glob(PREFIX + '*')])"
    )
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()


def tracefs_is_mounted() -> bool:
    return " tracefs " in Path("/proc/self/mounts").read_text()
