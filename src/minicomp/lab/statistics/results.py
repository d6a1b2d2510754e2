"""Reads what `minicomp lab run` left in a folder: the plan, one JSON and one Parquet file a run, the experiment file.

Everything else in this package and in the report starts from `Results`. A folder of an experiment that was interrupted
is read too: planned runs without files are `missing`. Reads files only; wlroots and the compositor are not needed.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from minicomp.errors import ExitCode, MinicompError
from minicomp.lab.pipeline.tables import Floats
from minicomp.lab.statistics.measures import MEASURES

OK = "ok"
DISTURBED = "disturbed"
MISSING = "missing"
"""Status of a run that was planned and has no result. The others are the runner's: ok, disturbed, untreated, failed."""

COLUMNS = (
    "commit_ns",
    "planned_start_ns",
    "woke_ns",
    "compose_begin_ns",
    "compose_end_ns",
    "kms_commit_ns",
    "predicted_vblank_ns",
    "presented_ns",
    "refresh_ns",
    "missed_vblanks",
    *(measure.column for measure in MEASURES),
)
"""The numeric columns that are read."""
WORD_COLUMNS = ("cause", "evidence", "presented_kind")


@dataclass(frozen=True)
class Frames:
    """The rows of one run, as equally long arrays; NaN: not known."""

    numbers: dict[str, Floats]
    cause: np.ndarray
    evidence: np.ndarray
    """A sentence on each miss."""
    kind: np.ndarray
    """Where the presentation time came from, as the runner words it."""

    def __len__(self) -> int:
        return len(self.cause)

    def floats(self, column: str) -> Floats:
        return self.numbers[column]


@dataclass(frozen=True)
class RunResult:
    """One planned run and what became of it."""

    number: int
    block: int
    arm: str
    status: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    """Remarks that leave nothing out."""
    effects: tuple[dict[str, Any], ...]
    """Knobs: name, wanted, effective, took_effect, note."""
    host_before: dict[str, Any]
    host_after: dict[str, Any]
    during: dict[str, Any]
    """What the host counted in the measured time."""
    path: Path
    """Of the Parquet file, which need not exist."""

    @property
    def stem(self) -> str:
        return self.path.stem

    @cached_property
    def frames(self) -> Frames:
        """The rows; read once. Raises MinicompError."""
        return read_frames(self.path)


@dataclass(frozen=True)
class Results:
    """A folder of results."""

    folder: Path
    name: str
    question: str
    quick: bool
    seed: int
    arms: tuple[str, ...]
    baseline: str
    about: dict[str, str]
    """What the file says of each arm."""
    schedule: dict[str, Any]
    runs: tuple[RunResult, ...]
    with_disturbed: bool = False
    """Disturbed runs count too: for a look where nothing else is to be had."""

    @property
    def usable(self) -> tuple[RunResult, ...]:
        return tuple(run for run in self.runs if self._counts(run))

    @property
    def left_out(self) -> tuple[RunResult, ...]:
        return tuple(run for run in self.runs if not self._counts(run))

    @property
    def disturbed_in_use(self) -> tuple[RunResult, ...]:
        """Runs that count although something spoiled them; empty unless that was asked for."""
        return tuple(run for run in self.usable if run.status != OK)

    def _counts(self, run: RunResult) -> bool:
        return run.status == OK or (self.with_disturbed and run.status == DISTURBED)

    def usable_of(self, arm: str) -> tuple[RunResult, ...]:
        return tuple(run for run in self.usable if run.arm == arm)

    def planned_of(self, arm: str) -> int:
        return sum(run.arm == arm for run in self.runs)


