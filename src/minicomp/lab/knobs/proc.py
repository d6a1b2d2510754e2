"""What /proc says of threads and processes: the second, independent way in which effects are read back."""

from __future__ import annotations

import re

CAP_SETPCAP, CAP_IPC_LOCK, CAP_SYS_NICE, CAP_SYS_RESOURCE = 8, 14, 23, 24  # linux/capability.h


def status_line(tid: int | str, name: str) -> str:
    """One line of /proc/TID/status ("self": this process), without its name; "" when there is no such line."""
    with open(f"/proc/{tid}/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(f"{name}:"):
                return line.partition(":")[2].strip()
    return ""


def has_capability(number: int) -> bool:
    """Whether this process has the capability `number` of linux/capability.h in effect."""
    return bool(int(status_line("self", "CapEff") or "0", 16) >> number & 1)


def started(tid: int) -> int:
    """When a thread was started, in clock ticks since boot: with its id, what no other thread ever has."""
    return _stat_number(tid, 22)


def last_cpu(tid: int) -> int:
    """The CPU that a thread runs on, or ran on last: where the scheduler keeps it while it sleeps."""
    return _stat_number(tid, 39)


def is_kernel_thread(pid: int) -> bool:
    """PF_KTHREAD: it is not asked to move; many are bound to their CPU. Raises OSError when it has ended."""
    return bool(_stat_number(pid, 9) & 0x00200000)


def sched_values(pid: int, tid: int) -> dict[str, float]:
    """/proc/PID/task/TID/sched: `policy`, `prio`, `se.slice` (ns), `dl.runtime` (what is left, ns), ... Empty when the
    kernel has no CONFIG_SCHED_DEBUG.
    """
    try:
        with open(f"/proc/{pid}/task/{tid}/sched", encoding="utf-8", errors="replace") as file:
            return {name: float(value) for name, value in re.findall(r"^(\S+)\s*:\s*(-?[\d.]+)$", file.read(), re.M)}
    except FileNotFoundError:
        return {}


def _stat_number(tid: int, field: int) -> int:
    """A field of /proc/TID/stat, counted from 1 as in proc(5); what follows the name, which may hold anything, is 3."""
    with open(f"/proc/{tid}/stat", encoding="utf-8", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[field - 3])
