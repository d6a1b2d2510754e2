"""MADV_DONTNEED against MADV_FREE: what is there afterwards, what it costs, and under memory pressure."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from ctypes.util import find_library
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minicomp.lab.probes.calls import check, counted
from minicomp.lab.probes.memory.pages import address, madvise
from minicomp.lab.probes.probe import Basis, Budget, Missing, Number, Probe, Result, cannot_test, holds, near
from minicomp.lab.probes.processes import slowness
from minicomp.lab.probes.requirements import root
from minicomp.lab.probes.settings import changed, controller
from minicomp.native.probes import ffi, lib

PAGE = 4096
PAGES = 256
MIB = 1 << 20
LIMIT, FREED, PRESSURE = 48 * MIB, 24 * MIB, 36 * MIB
"""Of the cgroup, of the pages given back with MADV_FREE, and of what is then written besides."""
SYS_BRK, SYS_MUNMAP, SYS_MADVISE = 12, 11, 28


def anonymous(size: int) -> mmap.mmap:
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.madvise(mmap.MADV_NOHUGEPAGE)
    return area


def zeroed_pages(area: mmap.mmap) -> int:
    return sum(area[offset] == 0 for offset in range(0, len(area), PAGE))


def filled(size: int) -> mmap.mmap:
    area = anonymous(size)
    for offset in range(0, size, PAGE):
        area[offset] = 0xA5
    return area


def measure_dontneed(budget: Budget) -> Result:
    with filled(PAGES * PAGE) as area:
        area.madvise(mmap.MADV_DONTNEED)
        zeroed = zeroed_pages(area)
    return holds(f"{zeroed} of {PAGES} pages read as zero afterwards", when=zeroed == PAGES)


def measure_free(budget: Budget) -> Result:
    with filled(PAGES * PAGE) as area:
        area.madvise(mmap.MADV_FREE)
        zeroed = zeroed_pages(area)
    return holds(f"without pressure {PAGES - zeroed} of {PAGES} pages still have their content", when=zeroed == 0)


def measure_cost(budget: Budget) -> Result:
    pages, rounds = 2048, budget.pick(15, 200)
    numbers = {}
    for name, advice in (("MADV_DONTNEED", mmap.MADV_DONTNEED), ("MADV_FREE", mmap.MADV_FREE)):
        advised, again = ffi.new("uint64_t[]", rounds), ffi.new("uint64_t[]", rounds)
        check(name, lib.mc_probe_advice(advice, pages, rounds, advised, again))
        numbers[name] = (
            Number.of(f"{name}, a page", "ns", [ns / pages for ns in advised]),
            Number.of(f"writing a page again after {name}", "ns", [ns / pages for ns in again]),
        )
    dontneed, free = numbers["MADV_DONTNEED"], numbers["MADV_FREE"]
    seen = f"a page: MADV_DONTNEED {dontneed[0].value:.0f} ns and {dontneed[1].value:.0f} ns to write it again, "
    seen += f"MADV_FREE {free[0].value:.0f} ns and {free[1].value:.0f} ns"
    fits = free[0].value < dontneed[0].value and free[1].value < dontneed[1].value
    doubts = [
        near(f"the ratio of {what}", free[i].value / dontneed[i].value, 1.0)
        for i, what in enumerate(("advice", "writes"))
    ]
    return holds(seen, *dontneed, *free, when=fits, doubt="; ".join(filter(None, doubts)))


@dataclass(frozen=True)
class MemoryGroup:
    """A folder for a new group, its file with the limit, the group we are in now, what is to be set for it."""

    path: str
    limit: str
    before: str
    settings: dict[str, str]


def memory_cgroup() -> MemoryGroup | None:
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, options, *_ = line.split()
        name = f"{mount}/minicomp-probe-{os.getpid()}"
        if kind == "cgroup" and "memory" in options.split(","):
            (now,) = (path for _, controllers, path in own if "memory" in controllers.split(","))
            return MemoryGroup(name, "memory.limit_in_bytes", mount + now, {})
        if kind == "cgroup2" and "memory" in (Path(mount) / "cgroup.controllers").read_text().split():
            (now,) = (path for number, _, path in own if number == "0")
            return MemoryGroup(name, "memory.max", mount + now, controller(mount, "memory"))
    return None


def has_memory_cgroup() -> Missing | None:
    if memory_cgroup() is None:
        return Missing("no cgroup with the memory controller", "a mounted memory cgroup")
    return None


def measure_pressure(budget: Budget) -> Result:
    place = memory_cgroup()
    assert place is not None
    with changed(place.settings, [place.path]):
        (Path(place.path) / place.limit).write_text(str(LIMIT))
        (Path(place.path) / "cgroup.procs").write_text(str(os.getpid()))
        try:
            with filled(FREED) as area, anonymous(PRESSURE) as other:
                area.madvise(mmap.MADV_FREE)
                for offset in range(0, FREED // 4, PAGE):
                    area[offset] = 0x5A  # a write takes the page back
                for offset in range(0, PRESSURE, PAGE):
                    other[offset] = 1
                rewritten = sum(area[offset] == 0x5A for offset in range(0, FREED // 4, PAGE))
                kept = sum(area[offset] == 0xA5 for offset in range(FREED // 4, FREED, PAGE))
        finally:
            (Path(place.before) / "cgroup.procs").write_text(str(os.getpid()))
    again, rest = FREED // 4 // PAGE, FREED // PAGE * 3 // 4
    seen = (
        f"in a cgroup of {LIMIT // MIB} MiB, after {PRESSURE // MIB} MiB of other pages: of {rest} pages given back, "
    )
    seen += f"{rest - kept} read as zero and {kept} still have their content; of {again} written again before, "
    seen += f"{rewritten} are intact"
    return holds(seen, Number.exact("pages reclaimed", rest - kept), when=rewritten == again and kept < rest)


def measure_security(budget: Budget) -> Result:
    """The same advice on private, and on shared memory, where it only unmaps."""
    fd = os.memfd_create("minicomp-probe", os.MFD_CLOEXEC)
    try:
        os.write(fd, b"password" * 512)
        with mmap.mmap(fd, PAGE, flags=mmap.MAP_SHARED) as area:
            madvise(address(area), PAGE, mmap.MADV_DONTNEED)
            shared_left = area[0:8] == b"password"
            os.pwrite(fd, b"12345678", 0)
    finally:
        os.close(fd)
    with filled(PAGE) as private:
        private.madvise(mmap.MADV_DONTNEED)
        private_left = private[0] != 0
    with filled(PAGE) as locked:
        check("mlock", lib.mc_probe_lock(address(locked), PAGE))
        try:
            locked.madvise(mmap.MADV_DONTNEED)
            refused = False
        except OSError:
            refused = True
    seen = f"private memory reads {'as before' if private_left else 'as zero'}; shared memory "
    seen += f"{'still has the secret: MADV_REMOVE or writing zeros wipes it' if shared_left else 'reads as zero'}; "
    seen += f"locked memory (mlock) {'is refused: EINVAL, nothing wiped' if refused else 'is wiped'}"
    return holds(seen, when=not private_left and not shared_left and not refused)


def measure_glibc(budget: Budget) -> Result:
    main, thread, large = (counted("counting", partial(lib.mc_probe_free_syscalls, kind)) for kind in range(3))
    seen = f"freeing 8 MiB: the first thread's heap by {main.get(SYS_BRK, 0)} brk, another thread's by "
    seen += f"{thread.get(SYS_MADVISE, 0)} madvise, one large block by {large.get(SYS_MUNMAP, 0)} munmap"
    used = [calls.get(SYS_MADVISE, 0) > 0 for calls in (main, thread, large)]
    return holds(seen + ("; so in threads' heaps only" if used == [False, True, False] else ""), when=any(used))


ALLOCATORS = {
    "jemalloc": (("as it comes", "MALLOC_CONF=dirty_decay_ms:100"),
                 ("muzzy_decay_ms:5000", "MALLOC_CONF=dirty_decay_ms:100,muzzy_decay_ms:5000")),
    "tcmalloc_minimal": (("aggressive decommit", "TCMALLOC_AGGRESSIVE_DECOMMIT=1"),),
}  # fmt: skip
"""How each is told to give pages back within the probe's time, and which of jemalloc's two stages it is to stay in."""
_FREES = """
import ctypes, time
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def now():
    words = [line.split() for line in open("/proc/self/smaps_rollup")]
    return [int(word[1]) for key in ("Anonymous:", "LazyFree:") for word in words if word[0] == key]
