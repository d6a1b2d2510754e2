"""Access time against working set: where the TLBs end, and what larger pages change."""

from __future__ import annotations

import errno

from minicomp.lab.probes.calls import check
from minicomp.lab.probes.memory.pages import KIB_1G, KIB_2M, has_thp, reserved
from minicomp.lab.probes.probe import Basis, Budget, Curve, Number, Probe, Result, cannot_test, holds, near
from minicomp.lab.probes.requirements import x86_64
from minicomp.native.probes import ffi, lib

COUNTS = (16, 32, 48, 64, 80, 96, 128, 192, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192, 16384)
"""Pages of 4 KiB of which one line each is read: 64 MiB at most, and 1 MiB of lines in the caches."""
PAGES_200_MIB = 51200
WALKED = 8192
"""Pages beyond the second level, whose lines and page tables still fit a core's own cache (0.6 MiB)."""
KNEE = 0.30
"""A step: a load takes this much longer than the plateau before."""
HELPS = 0.8
CODE_COUNTS = (16, 32, 48, 64, 80, 96, 128, 160, 192, 256, 512, 1024, 2048)
"""Jumps, one on each page of 4 KiB: 8 MiB of code at most, of it one line a page."""
CODE_STEP = 1.25
SPLINTERED = "; with huge pages the first step is at the same number of 4 KiB pages: as where a hypervisor backs them by small ones"

Times = list[list[float]]


def chase(pages: int, counts: tuple[int, ...], budget: Budget) -> Times:
    """Samples of each count, in ns a load."""
    samples = budget.pick(5, 25)
    out = ffi.new("double[]", len(counts) * samples)
    check("chase", lib.mc_probe_chase(pages, counts, len(counts), samples, budget.pick(10_000, 50_000), out))
    return [list(out[i * samples : (i + 1) * samples]) for i in range(len(counts))]


def knees(times: list[float]) -> list[int]:
    """The places where a step begins: the last count of each plateau."""
    found, plateau = [], times[0]
    for i in range(1, len(times)):
        if times[i] > plateau * (1 + KNEE):
            if times[i - 1] <= plateau * 1.1:
                found.append(i - 1)
            plateau = times[i]
    return found


def cycles(ns: float) -> float:
    """At the frequency the CPU has now: /proc/cpuinfo's is the nominal one in many virtual machines."""
    return ns / float(lib.mc_probe_cycle_ns())


def small_pages(budget: Budget) -> tuple[list[float], list[int]]:
    """ns a load with 4 KiB pages (least of the samples), and where its steps begin."""
    least = [min(samples) for samples in chase(lib.MC_PROBE_PAGES_4K, COUNTS, budget)]
    return least, knees(least)


def measure_second_level(budget: Budget) -> Result:
    least, steps = small_pages(budget)
    if len(steps) < 2:
        return cannot_test(f"no two steps in {[round(ns, 1) for ns in least]} ns a load", "a machine less busy")
    cost_ns = least[COUNTS.index(512)] - least[steps[0]]
    if cost_ns <= 0:
        return cannot_test("between its two steps a load takes no longer than before: no TLB, as in emulation", "a CPU")
    entries, cost = COUNTS[steps[1]], cycles(cost_ns)
    return holds(
        f"the second step is at {entries} pages; a load that the first level misses and the second has takes {cost_ns:.1f} ns "
        f"longer: {cost:.1f} cycles",
        Number.exact("pages of 4 KiB to the second step", entries),
        Number.exact("a hit", cost, "cycles"),
        when=768 <= entries <= 2048 and 6.5 <= cost <= 10.5,
        doubt=near("a hit in cycles", cost, 6.5, 10.5),
    )


def measure_walk_cost(budget: Budget) -> Result:
    """With the caches' part in it: the tables' lines are read from where they lie."""
    inside: list[float] = []
    outside: list[float] = []
    for _ in range(budget.pick(5, 10)):  # on other pages each time: which lines of the caches they share is chance
        for samples, found in zip(chase(lib.MC_PROBE_PAGES_4K, (512, WALKED), budget), (inside, outside), strict=True):
            found.append(min(samples))
    least, far = min(inside), min(outside)
    cost = cycles(far - least)
    return holds(
        f"a load in {WALKED * 4 >> 10} MiB takes {far:.1f} ns, in 2 MiB {least:.1f}: {cost:.0f} cycles more, with what the "
        "caches have to fetch",
        Number.exact("a walk", cost, "cycles"),
        when=20 <= cost <= 100,
        doubt=near("a walk in cycles", cost, 20, 100),
    )


