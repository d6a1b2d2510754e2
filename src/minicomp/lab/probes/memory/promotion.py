"""Transparent huge pages: who gets them, when, and what the fault that gives one may cost."""

from __future__ import annotations

import errno
import mmap
import time
from pathlib import Path

from minicomp.lab.probes.calls import check
from minicomp.lab.probes.memory.pages import THP, address, available_kib, has_thp, huge_kib, madvise
from minicomp.lab.probes.probe import Basis, Budget, Number, Probe, Result, cannot_test, holds, near
from minicomp.lab.probes.processes import slowness
from minicomp.lab.probes.requirements import root
from minicomp.lab.probes.settings import changed, read_setting
from minicomp.native.probes import ffi, lib

HUGE = 2 << 20
MADV_COLLAPSE = 25
FRAGMENT_MIB = {True: 192, False: 960}
"""What the probe may fill to make free memory fragmented, quick or not: more than is free in large blocks."""
BEYOND_MIB, SPARED_MIB = 64, 64
"""Filled besides what is free in large blocks; available memory that is left to others at the peak."""
SPANS = 96
"""Of 2 MiB, faulted in: more than what is left in large blocks."""
COUNTED = ("thp_fault_alloc", "thp_fault_fallback", "compact_stall")
KHUGEPAGED = f"{THP}/khugepaged"


