"""The numbers on the screen of `minicomp top`, computed anew from the last seconds of a run.

Everything comes from lab/pipeline; this module picks, and adds what a live view needs: per output the newest frames
one by one, and the margin. The run file holds the budget that a frame was planned with (how long before its vblank it
was to begin); the cost that the pacing expected is reckoned as the pacing does, from the frames before; what is left
over is the latch and the safety together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minicomp.lab.pipeline.cost import frame_costs, predicted_cost_ns
from minicomp.lab.pipeline.join import CONTENT, join
from minicomp.lab.pipeline.lookup import Records, before
from minicomp.lab.pipeline.misses import refresh_by_row
from minicomp.lab.pipeline.percentiles import wilson_interval
from minicomp.lab.pipeline.points import Point, source_name
from minicomp.lab.pipeline.runfile import Run
from minicomp.lab.pipeline.stages import stages
from minicomp.lab.pipeline.tables import MISSING, Floats, Ints, Joined, span_ns, take

NEWEST_FRAMES = 200
STAGES = ("compose", "KMS commit", "commit -> presented", "callback -> commit", "input -> presented")
"""Those of `pipeline.stages` that are shown; wake lateness and lock wait are `pipeline.cost`'s."""


@dataclass(frozen=True)
class Spread:
    """ms."""

    count: int
    p50: float
    p99: float
    max: float


@dataclass(frozen=True)
class FrameBar:
    """One frame: what it cost of what was set aside for it, and how late it was shown (refreshes), None: unknown."""

    cost_ms: float | None
    budget_ms: float | None
    late_refreshes: float | None


@dataclass(frozen=True)
class OutputView:
    name: str
    mode: str
    refresh_hz: float | None
    shown_per_s: float
    frames: int
    missed: int
    judged: int
    bars: list[FrameBar]
    cost: Spread | None
    error: Spread | None
    """Presented - predicted, its magnitude."""
    budget_ms: float | None
    expected_cost_ms: float | None
    latch_ms: float | None
    latch_modelled: bool
    """Else latch_ms is the least slack of a frame that was shown in time: the latch is at most that."""
    stages: list[tuple[str, Spread]]

    @property
    def margin_ms(self) -> float | None:
        """Latch and safety."""
        if self.budget_ms is None or self.expected_cost_ms is None:
            return None
        return self.budget_ms - self.expected_cost_ms

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_interval(self.missed, self.judged)


@dataclass(frozen=True)
class LockView:
    """Waits of one thread for the compositor lock."""

    thread: str
    per_s: float
    waits: Spread
    holder: str
    """Who held it most often."""


@dataclass(frozen=True)
class ClientView:
    name: str
    surfaces: int
    commits_per_s: float
    response_ms: float | None
    latency_ms: float | None


@dataclass(frozen=True)
class View:
    window_s: float
    records_per_s: float
    stepped: bool
    pacing: str
    outputs: list[OutputView]
    locks: list[LockView]
    clients: list[ClientView]


def build_view(run: Run) -> View:
    joined = join(run)
    times = run.records["t_ns"]
    window_s = float(times[-1] - times[0]) / 1e9 if len(times) > 1 else 0.0
    per_s = 1 / window_s if window_s > 0 else 0.0
    settings = run.meta.get("config")
    pacing = settings.get("pacing", {}) if isinstance(settings, dict) else {}
    ids = sorted({number for kind, number in run.names if kind == "output"} | set(joined.frames.output_id.tolist()))
    return View(
        window_s=window_s,
        records_per_s=len(times) * per_s,
        stepped=run.stepped,
        pacing=str(pacing.get("mode", "unknown")) if isinstance(pacing, dict) else "unknown",
        outputs=[_output(joined, number, per_s) for number in ids],
        locks=_locks(run, per_s),
        clients=_clients(joined, per_s),
    )


def _output(joined: Joined, number: int, per_s: float) -> OutputView:
    run, frames, costs = joined.run, joined.frames, frame_costs(joined)
    here = np.flatnonzero(frames.output_id == number)
    lateness = span_ns(frames.predicted_ns, frames.presented_ns)[here]
    refresh = refresh_by_row(joined)[here]
    judged = ~np.isnan(lateness) & ~np.isnan(refresh)
    total = costs.total_ns[here]
    budget = frames.budget_ns[here]
    known_costs = total[total != MISSING].tolist()
    expected = predicted_cost_ns(known_costs)
    latch_ms, modelled = _latch(joined, here, lateness, refresh)
    facts = run.names.get(("output", number), {})
    refresh_ns = run.refresh_ns(number)
    newest_budget = budget[budget != MISSING]
    wake = [("wake lateness", costs.wake_ns), ("lock wait", costs.lock_ns)]
    rows = [(name, _spread(_ms(column[here]))) for name, column in wake]
    by_name = {stage.name: _spread(stage.values_ms) for stage in stages(joined, number)}
    rows += [(name, by_name[name]) for name in STAGES]
    return OutputView(
        name=run.name("output", number),
        mode=f"{facts['width']}x{facts['height']}" if {"width", "height"} <= facts.keys() else "",
        refresh_hz=1e9 / refresh_ns if refresh_ns else None,
        shown_per_s=float((frames.presented_ns[here] != MISSING).sum()) * per_s,
        frames=len(here),
        missed=int((lateness[judged] > refresh[judged] / 2).sum()),
        judged=int(judged.sum()),
        bars=_bars(total, budget, lateness / refresh),
        cost=_spread(_ms(total)),
        error=_spread(np.abs(lateness) / 1e6),
        budget_ms=float(newest_budget[-1]) / 1e6 if len(newest_budget) else None,
        expected_cost_ms=None if expected is None else expected / 1e6,
        latch_ms=latch_ms,
        latch_modelled=modelled,
        stages=[(name, spread) for name, spread in rows if spread is not None],
    )


