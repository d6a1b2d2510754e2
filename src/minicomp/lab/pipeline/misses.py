"""Judges, for each surface commit that an output took, whether it was shown when it should have been.

The verdict compares the commit's time with the frame's planned start, and the frame's vblank with the predicted one:

| committed                 | shown by its predicted vblank | shown later  |
|---------------------------|-------------------------------|--------------|
| before the planned start  | ON_TIME                       | MISSED       |
| after the planned start   | LATE_BUT_SHOWN                | CLIENT_LATE  |

"Later" is more than half a refresh period after the predicted vblank: stamps jitter, vblanks do not. Content whose
frame the display discarded is DISCARDED. UNJUDGED: nothing was predicted, the refresh period is unknown, or the
frame's end lies outside the trace.

The miss rate is MISSED / (ON_TIME + MISSED): what the compositor did with the commits that gave it the time it had
planned with. With the step clock a commit's place on the modelled clock is not recorded: every commit counts as made
before the planned start, since time stands still while clients work.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from minicomp.lab.pipeline.percentiles import wilson_interval
from minicomp.lab.pipeline.tables import MISSING, Floats, Ints, Joined, span_ns, take


class Verdict(IntEnum):
    UNJUDGED = 0
    ON_TIME = 1
    MISSED = 2
    CLIENT_LATE = 3
    LATE_BUT_SHOWN = 4
    DISCARDED = 5


@dataclass(frozen=True)
class MissCount:
    """The verdicts of one output."""

    on_time: int
    missed: int
    client_late: int
    late_but_shown: int
    discarded: int
    unjudged: int
    missed_frames: int
    """Frames with at least one MISSED surface."""

    @property
    def in_time(self) -> int:
        """Commits that gave the compositor the time it had planned with."""
        return self.on_time + self.missed

    @property
    def rate(self) -> float | None:
        return self.missed / self.in_time if self.in_time else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % Wilson interval of the rate, as fractions."""
        return wilson_interval(self.missed, self.in_time) if self.in_time else None


def judge(joined: Joined) -> Ints:
    """The Verdict of each row of `joined.latches`."""
    frames, latches = joined.frames, joined.latches
    refresh_ns = refresh_by_row(joined)[latches.frame_row]
    predicted = frames.predicted_ns[latches.frame_row]
    presented = take(frames.presented_ns, latches.shown_row)
    lateness = span_ns(predicted, presented)
    shown_late = lateness > refresh_ns / 2
    judged = ~np.isnan(lateness) & ~np.isnan(refresh_ns)

    committed = take(joined.commits.commit_ns, latches.commit_row)
    planned = frames.planned_ns[latches.frame_row]
    if joined.run.stepped:
        in_time = np.ones(len(latches), np.bool_)
    else:
        in_time = committed <= planned
        judged &= (committed != MISSING) & (planned != MISSING)

    verdict = np.select(
        [~judged, in_time & ~shown_late, in_time, shown_late],
        [Verdict.UNJUDGED, Verdict.ON_TIME, Verdict.MISSED, Verdict.CLIENT_LATE],
        Verdict.LATE_BUT_SHOWN,
    ).astype(np.int64)
    return np.where(frames.discarded[latches.frame_row], int(Verdict.DISCARDED), verdict)


def count_verdicts(joined: Joined, verdicts: Ints, output_id: int) -> MissCount:
    """Counts `judge`'s verdicts for one output."""
    here = joined.latches.output_id == output_id
    counts = np.bincount(verdicts[here], minlength=len(Verdict))
    missed = here & (verdicts == Verdict.MISSED)
    return MissCount(
        on_time=int(counts[Verdict.ON_TIME]),
        missed=int(counts[Verdict.MISSED]),
        client_late=int(counts[Verdict.CLIENT_LATE]),
        late_but_shown=int(counts[Verdict.LATE_BUT_SHOWN]),
        discarded=int(counts[Verdict.DISCARDED]),
        unjudged=int(counts[Verdict.UNJUDGED]),
        missed_frames=len(np.unique(joined.latches.frame_row[missed])),
    )


def refresh_by_row(joined: Joined) -> Floats:
    """Refresh period in ns for each frame: the mode's, else the shortest usual gap between vblanks, else NaN."""
    frames = joined.frames
    refresh = np.full(len(frames), np.nan)
    for output_id in np.unique(frames.output_id).tolist():
        here = frames.output_id == output_id
        refresh[here] = joined.run.refresh_ns(output_id) or _observed_refresh_ns(frames.presented_ns[here])
    return refresh


def _observed_refresh_ns(presented: Ints) -> float:
    """The 10th percentile of the gaps between shown frames: most gaps are one period, some are several."""
    gaps = np.diff(np.sort(presented[presented != MISSING]))
    gaps = gaps[gaps > 0]
    return float(np.quantile(gaps, 0.1, method="inverted_cdf")) if len(gaps) >= 10 else float("nan")
