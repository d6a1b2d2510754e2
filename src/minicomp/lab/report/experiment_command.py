"""`minicomp lab report DIR`: the report of an experiment, on the screen and as files beside its results."""

from __future__ import annotations

import argparse

from minicomp.errors import ExitCode, MinicompError

DESCRIPTION = """\
Report an experiment from the folder that `minicomp lab run` wrote, finished or not. Writes into that folder
report.html (one file, works offline), report.txt, summary.csv, and a Perfetto trace for each run file that was
kept; prints the answer and the tables it rests on. What the numbers mean: docs/lab.md
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fills the parser; what it parses has run=`run`."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", metavar="DIR", help="a folder written by `minicomp lab run`")
    parser.add_argument("--all", action="store_true", help="print every section: percentiles, the machine, the method")
    parser.add_argument("--text", action="store_true", help="print plain text, every section, and write no files")
    parser.add_argument(
        "--with-disturbed", action="store_true", help="count disturbed runs too; the report says so in its answer"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command; its exit code. Raises MinicompError."""
    try:
        from rich.console import Console

        from minicomp.lab.report import experiment
    except ModuleNotFoundError as error:
        raise MinicompError(
            f"reports need {error.name}", todo="install minicomp[lab]", exit_code=ExitCode.UNAVAILABLE
        ) from error
    if options.text:
        print(experiment.render_text(options.folder, with_disturbed=options.with_disturbed), end="")
        return ExitCode.OK
    written = experiment.write_all(options.folder, with_disturbed=options.with_disturbed)
    experiment.print_report(options.folder, Console(), everything=options.all, with_disturbed=options.with_disturbed)
    for path in written:
        print(path)
    return ExitCode.OK
