"""knobs.system: timer slack, idle latency, frequency governor, autogroup, real-time bandwidth, utilization clamp.

Autogroup, bandwidth and governor are the whole machine's: the helper writes them, and one compositor at a time. See
docs/knobs.md for what each means for a frame.
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicomp.lab.knobs import proc, syscalls
from minicomp.lab.knobs.knob import Effect, Hands, Knob, KnobRefused, Subject, refused
from minicomp.lab.knobs.latency_operations import DEVICE, HoldCpuLatency
from minicomp.lab.knobs.operations import WriteFile, know_file, read_file
from minicomp.lab.knobs.thread_operations import SetScheduling, SetTimerSlack, timer_slack_ns

if TYPE_CHECKING:
    from minicomp.config.knobs import KnobSettings

AUTOGROUP = "/proc/sys/kernel/sched_autogroup_enabled"
RT_RUNTIME = "/proc/sys/kernel/sched_rt_runtime_us"
CPUFREQ = Path("/sys/devices/system/cpu/cpufreq")

know_file(AUTOGROUP, "[01]")
know_file(RT_RUNTIME, "-1|[0-9]{1,7}")
know_file(r"/sys/devices/system/cpu/cpufreq/policy[0-9]+/scaling_governor", "[a-z_]{1,32}")


def knobs(settings: KnobSettings) -> list[Knob]:
    """The keys of [knobs.system] that are set."""
    system = settings.system
    found: list[Knob] = []
    if system.autogroup is not None:
        found.append(KernelFile("knobs.system.autogroup", system.autogroup, AUTOGROUP, str(int(system.autogroup))))
    if system.rt_runtime_us is not None:
        found.append(
            KernelFile("knobs.system.rt_runtime_us", system.rt_runtime_us, RT_RUNTIME, str(system.rt_runtime_us))
        )
    if system.governor is not None:
        found.append(Governor(system.governor))
    if system.cpu_dma_latency_us is not None:
        found.append(CpuLatency(system.cpu_dma_latency_us))
    if system.timer_slack_ns is not None:
        found.append(TimerSlack(system.timer_slack_ns))
    if system.uclamp_min is not None:
        found.append(UtilClamp(system.uclamp_min))
    return found


class KernelFile(Knob):
    """One of the machine's settings that is a file with one value. Read back from the file."""

    def __init__(self, name: str, wanted: Any, path: str, text: str) -> None:
        super().__init__(name, wanted)
        self.path = path
        self.text = text

    def apply(self, subject: Subject, hands: Hands) -> None:
        if not os.path.exists(self.path):
            raise KnobRefused(self.name, self.wanted, errno.ENOENT, f"this kernel has no {self.path}", "another kernel")
        try:
            hands.do(self.name, WriteFile(self.path, self.text))
        except OSError as error:
            raise refused(self.name, self.wanted, error, *self._explained(error)) from None

    def read_back(self, subject: Subject) -> Effect:
        try:
            now = read_file(self.path)
        except OSError as error:
            return Effect(self.name, self.wanted, None, False, f"{self.path}: {error.strerror}")
        effective = type(self.wanted)(int(now)) if isinstance(self.wanted, int) else now
        return Effect(self.name, self.wanted, effective, now == self.text, "" if now == self.text else "it was changed")

    def _explained(self, error: OSError) -> tuple[str, ...]:
        """Remedy and reason where more is known than the error's text."""
        if self.path == RT_RUNTIME and error.errno == errno.EBUSY:
            return ("end them first", "the deadline threads that run have been granted more than that")
        if self.path == RT_RUNTIME and error.errno == errno.EINVAL:
            period = read_file("/proc/sys/kernel/sched_rt_period_us")
            if int(self.text) > int(period):
                return ("a smaller value", f"it must not exceed kernel.sched_rt_period_us = {period}")
            remedy = "lower the groups' first (cgroup v1: cpu.rt_runtime_us)"
            return (remedy, "real-time groups have been granted more than that (CONFIG_RT_GROUP_SCHED)")
        return ()


class Governor(Knob):
    """The cpufreq governor of every CPU. Ramping up a frequency looks like scheduler jitter."""

    def __init__(self, wanted: str) -> None:
        super().__init__("knobs.system.governor", wanted)

    @staticmethod
    def _files() -> list[Path]:
        return sorted(CPUFREQ.glob("policy*/scaling_governor"))

    def apply(self, subject: Subject, hands: Hands) -> None:
        files = self._files()
        if not files:
            reason = "this machine has no cpufreq (virtual machines have none)"
            raise KnobRefused(self.name, self.wanted, errno.ENOENT, reason, "set the governor on the host")
        for file in files:
            offered = read_file(str(file.with_name("scaling_available_governors"))).split()
            if self.wanted not in offered:
                remedy = f"one of {', '.join(offered)}"
                raise KnobRefused(self.name, self.wanted, errno.EINVAL, "no such governor here", remedy)
            try:
                hands.do(self.name, WriteFile(str(file), self.wanted))
            except OSError as error:
                raise refused(self.name, self.wanted, error) from None

    def read_back(self, subject: Subject) -> Effect:
        now = sorted({read_file(str(file)) for file in self._files()})
        return Effect(self.name, self.wanted, ",".join(now), now == [self.wanted])


