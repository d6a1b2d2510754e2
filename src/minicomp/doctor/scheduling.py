"""Which scheduler classes this process may use: each is tried in a forked child, and read back there.

Rules from sched(7), sched_setattr(2) and Documentation/scheduler/sched-deadline.rst; the EEVDF slice from kernel 6.12's
`sched_runtime` for SCHED_OTHER, which older kernels ignore without an error.
"""

import errno
import os
from collections.abc import Callable, Iterator

from minicomp.doctor import syscalls
from minicomp.doctor.finding import Finding, Purpose, read_text
from minicomp.doctor.memory import has_capability
from minicomp.doctor.syscalls import SCHED_DEADLINE, SCHED_FIFO, SCHED_OTHER, SCHED_RR, SchedAttr

LAB = (Purpose.LAB,)
CAP_SYS_NICE = 23
FRAME_NS = 16_666_667
SLICE_NS = 3_000_000
_OK, _NOT_TAKEN = 0, 255  # exit codes of the child; others are errno


def check() -> Iterator[Finding]:
    """nice, SCHED_FIFO, SCHED_RR, SCHED_DEADLINE, EEVDF slices, sched_ext, real-time throttling."""
    capable = "CAP_SYS_NICE is there" if has_capability(CAP_SYS_NICE) else "no CAP_SYS_NICE"
    rr_todo = "give it CAP_SYS_NICE, or RLIMIT_RTPRIO (systemd: LimitRTPRIO=10, AmbientCapabilities=CAP_SYS_NICE)"
    nice_todo = "give it CAP_SYS_NICE, or RLIMIT_NICE (systemd: LimitNICE=-10)"
    yield _tried("nice -10", SchedAttr(policy=SCHED_OTHER, nice=-10), nice_todo, capable)
    yield _tried("SCHED_FIFO", SchedAttr(policy=SCHED_FIFO, priority=1), rr_todo, capable, LAB)
    yield _tried("SCHED_RR", SchedAttr(policy=SCHED_RR, priority=1), rr_todo, capable)
    yield _deadline(capable)
    slice_todo = "kernel 6.12 or newer: older ones ignore the request without an error"
    yield _tried(
        "EEVDF slice", SchedAttr(policy=SCHED_OTHER, runtime_ns=SLICE_NS), slice_todo, "set to 3 ms, read back"
    )
    yield _sched_ext()
    yield _rt_throttling()


def in_child(action: Callable[[], bool]) -> int:
    """Runs `action` in a forked child: 0 when it returned True, 255 when False, errno when it raised OSError.

    Only a child is ever given the class: a scheduler setting of our own would outlive the check.
    """
    child = os.fork()
    if child == 0:
        code = errno.EFAULT
        try:
            code = _OK if action() else _NOT_TAKEN
        except OSError as error:
            code = error.errno or errno.EFAULT
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def applied_and_read_back(wanted: SchedAttr) -> bool:
    """Gives this thread the class; whether the kernel then says the same of it."""
    wanted.flags = syscalls.SCHED_FLAG_RESET_ON_FORK
    syscalls.sched_setattr(wanted)
    got = syscalls.sched_getattr()
    fields = ("policy", "nice", "priority", "deadline_ns")
    same = all(getattr(got, field) == getattr(wanted, field) for field in fields)
    return same and (not wanted.runtime_ns or got.runtime_ns == wanted.runtime_ns)


def _tried(name: str, wanted: SchedAttr, todo: str, detail: str, needed_for: tuple[Purpose, ...] = ()) -> Finding:
    code = in_child(lambda: applied_and_read_back(wanted))
    if code == _OK:
        return Finding(name, True, f"granted ({detail})", needed_for=needed_for)
    why = "accepted, but not in force when read back" if code == _NOT_TAKEN else f"{_error(code)} ({detail})"
    return Finding(name, False, why, todo, needed_for)


def _deadline(capable: str) -> Finding:
    """1 ms in every frame of 16.7 ms. The three refusals have different cures."""
    wanted = SchedAttr(policy=SCHED_DEADLINE, runtime_ns=1_000_000, deadline_ns=FRAME_NS, period_ns=FRAME_NS)
    code = in_child(lambda: applied_and_read_back(wanted))
    if code == _OK:
        return Finding("SCHED_DEADLINE", True, f"granted, 1 ms in 16.7 ms ({capable})", needed_for=LAB)
    todo = "read dmesg"
    if code == errno.EPERM and not has_capability(CAP_SYS_NICE):
        todo = "CAP_SYS_NICE is always needed (systemd: AmbientCapabilities=CAP_SYS_NICE); RLIMIT_RTPRIO is not enough"
    elif code == errno.EPERM:
        allowed, online = len(os.sched_getaffinity(0)), os.cpu_count() or 0
        todo = (
            f"this process may use {allowed} of {online} CPUs; a deadline thread needs all CPUs of its root domain: "
            "pin it by a cpuset partition, not by affinity"
        )
    elif code == errno.EBUSY:
        todo = "the bandwidth is used up (or kernel.sched_rt_runtime_us is 0): stop other deadline threads"
    elif code == errno.ENOSYS:
        todo = "a kernel with sched_setattr"
    return Finding("SCHED_DEADLINE", False, f"{_error(code)} ({capable})", todo, LAB)


def _error(code: int) -> str:
    return f"{errno.errorcode.get(code, code)}: {os.strerror(code)}"


def _sched_ext() -> Finding:
    state = read_text("/sys/kernel/sched_ext/state")
    if state is None:
        return Finding("sched_ext", True, "not in this kernel")
    scheduler = read_text("/sys/kernel/sched_ext/root/ops") or "unknown"
    why = f"{state}: {scheduler}" if state == "enabled" else state
    return Finding(
        "sched_ext", state != "enabled", why, "a BPF scheduler replaces EEVDF: measurements are about it, not EEVDF"
    )


def _rt_throttling() -> Finding:
    runtime_us = int(read_text("/proc/sys/kernel/sched_rt_runtime_us") or -1)
    period_us = int(read_text("/proc/sys/kernel/sched_rt_period_us") or 1_000_000)
    why = "off: no deadline admission control" if runtime_us < 0 else f"{runtime_us} of {period_us} us"
    return Finding("real-time bandwidth", runtime_us != 0, why, "sysctl kernel.sched_rt_runtime_us=950000")