def read_results(folder: str | Path, *, with_disturbed: bool = False) -> Results:
    """Reads a folder. Raises MinicompError when it is none of ours."""
    folder = Path(folder)
    plan = _read_json(folder / "plan.json")
    definition = _read_toml(folder / "experiment.toml")
    try:
        arms = tuple(plan["arms"])
        runs = tuple(_run(folder, planned) for planned in plan["runs"])
        return Results(
            folder=folder,
            name=plan["experiment"],
            question=definition.get("question", ""),
            quick=plan["quick"],
            seed=plan["seed"],
            arms=arms,
            baseline=_baseline(definition, arms),
            about={name: table.get("about", "") for name, table in definition.get("arm", {}).items()},
            schedule=plan["schedule"],
            runs=runs,
            with_disturbed=with_disturbed,
        )
    except (KeyError, TypeError) as error:
        raise _unreadable(folder / "plan.json", f"lacks {error}") from error


def read_frames(path: Path) -> Frames:
    """The rows of one run's Parquet file. Raises MinicompError."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MinicompError(
            f"reading results needs {error.name}", todo="install minicomp[lab]", exit_code=ExitCode.UNAVAILABLE
        ) from error
    wanted = (*COLUMNS, *WORD_COLUMNS)
    try:
        with parquet.ParquetFile(path) as file:
            # Asked for first: reading a column that is not there ends with the whole schema instead of a line.
            lacking = set(wanted) - set(file.schema_arrow.names)
            if lacking:
                raise _unreadable(path, f"lacks the columns {', '.join(sorted(lacking))}")
            table = file.read(columns=list(wanted))
    except (OSError, arrow.ArrowException) as error:
        raise _unreadable(path, str(error)) from error
    numbers = {
        name: np.asarray(table.column(name).to_numpy(zero_copy_only=False), dtype=np.float64) for name in COLUMNS
    }
    words = {name: np.array([str(word or "") for word in table.column(name).to_pylist()]) for name in WORD_COLUMNS}
    return Frames(numbers, words["cause"], words["evidence"], words["presented_kind"])


def joined(runs: Sequence[RunResult]) -> Frames:
    """The rows of these runs one after the other. Raises MinicompError."""
    tables = [run.frames for run in runs]
    if not tables:
        nothing = np.empty(0, "U1")
        return Frames({column: np.empty(0) for column in COLUMNS}, nothing, nothing, nothing)
    return Frames(
        {column: np.concatenate([table.numbers[column] for table in tables]) for column in COLUMNS},
        np.concatenate([table.cause for table in tables]),
        np.concatenate([table.evidence for table in tables]),
        np.concatenate([table.kind for table in tables]),
    )


def _run(folder: Path, planned: dict[str, Any]) -> RunResult:
    stem = f"{planned['number']:04d}-{planned['arm']}"
    path = folder / "runs" / f"{stem}.json"
    record: dict[str, Any] = {"status": MISSING, "reasons": ["it was not run"]}
    if path.exists():
        record = _read_json(path)
    status, reasons = str(record["status"]), tuple(map(str, record.get("reasons", ())))
    table = path.with_suffix(".parquet")
    if status in (OK, DISTURBED) and not table.exists():
        status, reasons = MISSING, (f"{table.name} is not there",)
    host = record.get("host", {})
    return RunResult(
        number=planned["number"],
        block=planned["block"],
        arm=planned["arm"],
        status=status,
        reasons=reasons,
        notes=tuple(map(str, record.get("notes", ()))),
        effects=tuple(record.get("effects", ())),
        host_before=host.get("before", {}),
        host_after=host.get("after", {}),
        during=host.get("during", {}),
        path=table,
    )


def _baseline(definition: dict[str, Any], arms: tuple[str, ...]) -> str:
    """The file's, if it was run; else the first arm."""
    named = definition.get("baseline", "")
    return named if named in arms else arms[0]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MinicompError(
            error.strerror or str(error),
            where=str(path),
            todo="give the folder that `minicomp lab run` wrote",
            exit_code=ExitCode.UNAVAILABLE,
        ) from error
    except ValueError as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(found, dict):
        raise _unreadable(path, "is no JSON object")
    return found


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str) -> MinicompError:
    return MinicompError(f"not what `minicomp lab run` writes: {why}", where=str(path), exit_code=ExitCode.UNAVAILABLE)
