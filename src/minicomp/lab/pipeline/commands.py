"""`minicomp trace summary|misses|frame|export|dump`: the command line of the run files.

Imported when the command line is built, so everything heavy (numpy, the Perfetto protobufs) is imported when a command
runs. What a user can put right is raised as MinicompError; the caller prints it.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
from typing import TYPE_CHECKING

from minicomp.errors import ExitCode, MinicompError

if TYPE_CHECKING:
    from minicomp.lab.kernel.reader import KernelTrace
    from minicomp.lab.pipeline.runfile import Run

EXIT_REFUSED = 1
"""`trace summary` withheld percentiles because records were dropped."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fills the parser of `minicomp trace`; what it parses has run=`run`."""
    actions = parser.add_subparsers(dest="trace_command", required=True, metavar="ACTION")

    summary = actions.add_parser("summary", help="percentiles of stages and metrics, missed vblanks, dropped records")
    summary.add_argument("file", metavar="FILE", help="a run file, as `minicomp run --trace FILE` writes it")
    summary.add_argument("--json", action="store_true", help="print JSON instead of text")
    summary.add_argument("--output", metavar="NAME", help="only this output's frames and surfaces")
    summary.add_argument("--force", action="store_true", help="give percentiles even when records were dropped")

    misses = actions.add_parser("misses", help="every missed vblank, with its cause")
    misses.add_argument("file", metavar="FILE")
    misses.add_argument("--output", metavar="NAME", help="only this output's")
    misses.add_argument("--json", action="store_true", help="print JSON instead of text")

    frame = actions.add_parser("frame", help="one frame step by step: client, compositor, kernel, with times")
    frame.add_argument("file", metavar="FILE")
    frame.add_argument("--frame", metavar="N", type=int, help="this frame; default: the middle one of those shown")
    frame.add_argument("--output", metavar="NAME", help="of this output")
    frame.add_argument("--svg", metavar="OUT", help="draw it as an SVG file")
    frame.add_argument("--mermaid", metavar="OUT", help="write it as a Mermaid sequence diagram")

    export = actions.add_parser("export", help="write the run for other tools")
    export.add_argument("file", metavar="FILE")
    export.add_argument("--perfetto", metavar="OUT", help="a trace for ui.perfetto.dev and trace_processor")
    export.add_argument("--csv", metavar="OUT", help="one row a frame, with PresentMon's column names")

    dump = actions.add_parser("dump", help="print the records one by one")
    dump.add_argument("file", metavar="FILE")
    dump.add_argument("--limit", metavar="N", type=int, help="stop after N records")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs one of the commands; returns its exit code. Raises MinicompError."""
    try:
        from minicomp.lab.pipeline.runfile import read_run
    except ModuleNotFoundError as error:
        raise MinicompError(
            f"reading traces needs {error.name}", todo="install minicomp[lab]", exit_code=ExitCode.UNAVAILABLE
        ) from error

    commands = {"summary": _summary, "misses": _misses, "frame": _frame, "export": _export, "dump": _dump}
    return commands[args.trace_command](read_run(args.file), args)


def _summary(trace: Run, args: argparse.Namespace) -> int:
    from minicomp.lab.report.summary import summarise_run, to_json
    from minicomp.lab.report.text import summary_text

    summary = summarise_run(trace, output=args.output, force=args.force, kernel=_kernel_side(trace))
    if args.json:
        print(json.dumps(to_json(summary), indent=2))
    else:
        print(summary_text(summary), end="")
    return EXIT_REFUSED if summary.refused else 0


def _misses(trace: Run, args: argparse.Namespace) -> int:
    from minicomp.lab.report.misses_text import misses_text
    from minicomp.lab.report.summary import summarise_run

    causes = summarise_run(trace, output=args.output, force=True, kernel=_kernel_side(trace)).causes
    if args.json:
        print(json.dumps([dataclasses.asdict(cause) for cause in causes], indent=2))
    else:
        print(misses_text(trace, causes), end="")
    return 0


def _frame(trace: Run, args: argparse.Namespace) -> int:
    from minicomp.lab.pipeline.sequence import frame_sequence
    from minicomp.lab.report.files import written
    from minicomp.lab.report.frame_sequence import sequence_mermaid, sequence_svg, sequence_text

    sequence = frame_sequence(trace, args.frame, args.output)
    print(sequence_text(sequence), end="")
    for out_path, draw in ((args.svg, sequence_svg), (args.mermaid, sequence_mermaid)):
        if out_path:
            with written(out_path) as path:
                path.write_text(draw(sequence), encoding="utf-8")
    return 0


def _kernel_side(trace: Run) -> KernelTrace | None:
    """The kernel's trace beside the run file, when there is one."""
    from minicomp.lab.kernel.reader import read_beside

    kernel = read_beside(trace.path)
    if kernel is not None and kernel.lost:
        print(f"{trace.path}.kernel: {kernel.lost} events were lost: it does not say who ran instead", file=sys.stderr)
    return kernel


def _export(trace: Run, args: argparse.Namespace) -> int:
    from minicomp.lab.pipeline.runfile import describe_drops

    if not args.perfetto and not args.csv:
        raise MinicompError("nothing to write", todo="give --perfetto OUT, --csv OUT or both", exit_code=ExitCode.USAGE)
    if trace.cut_short:
        print(f"{trace.path}: {trace.cut_short}; what is there is exported", file=sys.stderr)
    if trace.dropped_total:
        print(f"{trace.path}: {describe_drops(trace)} records were dropped: frames have gaps", file=sys.stderr)
    if args.perfetto:
        from minicomp.lab.report.perfetto_export import export_perfetto

        print(f"{args.perfetto}: {export_perfetto(trace, args.perfetto, _kernel_side(trace))} events")
    if args.csv:
        from minicomp.lab.report.csv_export import export_csv

        print(f"{args.csv}: {export_csv(trace, args.csv)} frames")
    return 0


def _dump(trace: Run, args: argparse.Namespace) -> int:
    from minicomp.lab.pipeline.points import describe_flags, point_name, source_name

    start_ns = int(trace.records["t_ns"][0]) if len(trace.records) else 0
    rows = zip(trace.sources, trace.records, strict=True)
    for source, record in itertools.islice(rows, args.limit):
        t_ns, arg, frame_id, surface_id, point, output_id, flags = record.item()
        ids = {"output": output_id, "frame": frame_id, "surface": surface_id, "arg": arg}
        words = [f"{name}={value}" for name, value in ids.items() if value]
        words.append(describe_flags(point, flags))
        when = f"{(t_ns - start_ns) / 1e6:14.6f} ms"
        print(f"{when}  {source_name(int(source)):6}  {point_name(point):16}  {' '.join(words)}".rstrip())
    if trace.cut_short:
        print(f"{trace.path}: {trace.cut_short}", file=sys.stderr)
    return 0
