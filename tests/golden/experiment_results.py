"""Writes folders as `minicomp lab run` leaves them, from a small model of a frame's way to the display.

Same arguments, same files: what varies comes from random.Random, whose streams Python keeps from version to version.
The columns are the runner's (docs/lab.md lists them).
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as arrow
from pyarrow import parquet

REFRESH_NS = 16_666_667
START_NS = 5_000_000_000_000
INTEGERS = (
    "block", "run", "frame", "refresh_ns", "commit_ns", "planned_start_ns", "woke_ns", "compose_begin_ns", "compose_end_ns",
    "kms_commit_ns", "predicted_vblank_ns", "presented_ns", "missed_vblanks", "faults_minor", "faults_major",
    "switches_involuntary",
)  # fmt: skip
WORDS = ("experiment", "host", "arm", "surface", "output", "presented_kind", "cause", "evidence", "status")
MILLISECONDS = (
    "commit_to_presented_ms", "wake_late_ms", "lock_wait_ms", "compose_ms", "kms_ms", "callback_to_presented_ms", "ms_between_presents",
)  # fmt: skip
SCHEMA = arrow.schema(
    [(name, arrow.int64()) for name in INTEGERS]
    + [(name, arrow.string()) for name in WORDS]
    + [(name, arrow.float64()) for name in MILLISECONDS]
)
HOST = {
    "host": "bench-0f1e2d3c",
    "kernel": "6.12.9",
    "cpus": 2,
    "governor": "performance",
    "mitigations": "none of note",
    "sched_ext": "disabled",
    "load_1min": 0.4,
    "steal_share": 0.0,
    "psi_cpu_some_avg10": 1.5,
}


@dataclass(frozen=True)
class Model:
    """How the frames of an arm go."""

    settings: dict[str, Any]
    wake_us: float
    """Median wake lateness; log-normal around it."""
    spread: float = 0.5
    stall: float = 0.0
    """Share of frames that wake 1 to 40 ms late, twice as many in every third block."""
    client_late: float = 0.0
    lock: float = 0.01
    """Share of frames that wait 0.2 to 2 ms for the lock."""
    takes_effect: bool = True
    kind: str = "modelled"


@dataclass(frozen=True)
class Mark:
    """Makes one run other than ok."""

    status: str
    reasons: tuple[str, ...]


def write_experiment(
    folder: Path,
    arms: dict[str, Model],
    *,
    name: str = "scheduler-small",
    question: str = "Does the class of the render thread matter when every CPU is busy?",
    blocks: int = 6,
    frames: int = 500,
    marks: dict[int, Mark] | None = None,
    not_run: tuple[int, ...] = (),
    quick: bool = False,
    seed: int = 7,
) -> Path:
    """`marks` and `not_run` name runs by their number, from 1."""
    marks = marks or {}
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    order = random.Random(seed)
    runs: list[dict[str, Any]] = []
    for block in range(1, blocks + 1):
        names = list(arms)
        order.shuffle(names)
        runs += [{"number": len(runs) + 1 + place, "block": block, "arm": arm} for place, arm in enumerate(names)]
    schedule = {"warmup_s": 1.0, "measure_s": 8.0, "settle_s": 0.5, "blocks": blocks, "repetitions": 1}
    plan = {"experiment": name, "seed": seed, "quick": quick, "arms": list(arms), "schedule": schedule, "runs": runs}
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    (folder / "experiment.toml").write_text(_definition(name, question, arms, seed), encoding="utf-8")
    for run in runs:
        if run["number"] in not_run:
            continue
        mark = marks.get(run["number"], Mark("ok", ()))
        _write_run(folder, name, arms[run["arm"]], run, frames, mark, random.Random(seed * 1000 + run["number"]))
    return folder


def _definition(name: str, question: str, arms: dict[str, Model], seed: int) -> str:
    lines = [f'name = "{name}"', f'question = "{question}"', f"seed = {seed}", f'baseline = "{next(iter(arms))}"']
    for arm, model in arms.items():
        lines += [f"[arm.{arm}]", *(f"{key} = {json.dumps(value)}" for key, value in model.settings.items())]
    lines += ["[[client]]", 'command = ["pulse", "--fullscreen"]', "[[load]]", 'kind = "cpu"']
    return "\n".join(lines) + "\n"


def _write_run(
    folder: Path, name: str, model: Model, run: dict[str, Any], frames: int, mark: Mark, draw: random.Random
) -> None:
    rows = _rows(model, run, frames, draw)
    for row in rows:
        row.update(experiment=name, host="bench", block=run["block"], run=run["number"], arm=run["arm"])
        row["status"] = mark.status
    # As measured anew in every run: the report gives the range.
    note = f"derived: 0.{30 + run['block']} ms of CPU time are used per refresh" if run["arm"] == "deadline" else ""
    effects = [
        {
            "name": key,
            "wanted": value,
            "effective": value if model.takes_effect else "other",
            "took_effect": model.takes_effect,
            "note": note if model.takes_effect else "EPERM: CAP_SYS_NICE is needed",
        }
        for key, value in model.settings.items()
    ]
    record = {
        "number": run["number"],
        "block": run["block"],
        "arm": run["arm"],
        "status": mark.status,
        "reasons": list(mark.reasons),
        "notes": ["deadline throttled once"] if run["arm"] == "deadline" and run["block"] == 2 else [],
        "effects": effects,
        "host": {"before": HOST, "after": {**HOST, "load_1min": 3.9, "psi_cpu_some_avg10": 60.0}},
        "loads": [{"kind": "cpu", "processes": 2}],
        "counts": {"frames": len(rows)},
    }
    stem = folder / "runs" / f"{run['number']:04d}-{run['arm']}"
    stem.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    if mark.status != "failed":
        table = arrow.Table.from_pylist(rows, schema=SCHEMA)
        parquet.write_table(table, stem.with_suffix(".parquet"))


def _rows(model: Model, run: dict[str, Any], frames: int, draw: random.Random) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    lead_ns = 3_000_000
    vblank = START_NS + REFRESH_NS
    last_shown: int | None = None
    stall = model.stall * (2.0 if run["block"] % 3 == 0 else 0.5)
    for number in range(1, frames + 1):
        vblank += REFRESH_NS
        if draw.random() < model.client_late:
            rows.append(
                {"surface": "pulse", "output": "HEADLESS-1", "frame": None, "refresh_ns": REFRESH_NS}
                | {"predicted_vblank_ns": vblank, "missed_vblanks": 1, "cause": "client late"}
                | {"evidence": "answered 3.0 ms too late", "presented_kind": ""}
            )
            continue
        planned = vblank - lead_ns
        commit = planned - 400_000 - int(200_000 * draw.random())
        late = int(1000 * model.wake_us * math.exp(model.spread * _bell(draw)))
        if draw.random() < stall:
            late += int(1_000_000 + 39_000_000 * draw.random() ** 3)
        lock = int(200_000 + 1_800_000 * draw.random()) if draw.random() < model.lock else int(900 * draw.random())
        compose = int(600_000 * math.exp(0.2 * _bell(draw)))
        kms = int(80_000 * math.exp(0.3 * _bell(draw)))
        woke = planned + late
        begin = woke + lock
        end = begin + compose
        handed = end + kms
        latch = vblank - 300_000
        missed = 0 if handed <= latch else -(-(handed - latch) // REFRESH_NS)
        shown = vblank + missed * REFRESH_NS
        said = f"waited {lock / 1e6:.1f} ms for the lock" if lock > late else f"woke {late / 1e6:.1f} ms late"
        evidence = said if missed else ""
        cause = "" if not missed else "lock wait" if lock > late else "wake late"
        rows.append(
            {
                "frame": number,
                "surface": "pulse",
                "output": "HEADLESS-1",
                "refresh_ns": REFRESH_NS,
                "commit_ns": commit,
                "planned_start_ns": planned,
                "woke_ns": woke,
                "compose_begin_ns": begin,
                "compose_end_ns": end,
                "kms_commit_ns": handed,
                "predicted_vblank_ns": vblank,
                "presented_ns": shown,
                "presented_kind": model.kind,
                "missed_vblanks": missed,
                "cause": cause,
                "evidence": evidence,
                "faults_minor": 0,
                "faults_major": 0,
                "switches_involuntary": int(late > 1_000_000),
                "commit_to_presented_ms": (shown - commit) / 1e6,
                "wake_late_ms": late / 1e6,
                "lock_wait_ms": lock / 1e6,
                "compose_ms": compose / 1e6,
                "kms_ms": kms / 1e6,
                "callback_to_presented_ms": (shown - commit) / 1e6 + 1.5,
                "ms_between_presents": None if last_shown is None else (shown - last_shown) / 1e6,
            }
        )
        last_shown = shown
        vblank = shown
    return rows


def _bell(draw: random.Random) -> float:
    """Nearly normal: Irwin and Hall's sum, from sums only, so that no version of a library changes it."""
    return sum(draw.random() for _ in range(12)) - 6.0


ARMS = {
    "other": Model({"knobs.render.class": "other"}, wake_us=120, spread=0.9, stall=0.05, client_late=0.01),
    "fifo": Model(
        {"knobs.render.class": "fifo", "knobs.render.priority": 10}, wake_us=40, stall=0.001, client_late=0.01
    ),
    "deadline": Model({"knobs.render.class": "deadline", "knobs.render.derive": True}, wake_us=30, client_late=0.008),
}


def small(folder: Path) -> Path:
    """Three arms, and one run left out for each kind of reason."""
    return write_experiment(
        folder,
        ARMS,
        marks={
            5: Mark("disturbed", ("steal time 4.1 % of all CPU time (limit 2 %)",)),
            9: Mark("untreated", ("knobs.render.class: wanted deadline, effective other",)),
            12: Mark("failed", ("the client ended with exit code 1",)),
        },
        not_run=(18,),
    )
