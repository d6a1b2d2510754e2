"""A replay as plain text: one table an output, the recording in its first row."""

from __future__ import annotations

from collections.abc import Sequence

from minicomp.lab.pipeline.runfile import Run, describe_drops
from minicomp.lab.replay.latch import Latch
from minicomp.lab.replay.measure import Score, Share, pareto_front
from minicomp.lab.replay.workload import Workload
from minicomp.lab.report.columns import table
from minicomp.lab.report.text import UNKNOWN

HEAD = [
    "policy",
    "p50 ms",
    "p99 ms",
    "p50",
    "p99",
    "p50 ms",
    "p99 ms",
    "p50",
    "p99",
    "missed",
    "rate",
    "95 % interval",
    "repeats",
    "best",
]
GROUPS = "commit -> presented, ms and refreshes; callback -> presented, ms and refreshes"


def report_text(run: Run, panels: Sequence[tuple[Workload, Sequence[Score]]], warm_up: int) -> str:
    notes = []
    if run.cut_short:
        notes.append(f"The file is not complete: {run.cut_short}. What is there was replayed.")
    if run.dropped_total:
        notes.append(f"Dropped records: {describe_drops(run)}. The frames that they were of are missing here.")
    parts = [run.path.name, *notes]
    for workload, scores in panels:
        parts.append(f"{_heading(workload, warm_up)}\n\n{GROUPS}\n{_table(scores)}")
    parts.append(
        "missed: shown later than the vblank that the policy began the frame for; repeats: refreshes in which an\n"
        "animating client showed nothing new; best: no other policy has both fewer misses and a lower median.\n"
        "Costs and response times are the recording's, whatever the policy: docs/replay.md says what that leaves out."
    )
    return "\n\n".join(parts) + "\n"


def _heading(workload: Workload, warm_up: int) -> str:
    commits = sum(len(surface.commits) for surface in workload.surfaces)
    lines = [
        f"{workload.name}  {1e9 / workload.period_ns:.3f} Hz  {len(workload.costs)} frames recorded, "
        f"{commits} commits of {len(workload.surfaces)} surfaces",
        _latch_words(workload.latch),
    ]
    if warm_up:
        lines.append(f"The first {warm_up} frames are left out.")
    return "\n".join(lines)


def _latch_words(latch: Latch) -> str:
    words = f"Latch {latch.ns / 1e6:.3f} ms ({latch.source}"
    if latch.source != "learned":
        return f"{words})"
    words += f": more than {latch.low_ns / 1e6:.3f}, at most {latch.high_ns / 1e6:.3f} ms)"
    if latch.high_ns > 1.5 * latch.low_ns:
        words += "\nThe recording does not narrow the latch down; with --latch-us it can be given."
    return words


def _table(scores: Sequence[Score]) -> str:
    front = pareto_front(scores[1:])
    return table(HEAD, [_row(one, one in front) for one in scores])


def _row(one: Score, best: bool) -> list[str]:
    cells = [one.policy]
    for stats in (one.commit_ms, one.callback_ms):
        p50, p99 = stats.percentiles["p50"], stats.percentiles["p99"]
        cells += [_number(p50), _number(p99), _number(one.refreshes(p50), 2), _number(one.refreshes(p99), 2)]
    low, high = one.missed.interval
    interval = f"{100 * low:.2f} to {100 * high:.2f} %" if one.missed.trials else UNKNOWN
    return [*cells, str(one.missed.hits), _percent(one.missed), interval, _percent(one.repeats), "*" if best else ""]


def _percent(share: Share) -> str:
    return UNKNOWN if share.rate is None else f"{100 * share.rate:.2f} %"


def _number(value: float | None, digits: int = 3) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"
