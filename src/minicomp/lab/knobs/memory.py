"""knobs.memory: pages that are there before they are needed, that stay, or that go back; and huge pages for clients.

populate, prefault_stack_kib and released concern our own memory (native/pure/memory.h) and are settled when it is
mapped; here they are read back, from smaps. See docs/knobs.md for what is ours and what is not.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Any

from minicomp.lab.knobs import proc
from minicomp.lab.knobs.knob import Effect, Hands, Knob, KnobRefused, MemoryState, Stage, StartedWith, Subject, refused
from minicomp.lab.knobs.memory_operations import (
    MCL_CURRENT,
    MCL_FUTURE,
    MCL_ONFAULT,
    LimitLockedMemory,
    LockMemory,
)
from minicomp.lab.knobs.operations import WriteFile, know_file, read_file
from minicomp.lab.knobs.own_memory import OwnMemory
from minicomp.lab.knobs.smaps import covering, huge_kib, read_smaps

if TYPE_CHECKING:
    from minicomp.config.knobs import KnobSettings

HUGETLB = "/sys/kernel/mm/hugepages"
POOL_KIB = {"2M": 2048, "1G": 1048576}
POOL_PAGES = {"2M": 32, "1G": 1}

know_file(rf"{HUGETLB}/hugepages-(2048|1048576)kB/nr_hugepages", "[0-9]{1,9}")


def knobs(settings: KnobSettings) -> list[Knob]:
    """The keys of [knobs.memory] that are set."""
    memory = settings.memory
    found: list[Knob] = []
    if memory.hugetlb_pool is not None:
        found.append(HugetlbPool(memory.hugetlb_pool, memory.hugetlb_pages))
    if memory.populate is not None:
        found.append(Populate(memory.populate))
    if memory.prefault_stack_kib is not None:
        found.append(PrefaultStack(memory.prefault_stack_kib))
    if memory.released is not None:
        found.append(Released(memory.released))
    if memory.lock_all is not None:
        found.append(LockAll(memory.lock_all, bool(memory.lock_on_fault)))
    return found


def resident_kib(pid: int, memory: MemoryState, kinds: tuple[str, ...]) -> dict[str, int]:
    """Of each kind of our regions what is mapped, resident and given back but not taken, by smaps."""
    mappings = read_smaps(pid)
    sums = {"mapped_kib": 0, "resident_kib": 0, "lazyfree_kib": 0}
    for kind, address, length in memory.regions:
        if kind not in kinds:
            continue
        sums["mapped_kib"] += length // 1024
        for mapping in covering(mappings, address, address + length):
            # A mapping may be larger than the region (a stack's is): no more than the region counts.
            sums["resident_kib"] += min(mapping.kib["Rss"], mapping.overlap_bytes(address, address + length) // 1024)
            sums["lazyfree_kib"] += mapping.kib.get("LazyFree", 0)
    return sums


class Populate(OwnMemory):
    """MADV_POPULATE_WRITE on rings and frame buffers."""

    def __init__(self, wanted: bool) -> None:
        super().__init__("knobs.memory.populate", wanted)

    def given_by(self, started_with: StartedWith) -> Any:
        return started_with.populate

    def look(self, subject: Subject, memory: MemoryState) -> Effect:
        # A buffer that is wiped whenever it is released is populated once all the same; rings never are wiped.
        kinds = ("ring",) if memory.started_with.released == "wipe" else ("ring", "frame")
        found = resident_kib(subject.pid, memory, kinds)
        del found["lazyfree_kib"]
        whole = found["resident_kib"] == found["mapped_kib"]
        return self.effect(found, whole or not self.wanted, memory.populate_error, "MADV_POPULATE_WRITE")


class PrefaultStack(OwnMemory):
    """The stacks of loop and render thread, touched before they work."""

    def __init__(self, wanted: int) -> None:
        super().__init__("knobs.memory.prefault_stack_kib", wanted)

    def given_by(self, started_with: StartedWith) -> Any:
        return started_with.stack_kib

    def look(self, subject: Subject, memory: MemoryState) -> Effect:
        found = resident_kib(subject.pid, memory, ("stack",))
        threads = sum(1 for tid in (subject.loop_tid, subject.render_tid) if tid)
        effective = {"threads": sum(kind == "stack" for kind, _, _ in memory.regions), **found}
        del effective["lazyfree_kib"]
        enough = found["resident_kib"] >= threads * self.wanted
        effect = self.effect(effective, enough, memory.populate_error, "MADV_POPULATE_WRITE")
        if not enough and not effect.note:
            return effect._replace(note="a thread's stack is smaller than that (ulimit -s)")
        return effect


class Released(OwnMemory):
    """What becomes of a frame buffer's pages when the display gives it back."""

    def __init__(self, wanted: str) -> None:
        super().__init__("knobs.memory.released", wanted)

    def given_by(self, started_with: StartedWith) -> Any:
        return started_with.released

    def look(self, subject: Subject, memory: MemoryState) -> Effect:
        found = resident_kib(subject.pid, memory, ("frame",))
        effective = {"released": memory.released, **found}
        advice = {"wipe": "MADV_DONTNEED", "recycle": "MADV_FREE"}.get(self.wanted, "")
        effect = self.effect(effective, (memory.released > 0) <= (self.wanted != "keep"), memory.release_error, advice)
        if memory.release_error == errno.EINVAL:
            return effect._replace(note=f"{effect.note}: locked pages cannot be given back (knobs.memory.lock_all)")
        if self.wanted != "keep" and not memory.released:
            return effect._replace(note="nothing of ours was released yet: modelled display with pixman only")
        return effect


