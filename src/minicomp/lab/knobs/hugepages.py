"""knobs.thp: transparent huge pages, for the machine, for this process, and for our own buffers.

The machine's settings act on what is mapped afterwards, so they are written before the compositor exists; an experiment
starts a compositor for every run. What became huge is read from smaps (`smaps`), never concluded from a setting.
Source: Documentation/admin-guide/mm/transhuge.rst.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicomp.lab.knobs import proc, syscalls
from minicomp.lab.knobs.knob import Effect, Hands, Knob, KnobRefused, MemoryState, Stage, StartedWith, Subject, refused
from minicomp.lab.knobs.operations import (
    Forbidden,
    Operation,
    Owner,
    WriteFile,
    chosen,
    know_file,
    operation,
    read_file,
)
from minicomp.lab.knobs.own_memory import OwnMemory
from minicomp.lab.knobs.smaps import covering, huge_kib, read_smaps

if TYPE_CHECKING:
    from minicomp.config.knobs import KnobSettings

THP = "/sys/kernel/mm/transparent_hugepage"
_PR_SET_THP_DISABLE, _PR_GET_THP_DISABLE = 41, 42

know_file(rf"{THP}/(enabled|defrag|shmem_enabled)", "[a-z_+]{1,20}")
know_file(rf"{THP}/hugepages-[0-9]{{1,10}}kB/enabled", "[a-z]{1,20}")


def knobs(settings: KnobSettings) -> list[Knob]:
    """The keys of [knobs.thp] that are set."""
    thp = settings.thp
    found: list[Knob] = []
    for key in ("enabled", "defrag", "shmem_enabled"):
        if (value := getattr(thp, key)) is not None:
            found.append(HugeSetting(f"knobs.thp.{key}", value, {f"{THP}/{key}": value}))
    if thp.mthp:
        files = {f"{THP}/hugepages-{size}kB/enabled": value for size, value in thp.mthp.items()}
        found.append(HugeSetting("knobs.thp.mthp", dict(thp.mthp), files))
    if thp.disable_self is not None:
        found.append(DisableSelf(thp.disable_self))
    if thp.advise_buffers is not None:
        found.append(AdviseBuffers(thp.advise_buffers))
    return found


class HugeSetting(Knob):
    """Settings of the machine that are files listing their choices, `always [madvise] never`."""

    stage = Stage.BEFORE

    def __init__(self, name: str, wanted: Any, files: dict[str, str]) -> None:
        super().__init__(name, wanted)
        self._files = files

    def apply(self, subject: Subject, hands: Hands) -> None:
        for path, value in self._files.items():
            self._check(path, value)
        for path, value in self._files.items():
            try:
                hands.do(self.name, WriteFile(path, value))
            except OSError as error:
                raise refused(self.name, self.wanted, error) from None

    def _check(self, path: str, value: str) -> None:
        if not os.path.exists(path):
            offered = sorted(
                int(folder.name.removeprefix("hugepages-").removesuffix("kB")) for folder in Path(THP).glob("huge*kB")
            )
            if not os.path.isdir(THP):
                reason, remedy = (
                    "this kernel has no transparent huge pages",
                    "a kernel with CONFIG_TRANSPARENT_HUGEPAGE",
                )
            elif offered and "hugepages-" in path:
                reason, remedy = f"no {path}", f"sizes here: {', '.join(map(str, offered))} KiB"
            else:
                reason, remedy = f"no {path}", "huge pages of several sizes need Linux 6.8"
            raise KnobRefused(self.name, self.wanted, errno.ENOENT, reason, remedy)
        choices = read_file(path).replace("[", "").replace("]", "").split()
        if value not in choices:
            reason = f"{path} does not know {value!r}"
            raise KnobRefused(self.name, self.wanted, errno.EINVAL, reason, f"one of {', '.join(choices)}")

    def read_back(self, subject: Subject) -> Effect:
        now = {path: chosen(read_file(path)) for path in self._files}
        took = now == self._files
        effective: Any = next(iter(now.values())) if isinstance(self.wanted, str) else self._sizes(now)
        return Effect(self.name, self.wanted, effective, took, _really_huge(subject.pid) if took else "it was changed")

    @staticmethod
    def _sizes(now: dict[str, str]) -> dict[str, str]:
        return {path.split("hugepages-")[1].partition("kB")[0]: value for path, value in now.items()}


def _really_huge(pid: int) -> str:
    huge = huge_kib(pid)
    kinds = [f"{name} {kib}" for name, kib in huge.items() if kib and name != "Rss"]
    return f"of the compositor's {huge['Rss']} KiB huge: {', '.join(kinds) or 'none'}"


@operation("set-thp-disable")
@dataclass(frozen=True)
class SetThpDisable(Operation):
    """PR_SET_THP_DISABLE on this process: no new huge pages. Children inherit it, also through execve."""

    disable: bool

    def permit(self, owner: Owner) -> None:
        raise Forbidden("a process can do this for itself only")

    def undoing(self) -> SetThpDisable:
        return SetThpDisable(bool(syscalls.prctl(_PR_GET_THP_DISABLE)))

    def perform(self) -> None:
        syscalls.prctl(_PR_SET_THP_DISABLE, int(self.disable))


class DisableSelf(Knob):
    """No transparent huge pages for the compositor and what it starts. Read back from /proc/PID/status."""

    stage = Stage.BEFORE

    def __init__(self, wanted: bool) -> None:
        super().__init__("knobs.thp.disable_self", wanted)

    def apply(self, subject: Subject, hands: Hands) -> None:
        try:
            hands.do(self.name, SetThpDisable(self.wanted))
        except OSError as error:
            raise refused(self.name, self.wanted, error) from None

    def read_back(self, subject: Subject) -> Effect:
        enabled = proc.status_line(subject.pid, "THP_enabled")
        if not enabled:
            return Effect(self.name, self.wanted, None, False, "this kernel does not say (THP_enabled: Linux 5.0)")
        disabled = enabled == "0"
        note = "inherited by what the compositor starts" if disabled else ""
        return Effect(self.name, self.wanted, disabled, disabled == self.wanted, note)


class AdviseBuffers(OwnMemory):
    """MADV_HUGEPAGE on our own frame buffers and trace rings, given when they were mapped. Read back from smaps."""

    def __init__(self, wanted: bool) -> None:
        super().__init__("knobs.thp.advise_buffers", wanted)

    def given_by(self, started_with: StartedWith) -> Any:
        return started_with.advise

    def look(self, subject: Subject, memory: MemoryState) -> Effect:
        mappings = read_smaps(subject.pid)
        effective = {"ring_kib": 0, "frame_kib": 0, "advised_kib": 0, "huge_kib": 0}
        unlike = []
        for kind, address, length in memory.regions:
            if kind == "stack":
                continue
            effective[f"{kind}_kib"] += length // 1024
            for mapping in covering(mappings, address, address + length):
                advised = "hg" in mapping.flags
                if advised:
                    effective["advised_kib"] += mapping.overlap_bytes(address, address + length) // 1024
                effective["huge_kib"] += mapping.kib.get("AnonHugePages", 0)
                if advised != self.wanted:
                    unlike.append(kind)
        error = memory.advise_error
        notes = [f"madvise: {os.strerror(error)}"] if error else []
        if unlike:
            notes.append(f"{', '.join(sorted(set(unlike)))}: smaps says {'not ' if self.wanted else ''}advised")
        if not effective["frame_kib"]:
            notes.append("frame buffers are ours with the modelled display and pixman only, from the first frame on")
        return Effect(self.name, self.wanted, effective, not unlike and not error, "; ".join(notes))
