"""The folder of an experiment's results: what is where, and what of it is there already.

OUT/experiment.toml          the file that was run
OUT/plan.json                arms, blocks, order, seed
OUT/runs/NNNN-ARM.json       what became of each run: status, reasons, knobs, host, loads, counts
OUT/runs/NNNN-ARM.parquet    its frames
OUT/traces/NNNN-ARM.mct      its run file: of each arm's first run, or of all (--keep-traces)
OUT/logs/NNNN-ARM.log        what the compositor, clients and loads said

A record is written last and at once: a run whose record is there needs no second look.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minicomp.config.validation import to_builtins
from minicomp.errors import ConfigError, ExitCode, MinicompError
from minicomp.lab.experiments.plan import Plan, Run

COLLECTED = "collected"
"""Status of a run whose run file waits for its table to be made (--collect-only)."""


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self, plan: Plan, text: str, *, resume: bool) -> None:
        """Makes the folder, or checks that it holds the same experiment. Raises ConfigError."""
        ours = self.path / "plan.json"
        wanted = to_builtins(plan)
        if ours.exists():
            if not resume:
                raise ConfigError(
                    "has results already",
                    where=str(self.path),
                    todo="--resume does what is left of them; --out names another folder",
                )
            if _read(ours) != json.loads(json.dumps(wanted)):
                raise ConfigError(
                    "holds another plan: other arms, schedule or seed, or --quick",
                    where=str(self.path),
                    todo="resume with the file and options that it was started with (experiment.toml there)",
                )
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise ConfigError("is not empty, and no experiment", where=str(self.path), todo="--out names another one")
        for name in ("runs", "traces", "logs"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        if not ours.exists():
            (self.path / "experiment.toml").write_text(text, encoding="utf-8")
            write_json(ours, wanted)

    def record(self, run: Run) -> dict[str, Any] | None:
        """What is known of a run; None when it was not done."""
        path = self.record_path(run)
        return _read(path) if path.exists() else None

    def forget(self, run: Run) -> None:
        """Makes a run undone: its record last, so that a kill in between leaves it recorded."""
        for path in (self.table_path(run), self.trace_path(run), self.record_path(run)):
            path.unlink(missing_ok=True)

    def record_path(self, run: Run) -> Path:
        return self.path / "runs" / f"{run.stem}.json"

    def table_path(self, run: Run) -> Path:
        return self.path / "runs" / f"{run.stem}.parquet"

    def trace_path(self, run: Run) -> Path:
        return self.path / "traces" / f"{run.stem}.mct"

    def log_path(self, run: Run) -> Path:
        return self.path / "logs" / f"{run.stem}.log"


def write_json(path: Path, content: Any) -> None:
    """Writes a file so that it is there whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MinicompError(f"cannot be read: {error}", where=str(path), exit_code=ExitCode.UNAVAILABLE) from error
    return found