class LockAll(Knob):
    """mlockall: nothing of the compositor is ever written out or dropped. Read back from VmLck of /proc/PID/status."""

    def __init__(self, wanted: bool, on_fault: bool) -> None:
        super().__init__("knobs.memory.lock_all", wanted)
        self._flags = MCL_CURRENT | MCL_FUTURE | (MCL_ONFAULT if on_fault else 0) if wanted else 0

    def apply(self, subject: Subject, hands: Hands) -> None:
        try:
            hands.do(self.name, LockMemory(self._flags))
            return
        except OSError as error:
            if error.errno not in (errno.ENOMEM, errno.EPERM):
                raise refused(self.name, self.wanted, error) from None
        except KnobRefused:
            pass  # EPERM: not even the first page; the limit is the remedy here, too
        try:
            hands.do(self.name, LimitLockedMemory(subject.pid, proc.started(subject.pid), -1, -1))
            hands.do(self.name, LockMemory(self._flags))
        except OSError as error:
            hands.undo(self.name)
            raise self._refusal(subject, error.errno or 0) from None
        except KnobRefused as error:
            hands.undo(self.name)
            raise self._refusal(subject, error.errno) from None

    def _refusal(self, subject: Subject, number: int) -> KnobRefused:
        limit, mapped = memlock_limit(subject.pid), proc.status_line(subject.pid, "VmSize")
        reason = f"RLIMIT_MEMLOCK is {limit} and all {mapped} that are mapped count against it, touched or not"
        remedy = "systemd: LimitMEMLOCK=infinity; or `ulimit -l unlimited`, CAP_IPC_LOCK, or the root helper"
        return KnobRefused(self.name, self.wanted, number, reason, remedy)

    def read_back(self, subject: Subject) -> Effect:
        locked = proc.status_line(subject.pid, "VmLck")
        resident = proc.status_line(subject.pid, "VmRSS")
        took = (int(locked.split()[0]) > 0) == self.wanted
        limit = memlock_limit(subject.pid)
        limited = limit != "unlimited" and not proc.has_capability(proc.CAP_IPC_LOCK)
        note = f"beyond RLIMIT_MEMLOCK ({limit}) mapping fails" if limited and self.wanted else ""
        return Effect(self.name, self.wanted, {"locked": locked, "resident": resident}, took, note)


def memlock_limit(pid: int) -> str:
    """The soft limit in words, from /proc/PID/limits."""
    with open(f"/proc/{pid}/limits", encoding="utf-8") as limits:
        for line in limits:
            if line.startswith("Max locked memory"):
                soft = line.split()[3]
                return soft if soft == "unlimited" else f"{int(soft) // 1024} KiB"
    return "unknown"


class HugetlbPool(Knob):
    """hugetlb pages beyond those that are reserved already, for clients that make their wl_shm pools of them.

    Clients are told by MINICOMP_POOL in their environment; of ours, clients/pulse heeds it. Nobody can be made to.
    """

    stage = Stage.BEFORE

    def __init__(self, wanted: str, pages: int | None) -> None:
        super().__init__("knobs.memory.hugetlb_pool", wanted)
        self._pages = pages or POOL_PAGES.get(wanted, 0)
        self._before = 0
        self._seen: dict[str, int] | None = None

    def _read(self, file: str) -> int:
        return int(read_file(f"{HUGETLB}/hugepages-{POOL_KIB[self.wanted]}kB/{file}"))

    def apply(self, subject: Subject, hands: Hands) -> None:
        if self.wanted == "none":
            return
        path = f"{HUGETLB}/hugepages-{POOL_KIB[self.wanted]}kB/nr_hugepages"
        if not os.path.exists(path):
            reason = f"this kernel or CPU has no hugetlb pages of {self.wanted}"
            raise KnobRefused(self.name, self.wanted, errno.ENOENT, reason, "CONFIG_HUGETLBFS; 1G needs pdpe1gb")
        self._before = self._read("nr_hugepages")
        try:
            hands.do(self.name, WriteFile(path, str(self._before + self._pages)))
        except OSError as error:
            raise refused(self.name, self.wanted, error) from None
        got = self._read("nr_hugepages") - self._before
        if got < self._pages:
            hands.undo(self.name)
            reason = f"the kernel found {got} of {self._pages} pages: memory is fragmented or short"
            remedy = f"reserve them at boot: hugepagesz={self.wanted} hugepages={self._before + self._pages}"
            raise KnobRefused(self.name, self.wanted, errno.ENOMEM, reason, remedy)

    def read_back(self, subject: Subject) -> Effect:
        if self.wanted == "none":
            return Effect(self.name, self.wanted, "none", True)
        now, free = self._read("nr_hugepages"), self._read("free_hugepages")
        clients = self._used(subject)
        effective = {"pages": now, "free": free, "clients_kib": clients}
        took = now >= self._before + self._pages
        unused = took and clients and not any(clients.values())
        return Effect(self.name, self.wanted, effective, took, "no client uses them" if unused else "")

    def update(self, subject: Subject, hands: Hands) -> bool:
        """Clients come and go, and their buffers."""
        if self.wanted == "none":
            return False
        now = self._used(subject)
        changed, self._seen = now != self._seen, now
        return changed

    @staticmethod
    def _used(subject: Subject) -> dict[str, int]:
        """KiB of hugetlb pages that each client has touched."""
        used = {}
        for pid in subject.client_pids:
            with contextlib.suppress(OSError):  # it has ended
                huge = huge_kib(pid)
                used[str(pid)] = huge["Private_Hugetlb"] + huge["Shared_Hugetlb"]
        return used