blocks = [c.malloc(1 << 16) for _ in range(256)]
for block in blocks: ctypes.memset(block, 1, 1 << 16)
full = now()
for block in blocks: c.free(block)
gone = lazy = 0
for _ in range(4):
    time.sleep(0.08)
    for _ in range(3000): c.free(c.malloc(1 << 16))
    left = now()
    gone, lazy = max(gone, full[0] - left[0]), max(lazy, left[1])
print(gone, lazy)
"""


def measure_allocators(budget: Budget) -> Result:
    """16 MiB freed: what is marked (LazyFree in smaps) was given back by MADV_FREE, what is gone by MADV_DONTNEED."""
    said, by_free = [], []
    for name, ways in ALLOCATORS.items():
        library = find_library(name)
        for way, setting in ways if library else ():
            environment = {**os.environ, "LD_PRELOAD": library or "", **dict([setting.split("=", 1)])}
            command = [sys.executable, "-S", "-c", _FREES]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=5 * slowness(), check=True
            )
            gone, lazy = (int(word) >> 10 for word in done.stdout.split())
            said.append(f"{library}, {way}: {lazy} MiB marked by MADV_FREE, {max(0, gone)} MiB gone")
            if "muzzy" not in way:
                by_free.append(lazy > 0)
    if not said:
        return cannot_test("neither library is installed", "the packages libjemalloc2 and libtcmalloc-minimal4")
    return holds("of 16 MiB freed, " + "; ".join(said), when=all(by_free))


_USE = "Frame memory is kept for reuse and never given back in between (native/wlr/frame_memory.c); malloc's thresholds are "
_USE += "a knob (docs/knobs.md)."

PROBES = (
    Probe(
        name="memory-dontneed",
        section=1,
        statement="MADV_DONTNEED: immediately unmaps pages. Next access: page fault, zero-filled page. Deterministic "
        "(always zeroed on next access)",
        method=f"{PAGES} private pages are written, advised and read.",
        used_by=_USE,
        measure=measure_dontneed,
    ),
    Probe(
        name="memory-free",
        section=1,
        statement="MADV_FREE: marks pages as reclaimable. Next access returns existing data if not yet reclaimed",
        method=f"{PAGES} private pages are written, advised and read at once, without memory pressure.",
        used_by=_USE,
        measure=measure_free,
    ),
    Probe(
        name="memory-free-pressure",
        section=1,
        statement="MADV_FREE: non-deterministic (may or may not be reclaimed)",
        method=f"In a cgroup of its own with {LIMIT // MIB} MiB: {FREED // MIB} MiB are given back, a quarter of them "
        f"written again, then {PRESSURE // MIB} MiB of other pages are written. Holds: some pages given back are zero, "
        "and none that was written again.",
        used_by=_USE,
        requires=(root, has_memory_cgroup),
        measure=measure_pressure,
    ),
    Probe(
        name="memory-advice-cost",
        section=1,
        statement="MADV_DONTNEED: expensive (page table updates, TLB flush). MADV_FREE: cheap (just marks pages in the page "
        "table)",
        method="8 MiB are written, advised as a whole, written again. Holds: both the advice and the writing are cheaper "
        "with MADV_FREE.",
        used_by=_USE,
        measure=measure_cost,
        basis=Basis.COMPARED,
    ),
    Probe(
        name="memory-dontneed-wipes",
        section=1,
        statement="Security: wipe a buffer containing credentials: madvise(secret_buf, len, MADV_DONTNEED); pages zeroed",
        method="A private, a shared and a locked page are written, advised and read again.",
        used_by="Not used: minicomp keeps no secrets; keys typed are not stored.",
        measure=measure_security,
    ),
    Probe(
        name="memory-free-in-glibc",
        section=1,
        statement="MADV_DONTNEED: used by free() in glibc, Go runtime",
        method="System calls, counted by ptrace, while 8 MiB are freed: 64 KiB blocks of the first thread's heap, of "
        "another thread's heap, and one block. (Go is not looked at: no Go program runs here.)",
        used_by=_USE,
        measure=measure_glibc,
    ),
    Probe(
        name="memory-free-in-allocators",
        section=1,
        statement="MADV_FREE: used by jemalloc, tcmalloc",
        method="A process under each library that is installed (LD_PRELOAD) frees 16 MiB and goes on allocating a little for "
        "0.3 s; LazyFree and Anonymous in its smaps. Holds: each gives pages back by MADV_FREE as it comes. That they decay "
        "within 0.1 s instead of 10 is set for the probe.",
        used_by="Not used: glibc's malloc, and no allocation in a frame.",
        measure=measure_allocators,
    ),
)
