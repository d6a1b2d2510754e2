"""Why vblanks were missed, in words: the table of causes in a summary, and `minicomp trace misses`, a line a miss."""

from __future__ import annotations

from collections.abc import Sequence

from minicomp.lab.pipeline.attribution import Cause, shares
from minicomp.lab.pipeline.runfile import Run
from minicomp.lab.report.columns import table


def causes_table(causes: Sequence[Cause]) -> str:
    """How many vblanks were missed for each cause, the most frequent first; "" when none was."""
    counts = {name: count for name, count in shares(causes).items() if count}
    if not counts:
        return ""
    order = sorted(counts, key=lambda name: -counts[name])
    percent = percentages([counts[name] for name in order])
    rows = [[name, str(counts[name]), f"{share:.1f} %"] for name, share in zip(order, percent, strict=True)]
    rows.append(["all", str(sum(counts.values())), "100.0 %"])
    return table(["Missed vblanks by cause", "vblanks", "share"], rows)


def misses_text(run: Run, causes: Sequence[Cause]) -> str:
    """A line for each miss: when its vblank was, on which output, how many vblanks, why; then the table."""
    if not causes:
        return "No vblank was missed.\n"
    start_ns = int(run.records["t_ns"][0])
    if run.stepped:  # vblanks are on another clock than stamps
        start_ns = min(cause.vblank_ns for cause in causes)
    rows = [
        [
            f"{(cause.vblank_ns - start_ns) / 1e6:.3f} ms",
            run.name("output", cause.output_id),
            str(cause.frame_id),
            str(cause.vblanks),
        ]
        for cause in causes
    ]
    width = max(len(cause.name) for cause in causes)
    sentences = ["cause", *(f"{cause.name:{width}}  {cause.evidence}" for cause in causes)]
    places = table(["vblank at", "output", "frame", "vblanks"], rows, left=0).split("\n")
    lines = [f"{place}  {sentence}" for place, sentence in zip(places, sentences, strict=True)]
    return "\n".join([*lines, "", causes_table(causes)]) + "\n"


def percentages(counts: Sequence[int]) -> list[float]:
    """Shares in percent to one decimal that add up to exactly 100 (largest remainders are rounded up)."""
    total = sum(counts)
    if not total:
        return [0.0 for _ in counts]
    thousandths = [1000 * count // total for count in counts]
    order = sorted(range(len(counts)), key=lambda n: -(1000 * counts[n] % total))
    for n in order[: 1000 - sum(thousandths)]:
        thousandths[n] += 1
    return [share / 10 for share in thousandths]
