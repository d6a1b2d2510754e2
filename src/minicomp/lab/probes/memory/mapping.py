"""mmap's flags: who sees a write, when memory is given, and what the first touch costs."""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path

from minicomp.lab.knobs.syscalls import prctl
from minicomp.lab.probes.calls import check
from minicomp.lab.probes.memory.pages import address, pagemap
from minicomp.lab.probes.probe import Budget, Number, Probe, Result, holds, near
from minicomp.native.probes import ffi, lib

PAGE = 4096
PAGES = 64
MIB = 1 << 20
LARGE = 48 * MIB
PR_SET_THP_DISABLE = 41
"""More than malloc's threshold for mmap ever grows to (32 MiB)."""


def memory_file(content: bytes) -> int:
    fd = os.memfd_create("minicomp-probe", os.MFD_CLOEXEC)
    os.write(fd, content)
    return fd


def present(area: mmap.mmap) -> int:
    """Pages of it that are mapped now, by pagemap."""
    return sum(entry >> 63 for entry in pagemap(address(area), len(area) // PAGE))


def seen_by_child_and_file(flags: int) -> tuple[bool, bool]:
    """Whether a child's write to a mapping of a file is seen by the parent's mapping, and by reading the file."""
    fd = memory_file(b"old!" * 1024)
    try:
        with mmap.mmap(fd, PAGE, flags=flags) as area:
            if (pid := os.fork()) == 0:
                area[0:4] = b"new!"
                os._exit(0)
            os.waitpid(pid, 0)
            return area[0:4] == b"new!", os.pread(fd, 4, 0) == b"new!"
    finally:
        os.close(fd)


def measure_private(budget: Budget) -> Result:
    fd = memory_file(b"old!" * 1024)
    try:
        with mmap.mmap(fd, PAGE, flags=mmap.MAP_PRIVATE) as area:
            from_file = area[0:4] == b"old!"
            area[0:4] = b"mine"
            kept, untouched = area[0:4] == b"mine", os.pread(fd, 4, 0) == b"old!"
    finally:
        os.close(fd)
    child, file = seen_by_child_and_file(mmap.MAP_PRIVATE)
    seen = (
        f"reads come from the file, a write {'stays out of' if untouched and not file else 'REACHES'} the file and is "
    )
    seen += f"{'seen' if child else 'not seen'} by another process"
    return holds(seen, when=from_file and kept and untouched and not child and not file)


def measure_shared(budget: Budget) -> Result:
    child, file = seen_by_child_and_file(mmap.MAP_SHARED)
    seen = f"a write is {'seen' if child else 'not seen'} by the other process and {'read' if file else 'not read'} "
    return holds(seen + "back from the file", when=child and file)


def measure_anonymous(budget: Budget) -> Result:
    with mmap.mmap(-1, PAGES * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        area.madvise(mmap.MADV_NOHUGEPAGE)
        before = present(area)
        zero = all(area[page * PAGE] == 0 for page in range(PAGES // 2))
        read = present(area)
        for page in range(PAGES):
            area[page * PAGE] = 1
        written = present(area)
    seen = f"of {PAGES} pages {before} are there at first, {read} after half of them was read "
    seen += f"({'as zero' if zero else 'NOT as zero'}), {written} after each was written"
    return holds(seen, when=zero and before == 0 and written == PAGES)


def anonymous_ranges() -> set[tuple[str, str]]:
    """(addresses, flags) of what has no file behind it; [heap] is the first thread's malloc."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    return {(words[0], words[1]) for words in lines if len(words) == 5 or words[5] == "[heap]"}


def span_bytes(addresses: str) -> int:
    start, end = (int(word, 16) for word in addresses.split("-"))
    return end - start


def measure_heap(budget: Budget) -> Result:
    before = anonymous_ranges()
    block = bytearray(LARGE)  # by malloc, beyond its threshold for mmap
    with_block = anonymous_ranges()
    done = threading.Event()
    threading.stack_size(LARGE)
    thread = threading.Thread(target=done.wait)
    thread.start()
    with_stack = anonymous_ranges()
    done.set()
    thread.join()
    found = []
    for old, new in ((before, with_block), (with_block, with_stack)):
        grown = sum(span_bytes(a) for a, _ in new) - sum(span_bytes(a) for a, _ in old)
        found.append(grown >= LARGE and all(flags.endswith("p") for _, flags in new - old))
    seen = f"a block of {len(block) // MIB} MiB is {'private and anonymous' if found[0] else 'something else'}, a new thread's "
    seen += f"stack is {'so too' if found[1] else 'something else'}"
    return holds(seen, when=all(found))


def measure_populate(budget: Budget) -> Result:
    prctl(PR_SET_THP_DISABLE, 1)  # it is about small pages, and dies with the process
    pages = budget.pick(4096, 16384)
    numbers, middle = [], {}
    for name, kind in (
        ("anonymous", lib.MC_PROBE_TOUCH_ANONYMOUS),
        ("MAP_POPULATE", lib.MC_PROBE_TOUCH_POPULATED),
        ("MAP_SHARED memfd", lib.MC_PROBE_TOUCH_SHARED),
    ):
        mapped, touches = ffi.new("uint64_t *"), ffi.new("uint64_t[]", pages)
        faults = ffi.new("uint64_t *")
        check(name, lib.mc_probe_first_touch(kind, pages, mapped, touches, faults))
        middle[name] = Number.of(f"first write to a page, {name}", "ns", touches)
        numbers += [
            middle[name],
            Number.exact(f"page faults for {pages} writes, {name}", faults[0]),
            Number.exact(f"mmap itself, {name}", mapped[0] / 1000, "us"),
        ]
    lazy, ready = middle["anonymous"], middle["MAP_POPULATE"]
    seen = (
        f"a first write takes {lazy.value:.0f} ns (95 %: {lazy.high:.0f}), to a populated page {ready.value:.0f} ns; "
    )
    seen += (
        f"mmap then takes {numbers[5].value:,.0f} us for {pages * 4 // 1024} MiB instead of {numbers[2].value:.0f} us; "
    )
    seen += f"page faults of the writes {numbers[1].value:.0f} and {numbers[4].value:.0f}"
    fewer = numbers[4].value < numbers[1].value / 10
    doubt = near("the writes' ratio", ready.value / lazy.value, 1.0)
    return holds(seen, *numbers, when=fewer and ready.value < lazy.value, doubt=doubt)


def measure_libraries(budget: Budget) -> Result:
    lines = Path("/proc/self/maps").read_text().splitlines()
    flags = [line.split()[1] for line in lines if ".so" in line]
    private = sum(flag.endswith("p") for flag in flags)
    seen = f"{private} of this process's {len(flags)} mappings of shared libraries are private"
    return holds(seen, when=private == len(flags) and private > 0)


_SHM = "Shared memory of clients' windows is mapped so by libwayland's wl_shm; the trace and the frame memory are anonymous."

PROBES = (
    Probe(
        name="memory-map-private",
        section=1,
        statement="MAP_PRIVATE: copy-on-write. Reads from file, writes go to anonymous pages.",
        method="A memfd mapped privately is read, written, and compared with the file; a child writes to it as well.",
        used_by="Keymaps are sent as a read-only fd that clients map privately (wl_keyboard version 7 demands it).",
        measure=measure_private,
    ),
    Probe(
        name="memory-map-libraries",
        section=1,
        statement="MAP_PRIVATE: used for: loading shared libraries (.so), private file mappings",
        method="The flags of every shared library in /proc/self/maps.",
        used_by="Every library minicomp loads; [knobs.memory] lock keeps them resident.",
        measure=measure_libraries,
    ),
    Probe(
        name="memory-map-shared",
        section=1,
        statement="MAP_SHARED: writes visible to other processes and written back to file.",
        method="A child writes to a shared mapping of a memfd; the parent looks at its mapping and at the file.",
        used_by=_SHM,
        measure=measure_shared,
    ),
    Probe(
        name="memory-map-anonymous",
        section=1,
        statement="MAP_ANONYMOUS: no file backing, zero-filled pages.",
        method="The present bits of /proc/self/pagemap before anything, after reading half of the pages, after writing all.",
        used_by=_SHM,
        measure=measure_anonymous,
    ),
    Probe(
        name="memory-map-heap",
        section=1,
        statement="MAP_ANONYMOUS: used for: heap (malloc), thread stacks",
        method="What is new in /proc/self/maps, without a file, after a large allocation and after a thread was started.",
        used_by=_SHM,
        measure=measure_heap,
    ),
    Probe(
        name="memory-map-populate",
        section=1,
        statement="MAP_POPULATE: fault all pages immediately (no lazy allocation). Used for: real-time paths that cannot "
        "tolerate page faults",
        method="Each page of an anonymous, a populated and a shared mapping is written once, each write timed; faults by "
        "getrusage. Holds: populated pages fault a tenth as often or less.",
        used_by="[knobs.memory] lock = mlockall, which populates what exists and what comes (docs/knobs.md).",
        measure=measure_populate,
    ),
)
