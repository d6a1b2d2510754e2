"""What is always so about memory and the scheduler, and that probes put back what outlives them. No number is judged."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from minicomp.lab.probes import runner
from minicomp.lab.probes.memory import advice, mapping, page_tables, pages, tlb
from minicomp.lab.probes.memory.promotion import PROBES as PROMOTION
from minicomp.lab.probes.probe import Budget, Probe, Result, Verdict, holds
from minicomp.lab.probes.scheduler import deadline, fair, fifo_loop, pinning
from minicomp.lab.probes.settings import changed, read_setting

ALWAYS = {
    "memory-map-private": Verdict.HOLDS,
    "memory-map-shared": Verdict.HOLDS,
    "memory-map-anonymous": Verdict.HOLDS,
    "memory-map-libraries": Verdict.HOLDS,
    "memory-map-heap": Verdict.HOLDS,
    "memory-dontneed": Verdict.HOLDS,
    "memory-free": Verdict.HOLDS,
    "memory-free-pressure": Verdict.HOLDS,
    "memory-dontneed-wipes": Verdict.DOES_NOT_HOLD,
    "memory-page-tables": Verdict.HOLDS,
    "memory-address-bits": Verdict.HOLDS,
    "memory-thp-madvise": Verdict.HOLDS,
    "sched-deadline-refusals": Verdict.HOLDS,
    "sched-fifo-priorities": Verdict.HOLDS,
    "sched-cpuset": Verdict.HOLDS,
}
SETTINGS = [
    f"{pages.THP}/enabled",
    f"{pages.THP}/defrag",
    f"{pages.THP}/khugepaged/pages_to_scan",
    f"{pages.THP}/khugepaged/scan_sleep_millisecs",
    f"{pages.HUGETLB.format(pages.KIB_2M)}/nr_hugepages",
]
OURS = {
    probe.name: probe
    for module in (advice, mapping, page_tables, tlb, deadline, fair, fifo_loop, pinning)
    for probe in module.PROBES
} | {probe.name: probe for probe in PROMOTION}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes the machine's settings; needs root")


@pytest.mark.parametrize("name", ALWAYS)
def test_semantics(name: str) -> None:
    result = runner.run(OURS[name], quick=True)
    if result.needed and not result.error:
        pytest.skip(f"{result.seen}; needs {result.needed}")
    assert (result.verdict, result.error) == (ALWAYS[name], ""), result


def test_missed_periods_are_explained_by_what_was_charged() -> None:
    """The first five periods are of a run in which 3 ms beyond the work were charged once, rounded."""
    stopped = [(0.0, 4.6, 4.5), (0.0, 19.3, 7.5), (2.6, 18.8, 4.5), (2.1, 17.0, 4.5), (0.3, 4.7, 4.5)]
    assert deadline.explain([deadline.Period(*one) for one in stopped]) == (
        "in 1 the kernel charged up to 7.5 ms for the 4.5 and throttled the thread, whose CPU had stood still meanwhile (the hypervisor, "
        "or an interrupt); 2 came after such a period, until that was paid back"
    )
    starved = deadline.explain(
        [deadline.Period(0.0, 20.0, 4.5), deadline.Period(3.3, 17.5, 4.5), deadline.Period(0.8, 5.3, 4.5)]
    )
    assert starved == "in 2 it was charged no more than its budget, and had no CPU for up to 15.5 ms"
    assert deadline.explain([deadline.Period(0.0, 4.6, 4.5), deadline.Period(0.0, 5.6, 5.6)]) == ""


def settings() -> dict[str, str]:
    return {path: read_setting(path) for path in SETTINGS if Path(path).exists()}


@needs_root
def test_the_probes_that_change_settings_put_them_back() -> None:
    before = settings()
    for name in ("memory-tlb", "memory-thp-automatic", "memory-thp-madvise", "memory-thp-defrag"):
        assert runner.run(OURS[name], quick=True).error == ""
    assert settings() == before


SCANNED = f"{pages.THP}/khugepaged/pages_to_scan"


def hang(budget: Budget) -> Result:
    place = advice.memory_cgroup()
    assert place is not None
    with changed({SCANNED: "4097"}, [place.path]):
        assert read_setting(SCANNED) == "4097"
        (Path(place.path) / "cgroup.procs").write_text(str(os.getpid()))
        Path(os.environ["MINICOMP_TEST_GROUP"]).write_text(place.path)
        time.sleep(60)
    return holds("")


@needs_root
@pytest.mark.skipif(not Path(SCANNED).exists(), reason="needs a kernel with transparent huge pages")
@pytest.mark.skipif(advice.has_memory_cgroup() is not None, reason="needs a memory cgroup")
def test_a_killed_probe_leaves_nothing_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The runner kills it by SIGKILL: its guardian is left to put things back."""
    monkeypatch.setitem(runner.LIMIT_S, True, 1.0)
    monkeypatch.setenv("MINICOMP_TEST_GROUP", str(tmp_path / "group"))
    before = settings()
    probe = Probe(name="p", section=1, statement="s", method="m", used_by="u", measure=hang)
    result = runner.run(probe, quick=True)
    assert "longer than 1 s" in result.error + result.seen  # no error where others had the CPUs
    group = Path((tmp_path / "group").read_text())
    deadline_s = time.monotonic() + 5
    while (settings() != before or group.exists()) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert settings() == before
    assert not group.exists()