def _bars(total: Ints, budget: Ints, late: Floats) -> list[FrameBar]:
    newest = slice(-NEWEST_FRAMES, None)
    return [
        FrameBar(
            None if cost == MISSING else cost / 1e6,
            None if reserved == MISSING else reserved / 1e6,
            None if lateness != lateness else lateness,
        )
        for cost, reserved, lateness in zip(
            total[newest].tolist(), budget[newest].tolist(), late[newest].tolist(), strict=True
        )
    ]


def _latch(joined: Joined, here: Ints, lateness: Floats, refresh: Floats) -> tuple[float | None, bool]:
    frames = joined.frames
    numbers = frames.output_id[here]
    told = joined.run.names.get(("output", int(numbers[0])), {}).get("latch_us") if len(numbers) else None
    if isinstance(told, int | float):
        return told / 1e3, True
    slack = span_ns(frames.kms_end_ns, frames.presented_ns)[here]
    in_time = slack[(lateness <= refresh / 2) & (slack > 0)]
    return (float(in_time.min()) / 1e6 if len(in_time) else None), False


def _locks(run: Run, per_s: float) -> list[LockView]:
    records = Records(run)
    ends, begins = records.of(Point.LOCK_WAIT_END), records.of(Point.LOCK_WAIT_BEGIN)
    begin = before(records.source[ends], ends, records.source[begins], begins)
    ends, begin = ends[begin >= 0], begins[begin[begin >= 0]]
    waits = span_ns(records.t_ns[begin], records.t_ns[ends]) / 1e6
    found = []
    for source in np.unique(records.source[ends]).tolist():
        mine = records.source[ends] == source
        spread = _spread(waits[mine])
        if spread is not None:
            holders, counts = np.unique(records.flags[ends[mine]], return_counts=True)
            holder = source_name(int(holders[np.argmax(counts)]))
            found.append(LockView(source_name(source), float(mine.sum()) * per_s, spread, holder))
    return found


def _clients(joined: Joined, per_s: float) -> list[ClientView]:
    """By process, the busiest first."""
    run, commits, latches = joined.run, joined.commits, joined.latches
    content = commits.flags & int(CONTENT) != 0
    response = span_ns(commits.callback_ns, commits.commit_ns) / 1e6
    latency = span_ns(take(commits.commit_ns, latches.commit_row), take(joined.frames.presented_ns, latches.shown_row))
    surfaces: dict[str, list[int]] = {}
    for surface_id in np.unique(commits.surface_id).tolist():
        pid = run.names.get(("surface", surface_id), {}).get("client_pid")
        label = f"pid {pid}" if isinstance(pid, int) else run.name("surface", surface_id)
        surfaces.setdefault(label, []).append(surface_id)
    found = []
    for label, ids in surfaces.items():
        mine = np.isin(commits.surface_id, ids) & content
        app_ids = {str(run.names.get(("surface", number), {}).get("app_id") or "") for number in ids} - {""}
        name = f"{label} {' '.join(sorted(app_ids))}".strip()
        found.append(
            ClientView(
                name="".join(character if character.isprintable() else "?" for character in name),
                surfaces=len(ids),
                commits_per_s=float(mine.sum()) * per_s,
                response_ms=_median(response[mine]),
                latency_ms=None if run.stepped else _median(latency[np.isin(latches.surface_id, ids)] / 1e6),
            )
        )
    return sorted(found, key=lambda client: (-client.commits_per_s, client.name))


def _median(values: Floats) -> float | None:
    spread = _spread(values)
    return None if spread is None else spread.p50


def _ms(column: Ints) -> Floats:
    known: Floats = column[column != MISSING].astype(np.float64) / 1e6
    return known


def _spread(values: Floats) -> Spread | None:
    """Nearest rank; with fewer than 100 values p99 is the maximum."""
    values = np.sort(values[~np.isnan(values)])
    count = len(values)
    if not count:
        return None
    p50, p99 = (float(values[-(-count * percent // 100) - 1]) for percent in (50, 99))
    return Spread(count, p50, p99, float(values[-1]))