def measure_table(budget: Budget) -> Result:
    curves: dict[str, Times] = {"4 KiB": chase(lib.MC_PROBE_PAGES_4K, COUNTS, budget)}
    without = []
    if (missing := has_thp()) is None:
        curves["THP"] = chase(lib.MC_PROBE_PAGES_THP, COUNTS, budget)
    else:
        without.append(f"THP ({missing.why})")
    for name, kind, kib, count in (
        ("hugetlb 2 MiB", lib.MC_PROBE_PAGES_2M, KIB_2M, COUNTS[-1] * 4 // KIB_2M),
        ("hugetlb 1 GiB", lib.MC_PROBE_PAGES_1G, KIB_1G, 1),
    ):
        if budget.quick and kib == KIB_1G:
            without.append(f"{name} (clearing it is too slow for --quick)")
            continue
        with reserved(kib, count) as why:
            if why:
                without.append(f"{name} ({why})")
            else:
                curves[name] = chase(kind, COUNTS, budget)
    best = {name: [min(samples) for samples in times] for name, times in curves.items()}
    small = best["4 KiB"]
    steps = knees(small)
    if len(steps) < 2:
        return cannot_test(f"no two steps in {[round(ns, 1) for ns in small]} ns a load", "a machine less busy")
    l1, stlb = steps[0], steps[1]
    in_l1, in_stlb, walked = small[l1], small[COUNTS.index(512)], small[COUNTS.index(16384)]
    seen = f"a load takes {in_l1:.1f} ns up to {COUNTS[l1]} pages of 4 KiB, {in_stlb:.1f} ns up to {COUNTS[stlb]}, "
    seen += f"{walked:.0f} ns beyond: an STLB hit costs {in_stlb - in_l1:.1f} ns, "
    seen += f"a walk {walked - in_stlb:.0f} ns with the caches' part in it"
    splintered = any(COUNTS[k] == COUNTS[l1] for name, ns in best.items() if name != "4 KiB" for k in knees(ns)[:1])
    seen += SPLINTERED if splintered else ""
    seen += f"; without {', '.join(without)}" if without else ""
    numbers = [
        Number.exact("pages of 4 KiB to the first step (L1 DTLB)", COUNTS[l1]),
        Number.exact("pages of 4 KiB to the second step (STLB)", COUNTS[stlb]),
        Number.exact("a load that hits everything", cycles(in_l1), "cycles"),
    ]
    for name, times in curves.items():
        for count in (64, 512, 16384):
            numbers.append(Number.of(f"{name}, {count} pages of 4 KiB", "ns", times[COUNTS.index(count)]))
    picture = Curve(
        "A load's time by working set (one line a page)",
        "working set, MiB",
        "ns a load (least of the samples)",
        {name: [(count * 4 / 1024, ns) for count, ns in zip(COUNTS, line, strict=True)] for name, line in best.items()},
        log_x=True,
        log_y=True,
    )
    return holds(seen, *numbers, curves=[picture], when=64 <= COUNTS[l1] <= 128)


def measure_reach(budget: Budget) -> Result:
    counts = (512, PAGES_200_MIB)
    inside: list[float] = []
    outside: list[float] = []
    huge: list[float] = []
    for _ in range(budget.pick(2, 3)):  # in turns, so that others' load is not all on one of them
        for samples, found in zip(chase(lib.MC_PROBE_PAGES_4K, counts, budget), (inside, outside), strict=True):
            found += samples
        huge += chase(lib.MC_PROBE_PAGES_THP, counts, budget)[1]
    small, large = Number.of("200 MiB, 4 KiB pages", "ns", outside), Number.of("200 MiB, THP", "ns", huge)
    least, least_huge = min(outside), min(huge)
    seen = f"a random load in 200 MiB takes {least:.0f} ns with 4 KiB pages and {least_huge:.0f} ns with THP "
    seen += f"(in 2 MiB: {min(inside):.1f} ns)"
    missed = least > 2 * min(inside)
    numbers = (Number.of("2 MiB, 4 KiB pages", "ns", inside), small, large)
    doubt = near("THP's part of the time", least_huge / least, HELPS)
    return holds(seen, *numbers, when=missed and least_huge < HELPS * least, doubt=doubt)


def measure_walks(budget: Budget) -> Result:
    loads, misses = ffi.new("uint64_t *"), ffi.new("uint64_t *")
    error = lib.mc_probe_chase_misses(lib.MC_PROBE_PAGES_4K, PAGES_200_MIB, loads, misses)
    if error in (-errno.ENOENT, -errno.EOPNOTSUPP, -errno.EACCES, -errno.EPERM):
        why = "there is no counter of TLB misses (a virtual machine without a PMU, or perf_event_paranoid)"
        return cannot_test(why, "a PMU with dTLB-load-misses; and to see each of the four reads, its page-walk events")
    check("perf_event_open", error)
    share = misses[0] / loads[0]
    seen = (
        f"{share:.0%} of random loads in 200 MiB of 4 KiB pages needed a walk; how many reads a walk is, is not counted"
    )
    return holds(seen, Number.exact("walks a load", share), when=share > 0.5)


def measure_itlb(budget: Budget) -> Result:
    """A step is where jumps on pages of their own take longer than as many jumps packed into few pages."""
    samples = budget.pick(5, 25)
    apart, together = (ffi.new("double[]", len(CODE_COUNTS) * samples) for _ in range(2))
    jumps = budget.pick(100_000, 500_000)
    check("jumps", lib.mc_probe_code_pages(CODE_COUNTS, len(CODE_COUNTS), samples, jumps, apart, together))
    rows = [slice(i * samples, (i + 1) * samples) for i in range(len(CODE_COUNTS))]
    least = {
        "each on a page of its own": [min(list(apart)[row]) for row in rows],
        "64 on a page": [min(list(together)[row]) for row in rows],
    }
    spread, packed = least.values()
    steps = [i for i in range(len(CODE_COUNTS)) if spread[i] > packed[i] * CODE_STEP]
    if not steps or not steps[0]:
        return cannot_test(f"no step in {[round(ns, 2) for ns in spread]} ns a jump", "a machine less busy")
    reach, beyond = CODE_COUNTS[steps[0] - 1], CODE_COUNTS[steps[0]]
    seen = (
        f"a jump takes {spread[steps[0] - 1]:.2f} ns on up to {reach} pages, {spread[steps[0]]:.2f} ns on {beyond} and "
    )
    seen += f"{spread[-1]:.1f} ns on {CODE_COUNTS[-1]}; as many jumps on few pages {packed[-1]:.2f} ns"
    picture = Curve(
        "A jump's time by pages of code", "jumps in the cycle", "ns a jump (least of the samples)",
        {name: list(zip(map(float, CODE_COUNTS), line, strict=True)) for name, line in least.items()},
        log_x=True, log_y=True,
    )  # fmt: skip
    numbers = [
        Number.of(f"{name}, {count} jumps", "ns", list(times)[rows[CODE_COUNTS.index(count)]])
        for count in (64, 256, 2048)
        for name, times in (("pages of their own", apart), ("64 on a page", together))
    ]
    reached = Number.exact("pages before the first step", reach)
    return holds(seen, reached, *numbers, curves=[picture], when=beyond > 64 and reach <= 128)


_USE = (
    "[knobs] thp asks for huge pages for frame buffers (native/wlr/frame_memory.c); with buffers of a few MiB read in "
)
_USE += "order the prefetcher hides most walks."

PROBES = (
    Probe(
        name="memory-tlb",
        section=1,
        statement="L1 DTLB: 64-128 entries, 1 cycle",
        method="Dependent loads in random order, one cache line a 4 KiB page, from 16 pages to 16384, on 4 KiB pages, THP, "
        "hugetlb pages of 2 MiB and 1 GiB (reserved for the moment; the last not with --quick). Least of the samples. Holds: "
        "the first step of the curve of 4 KiB pages lies at 64 to 128 pages. (One cycle cannot be told from the cache's five.)",
        used_by=_USE,
        measure=measure_table,
        basis=Basis.TIMES,
    ),
    Probe(
        name="memory-stlb",
        section=1,
        statement="L2 STLB: 1024-2048 entries, 7-10 cycles",
        method="The same on 4 KiB pages. Cycles by additions that depend on each other, one a cycle. Holds: the second step lies "
        "at 768 to 2048 pages (random replacement blurs it), and up to it a load takes 6.5 to 10.5 cycles more than before the first.",
        used_by=_USE,
        measure=measure_second_level,
        basis=Basis.TIMES,
    ),
    Probe(
        name="memory-walk-cost",
        section=1,
        statement="TLB miss (page walk): 20-100 cycles",
        method="The same loads in 32 MiB against 2 MiB of 4 KiB pages, least of several pieces of memory. Holds: they take 20 to 100 "
        "cycles more. Under a hypervisor a walk is two-dimensional, and longer.",
        used_by=_USE,
        measure=measure_walk_cost,
        basis=Basis.TIMES,
    ),
    Probe(
        name="memory-itlb",
        section=1,
        statement="L1 ITLB: 64-128 entries, 1 cycle",
        method="A cycle of direct jumps in random order, one on each page of 4 KiB, and as a control as many jumps with 64 on "
        "a page, which take as many lines of the cache. Least of the samples. Holds: the first step (a quarter longer than "
        "the control) lies at 64 to 128 pages. The branch predictor runs ahead and hides part of a miss.",
        used_by="Code is a few MiB on 4 KiB pages; nothing asks for huge pages for it.",
        requires=(x86_64("the jumps' machine code"),),
        measure=measure_itlb,
        basis=Basis.TIMES,
    ),
    Probe(
        name="memory-stlb-reach",
        section=1,
        statement="With 4KB pages, 2048 STLB entries cover 8MB. For a compositor with a 200MB working set, most accesses "
        "miss the TLB. This is where huge pages matter.",
        method="The same loads in 200 MiB, with 4 KiB pages and with THP. Holds: they take at least twice as long as in "
        "2 MiB, and THP takes off a fifth or more (least of the samples, in turns).",
        used_by=_USE,
        requires=(has_thp,),
        measure=measure_reach,
        basis=Basis.TIMES,
    ),
    Probe(
        name="memory-page-walk",
        section=1,
        statement="Cost: a TLB miss requires four memory reads to walk the page tables.",
        method="The PMU's count of data TLB misses with a walk, in a random chase through 200 MiB.",
        used_by=_USE,
        measure=measure_walks,
    ),
)
