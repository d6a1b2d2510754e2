"""`scripts/bench --pacing`: how late minicomp asks and composes on modelled displays, in real time on this machine.

minicomp against itself (adaptive beside asap, an idle policy beside a busy one), interleaved: what is left of a
comparison then is the machine's noise, which is reported beside it. What the frames did is read from the client's log;
why one missed, from the run file. docs/performance.md has the targets.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minicomp.msg.client import Client

from .checkout import CLIENTS, PROGRAM, check_built, obtain
from .contenders import Contender
from .errors import BenchError
from .pacing_frames import Case, Slot, read_echo, read_pulse
from .pacing_report import render
from .session import Session, stop

SOCKET = "wayland-0"
SIZE = "1280x720"
WINDOW = "400x300"
REFRESHES_HZ = (60, 144, 240)
WORKS_US = (500, 1000, 3000)
# The modelled display wants its commits 1 ms early, a quarter of a refresh at 240 Hz: hardware so fast does not.
QUICK_REFRESHES_HZ = (144, 240)
QUICK_LATCH_US = 200
PACINGS = ("adaptive", "asap")
WARM_UP_S = 1.5
EVENT_GAP_S = (0.03, 0.08)  # random, so that events meet every phase of the refresh


@dataclass(frozen=True)
class Plan:
    name: str
    rounds: int
    window_s: float
    events: int


PLANS = {"quick": Plan("quick", 1, 3.0, 40), "full": Plan("full", 4, 8.0, 100)}


def cases() -> list[Case]:
    """Everything that is measured once a round. What is compared differs in `variant` alone."""
    found = []
    for refresh_hz in REFRESHES_HZ:
        for work_us in WORKS_US:
            name = f"{refresh_hz} Hz, {work_us / 1000:g} ms of work"
            for mode in PACINGS:
                found.append(Case("work", name, mode, refresh_hz, work_us, (f"pacing.mode={mode}",)))
    for refresh_hz in QUICK_REFRESHES_HZ:
        name = f"{refresh_hz} Hz, 1 ms, latch {QUICK_LATCH_US / 1000:g} ms"
        for mode in PACINGS:
            settings = (f"pacing.mode={mode}", f"headless.latch_us={QUICK_LATCH_US}")
            found.append(Case("work", name, mode, refresh_hz, 1000, settings))
    for mode in PACINGS:
        found.append(Case("echo", "60 Hz, key presses", mode, 60, 0, (f"pacing.mode={mode}",)))
    for variant, busy in (("idle", "none"), ("busy", "gil")):
        settings = ("policy.name=minicomp.shell.busy:BusyKiosk", f'policy.options.busy="{busy}"')
        found.append(Case("policy", "60 Hz, 1 ms of work", variant, 60, 1000, settings))
    return found


def run(options: argparse.Namespace) -> int:
    """Measures or reads `--show`, prints; exit codes as benchlib.cli has them."""
    result = obtain(options, lambda: _measure(PLANS["quick" if options.quick else "full"], options.seed))
    if isinstance(result, int):
        return result
    print(render(result))
    return 0


def _measure(plan: Plan, seed: int) -> dict[str, Any]:
    check_built(PROGRAM, CLIENTS / "pulse", CLIENTS / "echo")
    everything, slots, begin_s = cases(), [], time.monotonic()
    total = plan.rounds * len(everything)
    for done, (round_, case) in enumerate(_interleaved(everything, plan.rounds, seed)):
        elapsed_s = time.monotonic() - begin_s
        left_s = elapsed_s / done * (total - done) if done else total * (plan.window_s + WARM_UP_S + 1)
        end = "\r" if sys.stderr.isatty() else "\n"
        text = f"bench: {done + 1}/{total}, about {left_s:.0f} s left: {case.group}, {case.name}, {case.variant}"
        print(f"{text:<100.100}", end=end, file=sys.stderr, flush=True)
        slots.append(asdict(_slot(case, plan, random.Random(f"{seed}:{done}"))) | {"round": round_})
    return {"plan": plan.name, "slots": slots, "host_s": time.monotonic() - begin_s}


def _interleaved(everything: Sequence[Case], rounds: int, seed: int) -> Iterator[tuple[int, Case]]:
    """Every case once a round in random order; what is compared with each other, one right after the other."""
    pairs: dict[tuple[str, str], list[Case]] = {}
    for case in everything:
        pairs.setdefault((case.group, case.name), []).append(case)
    for round_ in range(rounds):
        order, shuffler = list(pairs.values()), random.Random(f"{seed}:{round_}")
        shuffler.shuffle(order)
        for pair in order:
            for case in shuffler.sample(pair, len(pair)):
                yield round_, case


def _slot(case: Case, plan: Plan, dice: random.Random) -> Slot:
    settings = (f'headless.outputs=["{SIZE}@{case.refresh_hz}"]', "log.level=warning", *case.settings)
    command = [str(PROGRAM), "run", "--backend", "headless", "--socket", SOCKET, "--trace", "{private}/run.mct"]
    for setting in settings:
        command += ["--set", setting]
    with Session(Contender("minicomp", case.name, tuple(command), SOCKET), CLIENTS / "pulse") as session:
        log, run_file = session.private / "client.jsonl", session.private / "run.mct"
        is_echo = case.group == "echo"
        if is_echo:
            _echo(session, log, plan.events, dice)
        else:
            _pulse(session, case, log, plan.window_s)
        stop(session.process)  # completes the run file
        return read_echo(case, log, run_file) if is_echo else read_pulse(case, log, run_file, WARM_UP_S)


def _pulse(session: Session, case: Case, log: Path, window_s: float) -> None:
    duration_s = WARM_UP_S + window_s
    words = ["--size", WINDOW, "--work-us", str(case.work_us), "--duration-s", f"{duration_s:g}", "--quiet"]
    _wait(session.start_client(*words, "--require-presentation", "--log", str(log)), duration_s + 10)


def _echo(session: Session, log: Path, events: int, dice: random.Random) -> None:
    command = [str(CLIENTS / "echo"), "--log", str(log), "--events", str(events), "--quiet"]
    client = subprocess.Popen(
        command, env=session.client_environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    time.sleep(WARM_UP_S)
    with Client(str(session.private / f"minicomp-{SOCKET}.sock")) as control:
        deadline_s = time.monotonic() + 10 + events * 0.2
        while client.poll() is None and time.monotonic() < deadline_s:
            control.call("input.press", keys="a")
            time.sleep(dice.uniform(*EVENT_GAP_S))
    _wait(client, 1)


def _wait(client: subprocess.Popen[bytes], limit_s: float) -> None:
    try:
        code = client.wait(limit_s)
    except subprocess.TimeoutExpired:
        code = None
    complaint = "" if code is None or client.stderr is None else client.stderr.read().decode(errors="replace").strip()
    stop(client)
    if code != 0:
        raise BenchError(f"the client did not finish: {complaint or f'exit code {code}'}")
