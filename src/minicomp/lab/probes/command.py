"""`minicomp lab probe [SECTION|NAME...]`: which statements about the kernel hold on this machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minicomp.errors import ExitCode, MinicompError
from minicomp.lab.probes import runner
from minicomp.lab.probes.neighbours import Neighbours
from minicomp.lab.probes.probe import SECTIONS, Probe, Result
from minicomp.lab.probes.registry import choose
from minicomp.lab.probes.statements import Statement, all_statements, answers

TELL_EVERY_S = 10.0
_DESCRIPTION = """\
Measure on this machine what is said about the kernel: each statement holds, does not hold here, or cannot be
tested here (and what would be needed). "?" marks a verdict in doubt: near its limit, or other programs had the
CPUs. Nothing stays changed. Exit code 0 whatever the verdicts are; 70 when a
probe itself failed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    sections = ", ".join(f"{number} or {name}" for number, (name, _) in SECTIONS.items())
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"sections: {sections}"
    parser.add_argument("wanted", nargs="*", metavar="SECTION|NAME", help="default: all; --list names them")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer samples: all of them in under two minutes (some five where code is emulated)",
    )
    parser.add_argument("--list", action="store_true", help="only list them, with their statements")
    parser.add_argument("--table", action="store_true", help="only print the table of docs/kernel-claims.md")
    parser.add_argument("--full", action="store_true", help="print every number, the method and minicomp's use of it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--out", metavar="DIR", help="also write probes.json, probes.txt and probes.html there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code. Raises MinicompError."""
    chosen = choose(args.wanted)
    if args.list:
        _print_list(chosen)
        return ExitCode.OK
    if args.table:
        print(as_table(chosen), end="")
        return ExitCode.OK
    out = Path(args.out) if args.out else None
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MinicompError(str(error.strerror), where=f"--out {out}") from error
    started = time.time()
    results = _measure(chosen, args.quick)
    report = as_json(results, args.quick, started)
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        from rich.console import Console

        from minicomp.lab.probes.text import print_report

        print_report(Console(highlight=False), results, args.full)
    if out is not None:
        _write(out, report, results)
        print(f"written to {out}", file=sys.stderr)
    return ExitCode.INTERNAL if any(result.error for _, result in results) else ExitCode.OK


def _measure(chosen: list[Probe], quick: bool) -> list[tuple[Probe, Result]]:
    """One after another, with a progress bar on a terminal (its thread would be forked too: it is refreshed by hand),
    else with a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    results: list[tuple[Probe, Result]] = []
    neighbours, began, told = Neighbours(), time.monotonic(), time.monotonic()
    with Progress(
        *columns, console=console, auto_refresh=False, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=len(chosen))
        for probe in chosen:
            progress.update(task, description=probe.name)
            progress.refresh()
            if not console.is_terminal and (now := time.monotonic()) > told + TELL_EVERY_S:
                left_s = (now - began) / len(results) * (len(chosen) - len(results))
                done = f"{len(results)} of {len(chosen)} probes after {now - began:.0f} s"
                print(f"{done}, some {left_s:.0f} s left: {probe.name}", file=sys.stderr, flush=True)
                told = now
            results.append((probe, runner.run(probe, quick, neighbours)))
            progress.advance(task)
    return results


def as_json(results: list[tuple[Probe, Result]], quick: bool, started: float) -> dict[str, Any]:
    """Everything, as plain values."""
    return {
        "machine": {
            "kernel": platform.release(),
            "version": platform.version(),
            "architecture": platform.machine(),
            "cpu": _cpu_model(),
            "cpus": len(os.sched_getaffinity(0)),
            "root": os.geteuid() == 0,
        },
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "quick": quick,
        "results": [
            {
                "name": probe.name,
                "section": probe.section,
                "statement": probe.statement,
                "method": probe.method,
                "used_by": probe.used_by,
                **asdict(result),
            }
            for probe, result in results
        ],
        "statements": [
            {
                "number": answer.statement.number,
                "words": answer.statement.words,
                "verdict": answer.verdict,
                "in_doubt": answer.in_doubt,
                "probes": [probe.name for probe, _ in answer.results],
            }
            for answer in answers(results)
        ],
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model", "CPU part")):
            return line.partition(":")[2].strip()
    return "unknown"


def _print_list(chosen: list[Probe]) -> None:
    for probe in chosen:
        print(f"{probe.section} {probe.name}\n    {probe.statement}")


def as_table(chosen: list[Probe]) -> str:
    """Statement, probes and minicomp's use, in Markdown: a table per section."""
    by_name = {probe.name: probe for probe in chosen}
    parts = []
    for number, (_, title) in SECTIONS.items():
        rows = [
            (statement, [by_name[name] for name in statement.probes if name in by_name])
            for statement in all_statements()
            if statement.section == number
        ]
        if any(probes for _, probes in rows):
            parts.append(f"### {number}. {title}\n\n| | statement | probe | in minicomp |\n|---|---|---|---|\n")
            parts += [_table_row(statement, probes) for statement, probes in rows if probes]
            parts.append("\n")
    return "".join(parts)


def _table_row(statement: Statement, probes: list[Probe]) -> str:
    """A probe that measures nothing says why in its method; what it is used for stands with the first probe."""
    names = [f"`{probe.name}`" + (f" ({why})" if (why := untested(probe)) else "") for probe in probes]
    cells = (statement.number, statement.words, ", ".join(names), probes[0].used_by)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def untested(probe: Probe) -> str:
    """Why nothing can be measured, on any machine, of its statement; empty for most."""
    return probe.method.removeprefix("None: ").rstrip(".") if probe.method.startswith("None: ") else ""


def _write(out: Path, report: dict[str, Any], results: list[tuple[Probe, Result]]) -> None:
    from rich.console import Console

    from minicomp.lab.probes.html import as_html
    from minicomp.lab.probes.text import print_report

    (out / "probes.json").write_text(json.dumps(report, indent=1) + "\n")
    with (out / "probes.txt").open("w") as file:
        print_report(Console(file=file, width=120, highlight=False), results, full=True)
    (out / "probes.html").write_text(as_html(report, results))
