"""What the report of an experiment says, section by section, before it becomes text, a terminal's tables or HTML.

The order is that of a reader's questions: what came out, by which numbers, from which runs, and then why, on what
machine, and how to get it again. Pictures have their place in it (`Section.pictures` names them); only HTML shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minicomp.lab.pipeline.percentiles import PERMILLES
from minicomp.lab.report import experiment_circumstances as circumstances
from minicomp.lab.report import experiment_words as words
from minicomp.lab.report.experiment_layout import Section, Table
from minicomp.lab.statistics.analysis import Analysis
from minicomp.lab.statistics.arms import ArmAnalysis, Summary
from minicomp.lab.statistics.measures import LATENCY, MEASURES, PRIMARY, SMALLER
from minicomp.lab.statistics.results import DISTURBED, RunResult

_LATENCY_HEAD = ("p50 ms", "p99", "p99.9", "max")
_POWER_HEAD = ("more runs needed", "could have seen")


def sections(analysis: Analysis) -> list[Section]:
    """The report; the first section is the answer. Without usable runs there is only what was tried."""
    numbers = bool(analysis.results.usable)
    return [
        _answer(analysis),
        *([_arms(analysis)] if numbers else []),
        _left_out(analysis),
        *([make(analysis) for make in (_pictures, _differences, _percentiles, _omission, _causes)] if numbers else []),
        circumstances.knobs(analysis),
        circumstances.machine(analysis),
        circumstances.reproduce(analysis),
        _method(analysis),
    ]


def heading(analysis: Analysis) -> str:
    """The experiment's name and size in one line."""
    results = analysis.results
    quick = ", quick" if results.quick else ""
    frames = sum(arm.frames for arm in analysis.arms)
    return (
        f"{results.name}{quick}: {len(results.arms)} arms, {len(results.usable)} of {len(results.runs)} runs, "
        f"{frames:,} frames"
    )


def _answer(analysis: Analysis) -> Section:
    title = analysis.results.question or "What came out"
    if not analysis.results.usable:
        runs = len(analysis.results.runs)
        said = [f"Nothing can be said: none of the {runs} runs is usable. The reasons are below."]
        if any(run.status == DISTURBED for run in analysis.results.runs):
            said.append(
                "On a quieter machine `minicomp lab run` with --resume --redo does the disturbed runs again; "
                "`minicomp lab report` with --with-disturbed counts them as they are, for a first look."
            )
        return Section(title, tuple(said))
    others = [arm for arm in analysis.arms if arm.name != analysis.baseline] or list(analysis.arms)
    said = [words.verdict(analysis, arm) for arm in others]
    said += [sentence for arm in others if (sentence := words.latency_verdict(analysis, arm))]
    said += words.cautions(analysis)
    return Section(title, tuple(said), lead=_lead(analysis))


def _lead(analysis: Analysis) -> str:
    due = [arm.due for arm in analysis.arms if arm.due]
    vblanks = f"{min(due):,}" if min(due) == max(due) else f"{min(due):,} to {max(due):,}"
    against = f" Against {analysis.baseline}, the baseline." if len(analysis.arms) > 1 else ""
    return (
        f"Misses: the share of the vblanks at which a frame was due ({vblanks} an arm) that showed nothing new for a "
        f"reason on the compositor's side; late clients are counted apart. In brackets: 95 % intervals.{against}"
    )


def _arms(analysis: Analysis) -> Section:
    head = ("arm", "runs", "frames", "misses, compositor-side", "client late", *_LATENCY_HEAD, "better than baseline")
    rows = []
    for arm in analysis.arms:
        latency = arm.summaries[LATENCY]
        name = f"{arm.name} (baseline)" if arm.name == analysis.baseline else arm.name
        rows.append(
            (
                name,
                f"{arm.runs}/{analysis.results.planned_of(arm.name)}",
                f"{arm.frames:,}",
                words.rate_words(arm.rates["compositor"]),
                words.rate_words(arm.rates["client"]),
                *(_value(latency, name) for name in ("p50", "p99", "p99.9")),
                words.milliseconds(latency.max.value) if latency.max else words.UNKNOWN,
                words.superiority_words(analysis, arm) or words.UNKNOWN,
            )
        )
    note = (
        "Misses: of the vblanks that were due, with 95 % intervals. p50 to max: commit → presented. Better than "
        "baseline: how often a frame of this arm has the smaller latency of two drawn at random (50 %: alike)."
    )
    about = [f"{name}: {text}" for name, text in analysis.results.about.items() if text]
    clocks = words.clock_words(analysis)
    about.append(f"Presentation times: {clocks}. Other times: the kernel's CLOCK_MONOTONIC, read by the compositor.")
    return Section("Arms", tuple(about), (Table(head, tuple(rows), note=note),), ("rates",))


