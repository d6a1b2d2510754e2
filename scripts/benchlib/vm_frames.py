"""From a client's log and a run file to latencies and misses, after a warm-up. Pure: no guest, no files written.

A missed flip, as the client sees it, is a refresh between two consecutive presented frames that showed neither: the
vblank counter went on by more than one. Whoever caused it is counted, the client too when its work took longer than a
refresh; the compositor's own run file tells these apart (docs/performance.md).
"""

from __future__ import annotations

import itertools
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minicomp.lab.pipeline.join import join
from minicomp.lab.pipeline.misses import Verdict, judge
from minicomp.lab.pipeline.percentiles import wilson_interval
from minicomp.lab.pipeline.runfile import read_run
from minicomp.lab.pipeline.tables import take

from .errors import BenchError


@dataclass(frozen=True)
class Frame:
    """One commit of the client, by its own log; vblank_seq counts the display's refreshes."""

    seq: int
    commit_ns: int
    presented_ns: int
    vblank_seq: int
    refresh_ns: int
    discarded: bool


@dataclass(frozen=True)
class OwnCount:
    """The compositor's verdicts, from its run file, on the same frames: see minicomp.lab.pipeline.misses."""

    missed: int
    client_late: int
    judged: int


@dataclass(frozen=True)
class Measured:
    """One contender in one scene. Times are commit -> presented."""

    frames: int
    refresh_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    missed_flips: int  # refreshes without a new frame, between measured frames
    misses: int  # measured frames that followed such a gap
    discarded: int
    window: str  # the size that was shown
    own: OwnCount | None = None
    stolen: float | None = None  # in real time: the share of the guest's CPU time that the host took

    @property
    def upper_rate(self) -> float:
        """The 95 % upper bound of the share of frames that came a refresh late or more (Wilson)."""
        return wilson_interval(self.misses, self.frames)[1]

    def periods(self, ms: float) -> float:
        return ms / self.refresh_ms


def parse(log: str) -> tuple[list[Frame], str]:
    """The frames of a pulse log in commit order, and its window's size. Raises BenchError on a log that ended early."""
    frames: list[Frame] = []
    window, ended = "?", False
    for line in log.splitlines():
        entry: dict[str, Any] = json.loads(line)
        if entry["type"] == "start":
            window = f"{entry['width']}x{entry['height']}"
        elif entry["type"] == "end":
            ended = entry["reason"] == "frames"
        elif entry["type"] == "frame":
            frames.append(Frame(**{name: entry[name] for name in Frame.__dataclass_fields__}))
    if not ended:
        raise BenchError(f"the client did not finish its frames ({len(frames)} logged)")
    return sorted(frames, key=lambda frame: frame.seq), window


def missed_flips(shown: list[Frame]) -> tuple[int, int]:
    """Refreshes without a new frame, and the frames that came after one or more of them. `shown` in commit order.

    A frame that replaced another within one refresh does not exist here: that one was discarded. The counter has 32
    bits on most displays and may wrap.
    """
    skipped = late = 0
    for before, after in itertools.pairwise(shown):
        gap = (after.vblank_seq - before.vblank_seq) % 2**32 - 1
        if gap < 0 or gap > 2**31:
            raise BenchError(f"frames {before.seq} and {after.seq}: vblank {before.vblank_seq} -> {after.vblank_seq}")
        skipped += gap
        late += gap > 0
    return skipped, late


def measure(log: str, warm_up: int, own: OwnCount | None = None) -> Measured:
    """Latency and misses of the frames after the first `warm_up`; the gap before the first of them is counted."""
    frames, window = parse(log)
    shown = [frame for frame in frames if not frame.discarded and frame.seq >= warm_up]
    measured = [frame for frame in shown if frame.seq > warm_up]
    if len(measured) < 100:
        raise BenchError(f"only {len(measured)} frames were presented after the warm-up")
    latency_ms = np.sort([(frame.presented_ns - frame.commit_ns) / 1e6 for frame in measured])
    skipped, late = missed_flips(shown)
    quantiles = np.quantile(latency_ms, [0.5, 0.9, 0.99], method="inverted_cdf")
    return Measured(
        frames=len(measured),
        refresh_ms=measured[-1].refresh_ns / 1e6,
        p50_ms=float(quantiles[0]),
        p90_ms=float(quantiles[1]),
        p99_ms=float(quantiles[2]),
        max_ms=float(latency_ms[-1]),
        missed_flips=skipped,
        misses=late,
        discarded=sum(frame.discarded for frame in frames if frame.seq > warm_up),
        window=window,
        own=own,
    )


def stolen_share(before: str, after: str) -> float:
    """From two readings of /proc/stat's first line: the steal time in all CPU time between them (proc(5))."""
    first, last = ([int(word) for word in line.split()[1:9]] for line in (before, after))
    passed = [end - begin for begin, end in zip(first, last, strict=True)]
    return passed[7] / max(sum(passed), 1)


def own_count(run_file: bytes, log: str, warm_up: int) -> OwnCount:
    """The compositor's verdicts on the commits that the client made after the warm-up."""
    frames, _ = parse(log)
    begin_ns = next(frame.commit_ns for frame in frames if frame.seq > warm_up)
    with tempfile.NamedTemporaryFile(prefix="minicomp-bench-", suffix=".mct") as file:
        Path(file.name).write_bytes(run_file)
        joined = join(read_run(file.name))
        verdicts = judge(joined)
        committed_ns = take(joined.commits.commit_ns, joined.latches.commit_row)
        counts = np.bincount(verdicts[committed_ns >= begin_ns], minlength=len(Verdict))
    judged = sum(counts[v] for v in Verdict if v not in (Verdict.UNJUDGED, Verdict.DISCARDED))
    return OwnCount(int(counts[Verdict.MISSED]), int(counts[Verdict.CLIENT_LATE]), int(judged))
