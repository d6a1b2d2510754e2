"""Why the kernel refuses a scheduling request, and what to do: its error codes alone do not tell causes apart.

Rules from sched(7), sched_setattr(2) and kernel/sched/{syscalls,deadline}.c.
"""

from __future__ import annotations

import errno
import os

from minicomp.lab.knobs import proc
from minicomp.lab.knobs.knob import KnobRefused, refused
from minicomp.lab.knobs.operations import read_file

NICE_REMEDY = (
    "give it CAP_SYS_NICE (systemd: AmbientCapabilities=CAP_SYS_NICE), let the helper do it, or for other, fifo and rr "
    "raise RLIMIT_NICE or RLIMIT_RTPRIO"
)


def scheduling_refused(knob: str, wanted: object, policy: str, tid: int, error: OSError) -> KnobRefused:
    """The refusal of one sched_setattr, in words. `policy` as in the configuration."""
    reason, remedy = _explained(policy, tid, error.errno or 0)
    return refused(knob, wanted, error, remedy, reason)


def _explained(policy: str, tid: int, number: int) -> tuple[str, str]:
    if number == errno.EPERM:
        return _not_permitted(policy, tid)
    if number == errno.EBUSY and policy == "deadline":
        runtime, period = _rt_bandwidth()
        if runtime == 0:
            return "kernel.sched_rt_runtime_us is 0: no deadline bandwidth at all", "set knobs.system.rt_runtime_us"
        return (
            f"all deadline threads of the root domain may use {runtime / period:.0%} of its CPUs, which this exceeds",
            "a shorter runtime, a longer period, a larger cpuset partition, or fewer deadline threads",
        )
    if number == errno.EAGAIN:
        return (
            "a deadline thread may not make threads",
            "RESET_ON_FORK is always asked for here: something else has set this thread's class",
        )
    if number == errno.EINVAL and policy == "deadline":
        return (
            "the kernel wants 1024 ns <= runtime <= deadline <= period, and the period within "
            f"{_sysctl('sched_deadline_period_min_us')} to {_sysctl('sched_deadline_period_max_us')} us",
            "correct runtime_us, deadline_us, period_us",
        )
    if number == errno.EINVAL and policy in ("fifo", "rr"):
        return (
            f"class {policy} has priorities from 1 to 99",
            "correct priority; is it a real-time cgroup without runtime?",
        )
    if number == errno.ESRCH:
        return "the thread has ended", "start minicomp again"
    return os.strerror(number), "`minicomp doctor --for lab` says what is possible here"


def _not_permitted(policy: str, tid: int) -> tuple[str, str]:
    if policy == "deadline" and proc.has_capability(proc.CAP_SYS_NICE):
        allowed = proc.status_line(tid, "Cpus_allowed_list")
        online = read_file("/sys/devices/system/cpu/online")
        return (
            f"the thread may run on CPUs {allowed} only, and a deadline thread needs all CPUs of its root domain "
            f"(online: {online})",
            "pin it by a cpuset partition (knobs.cpuset.partition = root), not by affinity",
        )
    if policy == "deadline":
        return "deadline always takes CAP_SYS_NICE; no resource limit stands in for it", NICE_REMEDY
    if policy in ("fifo", "rr") and proc.has_capability(proc.CAP_SYS_NICE):
        return (
            "the thread's real-time group has no runtime (CONFIG_RT_GROUP_SCHED)",
            "cgroup v1: write microseconds to its cpu.rt_runtime_us, or run minicomp in the root group",
        )
    limit = {"fifo": "RLIMIT_RTPRIO", "rr": "RLIMIT_RTPRIO", "other": "RLIMIT_NICE"}[policy]
    return f"it takes CAP_SYS_NICE or a higher {limit}", NICE_REMEDY


def _rt_bandwidth() -> tuple[int, int]:
    period = _sysctl("sched_rt_period_us")
    runtime = _sysctl("sched_rt_runtime_us")
    return (period if runtime < 0 else runtime), period


def _sysctl(name: str) -> int:
    try:
        return int(read_file(f"/proc/sys/kernel/{name}"))
    except (OSError, ValueError):
        return 0
