"""CPU of a compositor over a window of time, and the frames that its clients got in just that window."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .contenders import REFRESH_HZ
from .cpu_clock import Disturbance, MachineClock, process_cpu_ns, thread_cpu_ns, tree_cpu_ns, wakeups
from .errors import BenchError
from .session import Session, stop

SMALL = "32x32"
# Not quite the output's 1280x720: wlroots hands a buffer that covers the output to the display, uncomposed, and its
# headless output takes any; no display could scan out shared memory.
LARGE_WINDOW = "1200x680"
SMALL_WINDOW = "256x256"
# Of the display's rate. wlroots' headless output re-arms its timer after drawing, so that a frame that takes 1.5 ms to
# draw makes it 57 Hz: what counts is CPU per frame that arrived. Below this, clients were starved or frames dropped.
MIN_RATE, MAX_RATE = 0.85, 1.05


@dataclass(frozen=True)
class Scenario:
    """What the clients do: commit from frame callbacks, as fast as the display goes."""

    name: str
    what: str
    clients: int
    size: str
    damage: str
    feedback: bool = False  # ask for wp_presentation feedback with each commit


SMALL_DAMAGE = Scenario("small", f"{LARGE_WINDOW}, {SMALL} damage", 1, LARGE_WINDOW, SMALL)
FULL_DAMAGE = Scenario("full", f"{LARGE_WINDOW}, all of it damaged", 1, LARGE_WINDOW, "full")
FEEDBACK = Scenario("feedback", f"{LARGE_WINDOW}, {SMALL} damage, with feedback", 1, LARGE_WINDOW, SMALL, feedback=True)
SCALE = tuple(
    Scenario(f"scale-{n}", f"{n} clients of {SMALL_WINDOW}, {SMALL} damage", n, SMALL_WINDOW, SMALL)
    for n in (1, 10, 100)
)
SCENARIOS = {scenario.name: scenario for scenario in (SMALL_DAMAGE, FULL_DAMAGE, FEEDBACK, *SCALE)}


@dataclass(frozen=True)
class Slot:
    """One measured window."""

    contender: str
    scenario: str
    round: int
    clients: int
    span_ns: int
    cpu_ns: int
    frames: int  # frame callbacks that clients received in the window
    presented: int  # presentation feedback in the window; 0 where it was not asked for
    wakeups: int  # voluntary context switches
    threads_ns: dict[str, int]
    disturbance: Disturbance

    @property
    def us_per_frame(self) -> float:
        """CPU for one output frame in microseconds: with n clients, one frame delivers n callbacks."""
        return self.cpu_ns * self.clients / self.frames / 1000 if self.frames else float("nan")

    @property
    def wakeups_per_frame(self) -> float:
        return self.wakeups * self.clients / self.frames if self.frames else float("nan")

    @property
    def rate_hz(self) -> float:
        """Frames that each client got a second."""
        return self.frames / self.clients / (self.span_ns / 1e9)

    @property
    def delivered(self) -> bool:
        """The clients got about the display's rate of frames."""
        return MIN_RATE <= self.rate_hz / REFRESH_HZ <= MAX_RATE


def measure(session: Session, scenario: Scenario, round_: int, warm_up_s: float, window_s: float) -> Slot:
    """Starts the clients, lets them run warm, measures, stops them. Raises BenchError when one does not run."""
    logs = [session.private / f"client-{number}.jsonl" for number in range(scenario.clients)]
    clients: list[subprocess.Popen[bytes]] = []
    try:
        for number, log in enumerate(logs):
            clients.append(session.start_client(*_arguments(scenario, number, log)))
        time.sleep(warm_up_s)
        pids = [os.getpid(), *(client.pid for client in clients)]
        begin, begin_own_ns, begin_threads = MachineClock.now(), _sum_cpu_ns(pids), thread_cpu_ns(session.pid)
        begin_wakeups = wakeups(session.pid)
        begin_ns, begin_cpu_ns = time.monotonic_ns(), tree_cpu_ns(session.pid)
        time.sleep(window_s)
        end_ns, end_cpu_ns = time.monotonic_ns(), tree_cpu_ns(session.pid)
        end_wakeups = wakeups(session.pid)
        end_threads, end_own_ns, end = thread_cpu_ns(session.pid), _sum_cpu_ns(pids), MachineClock.now()
        session.check_alive()
    finally:
        complaints = [_end(client, log) for client, log in zip(clients, logs, strict=False)]
    failed = [complaint for complaint in complaints if complaint]
    if failed:
        raise BenchError(f"{session.contender.name}: {len(failed)} of {scenario.clients} clients failed: {failed[0]}")
    frames = presented = 0
    for log in logs:
        with log.open() as lines:
            counted = count_frames(lines, begin_ns, end_ns)
        frames, presented = frames + counted[0], presented + counted[1]
        log.unlink()
    cpu_ns = end_cpu_ns - begin_cpu_ns
    return Slot(
        contender=session.contender.name,
        scenario=scenario.name,
        round=round_,
        clients=scenario.clients,
        span_ns=end_ns - begin_ns,
        cpu_ns=cpu_ns,
        frames=frames,
        presented=presented,
        wakeups=end_wakeups - begin_wakeups,
        threads_ns={name: spent_ns - begin_threads.get(name, 0) for name, spent_ns in end_threads.items()},
        disturbance=Disturbance.between(begin, end, cpu_ns + end_own_ns - begin_own_ns),
    )


def count_frames(lines: Iterable[str], begin_ns: int, end_ns: int) -> tuple[int, int]:
    """(frame callbacks received, commits presented) in begin < t <= end, by pulse's own log."""
    callbacks = presented = 0
    for line in lines:
        if not line.startswith('{"type":"frame"'):
            continue
        record = json.loads(line)
        callbacks += begin_ns < record["callback_ns"] <= end_ns
        presented += begin_ns < record["presented_ns"] <= end_ns
    return callbacks, presented


def _arguments(scenario: Scenario, number: int, log: Path) -> list[str]:
    return [
        *("--size", scenario.size, "--damage", scenario.damage, "--log", str(log), "--quiet"),
        *("--app-id", f"bench-{number}"),
        *([] if scenario.feedback else ["--no-feedback"]),
    ]


def _sum_cpu_ns(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # a client that failed: reported when it is ended
            total += process_cpu_ns(pid)
    return total


def _end(client: subprocess.Popen[bytes], log: Path) -> str:
    """Stops a client that should still be running; what it complained about, or ""."""
    died = client.poll()
    if died is None:
        client.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            client.wait(5)
    complaint = (
        client.stderr.read().decode(errors="replace").strip() if client.stderr and client.poll() is not None else ""
    )
    stop(client)
    if died is not None or client.returncode != 0:
        last = log.read_text().splitlines()[-1:] if log.exists() else []
        return complaint or f"exit code {client.returncode}, its log ends with {last}"
    return ""
