"""`minicomp lab run EXPERIMENT.toml`: options, what is said before and after, exit codes."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import NoReturn

from minicomp.config import parse_mode
from minicomp.config.load import read_text
from minicomp.errors import ConfigError, ExitCode
from minicomp.lab.experiments.folder import Folder
from minicomp.lab.experiments.plan import Plan, make_plan
from minicomp.lab.experiments.progress import Progress, clock
from minicomp.lab.experiments.read import read_experiment
from minicomp.lab.experiments.runner import Options, run_experiment
from minicomp.lab.experiments.spec import Experiment
from minicomp.lab.experiments.validity import DISTURBED, FAILED

DESCRIPTION = """\
Run an experiment: the same scene under different settings (arms), interleaved in random order, a fresh
compositor each time. Prints which differences these runs could and could not resolve. Manual: docs/lab.md

  minicomp lab run configs/experiments/pacing-pareto.toml --quick      a first look
  minicomp lab run configs/experiments/scheduler-under-load.toml       all of it; says how long it will take
  minicomp lab run FILE --out DIR --resume                             goes on where it was stopped or killed
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("file", metavar="EXPERIMENT.toml", help="configs/experiments/ has ready-made ones")
    add("--out", metavar="DIR", help="where to write; default: ./lab-NAME")
    add("--quick", action="store_true", help="the file's [quick] schedule: few short runs, for a first look")
    add("--resume", action="store_true", help="do what is left of the plan in DIR")
    add("--redo", action="store_true", help="with --resume: also do again what was disturbed or failed")
    add("--keep-traces", action="store_true", help="keep every run file; otherwise that of each arm's first run")
    add("--backend", choices=("auto", "headless", "drm"), help="in place of the file's")
    add("--arms", metavar="A,B", help="only these arms")
    add("--collect-only", action="store_true", help="make no tables: needs no numpy and pyarrow; --resume makes them")
    add("--plan", action="store_true", help="print the order of the runs, and do nothing")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command; its exit code. Raises MinicompError."""
    experiment = read_experiment(options.file)
    only = tuple(options.arms.split(",")) if options.arms else ()
    names = [arm.name for arm in experiment.arms]
    for name in only:
        if name not in names:
            raise ConfigError(f'there is no arm "{name}"', where="--arms", todo=f"there are: {', '.join(names)}")
    plan = make_plan(experiment, quick=options.quick, only=only)
    if options.plan:
        for one in plan.runs:
            print(f"{one.number:4}  block {one.block:3}  {one.arm}")
        return ExitCode.OK
    folder = Folder(Path(options.out or f"lab-{experiment.name}"))
    folder.prepare(plan, read_text(options.file), resume=options.resume)
    if options.redo:
        for one in plan.runs:
            if (folder.record(one) or {}).get("status") in (DISTURBED, FAILED):
                folder.forget(one)
    _say(_announcement(experiment, plan, folder))

    # A supervisor's SIGTERM ends everything that was started, as Ctrl-C does.
    previous = signal.signal(signal.SIGTERM, _terminated)
    try:
        with Progress(plan) as progress:
            how = Options(options.backend or experiment.backend, options.keep_traces, options.collect_only)
            run_experiment(experiment, plan, folder, how, progress)
    except KeyboardInterrupt:
        _say(f"stopped; to go on: minicomp lab run {options.file} --out {folder.path} --resume{_again(options)}")
        return ExitCode.SIGNAL_BASE + signal.SIGINT
    finally:
        signal.signal(signal.SIGTERM, previous)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(progress.statuses.items()))
    number = "1 run" if len(plan.runs) == 1 else f"{len(plan.runs)} runs"
    _say(f"{number}: {counts}; results in {folder.path}")
    if not options.collect_only:
        _report(folder)
    return ExitCode.OK


def _announcement(experiment: Experiment, plan: Plan, folder: Folder) -> str:
    left = [one for one in plan.runs if folder.record(one) is None]
    schedule = plan.schedule
    runs_each = schedule.blocks * schedule.repetitions
    frames = round(runs_each * schedule.measure_s * _refresh_hz(experiment))
    return (
        f"{experiment.name}: {len(plan.arms)} arms x {runs_each} runs of {schedule.measure_s:g} s "
        f"(up to {frames} frames an arm); {len(left)} runs to do, about {clock(len(left) * plan.run_s)}"
    )


def _refresh_hz(experiment: Experiment) -> float:
    """Of the first modelled output; a screen's is not known before."""
    outputs = experiment.arms[0].settings.get("headless.outputs", ["1280x720@60"])
    return (parse_mode(outputs[0]).refresh_mhz or 60_000) / 1000


def _report(folder: Folder) -> None:
    """The report where the runs were watched: short on a terminal, whole in a pipe; and as files."""
    from minicomp.lab.report import experiment as report

    if sys.stdout.isatty():
        from rich.console import Console

        report.print_report(folder.path, Console())
    else:
        print(report.render_text(folder.path))
    for path in report.write_all(folder.path):
        if path.suffix != ".pftrace":
            _say(f"wrote {path}")


def _again(options: argparse.Namespace) -> str:
    return (" --quick" if options.quick else "") + (f" --arms {options.arms}" if options.arms else "")


def _terminated(_number: int, _frame: object) -> NoReturn:
    sys.exit(ExitCode.SIGNAL_BASE + signal.SIGTERM)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
