"""The latency measurements as tables in ms and in refresh periods, with the targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minicomp.lab.pipeline.percentiles import wilson_interval

from .report import table
from .vm_frames import Measured, OwnCount

TARGET_MISS_RATE = 0.001  # minicomp's pacing.target_miss_rate, by default
MISS_MARGIN = 0.001
TARGET_P50_REFRESH = 0.18
TARGET_P99_REFRESH = 0.25
PAIR_LIMIT = 1.1
HEADER = ["", "p50 ms", "p90", "p99", "max", "p50 refr.", "p99", "missed", "of", "95 % <=", "own: missed/late"]


def render(result: Mapping[str, Any]) -> str:
    """The whole report of a result as `vm.measure` makes it (or as it was read from a --json file)."""
    real_time = bool(result.get("real_time"))
    parts = [_head(result), *(_scene(scene, real_time) for scene in result["scenes"])]
    return "\n\n".join(parts)


def load(row: Mapping[str, Any]) -> Measured:
    own = row["own"]
    return Measured(**{**row, "own": OwnCount(**own) if own else None})


Goal = tuple[str, float, float, str]  # name, value, limit, verdict


def targets(minicomp: Measured) -> list[Goal]:
    """What minicomp must reach with one client that only draws."""
    times = (("p50", minicomp.p50_ms, TARGET_P50_REFRESH), ("p99", minicomp.p99_ms, TARGET_P99_REFRESH))
    goals = [(name, minicomp.periods(value_ms), limit) for name, value_ms, limit in times]
    judged = [(f"{name}, refresh periods", v, limit, "pass" if v <= limit else "MISS") for name, v, limit in goals]
    return [*judged, miss_target(minicomp)]


def miss_target(measured: Measured) -> Goal:
    """A few hundred frames without any miss do not show that one in a thousand is kept: then it cannot be told."""
    limit = TARGET_MISS_RATE + MISS_MARGIN
    if measured.upper_rate <= limit:
        verdict = "pass"
    elif wilson_interval(measured.misses, measured.frames)[0] > TARGET_MISS_RATE:
        verdict = "MISS"
    elif wilson_interval(0, measured.frames)[1] > limit:
        verdict = "cannot tell: too few frames"
    else:
        verdict = "MISS"
    return "missed, 95 % upper bound", measured.upper_rate, limit, verdict


def differences(measured: Mapping[str, Any], again: Mapping[str, Any]) -> tuple[int, float]:
    """How many contenders have other figures in a second run of the same image, and the largest relative difference
    of a percentile."""
    keys = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
    other = [name for name in measured if measured[name] != again.get(name)]
    largest = (abs(again[n][k] / measured[n][k] - 1) for n in measured.keys() & again.keys() for k in keys)
    return len(other), max(largest, default=0.0)


def beaten_by(measured: Mapping[str, Measured]) -> list[str]:
    """The sway settings that miss no more often than minicomp and have a lower or equal median."""
    mine = measured["minicomp"]
    return [
        name
        for name, other in measured.items()
        if name.startswith("sway") and other.misses <= mine.misses and other.p50_ms <= mine.p50_ms
    ]


def against_default(measured: Mapping[str, Measured]) -> str:
    """In real time: minicomp beside sway as it comes. Misses as shares, since not every contender shows all frames."""
    mine, default = measured["minicomp"], measured["sway"]
    rates = mine.misses / mine.frames, default.misses / default.frames
    kept = mine.p50_ms < default.p50_ms and rates[0] <= rates[1]
    shown = f"p50 {mine.p50_ms:.3f} < {default.p50_ms:.3f} ms, missed {rates[0]:.2%} <= {rates[1]:.2%}"
    return f"better than sway's default at no more misses: {shown}: {'pass' if kept else 'MISS'}"


def difference(quiet: str, alone: Measured, busy: str, beside: Measured, alike: Sequence[str] = ("p50", "p99")) -> str:
    """What the neighbours change, judged by the percentiles `alike` and by misses. Those are compared as shares, since
    their counts are too small for a ratio."""
    ratios = {"p50": beside.p50_ms / alone.p50_ms, "p99": beside.p99_ms / alone.p99_ms}
    more_misses = beside.misses / beside.frames - alone.misses / alone.frames
    kept = max(ratios[name] for name in alike) <= PAIR_LIMIT and more_misses <= MISS_MARGIN
    judged = ", ".join(f"{name} x {ratios[name]:.3f}" for name in alike)
    besides = "".join(f" ({name} x {ratio:.3f})" for name, ratio in ratios.items() if name not in alike)
    text = f"{judged} <= {PAIR_LIMIT}{besides}, misses {more_misses:+.2%}"
    return f"{busy} against {quiet}: {text}: {'pass' if kept else 'MISS'}"


def _head(result: Mapping[str, Any]) -> str:
    real_time = result.get("real_time")
    clock = f"the guest's real time ({real_time})" if real_time else "virtual time"
    text = (
        f"commit -> presented on KMS in {clock}: {result['plan']} run, {result['display']}, pixman, "
        f"{'' if real_time else '1 CPU, '}pulse {result['window']} with full damage\n"
        f"minicomp {result['tree']}, sway {result['sway']}; host time {result['host_s']:.0f} s"
    )
    if real_time:
        text += "\nReal time: what the host does besides is in these figures; stolen is its share of the guest's CPUs"
    return text


def _scene(scene: Mapping[str, Any], real_time: bool) -> str:
    measured = {name: load(row) for name, row in scene["measured"].items()}
    refresh_ms = next((m.refresh_ms for m in measured.values()), 0.0)
    title = f"{scene['name']}: {scene['what']}; {scene['frames']} frames after {scene['warm_up']}"
    header = [*HEADER, "stolen"] if real_time else HEADER
    rows = [_row(name, m) + ([_stolen(m)] if real_time else []) for name, m in measured.items()]
    lines = [f"{title}; refresh {refresh_ms:.3f} ms", table(header, rows)]
    lines += [f"{name} FAILED: {why}" for name, why in scene["failed"].items()]
    if real_time and {"minicomp", "sway"} <= measured.keys():
        lines.append("  target: " + against_default(measured))
    elif "minicomp" in measured:
        goals = targets(measured["minicomp"]) if scene["name"] == "plain" else [miss_target(measured["minicomp"])]
        lines += [f"  target: {name} {value:.4f} <= {limit:g}: {verdict}" for name, value, limit, verdict in goals]
        better = beaten_by(measured)
        verdict = f"MISS ({', '.join(better)})" if better else "pass"
        lines.append(f"  target: lower median than every sway setting that misses as rarely: {verdict}")
    for quiet, busy in scene.get("pairs", []):
        if quiet in measured and busy in measured:
            alike = scene.get("alike", ("p50", "p99"))
            lines.append("  target: " + difference(quiet, measured[quiet], busy, measured[busy], alike))
    if scene.get("again") is not None:
        other, largest = differences(scene["measured"], scene["again"])
        differ = f"{other} of {len(measured)} contenders differ, percentiles by {largest:.2%} at most"
        same = differ if other else "every figure the same"
        lines.append(f"  the same image once more: {same}")
    return "\n".join(lines)


def _stolen(m: Measured) -> str:
    return "-" if m.stolen is None else f"{m.stolen:.1%}"


def _row(name: str, m: Measured) -> list[str]:
    times = [f"{value:.3f}" for value in (m.p50_ms, m.p90_ms, m.p99_ms, m.max_ms)]
    periods = [f"{m.periods(value):.3f}" for value in (m.p50_ms, m.p99_ms)]
    own = f"{m.own.missed}/{m.own.client_late}" if m.own else "-"
    return [name, *times, *periods, str(m.misses), str(m.frames), f"{m.upper_rate:.2%}", own]
