"""The address space and its page tables, as far as a program can see them."""

from __future__ import annotations

import errno
import mmap
from pathlib import Path

from minicomp.lab.probes.memory.pages import address, has_thp, huge_kib, madvise, pagemap
from minicomp.lab.probes.probe import Budget, Number, Probe, Result, cannot_test, holds
from minicomp.native.probes import lib

PAGE = 4096
HUGE = 2 << 20
LEAF_SPAN = 512 * PAGE
FRAME = (1 << 55) - 1
"""The frame number's bits in an entry of pagemap; zero without CAP_SYS_ADMIN."""


def page_table_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmPTE:"):
            return int(line.split()[1])
    raise OSError(errno.ENODATA, "no VmPTE in /proc/self/status")


def highest_bits() -> int:
    """Bits of the highest user address that mmap gives when asked for one, with the sign bit (48 or 57)."""
    return 57 if lib.mc_probe_map_high(1 << 55) else 48


def measure_width(budget: Budget) -> Result:
    bits = highest_bits()
    flags = Path("/proc/cpuinfo").read_text()
    said = " la57 " in flags
    seen = f"mmap {'gives' if bits == 57 else 'does not give'} an address above 2^47 when one is asked for: "
    seen += f"{bits} bits, {5 if bits == 57 else 4} levels ({'la57' if said else 'no la57'} in /proc/cpuinfo)"
    return holds(seen, Number.exact("bits of an address", bits), when=(bits == 57) == said)


def measure_leaf_tables(budget: Budget) -> Result:
    """Touches a page in each of many 2 MiB spans, then all the pages of one."""
    spans = 64
    with mmap.mmap(-1, (spans + 1) * LEAF_SPAN, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        start = -address(area) % LEAF_SPAN
        area.madvise(mmap.MADV_NOHUGEPAGE)
        before = page_table_kib()
        for span in range(spans):
            area[start + span * LEAF_SPAN] = 1
        one_page_each = page_table_kib() - before
        for page in range(512):
            area[start + page * PAGE] = 1
        more = page_table_kib() - before - one_page_each
    seen = f"a page in each of {spans} spans of 2 MiB costs {one_page_each} KiB of page tables; "
    seen += f"the other 511 pages of a span cost {more} KiB more"
    # Upper levels may be needed too: a page or two of them.
    fits = spans * 4 <= one_page_each <= spans * 4 + 8 and more == 0
    return holds(seen, Number.exact("page tables for a page in each span", one_page_each, "KiB"), when=fits)


def measure_huge_depth(budget: Budget) -> Result:
    with mmap.mmap(-1, 2 * HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        offset = -address(area) % HUGE
        start = address(area) + offset
        before = page_table_kib()
        madvise(start, HUGE, mmap.MADV_HUGEPAGE)
        area[offset] = 1
        tables = page_table_kib() - before
        mapped_kib = huge_kib(start, HUGE)
        numbers = [entry & FRAME for entry in pagemap(start, 512)]
    if mapped_kib < HUGE // 1024:
        return cannot_test("the kernel gave no huge page", "free memory in blocks of 2 MiB")
    seen = f"smaps: {mapped_kib} KiB AnonHugePages after one write; page tables {tables} KiB more (one is kept for a split)"
    fits = True
    if any(numbers):
        fits = numbers[0] % 512 == 0 and numbers == list(range(numbers[0], numbers[0] + 512))
        seen += f"; pagemap: 512 frames {'in a row, aligned' if fits else 'NOT in a row'}"
    else:
        seen += "; pagemap hides frame numbers without CAP_SYS_ADMIN"
    return holds(seen, Number.exact("page tables", tables, "KiB"), when=fits)


def measure_sizes(budget: Budget) -> Result:
    folder = Path("/sys/kernel/mm/hugepages")
    sizes = sorted(int(p.name.removeprefix("hugepages-").removesuffix("kB")) for p in folder.glob("hugepages-*"))
    mib = [size // 1024 for size in sizes]
    thp = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
    pmd = int(thp.read_text()) >> 20 if thp.exists() else 0
    many = sorted(p.name for p in thp.parent.glob("hugepages-*kB")) if thp.exists() else []
    seen = f"hugetlbfs offers {mib} MiB, THP {pmd} MiB at once; " if sizes else "no hugetlb pages; "
    seen += f"entries for 1 GiB: {(1 << 30) // PAGE:,} of 4 KiB, {(1 << 30) // HUGE} of 2 MiB, 1 of 1 GiB"
    seen += f"; besides, this kernel has THP of {len(many) - 1} smaller sizes" if len(many) > 1 else ""
    return holds(seen, when=mib == [2, 1024] and pmd == 2)


_UNSEEN = "The kernel's own; minicomp sees it only as the cost of faults (`minicomp lab run` counts them per thread)."

PROBES = (
    Probe(
        name="memory-address-bits",
        section=1,
        statement="Every process sees a flat 48-bit (or 57-bit with 5-level paging) virtual address space.",
        method="mmap with an address above 2^47 as a hint, which only five levels can give; compared with /proc/cpuinfo.",
        used_by=_UNSEEN,
        measure=measure_width,
    ),
    Probe(
        name="memory-page-tables",
        section=1,
        statement="Each level is a 4KB page containing 512 entries (2^9).",
        method="VmPTE of /proc/self/status before and after writing one page in each of 64 spans of 2 MiB, and then all "
        "pages of one span.",
        used_by=_UNSEEN,
        measure=measure_leaf_tables,
    ),
    Probe(
        name="memory-huge-depth",
        section=1,
        statement="Huge pages: 2MB (PMD-level)",
        method="One byte is written in a region with MADV_HUGEPAGE; smaps, VmPTE and /proc/self/pagemap then say what "
        "maps it.",
        used_by="[knobs] thp; what was given is read back from smaps the same way (lab/knobs/smaps.py).",
        requires=(has_thp,),
        measure=measure_huge_depth,
    ),
    Probe(
        name="memory-page-sizes",
        section=1,
        statement="Page size, TLB entries for 1GB, available as: 4KB 262,144 default; 2MB 512 THP or hugetlbfs; 1GB 1 "
        "hugetlbfs only",
        method="/sys/kernel/mm/hugepages and /sys/kernel/mm/transparent_hugepage.",
        used_by="[knobs] thp. hugetlbfs is not used: it needs a reservation that nobody else can use.",
        measure=measure_sizes,
    ),
)
