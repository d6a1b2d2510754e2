"""What is done to one thread: its scheduling, its timer slack. Undone only for the very thread it was done to."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from minicomp.lab.knobs import proc, syscalls
from minicomp.lab.knobs.operations import Forbidden, Operation, Owner, operation
from minicomp.lab.knobs.syscalls import SchedAttr

_FLAGS = (
    syscalls.RESET_ON_FORK
    | syscalls.RECLAIM
    | syscalls.DL_OVERRUN
    | syscalls.KEEP_POLICY
    | syscalls.KEEP_PARAMS
    | syscalls.UTIL_CLAMP_MIN
)


@dataclass(frozen=True)
class ThreadOperation(Operation):
    """Something done to a thread: its id, and when it was started (`proc.started`), so that no other is ever meant."""

    tid: int
    started: int

    def permit(self, owner: Owner) -> None:
        """Only threads of the owner's own programs: real, effective, saved and filesystem uid must all be its."""
        if self.tid <= 0:
            raise Forbidden("a thread id is positive")
        try:
            uids = proc.status_line(self.tid, "Uid").split()
        except OSError:  # not left to perform(): by then the id could be another user's thread's
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from None
        if set(uids) != {str(owner.uid)}:
            raise Forbidden(f"thread {self.tid} belongs to another user")

    def check_identity(self) -> None:
        """Raises ProcessLookupError (ESRCH) when the thread has ended, or its id is another's by now."""
        try:
            same = proc.started(self.tid) == self.started
        except OSError:
            same = False
        if not same:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


@operation("set-scheduling")
@dataclass(frozen=True)
class SetScheduling(ThreadOperation):
    """sched_setattr(2). With KEEP_POLICY and KEEP_PARAMS in the flags it concerns util_min alone."""

    policy: int
    flags: int
    nice: int = 0
    priority: int = 0
    runtime_ns: int = 0
    deadline_ns: int = 0
    period_ns: int = 0
    util_min: int = 0

    def permit(self, owner: Owner) -> None:
        super().permit(owner)
        if self.policy not in syscalls.CLASS_NAMES or self.flags & ~_FLAGS:
            raise Forbidden("set-scheduling: unknown class or flag")
        limits = ((self.nice, -20, 19), (self.priority, 0, 99), (self.util_min, 0, 1024))
        times = ((time, 0, 1 << 40) for time in (self.runtime_ns, self.deadline_ns, self.period_ns))
        if any(not low <= value <= high for value, low, high in (*limits, *times)):
            raise Forbidden("set-scheduling: a number is out of range")

    def undoing(self) -> SetScheduling:
        self.check_identity()
        now = syscalls.sched_getattr(self.tid)
        if self.flags & syscalls.UTIL_CLAMP_MIN:
            return SetScheduling(self.tid, self.started, 0, self.flags, util_min=now.util_min)
        fair = now.policy not in (syscalls.SCHED_FIFO, syscalls.SCHED_RR, syscalls.SCHED_DEADLINE)
        # The kernel does not say whether a slice was asked for; 0 asks for its own choice, which is ours, too.
        own_choice = fair and now.runtime_ns == syscalls.sched_getattr(0).runtime_ns
        return SetScheduling(
            self.tid,
            self.started,
            now.policy,
            now.flags & _FLAGS,
            now.nice,
            now.priority,
            0 if own_choice else now.runtime_ns,
            now.deadline_ns,
            now.period_ns,
        )

    def perform(self) -> None:
        self.check_identity()
        attr = SchedAttr(
            policy=self.policy,
            flags=self.flags,
            nice=self.nice,
            priority=self.priority,
            runtime_ns=self.runtime_ns,
            deadline_ns=self.deadline_ns,
            period_ns=self.period_ns,
            util_min=self.util_min,
        )
        syscalls.sched_setattr(self.tid, attr)


@operation("set-timer-slack")
@dataclass(frozen=True)
class SetTimerSlack(ThreadOperation):
    """How late the kernel may let a thread's timers be, in ns, to join wake-ups. 0 is the thread's default."""

    slack_ns: int

    def permit(self, owner: Owner) -> None:
        super().permit(owner)
        if not 0 <= self.slack_ns <= 1_000_000_000:
            raise Forbidden("set-timer-slack: 0 to 1000000000 ns")

    def undoing(self) -> SetTimerSlack:
        self.check_identity()
        return SetTimerSlack(self.tid, self.started, timer_slack_ns(self.tid))

    def perform(self) -> None:
        self.check_identity()
        with open(f"/proc/{self.tid}/timerslack_ns", "w", encoding="ascii") as file:
            file.write(str(self.slack_ns))


def timer_slack_ns(tid: int) -> int:
    """A thread's timer slack now. Of another process's it takes CAP_SYS_NICE."""
    with open(f"/proc/{tid}/timerslack_ns", encoding="ascii") as file:
        return int(file.read())