class Region:
    """`count` aligned spans of 2 MiB of private memory, closed as a context."""

    def __init__(self, count: int) -> None:
        self.area = mmap.mmap(-1, (count + 1) * HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.offset = -address(self.area) % HUGE
        self.start, self.size = address(self.area) + self.offset, count * HUGE

    def __enter__(self) -> Region:
        return self

    def __exit__(self, *exc: object) -> None:
        self.area.close()

    def advise(self, advice: int) -> None:
        madvise(self.start, self.size, advice)

    def write(self, step: int = 4096) -> None:
        for offset in range(self.offset, self.offset + self.size, step):
            self.area[offset] = 1

    def huge(self) -> int:
        """Huge pages in it now."""
        return huge_kib(self.start, self.size) * 1024 // HUGE


def at_fault(advice: int | None) -> int:
    """Of 4 spans, how many are huge pages right after each was written once."""
    with Region(4) as region:
        if advice is not None:
            region.advise(advice)
        region.write(HUGE)
        return region.huge()


def measure_opt_in(budget: Budget) -> Result:
    with changed({f"{THP}/enabled": "madvise"}):
        silent, asked = at_fault(None), at_fault(mmap.MADV_HUGEPAGE)
    seen = f"with enabled = madvise, {silent} of 4 spans are huge pages without advice and {asked} with MADV_HUGEPAGE"
    return holds(seen, when=silent == 0 and asked == 4)


def measure_best(budget: Budget) -> Result:
    return cannot_test(
        "what is best is seen in a compositor's frames, not in a probe's seconds",
        "minicomp lab run configs/experiments/huge-pages.toml, which compares never, madvise and always",
    )


def measure_automatic(budget: Budget) -> Result:
    """Small pages first, advised afterwards: only khugepaged (or a collapse that is asked for) can make them huge."""
    mode = read_setting(f"{THP}/enabled")
    with changed({f"{KHUGEPAGED}/scan_sleep_millisecs": "10", f"{KHUGEPAGED}/pages_to_scan": "8192"}):
        silent, fault = at_fault(None), at_fault(mmap.MADV_HUGEPAGE)
        with Region(4) as region:
            region.advise(mmap.MADV_NOHUGEPAGE)
            region.write()
            small = region.huge()
            region.advise(mmap.MADV_HUGEPAGE)
            began, limit = time.monotonic(), budget.pick(0.9, 6.0) * slowness()
            while region.huge() < 4 and time.monotonic() - began < limit:
                time.sleep(0.005)
            by_daemon, waited_ms = region.huge(), (time.monotonic() - began) * 1000
    with Region(4) as region:
        region.advise(mmap.MADV_NOHUGEPAGE)
        region.write()
        region.advise(mmap.MADV_HUGEPAGE)
        began = time.monotonic()
        try:
            region.advise(MADV_COLLAPSE)
            collapse = f"MADV_COLLAPSE: {region.huge()} of 4 in {(time.monotonic() - began) * 1000:.1f} ms"
        except OSError as error:
            collapse = f"MADV_COLLAPSE: {errno.errorcode.get(error.errno or 0, 'refused')}"
    usual_s = int(read_setting(f"{KHUGEPAGED}/scan_sleep_millisecs")) / 1000
    seen = (
        f"with enabled = {mode}: {silent} of 4 spans without advice, {fault} with it at the first fault; of 4 spans of "
    )
    seen += (
        f"small pages ({small} huge) khugepaged made {by_daemon} huge within {waited_ms:.0f} ms when it scans without "
    )
    seen += (
        f"pause (here it usually pauses {usual_s:g} s between {read_setting(f'{KHUGEPAGED}/pages_to_scan')} pages); "
    )
    seen += collapse
    waited = Number.exact("until khugepaged was done", waited_ms, "ms")
    doubt = "khugepaged, of the lowest priority, was not done in time" if silent == 4 and by_daemon < 4 else ""
    return holds(seen, waited, when=silent == 4 and by_daemon == 4, doubt=doubt)


def large_free_mib() -> int:
    """Free memory in blocks of 2 MiB and more, by /proc/buddyinfo."""
    total = 0
    for line in Path("/proc/buddyinfo").read_text().splitlines():
        counts = [int(word) for word in line.split("zone", 1)[1].split()[1:]]
        total += sum(count << order for order, count in enumerate(counts) if order >= 9)
    return total * 4096 >> 20


def _events() -> list[int]:
    """The kernel's counts: huge pages given at a fault, refused, and faults that waited for compaction."""
    lines = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return [int(lines.get(name, 0)) for name in COUNTED]


def measure_defrag(budget: Budget) -> Result:
    free_mib, room_mib = large_free_mib(), (available_kib() >> 10) - SPARED_MIB
    if free_mib + BEYOND_MIB > FRAGMENT_MIB[budget.quick]:
        why = f"{free_mib:,} MiB are free in blocks of 2 MiB and more, so no fault has to defragment anything"
        most = FRAGMENT_MIB[budget.quick] - BEYOND_MIB
        return cannot_test(why, f"less than {most} MiB of it: scripts/vm --memory 1G (without --quick)")
    fill_mib, count = min(free_mib + BEYOND_MIB, room_mib), SPANS
    if free_mib - fill_mib > count * 3 // 2:  # of 2 MiB each: at least a quarter of the faults find no block
        return cannot_test(
            f"{free_mib} MiB had to be filled, with {room_mib} to spare", "more memory that is available"
        )
    Path("/proc/self/oom_score_adj").write_text("1000")  # if anybody has to go, it is the probe
    rounds = budget.pick(1, 4)
    taken: dict[str, list[float]] = {"always": [], "defer+madvise": []}
    events = {mode: [0, 0, 0] for mode in taken}
    for _ in range(rounds):
        for mode, samples in taken.items():
            with changed({f"{THP}/enabled": "always", f"{THP}/defrag": mode}):
                times, before = ffi.new("uint64_t[]", count), _events()
                check(mode, lib.mc_probe_huge_faults(fill_mib << 20, count, times))
                gained = [now - then for now, then in zip(_events(), before, strict=True)]
            samples += [t / 1000 for t in times]
            events[mode] = [old + new for old, new in zip(events[mode], gained, strict=True)]
    tails = {mode: Number.of(f"a fault nobody advised, defrag = {mode}", "us", taken[mode]) for mode in taken}
    words = [
        f"with defrag = {mode} a fault takes {tail.value:,.0f} us (95 %: {tail.high:,.0f}, most {max(taken[mode]):,.0f}), "
        f"{events[mode][0]} huge pages given, {events[mode][1]} refused, {events[mode][2]} waits for compaction"
        for mode, tail in tails.items()
    ]
    seen = f"{fill_mib} MiB fragmented of {available_kib() >> 10} available: {'; '.join(words)}"
    always, deferred = tails["always"], tails["defer+madvise"]
    doubt = near("the tail's ratio", deferred.high / always.high, 1.0)
    return holds(seen, always, deferred, when=deferred.high < always.high, doubt=doubt)


def measure_defrag_setting(budget: Budget) -> Result:
    """What the word does is said by the kernel's counters of direct compaction; here only that it is taken."""
    with changed({f"{THP}/defrag": "defer+madvise"}):
        taken = read_setting(f"{THP}/defrag")
    return holds(
        f"defrag takes the word and says {taken}; it was {read_setting(f'{THP}/defrag')}", when=taken == "defer+madvise"
    )


_USE = "[knobs] thp: madvise for minicomp's own frame memory, or the machine's setting for the time of a run; restored "
_USE += "(lab/knobs/hugepages.py)."

PROBES = (
    Probe(
        name="memory-thp-automatic",
        section=1,
        statement="THP: the kernel automatically promotes 4KB pages to 2MB pages when it finds 512 contiguous pages with "
        "compatible attributes. No application changes needed.",
        method="AnonHugePages in smaps: of spans written with and without advice, with the machine's own setting; of spans "
        "of small pages that khugepaged (told to scan at once, restored) or MADV_COLLAPSE turns into huge ones.",
        used_by=_USE,
        requires=(root, has_thp),
        measure=measure_automatic,
    ),
    Probe(
        name="memory-thp-best",
        section=1,
        statement='For a compositor: "madvise" is best -- let the application opt in',
        method="None: what is best is seen in a compositor's frames (minicomp lab run configs/experiments/huge-pages.toml).",
        used_by=_USE,
        measure=measure_best,
    ),
    Probe(
        name="memory-thp-madvise",
        section=1,
        statement="madvise(addr, length, MADV_HUGEPAGE);  // suggest THP",
        method="With enabled = madvise (restored), spans of 2 MiB are written with and without the advice. Whether it is "
        "the best is an experiment's matter (minicomp lab run).",
        used_by=_USE,
        requires=(root, has_thp),
        measure=measure_opt_in,
    ),
    Probe(
        name="memory-thp-compaction",
        section=1,
        statement="When THP hurts: THP compaction can cause latency spikes (the kernel pauses to defragment physical "
        "memory).",
        method="All that is free in large blocks, and 64 MiB more, is filled with small pages, and every second given back; "
        "then 96 unadvised spans of 2 MiB are faulted in, with defrag always and defer+madvise (restored), in turn. At most "
        "960 MiB, so in a small VM. Holds: the 95th percentile is lower with the latter.",
        used_by=_USE,
        requires=(root, has_thp),
        measure=measure_defrag,
        basis=Basis.COMPARED,
    ),
    Probe(
        name="memory-thp-defrag",
        section=1,
        statement="echo defer+madvise > /sys/kernel/mm/transparent_hugepage/defrag",
        method="The word is written, read back, and the old one restored.",
        used_by=_USE,
        requires=(root, has_thp),
        measure=measure_defrag_setting,
    ),
)
