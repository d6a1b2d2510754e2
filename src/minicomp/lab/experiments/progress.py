"""What an experiment says while it runs: a bar with the time left on a terminal, else a line for each run.

The bar is redrawn by nobody but the waiting itself, once a second: a thread that draws ten times a second would be a
load that the file does not name.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self, TextIO

from minicomp.lab.experiments.plan import Plan, Run
from minicomp.lab.experiments.validity import OK


class Progress:
    """A context manager and the runner's Watcher."""

    def __init__(self, plan: Plan, stream: TextIO | None = None) -> None:
        self._plan = plan
        self._stream = stream or sys.stderr
        self._left = list(plan.runs)
        self._took_s: list[float] = []
        self._begun_s = 0.0
        self._bar = _bar(self._stream) if self._stream.isatty() else None
        self._task = self._bar.add_task("starting", total=len(plan.runs), left=self._time_left()) if self._bar else None
        self.statuses: dict[str, int] = {}

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def begins(self, run: Run) -> None:
        self._begun_s = time.monotonic()
        self._show(f"{run.arm}, block {run.block}")

    def tick(self) -> None:
        self._show()

    def ended(self, run: Run, record: dict[str, Any], *, new: bool) -> None:
        self._left = [one for one in self._left if one.number > run.number]
        status = record["status"]
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if new and record["counts"]:
            self._took_s.append(time.monotonic() - self._begun_s)
        self._begun_s = 0.0
        words = _words(record)
        if self._bar:
            if new and status != OK:
                self._bar.console.print(f"{run.stem}: {words}", markup=False, highlight=False)
        elif new:
            self._stream.write(f"{run.stem}: {words}; {self._time_left()} left\n")
            self._stream.flush()
        self._show()

    def _show(self, what: str | None = None) -> None:
        if self._bar and self._task is not None:
            done = len(self._plan.runs) - len(self._left)
            words = {} if what is None else {"description": what}
            self._bar.update(self._task, completed=done, left=self._time_left(), **words)
            self._bar.refresh()

    def _time_left(self) -> str:
        each_s = sum(self._took_s) / len(self._took_s) if self._took_s else self._plan.run_s
        seconds = len(self._left) * each_s
        if self._begun_s:
            seconds -= min(time.monotonic() - self._begun_s, each_s)
        return clock(seconds)


def clock(seconds: float) -> str:
    """ "40 s", "12 min", "2 h 05 min"."""
    if seconds < 100:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def _words(record: dict[str, Any]) -> str:
    counts = record["counts"]
    missed = sum(counts.get("missed", {}).values())
    numbers = f"{counts['shown']} frames, {missed} vblank{'' if missed == 1 else 's'} missed" if counts else ""
    return ", ".join(part for part in (record["status"], numbers, "; ".join(record["reasons"])) if part)


def _bar(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]} left"),
        console=Console(file=stream),
        auto_refresh=False,
    )