def _left_out(analysis: Analysis) -> Section:
    left_out = analysis.results.left_out
    disturbed = analysis.results.disturbed_in_use
    remarks = (*_disturbed_table(disturbed), *_notes_table(analysis.results.usable))
    if not left_out:
        said = "None." if disturbed else f"None: all {len(analysis.results.runs)} runs count."
        return Section("Runs left out", (said,), remarks)
    rows = tuple((run.stem, run.status, "; ".join(run.reasons) or words.UNKNOWN) for run in left_out)
    said = f"{len(left_out)} of {len(analysis.results.runs)} runs take no part in any number or picture."
    table = Table(("run", "status", "reason"), rows, left=3)
    return Section("Runs left out", (said,), (table, *remarks))


def _disturbed_table(runs: Sequence[RunResult]) -> tuple[Table, ...]:
    """Runs that count although they were disturbed."""
    if not runs:
        return ()
    rows = tuple((run.stem, "; ".join(run.reasons)) for run in runs)
    return (Table(("run", "disturbed, but counted"), rows, left=2, title="Counted because it was asked for"),)


def _notes_table(runs: Sequence[RunResult]) -> tuple[Table, ...]:
    """What the runner remarked on runs that count, each remark once."""
    seen: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        for note in run.notes:
            seen.setdefault((run.arm, note), []).append(f"{run.number:04d}")
    if not seen:
        return ()
    rows = tuple((arm, note, circumstances.plain(numbers)) for (arm, note), numbers in seen.items())
    return (Table(("arm", "remark", "runs"), rows, left=3, title="Remarks on runs that count"),)


def _differences(analysis: Analysis) -> Section:
    head = ("arm", "what", "arm's", "baseline's", "ratio", "p (Holm)", "told apart", *_POWER_HEAD)
    rows: list[tuple[str, ...]] = []
    marked: set[int] = set()
    for one in sorted(analysis.comparisons, key=lambda one: (one.family != PRIMARY,)):
        show: Callable[[float], str] = words.percent if one.of in ("rate", SMALLER) else words.milliseconds
        if one.resolved:
            marked.add(len(rows))
        rows.append(
            (
                one.arm,
                words.tested_words(one),
                show(one.own),
                show(one.other),
                words.ratio_words(one.ratio),
                words.p_words(one.adjusted_p),
                "yes" if one.resolved else "no",
                words.more_words(one),
                words.could_see(one),
            )
        )
    if not rows:
        return Section("What could be told apart", ("There is nothing to compare: one arm, or no usable runs.",))
    resolved = len(marked)
    said = f"{resolved} of {len(rows)} comparisons with {analysis.baseline} are told apart with that many frames."
    note = (
        "Durations in ms. The first family of tests is compositor-side misses and the latency (smaller in that share "
        "of pairs of frames, p50, p99); the rest is the second. p is corrected by Holm within its family, and below "
        "0.05 counts as told apart. More runs: an arm, for a difference as large as the one seen; too many: over 200 "
        "times as many. Could have seen: the smallest difference that these runs find with a probability of 80 %."
    )
    table = Table(head, tuple(rows), left=2, note=note, marked=frozenset(marked))
    return Section("What could be told apart", (said,), (table,))


def _pictures(analysis: Analysis) -> Section:
    return Section("Pictures", pictures=("percentiles", "strip", "stages", "wake", "predicted", "causes"))


def _percentiles(analysis: Analysis) -> Section:
    head = ("arm", "n", *PERMILLES, "max")
    tables = tuple(
        Table(
            head,
            tuple(_summary_row(arm.name, arm.summaries[measure.column]) for arm in analysis.arms),
            title=f"{measure.words}, ms",
        )
        for measure in MEASURES
    )
    note = (
        "Each with its 95 % interval over runs, not frames. A percentile that fewer than one frame lies above is not "
        "given. In brackets after max: the smallest and largest maximum of a block, which is no confidence interval."
    )
    return Section("Percentiles", (note,), tables, aside=True)


