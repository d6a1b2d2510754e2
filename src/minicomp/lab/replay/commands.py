"""`minicomp lab replay TRACE`: the same frames under other schedulers. What it can and cannot tell: docs/replay.md."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minicomp.errors import ExitCode, MinicompError

if TYPE_CHECKING:
    from minicomp.lab.pipeline.runfile import Run
    from minicomp.lab.replay.measure import Score
    from minicomp.lab.replay.workload import Workload

DEFAULT_TARGET = 0.001

_DESCRIPTION = """\
Take the vblanks, what each frame cost and how long clients take to answer from a run file, and compute for other
frame schedulers when they would have begun the same frames, and what would have come of it.

policies: asap, fixed:TIMEms, adaptive (minicomp's own code), kwin, mutter, gamescope, weston, sway,
sway:OUTPUT/VIEW (its max_render_time settings in ms); the others are written from their published sources.
"""


@dataclass(frozen=True)
class Panel:
    """What is reported of one output."""

    workload: Workload
    scores: list[Score]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", metavar="TRACE", help="a run file, as `minicomp run --trace FILE` writes it")
    parser.add_argument("--policy", metavar="P,P,...", help="default: all of them")
    parser.add_argument("--output", metavar="NAME", help="only this output")
    parser.add_argument(
        "--target-miss-rate", metavar="R", type=float, default=DEFAULT_TARGET, help="for adaptive; default 0.001"
    )
    parser.add_argument(
        "--warm-up", metavar="FRAMES", type=int, default=0, help="leave the first FRAMES out of the numbers"
    )
    parser.add_argument(
        "--latch-us", metavar="N", type=int, help="how long before a vblank a commit must be in; default: from TRACE"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--plot", metavar="OUT", help="draw latency against misses into OUT (.png, .svg, .pdf)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code. Raises MinicompError."""
    _check(args)
    try:
        from minicomp.lab.pipeline.runfile import read_run

        if args.plot:
            import minicomp.lab.replay.plot
    except ModuleNotFoundError as error:
        raise MinicompError(
            f"replaying needs {error.name}", todo="install minicomp[lab]", exit_code=ExitCode.UNAVAILABLE
        ) from error

    trace = read_run(args.file)
    panels = replay(trace, args)
    if args.plot:
        minicomp.lab.replay.plot.draw(
            [(panel.workload.name, 1e9 / panel.workload.period_ns, panel.scores) for panel in panels],
            args.target_miss_rate,
            args.plot,
        )
    if args.json:
        print(json.dumps(_json(trace, panels, args), indent=2))
    else:
        from minicomp.lab.replay.text import report_text

        print(report_text(trace, [(panel.workload, panel.scores) for panel in panels], args.warm_up), end="")
    if args.plot:
        print(f"{args.plot}: written", file=sys.stderr)
    return ExitCode.OK


def replay(trace: Run, args: argparse.Namespace) -> list[Panel]:
    """Every output under every policy; the recording itself comes first."""
    from minicomp.lab.pipeline.join import join
    from minicomp.lab.replay.measure import score, score_recording
    from minicomp.lab.replay.policies import DEFAULT, make_policy
    from minicomp.lab.replay.policies.base import Display
    from minicomp.lab.replay.simulate import simulate
    from minicomp.lab.replay.workload import workloads

    joined = join(trace)
    found = workloads(joined, None if args.latch_us is None else args.latch_us * 1000)
    panels = []
    for workload in _chosen(found, args.output):
        display = Display(workload.nominal_ns or round(workload.period_ns), args.target_miss_rate)
        names = _split(args.policy or DEFAULT)
        outcomes = [simulate(workload, make_policy(name, display)) for name in names]
        scores = [score(workload, outcome, args.warm_up) for outcome in outcomes]
        panels.append(Panel(workload, [score_recording(joined, workload, args.warm_up), *scores]))
    return panels


def _check(args: argparse.Namespace) -> None:
    if not 0 < args.target_miss_rate < 1 or math.isnan(args.target_miss_rate):
        raise MinicompError("not between 0 and 1", where="--target-miss-rate", exit_code=ExitCode.USAGE)
    for value, option in ((args.warm_up, "--warm-up"), (args.latch_us or 0, "--latch-us")):
        if value < 0:
            raise MinicompError("cannot be negative", where=option, exit_code=ExitCode.USAGE)


def _split(policies: str) -> list[str]:
    names = [name.strip() for name in policies.split(",") if name.strip()]
    if not names:
        raise MinicompError("no policy given", where="--policy", exit_code=ExitCode.USAGE)
    return list(dict.fromkeys(names))


def _chosen(found: Sequence[Workload], wanted: str | None) -> list[Workload]:
    chosen = [workload for workload in found if wanted in (None, workload.name)]
    if not chosen:
        names = ", ".join(workload.name for workload in found)
        raise MinicompError(
            f"no output {wanted!r} showed anything", where="--output", todo=f"it has: {names}", exit_code=ExitCode.USAGE
        )
    return chosen


def _json(trace: Run, panels: Sequence[Panel], args: argparse.Namespace) -> dict[str, object]:
    from minicomp.lab.replay.measure import pareto_front, to_json

    return {
        "file": trace.path.name,
        "dropped": trace.dropped_total,
        "target_miss_rate": args.target_miss_rate,
        "warm_up_frames": args.warm_up,
        "outputs": [
            {
                "output": panel.workload.name,
                "refresh_hz": round(1e9 / panel.workload.period_ns, 6),
                "latch": vars(panel.workload.latch),
                "surfaces": len(panel.workload.surfaces),
                "recorded": to_json(panel.scores[0]),
                "policies": [to_json(one) for one in panel.scores[1:]],
                "pareto_front": [one.policy for one in pareto_front(panel.scores[1:])],
            }
            for panel in panels
        ],
    }
