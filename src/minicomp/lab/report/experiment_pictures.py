"""The pictures of an experiment's report: what each shows, of how many frames, by which clock, and in which colours.

Each is drawn twice, for a wide and a narrow page: text in a picture that shrinks with the page becomes unreadable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minicomp.lab.report import experiment_bars as bars
from minicomp.lab.report import experiment_curves as curves
from minicomp.lab.report import experiment_strip as strip
from minicomp.lab.report.experiment_frames import STAGES, ArmFrames, count_words, frames_of
from minicomp.lab.report.experiment_words import clock_words
from minicomp.lab.statistics.analysis import Analysis
from minicomp.lab.statistics.measures import CAUSES, LATENCY

WIDE, NARROW = 720, 360
STAMPS = "stamps: the kernel's CLOCK_MONOTONIC, read by the compositor"


@dataclass(frozen=True)
class Picture:
    """A figure: legend entries are (colour class, words)."""

    title: str
    caption: str
    legend: tuple[tuple[str, str], ...]
    wide: str
    narrow: str


def pictures(analysis: Analysis) -> dict[str, Picture]:
    """Every picture by the name that sections know it by; those without data are absent."""
    arms = frames_of(analysis)
    found: dict[str, Picture] = {}
    if not arms:
        return found
    by_arm = tuple((f"a{arm.place % 8}", arm.name) for arm in arms)
    clock = f"presentation times: {clock_words(analysis)}"

    def add(
        name: str, title: str, caption: str, draw: Callable[[int], str], legend: tuple[tuple[str, str], ...] = ()
    ) -> None:
        found[name] = Picture(title, caption, legend, draw(WIDE), draw(NARROW))

    due = sum(arm.due for arm in analysis.arms)
    add(
        "rates",
        "Missed vblanks, with 95 % intervals",
        f"Of the vblanks that were due, on a logarithmic scale. Filled: compositor-side; hollow: client late. An arrow "
        f"at the left: none. n = {due:,} vblanks; {clock}.",
        lambda width: bars.rates(analysis, width),
        by_arm,
    )
    if any(len(arm.known(LATENCY)) for arm in arms):
        add(
            "percentiles",
            "Latency by percentile, up to the maximum",
            f"Commit → presented. A dot ends each line: its maximum. Dashed: corrected for coordinated omission. "
            f"{count_words(arms, LATENCY)}; {clock}.",
            lambda width: curves.percentile_curves(arms, width),
            by_arm,
        )
        add(
            "predicted",
            "Predicted against actual presentation",
            f"Each dot a frame: how long after its commit it was to be shown, and when it was. On the diagonal: as "
            f"predicted; one line further up: a refresh late. {_shown_of(arms)}; {clock}.",
            lambda width: curves.predicted_against_actual(arms, width),
        )
    if any(len(arm.known("ms_between_presents")) for arm in arms):
        causes = tuple(
            (f"c{place}", cause)
            for place, cause in enumerate(CAUSES)
            if any((arm.cause == place).any() for arm in arms)
        )
        add(
            "strip",
            "Time between presents, and where vblanks were missed",
            f"All usable runs of each arm, one after the other (thin lines part them); each column shows the range of "
            f"the frames in it. Marks below: misses by cause. {count_words(arms, 'ms_between_presents')}; {clock}.",
            lambda width: strip.frame_strip(arms, width),
            causes,
        )
    staged = [arm for arm in arms if len(arm.stages_ms)]
    if staged:
        add(
            "stages",
            "Where a frame's time goes",
            f"Means, adding up to the mean of commit → presented. {count_words(staged, LATENCY)}; {STAMPS}; {clock}.",
            lambda width: bars.stages(staged, width),
            tuple((f"s{place}", name) for place, name in enumerate(STAGES)),
        )
    if any(len(arm.known("wake_late_ms")) for arm in arms):
        add(
            "wake",
            "How late the frame's thread woke",
            f"Both scales logarithmic; a dot: the latest. {count_words(arms, 'wake_late_ms')}; {STAMPS}.",
            lambda width: curves.wake_histogram(arms, width),
            by_arm,
        )
    if any((arm.cause >= 0).any() for arm in arms):
        missed = sum(sum(arm.causes.values()) for arm in analysis.arms)
        add(
            "causes",
            "Why vblanks were missed",
            f"Of the vblanks that were due. n = {missed:,} missed of {due:,}; {clock}.",
            lambda width: bars.causes(analysis, width),
            tuple(
                (f"c{place}", cause)
                for place, cause in enumerate(CAUSES)
                if any(arm.causes[cause] for arm in analysis.arms)
            ),
        )
    return found


def _shown_of(arms: list[ArmFrames]) -> str:
    most = curves.MOST_DOTS
    return f"{count_words(arms, LATENCY)}, of each arm at most {most:,} drawn, all missed ones first"
