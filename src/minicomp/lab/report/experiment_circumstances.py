"""The sections on the circumstances of an experiment: knobs, the machine, and how to get it again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from minicomp.lab.report import experiment_words as words
from minicomp.lab.report.experiment_layout import Section, Table
from minicomp.lab.statistics.analysis import Analysis

LATENCY_PARAMETERS = (
    "clocksource", "cpuidle", "hugepages", "idle", "intel_idle", "intel_pstate", "irqaffinity", "isolcpus",
    "mitigations", "nohz", "nosmt", "preempt", "processor.max_cstate", "rcu_nocb", "skew_tick", "threadirqs",
    "transparent_hugepage", "tsc",
)  # fmt: skip
"""Beginnings of the kernel parameters that matter here; what else stands on the command line is nobody's business."""
SHOWN_HOST_FACTS = ("host", "kernel", "machine", "cpu", "cpus", "memory_kib", "hypervisor", "governor", "sched_ext")
"""First in the table of the machine; the other facts follow by name."""
LONGEST_FACT = 100
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*\w)")
MACHINE_HASH = re.compile(r"[0-9a-f]{8}$")


def knobs(analysis: Analysis) -> Section:
    seen: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for run in analysis.results.runs:
        for effect in run.effects:
            said = (plain(effect["effective"]), str(effect.get("note", "")))
            took = "yes" if effect["took_effect"] else "NO"
            alike = tuple(NUMBER.sub("#", text) for text in said)
            key = (run.arm, str(effect["name"]), plain(effect["wanted"]), took, *alike)
            seen.setdefault(key, []).append(said)
    order = {arm: place for place, arm in enumerate(analysis.results.arms)}
    rows = []
    for key in sorted(seen, key=lambda key: order.get(key[0], 0)):
        effective, note = (_merged(texts) for texts in zip(*seen[key], strict=True))
        rows.append((*key[:3], effective, key[3], str(len(seen[key])), note))
    if not rows:
        return Section("Knobs", ("No run set a knob.",))
    marked = frozenset(place for place, row in enumerate(rows) if row[4] == "NO")
    head = ("arm", "knob", "wanted", "effective", "took effect", "runs", "note")
    said_of = (
        "As the kernel says after setting each; a run in which one did not take effect is left out. Where runs differ "
        "in a number only, its smallest and largest value."
    )
    return Section("Knobs", (said_of,), (Table(head, tuple(rows), left=7, marked=marked),))


def machine(analysis: Analysis) -> Section:
    runs = [run for run in analysis.results.runs if run.host_before]
    if not runs:
        return Section("The machine", ("Nothing was recorded.",), aside=True)
    before = _spread(_relevant(run.host_before) for run in runs)
    after = _spread(_relevant(run.host_after) for run in runs)
    names = [name for name in SHOWN_HOST_FACTS if name in before]
    names += sorted(name for name in before if name not in SHOWN_HOST_FACTS)
    rows: list[tuple[str, ...]] = []
    marked: set[int] = set()
    for name in names:
        if before[name] != after.get(name, before[name]):
            marked.add(len(rows))
        rows.append((name, before[name], after.get(name, words.UNKNOWN)))
    tables = [Table(("fact", "before", "after"), tuple(rows), left=3, marked=frozenset(marked))]
    if during := _during(analysis):
        tables.append(during)
    said = "Over all runs, those left out too: one value, or the smallest and largest."
    return Section("The machine", (said,), tuple(tables), aside=True)


def _during(analysis: Analysis) -> Table | None:
    """What the host counted in the measured time, by arm."""
    by_arm = {
        arm: _spread(flat for run in analysis.results.runs if run.arm == arm and (flat := _flat(run.during)))
        for arm in analysis.results.arms
    }
    names = sorted({name for found in by_arm.values() for name in found})
    if not names:
        return None
    rows = tuple((name, *(by_arm[arm].get(name, words.UNKNOWN) for arm in by_arm)) for name in names)
    return Table(("in the measured time", *by_arm), rows, title="What it did meanwhile")


def reproduce(analysis: Analysis) -> Section:
    results = analysis.results
    folder = results.folder.name
    quick = " --quick" if results.quick else ""
    schedule = ", ".join(f"{key} {value}" for key, value in results.schedule.items())
    said = (
        f"minicomp lab run {folder}/experiment.toml{quick} --out ANOTHER-FOLDER",
        f"minicomp lab report {folder}",
        f"The order of the runs follows from seed {results.seed} and the file ({schedule}); so does the resampling.",
        f"One row a frame: {folder}/runs/*.parquet. What became of each run: {folder}/runs/*.json. "
        f"These numbers: {folder}/summary.csv. For ui.perfetto.dev: {folder}/traces/*.pftrace, of the runs whose run "
        "files were kept.",
    )
    return Section("How to get this again", said)


def plain(value: Any) -> str:
    """A knob's or a fact's value, short enough for a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        text = ", ".join(f"{key} {plain(inner)}" for key, inner in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(map(plain, value))
    else:
        text = "–" if value is None else str(value)
    return text if len(text) <= LONGEST_FACT else text[: LONGEST_FACT - 1] + "…"


def _merged(texts: Sequence[str]) -> str:
    """One text for those that differ in their numbers only: "runtime_us 1041.67 to 1300"."""
    numbers = [NUMBER.findall(text) for text in texts]
    spread = []
    for values in zip(*numbers, strict=True):
        low, high = min(values, key=float), max(values, key=float)
        spread.append(low if low == high else f"{low} to {high}")
    each = iter(spread)
    return NUMBER.sub(lambda _: next(each), texts[0])


def _relevant(facts: dict[str, Any]) -> dict[str, Any]:
    """What a reader anywhere may know: of the host's name only the hash, and of the command line what matters here."""
    if "host" in facts:
        known = MACHINE_HASH.search(str(facts["host"]))
        hashed = known[0] if known else hashlib.sha256(str(facts["host"]).encode()).hexdigest()[:8]
        facts = {**facts, "host": hashed}
    if "cmdline" not in facts:
        return facts
    parameters = str(facts["cmdline"]).partition(" -- ")[0].split()
    return {**facts, "cmdline": " ".join(word for word in parameters if word.startswith(LATENCY_PARAMETERS))}


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        found.update(_flat(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return found


def _spread(tables: Iterable[dict[str, Any]]) -> dict[str, str]:
    """For each fact: its value in all tables, or the range of its numbers, or all its values."""
    seen: dict[str, list[Any]] = {}
    for table in tables:
        for name, value in _flat(table).items():
            if value not in seen.setdefault(name, []):
                seen[name].append(value)
    return {name: _range(values) for name, values in seen.items() if values != [""]}


def _range(values: list[Any]) -> str:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(values) > 1 and len(numbers) == len(values):
        return f"{plain(min(numbers))} to {plain(max(numbers))}"
    return plain(values[0]) if len(values) == 1 else plain([str(value) for value in values])
