"""The tables of `scripts/bench --pacing`: medians over rounds with their range, and the targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from .report import table

WORK_TARGET_REFRESH = 0.3  # callback -> presented, beyond the client's own work
ECHO_TARGET_REFRESH = 0.75
HEADER = ["", "", "p50 ms", "rounds", "p99", "max", "frames", "vblanks missed", "why"]
TITLES = {
    "work": "frame callback -> presented, a client that works and commits from callbacks",
    "echo": "input -> presented, a client that answers each key press, at random phases",
    "policy": "commit -> presented while Python is idle and while it computes without end",
}


def render(result: Mapping[str, Any]) -> str:
    """The whole report of a result as `pacing.run` makes it (or as it was read from a --json file)."""
    head = (
        f"minicomp on modelled displays in real time: {result['plan']} run, {result['host_s']:.0f} s; medians over "
        "rounds. Vblanks missed: by the run files with their warm-up, whoever was the cause."
    )
    return "\n\n".join([head, *(_group(group, result["slots"]) for group in TITLES)])


def _group(group: str, slots: Iterable[Mapping[str, Any]]) -> str:
    rows: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for slot in slots:
        if slot["group"] == group:
            rows.setdefault((slot["name"], slot["variant"]), []).append(slot)
    order = sorted(rows, key=lambda key: (rows[key][0]["refresh_hz"], rows[key][0]["work_us"], key))
    lines = [TITLES[group], table(HEADER, [_row(name, variant, rows[name, variant]) for name, variant in order])]
    return "\n".join(lines + [f"  target: {text}" for text in _targets(group, rows)])


def _row(name: str, variant: str, slots: list[Mapping[str, Any]]) -> list[str]:
    p50s = [slot["p50_ms"] for slot in slots]
    causes: Counter[str] = Counter()
    for slot in slots:
        causes.update(slot["causes"])
    return [
        name,
        variant,
        f"{median(p50s):.2f}",
        f"{min(p50s):.2f}-{max(p50s):.2f}",
        f"{median(slot['p99_ms'] for slot in slots):.2f}",
        f"{max(slot['max_ms'] for slot in slots):.2f}",
        str(sum(slot["frames"] for slot in slots)),
        str(causes.total()),
        ", ".join(f"{cause} {count}" for cause, count in causes.most_common()),
    ]


def _targets(group: str, rows: Mapping[tuple[str, str], list[Mapping[str, Any]]]) -> Iterable[str]:
    for (name, variant), slots in rows.items():
        first, p50_ms = slots[0], median(slot["p50_ms"] for slot in slots)
        refresh_ms = 1000 / first["refresh_hz"]
        if group == "work" and variant == "adaptive":
            beyond = (p50_ms - first["work_us"] / 1000) / refresh_ms
            verdict = _verdict(beyond, WORK_TARGET_REFRESH)
            yield f"{name}: work + {beyond:.3f} refresh <= {WORK_TARGET_REFRESH}: {verdict}"
        elif group == "echo" and variant == "adaptive":
            share = p50_ms / refresh_ms
            yield f"{name}: {share:.3f} refresh <= {ECHO_TARGET_REFRESH}: {_verdict(share, ECHO_TARGET_REFRESH)}"
        elif group == "policy" and variant == "busy":
            yield f"{name}: p99 busy/idle, round by round: {_ratios(rows[name, 'idle'], slots)}"


def _verdict(value: float, limit: float) -> str:
    return "pass" if value <= limit else "MISS"


def _ratios(idle: list[Mapping[str, Any]], busy: list[Mapping[str, Any]]) -> str:
    by_round = {slot["round"]: slot["p99_ms"] for slot in idle}
    ratios = sorted(slot["p99_ms"] / by_round[slot["round"]] for slot in busy if slot["round"] in by_round)
    return f"median {median(ratios):.3f} ({ratios[0]:.3f}-{ratios[-1]:.3f})"
