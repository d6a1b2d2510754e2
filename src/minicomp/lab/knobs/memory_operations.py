"""What is done to a process's memory as a whole: locking it, and the limit on how much may be locked."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import ClassVar

from minicomp.lab.knobs import proc, syscalls
from minicomp.lab.knobs.operations import Forbidden, Operation, Owner, operation
from minicomp.lab.knobs.thread_operations import ThreadOperation

MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4


@operation("lock-memory")
@dataclass(frozen=True)
class LockMemory(Operation):
    """mlockall(2) on this process; flags 0 unlock everything."""

    capability: ClassVar[int] = proc.CAP_IPC_LOCK
    flags: int

    def permit(self, owner: Owner) -> None:
        raise Forbidden("a process can do this for itself only")

    def undoing(self) -> LockMemory:
        return LockMemory(0)

    def perform(self) -> None:
        syscalls.mlockall(self.flags)


@operation("limit-locked-memory")
@dataclass(frozen=True)
class LimitLockedMemory(ThreadOperation):
    """RLIMIT_MEMLOCK of a process, in bytes; -1 is no limit. Raising the hard one takes CAP_SYS_RESOURCE."""

    capability: ClassVar[int] = proc.CAP_SYS_RESOURCE
    soft: int
    hard: int

    def permit(self, owner: Owner) -> None:
        super().permit(owner)
        if self.tid != owner.pid:
            raise Forbidden("limit-locked-memory: the compositor's own limit only")

    def undoing(self) -> LimitLockedMemory:
        self.check_identity()
        return LimitLockedMemory(self.tid, self.started, *resource.prlimit(self.tid, resource.RLIMIT_MEMLOCK))

    def perform(self) -> None:
        self.check_identity()
        resource.prlimit(self.tid, resource.RLIMIT_MEMLOCK, (self.soft, self.hard))
