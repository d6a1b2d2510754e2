"""The measuring process: `python -m benchlib.measure ORDER OUT`, both JSON files. Must not run as root.

ORDER says who and how long (`cli` writes it); OUT gets every single measurement, nothing is aggregated here. Rounds are
interleaved: every contender once, in an order of its own, then the next round.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import frames, startup, trace_cost
from .contenders import Contender
from .errors import BenchError
from .plan import PLANS, Plan, order
from .session import Session

RETRIES = 1


class Progress:
    """One line on a terminal that is overwritten; a line per round elsewhere."""

    def __init__(self, steps: int) -> None:
        self._steps, self._done, self._terminal = steps, 0, sys.stderr.isatty()
        self._begin, self._last_part = time.monotonic(), ""

    def step(self, part: str, what: str) -> None:
        self._done += 1
        elapsed_s = time.monotonic() - self._begin
        text = f"bench: {self._done:3}/{self._steps} {elapsed_s:4.0f} s  {part}: {what}"
        if self._terminal:
            print(f"\r{text:<100.100}", end="", file=sys.stderr, flush=True)
        elif part != self._last_part:
            print(f"bench: {self._done:3}/{self._steps} {elapsed_s:4.0f} s  {part}", file=sys.stderr, flush=True)
        self._last_part = part

    def end(self) -> None:
        if self._terminal:
            print(f"\r{'':<100}\r", end="", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    request = json.loads(Path(arguments[0]).read_text())
    if os.geteuid() == 0:
        print("bench: the measuring process must not run as root: sway and cage refuse to", file=sys.stderr)
        return 1
    try:
        result = _measure(request)
    except BenchError as error:
        print(f"\nbench: {error}", file=sys.stderr)
        return 1
    Path(arguments[1]).write_text(json.dumps(result, indent=1))
    return 0


def _measure(request: dict[str, Any]) -> dict[str, Any]:
    plan = PLANS[request["plan"]]
    contenders = {entry["name"]: Contender(**entry) for entry in request["contenders"]}
    pulse = Path(request["pulse"])
    names, seed = list(contenders), request["seed"]
    scaling = [name for name in names if contenders[name].keeps_window_size and name != "minicomp-notrace"]
    progress = Progress(
        len(names) * (plan.start_rounds + plan.frame_rounds) + len(scaling) * plan.scale_rounds + 2 + len(names)
    )
    result: dict[str, Any] = {"machine": _machine(), "starts": [], "memory": [], "slots": [], "failures": []}

    for name in list(names):  # what is read from disk is read now
        progress.step("warm-up", name)
        try:
            with Session(contenders[name], pulse):
                pass
        except BenchError as error:
            if name == "minicomp":
                raise
            result["failures"].append(f"left out from the start: {error}")
            names.remove(name)
            scaling = [other for other in scaling if other != name]
    for round_, name in _rounds(names, plan.start_rounds, seed):
        progress.step(f"start, round {round_ + 1} of {plan.start_rounds}", name)
        try:
            with Session(contenders[name], pulse, for_start=True) as session:
                start = {"contender": name, "round": round_, "first_roundtrip_ms": session.first_roundtrip_ms}
                result["starts"].append(start | {"cpu_ms": session.start_cpu_ms})
        except BenchError as error:
            result["failures"].append(str(error))
    for round_, name in _rounds(names, plan.frame_rounds, seed + 1):
        progress.step(f"frames, round {round_ + 1} of {plan.frame_rounds}", name)
        scenarios = [frames.SMALL_DAMAGE, frames.FULL_DAMAGE]
        if contenders[name].answers_feedback and contenders[name].traced:
            scenarios.append(frames.FEEDBACK)
        _run(result, contenders[name], pulse, scenarios, round_, plan.warm_up_s, plan.window_s)
    for round_, name in _rounds(scaling, plan.scale_rounds, seed + 2):
        progress.step(f"clients, round {round_ + 1} of {plan.scale_rounds}", name)
        _run(result, contenders[name], pulse, frames.SCALE, round_, plan.scale_warm_up_s, plan.scale_window_s)
    progress.step("trace point", "minicomp")
    try:
        result["trace_point_ns"] = trace_cost.ns_per_point(plan.trace_batches)
    except RuntimeError as error:
        result["failures"].append(f"trace point: {error}")
        result["trace_point_ns"] = []
    progress.step("start, where it goes", "minicomp")
    result["start_breakdown"] = asdict(startup.break_down(contenders["minicomp-notrace"], pulse, _repeats(plan)))
    progress.end()
    return result


def _run(
    result: dict[str, Any],
    contender: Contender,
    pulse: Path,
    scenarios: list[frames.Scenario] | tuple[frames.Scenario, ...],
    round_: int,
    warm_up_s: float,
    window_s: float,
) -> None:
    """One session with its scenarios. A contender that fails in one is reported, and its other windows are kept."""
    try:
        with Session(contender, pulse) as session:
            for scenario in scenarios:
                longer = 2 if scenario.clients >= 100 else 1
                slot = frames.measure(session, scenario, round_, warm_up_s * longer, window_s)
                if scenario is scenarios[0] and scenario.clients == 1:
                    result["memory"].append({"contender": contender.name, "round": round_, **asdict(session.memory())})
                values = {"us_per_frame": slot.us_per_frame, "wakeups_per_frame": slot.wakeups_per_frame}
                values |= {"rate_hz": slot.rate_hz, "delivered": slot.delivered}
                result["slots"].append(asdict(slot) | values | {"disturbed": slot.disturbance.disturbed})
    except BenchError as error:
        result["failures"].append(str(error))


def _rounds(names: list[str], rounds: int, seed: int) -> Iterator[tuple[int, str]]:
    for round_ in range(rounds):
        for name in order(names, round_, seed):
            yield round_, name


def _repeats(plan: Plan) -> int:
    return max(3, plan.start_rounds // 2)


def _machine() -> dict[str, Any]:
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpus": os.cpu_count(),
        "cpu": model,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
