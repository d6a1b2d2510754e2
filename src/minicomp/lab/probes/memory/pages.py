"""What the memory probes share: addresses, pagemap, and huge pages reserved for a moment."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minicomp.lab.knobs.smaps import covering, read_smaps
from minicomp.lab.probes.probe import Missing
from minicomp.lab.probes.settings import changed, read_setting

THP = "/sys/kernel/mm/transparent_hugepage"
HUGETLB = "/sys/kernel/mm/hugepages/hugepages-{}kB"
KIB_2M, KIB_1G = 2048, 1 << 20
SPARE = 2
"""Pages are reserved only where this many times as much memory is available."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def address(area: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(area))


def madvise(start: int, length: int, advice: int) -> None:
    if _libc.madvise(start, length, advice) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def pagemap(start: int, pages: int) -> list[int]:
    """The entries of /proc/self/pagemap for pages of 4 KiB from `start` (Documentation/admin-guide/mm/pagemap.rst)."""
    fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(fd, pages * 8, start // 4096 * 8)
    finally:
        os.close(fd)
    return [entry for (entry,) in struct.iter_unpack("<Q", data)]


def huge_kib(start: int, size: int) -> int:
    """What of it is mapped by transparent huge pages now."""
    return sum(m.kib.get("AnonHugePages", 0) for m in covering(read_smaps(os.getpid()), start, start + size))


def has_thp() -> Missing | None:
    if not Path(THP).exists():
        return Missing("this kernel has no transparent huge pages", "CONFIG_TRANSPARENT_HUGEPAGE")
    if read_setting(f"{THP}/enabled") == "never":
        return Missing("transparent huge pages are turned off", f"madvise in {THP}/enabled")
    return None


def available_kib() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1])
    return 0


@contextmanager
def reserved(kib: int, count: int) -> Iterator[str]:
    """`count` more hugetlb pages of `kib`; yields "" or why there are none."""
    folder = HUGETLB.format(kib)
    if not Path(folder).exists():
        yield "not supported by this CPU or kernel"
        return
    if os.geteuid() != 0:
        yield "reserving them needs root"
        return
    if available_kib() < SPARE * kib * count:
        yield "too little memory is available"
        return
    pool = f"{folder}/nr_hugepages"
    with changed({pool: str(int(read_setting(pool)) + count)}):
        free = int(read_setting(f"{folder}/free_hugepages"))
        yield "" if free >= count else f"the kernel found only {free} of {count} pages"