class CpuLatency(Knob):
    """PM QoS: CPUs do not sleep so deeply that waking up takes longer than this."""

    def __init__(self, wanted: int) -> None:
        super().__init__("knobs.system.cpu_dma_latency_us", wanted)

    def apply(self, subject: Subject, hands: Hands) -> None:
        try:
            hands.do(self.name, HoldCpuLatency(self.wanted))
        except OSError as error:
            raise refused(self.name, self.wanted, error) from None

    def read_back(self, subject: Subject) -> Effect:
        """The device says the smallest wish of all processes, to those who may read it."""
        try:
            with open(DEVICE, "rb", buffering=0) as file:
                (now,) = struct.unpack("=i", file.read(4))
        except OSError as error:
            note = f"it was accepted; {DEVICE} cannot be read by this user ({error.strerror})"
            return Effect(self.name, self.wanted, None, True, note)
        idle = Path("/sys/devices/system/cpu/cpu0/cpuidle/state0")
        note = "" if idle.exists() else "this machine has no cpuidle states: CPUs idle as the hypervisor lets them"
        return Effect(self.name, self.wanted, now, now <= self.wanted, note)


class TimerSlack(Knob):
    """Of loop and render thread. Programs that minicomp starts keep the default: clients are no part of the knob."""

    def __init__(self, wanted: int) -> None:
        super().__init__("knobs.system.timer_slack_ns", wanted)

    def apply(self, subject: Subject, hands: Hands) -> None:
        for tid in _native_tids(subject):
            try:
                hands.do(self.name, SetTimerSlack(tid, proc.started(tid), self.wanted))
            except OSError as error:
                raise refused(self.name, self.wanted, error, "CAP_SYS_NICE, or the helper") from None

    def update(self, subject: Subject, hands: Hands) -> bool:
        """Again for a thread that has left a real-time class: the kernel then gives it the default slack."""
        try:
            if all(timer_slack_ns(tid) in (0, self.wanted) for tid in _native_tids(subject)):
                return False
        except OSError:
            return False  # not ours to read: then it was the helper that set it
        self.apply(subject, hands)
        return True

    def read_back(self, subject: Subject) -> Effect:
        now: dict[str, int | None] = {}
        for name, tid in (("loop", subject.loop_tid), ("render", subject.render_tid)):
            if tid:
                try:
                    now[name] = timer_slack_ns(tid)
                except OSError:
                    now[name] = None  # not without CAP_SYS_NICE
        # A real-time or deadline thread has none, whatever is asked for.
        took = all(slack is None or slack in (0, self.wanted) for slack in now.values())
        notes = [f"{name} has none: it is a real-time thread" for name, slack in now.items() if slack == 0]
        notes += [f"{name}: it takes CAP_SYS_NICE to read it" for name, slack in now.items() if slack is None]
        return Effect(self.name, self.wanted, now, took, "; ".join(notes))


class UtilClamp(Knob):
    """Of loop and render thread: the least utilization (of 1024) that the frequency governor is to reckon with."""

    def __init__(self, wanted: int) -> None:
        super().__init__("knobs.system.uclamp_min", wanted)

    def apply(self, subject: Subject, hands: Hands) -> None:
        flags = syscalls.KEEP_POLICY | syscalls.KEEP_PARAMS | syscalls.UTIL_CLAMP_MIN
        for tid in _native_tids(subject):
            try:
                hands.do(self.name, SetScheduling(tid, proc.started(tid), 0, flags, util_min=self.wanted))
            except OSError as error:
                remedy = "a kernel with CONFIG_UCLAMP_TASK" if error.errno == errno.EOPNOTSUPP else ""
                raise refused(self.name, self.wanted, error, remedy) from None

    def read_back(self, subject: Subject) -> Effect:
        now = [syscalls.sched_getattr(tid).util_min for tid in _native_tids(subject)]
        return Effect(self.name, self.wanted, now, set(now) == {self.wanted})


def _native_tids(subject: Subject) -> list[int]:
    return [tid for tid in (subject.loop_tid, subject.render_tid) if tid]
