"""`minicomp demo`: a real client on the modelled display for some seconds, and where each frame's time went.

Writes a screenshot, the run file and a Perfetto trace, and says where; then compares two ways to pace frames and says
what the difference is. Nothing here is special to the demo: it is `minicomp run --backend headless --trace FILE --
pulse ...` with a table at the end, and `minicomp lab run configs/experiments/demo.toml`.
"""

from __future__ import annotations

import argparse
import logging
import textwrap
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from minicomp.errors import ConfigError, ExitCode, MinicompError
from minicomp.lab.experiments.processes import CLIENTS

if TYPE_CHECKING:
    from minicomp.compositor.run import Supervisor
    from minicomp.compositor.server import Compositor

EXPERIMENT = Path(__file__).resolve().parents[2] / "configs/experiments/demo.toml"


def main(arguments: Sequence[str]) -> int:
    """Runs `minicomp demo ARGUMENTS`; its exit code. Raises MinicompError."""
    options = _parser().parse_args(arguments)
    pulse = CLIENTS / "pulse"
    if not pulse.exists():
        raise MinicompError(
            "the demo's client is not built", where=str(pulse), todo="run scripts/setup", exit_code=ExitCode.UNAVAILABLE
        )
    folder = Path(options.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make this folder: {error.strerror}", where=f"--out {folder}") from None
    trace, screenshot, perfetto = folder / "demo.mct", folder / "demo.png", folder / "demo.pftrace"
    code = _run(pulse, options.seconds, options.hz, trace, screenshot)
    if code != 0:
        raise MinicompError(f"the client ended with exit code {code}", where=str(pulse))

    from minicomp.lab.pipeline.runfile import read_run
    from minicomp.lab.report.perfetto_export import export_perfetto
    from minicomp.lab.report.text import pipeline_table

    run = read_run(trace)
    print(pipeline_table(run))
    export_perfetto(run, perfetto)
    print(f"screenshot     {screenshot}")
    print(f"trace          {trace}  (minicomp trace summary {trace})")
    print(f"perfetto       {perfetto}  (open it at https://ui.perfetto.dev)")
    if options.compare:
        page = _compare(folder / "comparison")
        print(f"comparison     {page}  (minicomp lab report {page.parent} --with-disturbed)")
    return ExitCode.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minicomp demo",
        description="Run a client on the modelled display for some seconds and show where each frame's time went.",
    )
    parser.add_argument("--seconds", type=_seconds, default=5.0, metavar="S", help="how long, 1 to 3600 (default: 5)")
    parser.add_argument("--hz", type=float, default=60.0, help="the display's refresh rate (default: 60)")
    parser.add_argument(
        "--out", default="minicomp-demo", metavar="DIR", help="where to write (default: ./minicomp-demo)"
    )
    parser.add_argument("--no-compare", dest="compare", action="store_false", help="leave out the experiment")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 1 to 3600")
    return seconds


def _compare(folder: Path) -> Path:
    """A small experiment: prints its answer, and returns its report, a page."""
    import shutil

    from minicomp.lab.experiments.folder import Folder
    from minicomp.lab.experiments.plan import make_plan
    from minicomp.lab.experiments.progress import Progress as RunProgress
    from minicomp.lab.experiments.read import read_experiment
    from minicomp.lab.experiments.runner import Options, run_experiment
    from minicomp.lab.report import experiment as report

    experiment = read_experiment(str(EXPERIMENT))
    plan = make_plan(experiment, quick=False)
    if (folder / "plan.json").exists():
        shutil.rmtree(folder)  # the demo's before
    results = Folder(folder)
    results.prepare(plan, EXPERIMENT.read_text(encoding="utf-8"), resume=False)
    print(f"\n{experiment.question} {len(plan.runs)} short runs, in random order:")
    with RunProgress(plan) as progress:
        run_experiment(experiment, plan, results, Options("headless"), progress)
    # Whoever tries the demo has other programs running: the answer says so, instead of there being none.
    for sentence in report.sentences(folder, with_disturbed=True):
        print(textwrap.fill(sentence, 100, initial_indent="  ", subsequent_indent="    "))
    return report.write_all(folder, with_disturbed=True)[0]


def _run(pulse: Path, seconds: float, hz: float, trace: Path, screenshot: Path) -> int:
    from minicomp import logs
    from minicomp.compositor.run import run
    from minicomp.config import Override, RunOptions, load

    where = "minicomp demo"
    config = load(
        None,
        [
            Override(("backend", "kind"), "headless", where),
            Override(("headless", "outputs"), [f"1280x720@{hz:g}"], where),
            Override(("trace", "path"), str(trace), where),
            Override(("log", "level"), "warning", where),
        ],
    )
    logs.set_up(config.log.level)
    command = [str(pulse), "--duration-s", f"{seconds:g}", "--fullscreen", "--quiet", "--title", "minicomp demo"]
    progress = _Progress(seconds, screenshot)
    return run(config, command, RunOptions(), observe=progress.attach)


class _Progress:
    """A progress bar while the client runs, and a screenshot half-way."""

    def __init__(self, seconds: float, screenshot: Path) -> None:
        self._seconds = seconds
        self._screenshot = screenshot
        self._taken = False
        self._begin = 0.0

    def attach(self, compositor: Compositor, supervisor: Supervisor, stack: ExitStack) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
        )
        stack.enter_context(bar)
        task = bar.add_task(f"running a client for {self._seconds:g} s", total=self._seconds)
        self._begin = time.monotonic()

        def tick() -> None:
            elapsed = time.monotonic() - self._begin
            bar.update(task, completed=min(elapsed, self._seconds))
            if not self._taken and elapsed > self._seconds / 2:
                self._taken = True
                self._take(compositor)

        supervisor.every_tick(tick)

    def _take(self, compositor: Compositor) -> None:
        from minicomp.testing.image import save_png

        try:
            save_png(self._screenshot, *compositor.capture())
        except MinicompError as error:
            logging.getLogger("minicomp.demo").warning("no screenshot: %s", error)