def _omission(analysis: Analysis) -> Section:
    rows = []
    for arm in analysis.arms:
        rows.append(_summary_row(f"{arm.name}, as measured", arm.summaries[LATENCY]))
        rows.append(_summary_row(f"{arm.name}, corrected", arm.corrected))
        if arm.hdr_corrected is not None:
            rows.append(_summary_row(f"{arm.name}, HdrHistogram's rule", arm.hdr_corrected))
    said = (
        "A client waiting for a late frame draws no others, so the frames that would have been late too are missing. "
        "Corrected: one more sample, a refresh period shorter each, for every vblank that was missed. HdrHistogram's "
        "rule takes every latency above one refresh for a wait; it is left out where the median is above one."
    )
    table = Table(("commit → presented, ms", "n", *PERMILLES, "max"), tuple(rows))
    return Section("Coordinated omission", (said,), (table,), aside=True)


def _causes(analysis: Analysis) -> Section:
    causes = [cause for cause in analysis.arms[0].causes if any(arm.causes[cause] for arm in analysis.arms)]
    if not causes:
        return Section("Why vblanks were missed", ("None was.",))
    rows = []
    for arm in analysis.arms:
        total = sum(arm.causes.values())
        shares = (f"{arm.causes[cause]} ({_share(arm.causes[cause], total)})" for cause in causes)
        rows.append((arm.name, f"{arm.due:,}", str(total), *shares))
    table = Table(("arm", "due", "missed", *causes), tuple(rows), note="Each missed vblank has one cause.")
    return Section("Why vblanks were missed", (), (table, *_evidence_table(analysis, causes)))


def _evidence_table(analysis: Analysis, causes: Sequence[str]) -> tuple[Table, ...]:
    """For each arm and cause, what is known of the miss that cost most vblanks."""
    rows: list[tuple[str, ...]] = []
    for arm in analysis.results.arms:
        for cause in causes:
            worst = (0, "", "")
            for run in analysis.results.usable_of(arm):
                missed = np.where(run.frames.cause == cause, np.nan_to_num(run.frames.floats("missed_vblanks")), 0)
                row = int(np.argmax(missed)) if len(missed) else 0
                if len(missed) and missed[row] > worst[0]:
                    worst = (int(missed[row]), str(run.frames.evidence[row]), run.stem)
            if worst[1]:
                rows.append((arm, cause, worst[2], worst[1], str(worst[0])))
    if not rows:
        return ()
    head = ("arm", "cause", "run", "evidence", "vblanks")
    return (Table(head, tuple(rows), left=4, title="The longest miss of each cause"),)


def _method(analysis: Analysis) -> Section:
    said = (
        "Rates: Clopper and Pearson's exact interval for the number of vblanks divided by the design effect, which is "
        "how much more the rates of runs vary than independent frames would (Korn and Graubard 1998).",
        "Percentiles: bootstrap over blocks of runs, all arms with the same blocks, widened for few blocks "
        "(Hesterberg 2015). Ratios: t intervals with bootstrap standard errors on the log scale. Ratios of rates: "
        "MOVER (Newcombe 2016).",
        *(
            f"{arm.name}, {name} misses: {rate.note}."
            for arm in analysis.arms
            for name, rate in arm.rates.items()
            if rate.note and rate.trials and name == "compositor"
        ),
    )
    return Section("How the numbers were made", said, aside=True)


def _summary_row(name: str, summary: Summary) -> tuple[str, ...]:
    values = (*(summary.percentiles[percentile] for percentile in PERMILLES), summary.max)
    return (name, f"{summary.count:,}", *(words.interval_words(value) for value in values))


def _value(summary: Summary, name: str) -> str:
    found = summary.percentiles[name]
    return words.milliseconds(found.value if found else None)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else words.UNKNOWN


def named_summaries(arm: ArmAnalysis) -> list[tuple[str, Summary]]:
    """Every summary of an arm with its name: for the CSV file."""
    found = [(summary.column, summary) for summary in arm.summaries.values()]
    found.append((f"{LATENCY} corrected", arm.corrected))
    if arm.hdr_corrected is not None:
        found.append((f"{LATENCY} hdrhistogram", arm.hdr_corrected))
    return found
