"""What a recorded run asked of one output: its vblanks, what frames cost, and how its clients behave.

Costs are a sequence, one a composed frame; a replay's n-th frame costs what the recording's n-th did. A client is a
sequence of commits with content: each answers a frame callback after the recorded response time, or (a client with a
clock of its own) follows its previous commit after the recorded gap. So every policy is given the same commits, and
whether they come early or late is its own doing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minicomp.errors import ExitCode, MinicompError
from minicomp.lab.pipeline.cost import frame_costs
from minicomp.lab.pipeline.join import CONTENT
from minicomp.lab.pipeline.points import CommitFlag, Origin
from minicomp.lab.pipeline.tables import MISSING, Joined
from minicomp.lab.replay.grid import Grid, build_grid
from minicomp.lab.replay.latch import Latch, learn_latch


@dataclass(frozen=True)
class Cost:
    """One frame's, in ns: planned start -> wake-up, lock wait, compose, KMS commit; and vblank -> told of it."""

    wake_ns: int
    lock_ns: int
    compose_ns: int
    commit_ns: int
    told_ns: int


@dataclass(frozen=True)
class Commit:
    """One commit with content. Exactly one of response_ns and gap_ns is given, except for the first: at_ns."""

    response_ns: int | None = None
    """It answers a frame callback after this long."""
    gap_ns: int | None = None
    """It follows the surface's previous commit after this long."""
    at_ns: int | None = None
    wants_callback: bool = True


@dataclass(frozen=True)
class Surface:
    surface_id: int
    name: str
    commits: tuple[Commit, ...]


@dataclass(frozen=True)
class Workload:
    output_id: int
    name: str
    nominal_ns: int
    """The mode's refresh period, 0 when the run does not say."""
    grid: Grid
    latch: Latch
    costs: tuple[Cost, ...]
    surfaces: tuple[Surface, ...]

    @property
    def period_ns(self) -> float:
        return self.grid.period_ns


def workloads(joined: Joined, latch_ns: int | None = None) -> list[Workload]:
    """One for each output that showed content; `latch_ns` stands in for the display's own.

    Raises MinicompError when the run cannot be replayed.
    """
    run = joined.run
    if run.stepped:
        raise MinicompError(
            "the run was recorded with the step clock: its frames have no durations",
            where=str(run.path),
            todo="record with the real clock",
            exit_code=ExitCode.USAGE,
        )
    found = [
        workload
        for output_id in np.unique(joined.latches.output_id).tolist()
        if (workload := _workload(joined, output_id, latch_ns)) is not None
    ]
    if not found:
        raise MinicompError(
            "nothing to replay: no surface content was shown", where=str(run.path), exit_code=ExitCode.USAGE
        )
    return found


def _workload(joined: Joined, output_id: int, latch_ns: int | None) -> Workload | None:
    frames, run = joined.frames, joined.run
    shown = np.flatnonzero((frames.output_id == output_id) & (frames.presented_ns != MISSING))
    shown = shown[np.argsort(frames.presented_ns[shown], kind="stable")]
    costs = _costs(joined, output_id)
    if not len(shown) or not costs:
        return None
    stamps = frames.presented_ns[shown]
    nominal = run.refresh_ns(output_id) or 0
    gaps = np.diff(stamps)
    period = float(nominal or (np.quantile(gaps[gaps > 0], 0.1, method="inverted_cdf") if (gaps > 0).any() else 0))
    if period <= 0:
        return None
    grid = build_grid(list(zip(stamps.tolist(), frames.seq[shown].tolist(), strict=True)), period)
    return Workload(
        output_id=output_id,
        name=run.name("output", output_id),
        nominal_ns=nominal,
        grid=grid,
        latch=_latch(joined, output_id, shown, grid.period_ns, latch_ns),
        costs=costs,
        surfaces=_surfaces(joined, output_id),
    )


def _latch(joined: Joined, output_id: int, shown: np.ndarray, period_ns: float, given_ns: int | None) -> Latch:
    frames = joined.frames
    if given_ns is not None:
        return Latch(given_ns, "given")
    told_us = joined.run.names.get(("output", output_id), {}).get("latch_us")
    if isinstance(told_us, int | float) and (frames.origin[shown] == Origin.MODELLED).all():
        return Latch(round(told_us * 1000), "modelled")
    known = shown[frames.kms_end_ns[shown] != MISSING]
    return learn_latch(frames.kms_end_ns[known].tolist(), frames.presented_ns[known].tolist(), period_ns)


def _costs(joined: Joined, output_id: int) -> tuple[Cost, ...]:
    frames, costs = joined.frames, frame_costs(joined)
    rows = np.flatnonzero((frames.output_id == output_id) & (costs.total_ns != MISSING))
    told = np.where(
        (frames.told_ns != MISSING) & (frames.presented_ns != MISSING), frames.told_ns - frames.presented_ns, 0
    )
    columns = (costs.wake_ns, costs.lock_ns, costs.compose_ns, costs.commit_ns, np.maximum(told, 0))
    return tuple(Cost(*row) for row in zip(*(column[rows].tolist() for column in columns), strict=True))


def _surfaces(joined: Joined, output_id: int) -> tuple[Surface, ...]:
    """Every surface of which the output showed something, with all its commits that have content."""
    commits, latches, run = joined.commits, joined.latches, joined.run
    found = []
    for surface_id in np.unique(latches.surface_id[latches.output_id == output_id]).tolist():
        rows = np.flatnonzero(commits.surface_id == surface_id)
        sequence = _commits(
            commits.commit_ns[rows].tolist(), commits.callback_ns[rows].tolist(), commits.flags[rows].tolist()
        )
        if sequence:
            found.append(Surface(surface_id, run.name("surface", surface_id), sequence))
    return tuple(found)


def _commits(times_ns: list[int], callbacks_ns: list[int], flags: list[int]) -> tuple[Commit, ...]:
    content = [row for row, word in enumerate(flags) if word & CONTENT]
    found: list[Commit] = []
    for place, row in enumerate(content):
        following = content[place + 1] if place + 1 < len(content) else len(flags)
        wish = any(word & CommitFlag.CALLBACK for word in flags[row:following])
        answers = callbacks_ns[row] != MISSING and bool(found) and found[-1].wants_callback
        if not found:
            commit = Commit(at_ns=times_ns[row], wants_callback=wish)
        elif answers:
            commit = Commit(response_ns=max(0, times_ns[row] - callbacks_ns[row]), wants_callback=wish)
        else:
            commit = Commit(gap_ns=times_ns[row] - times_ns[content[place - 1]], wants_callback=wish)
        found.append(commit)
    return tuple(found)
