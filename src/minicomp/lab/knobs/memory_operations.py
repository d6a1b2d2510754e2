"""What is done to a process's memory as a whole: locking it, and the limit on how much may be locked."""

from __future__ import annotations

import ctypes
import os
import resource
from dataclasses import dataclass
from typing import ClassVar

from minicomp.lab.knobs.operations import Forbidden, Operation, Owner, operation
from minicomp.lab.knobs.thread_operations import ThreadOperation

MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
_CAP_IPC_LOCK, _CAP_SYS_RESOURCE = 14, 24
_libc = ctypes.CDLL(None, use_errno=True)


@operation("lock-memory")
@dataclass(frozen=True)
class LockMemory(Operation):
    """mlockall(2) on this process; flags 0 unlock everything."""

    capability: ClassVar[int] = _CAP_IPC_LOCK
    flags: int

    def permit(self, owner: Owner) -> None:
        raise Forbidden("a process can do this for itself only")

    def undoing(self) -> LockMemory:
        return LockMemory(0)

    def perform(self) -> None:
        result = _libc.mlockall(ctypes.c_int(self.flags)) if self.flags else _libc.munlockall()
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


@operation("limit-locked-memory")
@dataclass(frozen=True)
class LimitLockedMemory(ThreadOperation):
    """RLIMIT_MEMLOCK of a process, in bytes; -1 is no limit. Raising the hard one takes CAP_SYS_RESOURCE."""

    capability: ClassVar[int] = _CAP_SYS_RESOURCE
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
