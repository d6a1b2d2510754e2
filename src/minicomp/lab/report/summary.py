"""What a report says of one run, as plain data: counts, percentiles, misses and where the display times came from.

`summarise_run` is the only place that decides whether percentiles may be given: when records were dropped they would be
of the luckier frames, so they are refused unless forced. Text and JSON are made from the same Summary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minicomp.errors import ExitCode, MinicompError
from minicomp.lab.pipeline.attribution import Cause, explain, shares
from minicomp.lab.pipeline.join import join
from minicomp.lab.pipeline.metrics import PHOTON_METRICS, present_metrics
from minicomp.lab.pipeline.misses import MissCount, count_verdicts, judge
from minicomp.lab.pipeline.percentiles import Stats, summarise
from minicomp.lab.pipeline.points import Origin, Point, source_name
from minicomp.lab.pipeline.reasons import KernelSide
from minicomp.lab.pipeline.runfile import Run, describe_drops
from minicomp.lab.pipeline.stages import stages
from minicomp.lab.pipeline.tables import MISSING, Bools, Joined

ORIGIN_SENTENCES = {
    Origin.HARDWARE: "Display times are the hardware's vblank stamps; light leaves the panel later.",
    Origin.MODELLED: "Display times come from the modelled display: these are not photon latencies.",
    Origin.ESTIMATED: "Display times are estimated from the refresh period: these are not photon latencies.",
    Origin.NOW: "Display times are when the compositor was told, not the hardware's: these are not photon latencies.",
}
STEP_SENTENCE = (
    "Step clock: vblanks are on the modelled clock, so no span from a stamp to a vblank is given,\n"
    "and every commit counts as made in time."
)


@dataclass(frozen=True)
class OutputSummary:
    """Counts of one output. refresh_hz is None when the run does not say; shown_per_s when nothing was shown twice."""

    output_id: int
    name: str
    refresh_hz: float | None
    composed: int
    shown: int
    discarded: int
    refused: int
    scanned_out: int
    callback_only: int
    shown_per_s: float | None
    misses: MissCount


@dataclass(frozen=True)
class Row:
    """One line of a percentile table; milliseconds."""

    name: str
    per: str
    stats: Stats
    note: str = ""


@dataclass(frozen=True)
class LockHolds:
    """Holds of the compositor lock that were long enough to be recorded."""

    count: int
    longest_ms: float | None
    longest_by: str


@dataclass(frozen=True)
class Summary:
    run: Run
    joined: Joined
    duration_s: float
    outputs: list[OutputSummary]
    causes: list[Cause]
    """Why vblanks were missed."""
    origins: dict[Origin, int]
    """How many frames were shown with a display time of each origin."""
    lock_holds: LockHolds
    scheduling: dict[str, int]
    """Sums over frames for the composing thread: switches and page faults."""
    stages: list[Row]
    metrics: list[Row]
    refused: str | None
    """Why stages and metrics are empty, or None."""

    @property
    def are_photons(self) -> bool:
        """Whether display times may be called photon latencies: all of them came from hardware."""
        return set(self.origins) == {Origin.HARDWARE}


def summarise_run(
    run: Run, *, output: str | None = None, force: bool = False, kernel: KernelSide | None = None
) -> Summary:
    """Everything a report needs. `output` restricts it to one output by name; `kernel` tells who ran instead.

    Raises MinicompError when there is no such output. With dropped records and without `force`, `refused` says why
    there are no percentiles.
    """
    joined = join(run)
    output_id = None if output is None else _find_output(joined, output)
    refused = None
    if run.dropped_total and not force:
        refused = (
            f"Dropped records: {describe_drops(run)}. Counts may be short, and percentiles would be of what is left:\n"
            "they are withheld. Trace again with a larger trace.ring_records, or use --force to see them anyway."
        )
    return Summary(
        run=run,
        joined=joined,
        duration_s=_duration_s(run),
        outputs=_outputs(joined, output_id),
        causes=[cause for cause in explain(joined, kernel) if output_id in (None, cause.output_id)],
        origins=_origins(joined, output_id),
        lock_holds=_lock_holds(run),
        scheduling=_scheduling(joined, output_id),
        stages=[] if refused else _stage_rows(joined, output_id),
        metrics=[] if refused else _metric_rows(joined, output_id),
        refused=refused,
    )


def clock_sentences(summary: Summary) -> list[str]:
    """What display times are worth, in words; with several origins each says how many frames it is of."""
    several = len(summary.origins) > 1
    sentences = [
        f"{count} frames: {ORIGIN_SENTENCES[origin]}" if several else ORIGIN_SENTENCES[origin]
        for origin, count in summary.origins.items()
    ]
    return [*sentences, *([STEP_SENTENCE] if summary.run.stepped else [])]


def to_json(summary: Summary) -> dict[str, Any]:
    """The summary as JSON-ready data; times in ms, rates as fractions, null where the trace cannot tell."""
    run = summary.run
    return {
        "file": run.path.name,
        "meta": {key: run.meta.get(key) for key in ("minicomp", "backend", "clock", "renderer", "kernel")},
        "duration_s": round(summary.duration_s, 6),
        "records": len(run.records),
        "dropped": {"total": run.dropped_total, **{source_name(s): n for s, n in sorted(run.dropped.items())}},
        "cut_short": run.cut_short,
        "refused": _one_line(summary.refused) if summary.refused else None,
        "display_times": {
            "photons": summary.are_photons,
            "frames": {origin.name.lower(): count for origin, count in summary.origins.items()},
            "meaning": [_one_line(sentence) for sentence in clock_sentences(summary)],
        },
        "outputs": [_output_json(output) for output in summary.outputs],
        "missed_vblanks": {"total": sum(c.vblanks for c in summary.causes), "causes": shares(summary.causes)},
        "lock_holds": vars(summary.lock_holds),
        "scheduling": summary.scheduling,
        "stages_ms": {row.name: {"per": row.per, **_stats_json(row.stats)} for row in summary.stages},
        "metrics_ms": {row.name: {"note": row.note, **_stats_json(row.stats)} for row in summary.metrics},
    }


def _one_line(text: str) -> str:
    return text.replace("\n", " ")


def _output_json(output: OutputSummary) -> dict[str, Any]:
    misses = output.misses
    facts = {key: value for key, value in vars(output).items() if key != "misses"}
    interval = None if misses.interval is None else [round(bound, 6) for bound in misses.interval]
    rate = None if misses.rate is None else round(misses.rate, 6)
    return {**facts, "misses": {**vars(misses), "in_time": misses.in_time, "rate": rate, "rate_95": interval}}


def _stats_json(stats: Stats) -> dict[str, Any]:
    values = {**stats.percentiles, "max": stats.max}
    return {"count": stats.count, **{key: None if v is None else round(v, 6) for key, v in values.items()}}


def _find_output(joined: Joined, wanted: str) -> int:
    known = {joined.run.name("output", number): number for number in _output_ids(joined)}
    if wanted not in known:
        names = ", ".join(known) or "none"
        raise MinicompError(
            f"no output {wanted!r} in this run", where="--output", todo=f"it has: {names}", exit_code=ExitCode.USAGE
        )
    return known[wanted]


def _output_ids(joined: Joined) -> list[int]:
    """Outputs that composed something, asked for callbacks, or were named."""
    named = [number for kind, number in joined.run.names if kind == "output"]
    return sorted({*joined.frames.output_id.tolist(), *joined.callback_only, *named})


def _outputs(joined: Joined, only: int | None) -> list[OutputSummary]:
    verdicts = judge(joined)
    frames = joined.frames
    found = []
    for number in _output_ids(joined) if only is None else [only]:
        here = frames.output_id == number
        presented = np.sort(frames.presented_ns[here & (frames.presented_ns != MISSING)])
        elapsed_s = float(presented[-1] - presented[0]) / 1e9 if len(presented) > 1 else 0.0
        refresh_ns = joined.run.refresh_ns(number)
        found.append(
            OutputSummary(
                output_id=number,
                name=joined.run.name("output", number),
                refresh_hz=round(1e9 / refresh_ns, 3) if refresh_ns else None,
                composed=int(here.sum()),
                shown=len(presented),
                discarded=int(frames.discarded[here].sum()),
                refused=int(frames.refused[here].sum()),
                scanned_out=int(frames.scanout[here].sum()),
                callback_only=joined.callback_only.get(number, 0),
                shown_per_s=round((len(presented) - 1) / elapsed_s, 3) if elapsed_s > 0 else None,
                misses=count_verdicts(joined, verdicts, number),
            )
        )
    return found


def _origins(joined: Joined, only: int | None) -> dict[Origin, int]:
    frames = joined.frames
    shown = (frames.presented_ns != MISSING) & _here(joined, only)
    values, counts = np.unique(frames.origin[shown], return_counts=True)
    return {Origin(value): count for value, count in zip(values.tolist(), counts.tolist(), strict=True)}


def _here(joined: Joined, only: int | None) -> Bools:
    outputs = joined.frames.output_id
    return np.ones(len(outputs), np.bool_) if only is None else np.equal(outputs, only)


def _scheduling(joined: Joined, only: int | None) -> dict[str, int]:
    flags = joined.frames.sched_flags
    known = flags[(flags != MISSING) & _here(joined, only)]
    names = ("voluntary_switches", "involuntary_switches", "minor_faults", "major_faults")
    return {name: int((known >> (8 * place) & 0xFF).sum()) for place, name in enumerate(names)}


def _lock_holds(run: Run) -> LockHolds:
    holds = run.records[run.records["point"] == Point.LOCK_HOLD]
    if not len(holds):
        return LockHolds(0, None, "")
    longest = holds[np.argmax(holds["arg"])]
    return LockHolds(len(holds), float(longest["arg"]) / 1e6, source_name(int(longest["flags"])))


def _stage_rows(joined: Joined, only: int | None) -> list[Row]:
    return [Row(stage.name, stage.per, summarise(stage.values_ms)) for stage in stages(joined, only)]


def _metric_rows(joined: Joined, only: int | None) -> list[Row]:
    here = np.ones(len(joined.latches), np.bool_) if only is None else joined.latches.output_id == only
    origins = _origins(joined, only)
    words = " and ".join(origin.name.lower() for origin in origins)
    doubt = "" if set(origins) <= {Origin.HARDWARE} else f"{words}, not photons"
    rows = []
    for name, values in present_metrics(joined).items():
        note = doubt if name in PHOTON_METRICS else ""
        if name == "MsAnimationError":
            values, note = np.abs(values), "magnitude"
        rows.append(Row(name, "present", summarise(values[here]), note))
    return rows


def _duration_s(run: Run) -> float:
    if not len(run.records):
        return 0.0
    return float(run.records["t_ns"][-1] - run.records["t_ns"][0]) / 1e9
