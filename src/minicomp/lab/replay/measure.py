"""What an outcome was worth: latency, missed vblanks and repeated pictures; the same numbers of the recording itself.

commit -> presented    of each commit that was shown
callback -> presented  of each shown commit that answers a frame callback: what a client's picture is old when seen
missed                 frames shown more than half a refresh after the vblank that the policy had begun them for
repeats                refreshes in which an animating surface showed nothing new: between two successive pictures of
                       it, when the later one was drawn within one refresh of its callback. Late callbacks cause them;
                       they are no misses of the compositor's
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicomp.lab.pipeline.percentiles import Stats, summarise, wilson_interval
from minicomp.lab.pipeline.tables import MISSING, Joined, take
from minicomp.lab.replay.simulate import Outcome, Shown
from minicomp.lab.replay.workload import Workload

RECORDED = "(recorded)"
"""The row of the run file itself."""


@dataclass(frozen=True)
class Share:
    """`hits` of `trials`."""

    hits: int
    trials: int

    @property
    def rate(self) -> float | None:
        return self.hits / self.trials if self.trials else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval, as fractions."""
        return wilson_interval(self.hits, self.trials)


@dataclass(frozen=True)
class Score:
    """One policy on one output; latencies in ms."""

    policy: str
    frames: int
    commits: int
    period_ms: float
    commit_ms: Stats
    callback_ms: Stats
    missed: Share
    repeats: Share

    def refreshes(self, milliseconds: float | None) -> float | None:
        return None if milliseconds is None else milliseconds / self.period_ms


def score(workload: Workload, outcome: Outcome, warm_up: int = 0) -> Score:
    """Leaves out the first `warm_up` frames, and the commits that they showed."""
    frames = outcome.frames[warm_up:]
    begin_ns = frames[0].shown_ns if frames else 0
    shown = [one for one in outcome.shown if one.shown_ns >= begin_ns] if frames else []
    late_ns = workload.period_ns / 2
    missed = Share(sum(frame.shown_ns > frame.target_ns + late_ns for frame in frames), len(frames))
    return _score(workload, outcome.policy, len(frames), shown, missed)


def score_recording(joined: Joined, workload: Workload, warm_up: int = 0) -> Score:
    """The run as it was: a replay of the policy that it was recorded with should come near this."""
    frames, latches, commits = joined.frames, joined.latches, joined.commits
    rows = np.flatnonzero(latches.output_id == workload.output_id)
    with_content = np.unique(latches.frame_row[rows])
    with_content = with_content[frames.presented_ns[with_content] != MISSING][warm_up:]
    begin_ns = int(frames.presented_ns[with_content[0]]) if len(with_content) else 0
    judged = with_content[frames.predicted_ns[with_content] != MISSING]
    late = frames.presented_ns[judged] > frames.predicted_ns[judged] + workload.period_ns / 2
    shown = []
    for row in rows.tolist():
        commit, shown_row = int(latches.commit_row[row]), int(latches.shown_row[row])
        if commit < 0 or shown_row < 0 or frames.presented_ns[shown_row] < begin_ns:
            continue
        callback_ns = int(take(commits.callback_ns, np.array([commit]))[0])
        shown.append(
            Shown(
                int(latches.surface_id[row]),
                int(latches.number[row]),
                None if callback_ns == MISSING else callback_ns,
                int(commits.commit_ns[commit]),
                int(frames.presented_ns[shown_row]),
            )
        )
    return _score(workload, RECORDED, len(with_content), shown, Share(int(late.sum()), len(judged)))


def pareto_front(scores: Sequence[Score]) -> list[Score]:
    """Those that no other one beats: at most as many misses, and a lower median or the other way round; by misses."""
    known = [(one.missed.rate, one.commit_ms.percentiles["p50"], one) for one in scores]
    front: list[Score] = []
    best = float("inf")
    for _rate, median, one in sorted((row for row in known if None not in row[:2]), key=lambda row: row[:2]):
        if median is not None and median < best:
            best = median
            front.append(one)
    return front


def to_json(one: Score) -> dict[str, Any]:
    return {
        "policy": one.policy,
        "frames": one.frames,
        "commits": one.commits,
        "commit_to_presented": _latency_json(one, one.commit_ms),
        "callback_to_presented": _latency_json(one, one.callback_ms),
        "missed": _share_json(one.missed),
        "repeats": _share_json(one.repeats),
    }


def _score(workload: Workload, policy: str, frames: int, shown: Sequence[Shown], missed: Share) -> Score:
    return Score(
        policy=policy,
        frames=frames,
        commits=len(shown),
        period_ms=workload.period_ns / 1e6,
        commit_ms=_milliseconds(one.shown_ns - one.committed_ns for one in shown),
        callback_ms=_milliseconds(one.shown_ns - one.callback_ns for one in shown if one.callback_ns is not None),
        missed=missed,
        repeats=_repeats(shown, workload.period_ns),
    )


def _milliseconds(spans_ns: Iterable[int]) -> Stats:
    return summarise(np.array(list(spans_ns), np.float64) / 1e6)


def _repeats(shown: Sequence[Shown], period_ns: float) -> Share:
    repeated = refreshes = 0
    last: dict[int, int] = {}
    for one in sorted(shown, key=lambda one: (one.shown_ns, one.surface_id, one.number)):
        previous = last.get(one.surface_id)
        last[one.surface_id] = one.shown_ns
        if previous is None or one.callback_ns is None or one.committed_ns - one.callback_ns >= period_ns:
            continue
        gap = round((one.shown_ns - previous) / period_ns)
        refreshes += gap
        repeated += max(0, gap - 1)
    return Share(repeated, refreshes)


def _latency_json(one: Score, stats: Stats) -> dict[str, Any]:
    milliseconds = {**stats.percentiles, "max": stats.max}
    return {
        "count": stats.count,
        "ms": {name: None if value is None else round(value, 6) for name, value in milliseconds.items()},
        "refreshes": {
            name: None if value is None else round(value / one.period_ms, 6) for name, value in milliseconds.items()
        },
    }


def _share_json(share: Share) -> dict[str, Any]:
    rate = share.rate
    return {
        "hits": share.hits,
        "trials": share.trials,
        "rate": None if rate is None else round(rate, 8),
        "rate_95": [round(bound, 8) for bound in share.interval] if share.trials else None,
    }
