"""/proc/PID/smaps: which pages back which part of a process's memory, and how large they are.

This is the path by which the huge page and memory knobs are read back: not what was asked for but what the kernel did.
`AnonHugePages` and `ShmemPmdMapped` count pages mapped by the page middle directory only (2 MiB on x86); those of other
sizes (mTHP) do not show here. Sizes are in KiB, as the kernel prints them. See Documentation/filesystems/proc.rst.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

HUGE_FIELDS = ("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb")


class Mapping(NamedTuple):
    """One entry of smaps: a range of addresses with the same properties."""

    start: int
    end: int
    name: str  # a path, "[heap]", or ""
    kib: dict[str, int]  # "Rss", "AnonHugePages", "LazyFree", ...
    flags: frozenset[str]  # "hg" advised huge, "nh" advised not, "lo" locked, ...

    def overlap_bytes(self, start: int, end: int) -> int:
        return max(0, min(self.end, end) - max(self.start, start))


def parse_smaps(lines: Iterable[str]) -> Iterator[Mapping]:
    """The mappings in the text of a smaps file."""
    head: tuple[int, int, str] | None = None
    kib: dict[str, int] = {}
    for line in lines:
        key, colon, value = line.partition(":")
        if colon and key == "VmFlags" and head is not None:
            yield Mapping(*head, kib, frozenset(value.split()))
        elif colon and " " not in key:
            if value.endswith("kB\n"):
                kib[key] = int(value.split()[0])
        else:
            fields = line.split(maxsplit=5)
            start, end = (int(number, 16) for number in fields[0].split("-"))
            head, kib = (start, end, fields[5].strip() if len(fields) > 5 else ""), {}


def read_smaps(pid: int) -> list[Mapping]:
    """Raises OSError: the process is gone, or belongs to somebody else."""
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as smaps:
        return list(parse_smaps(smaps))


def covering(mappings: Iterable[Mapping], start: int, end: int) -> list[Mapping]:
    """The mappings that have a part of the range."""
    return [mapping for mapping in mappings if mapping.overlap_bytes(start, end)]


def huge_kib(pid: int) -> dict[str, int]:
    """How much of a process's memory is in huge pages, by kind, and its `Rss`; from smaps_rollup."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as rollup:
        lines = [line.split() for line in list(rollup)[1:]]
    found = {fields[0].rstrip(":"): int(fields[1]) for fields in lines}
    return {name: found.get(name, 0) for name in ("Rss", *HUGE_FIELDS)}
