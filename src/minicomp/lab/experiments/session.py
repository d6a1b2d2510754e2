"""One run: a fresh compositor with one arm's settings, its clients and loads, for the time that the plan says.

    compositor ready -> clients, loads -> warm-up -> [begin .. measured .. end] -> loads, clients, compositor end

Nothing is computed between begin and end: this process sleeps until then. Times are CLOCK_MONOTONIC.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from minicomp.config.validation import Struct
from minicomp.errors import ExitCode
from minicomp.lab.experiments import host
from minicomp.lab.experiments.processes import CLIENTS, Process, Processes, program
from minicomp.lab.experiments.read import set_argument
from minicomp.lab.experiments.spec import Arm, Experiment, Load, Schedule

READY_S = 60.0
"""How long a compositor may take to start: emulated machines need most of it."""
COMPOSITOR_GRACE_S = 15.0
RESTORED_S = 5.0
LOG_LINES = 12


class Session(Struct, frozen=True):
    """What a run was, apart from its frames."""

    begin_ns: int = 0
    """The measured time is from here ..."""
    end_ns: int = 0
    failure: str = ""
    """Why there is nothing to evaluate; empty when there is."""
    refused: str = ""
    """Why the compositor would not start with these settings (exit code 69)."""
    missing_loads: tuple[str, ...] = ()
    clients: dict[int, str] = {}
    """Process id -> name: the program's, with "#2" and so on for further ones of it."""
    loads: dict[int, str] = {}
    settings_before: dict[str, str] = {}
    settings_after: dict[str, str] = {}
    moment_before: dict[str, Any] = {}
    moment_after: dict[str, Any] = {}
    during: dict[str, Any] = {}
    """`host.between` of the measured time."""
    threads: dict[str, dict[str, int]] = {}
    """CPU time and waiting time of the compositor's threads in the measured time."""


def run_session(
    experiment: Experiment,
    arm: Arm,
    schedule: Schedule,
    *,
    backend: str,
    trace: Path,
    log_path: Path,
    tick: Callable[[], None] = lambda: None,
) -> Session:
    """Runs one arm once; `trace` is then its run file. Nothing that was started is left running."""
    before, moment_before = host.settings(), host.moment()
    with log_path.open("wb") as log, _runtime_dir() as environment, Processes() as processes:
        record = _measured(experiment, arm, schedule, backend, trace, environment, processes, log, tick)
        processes.stop(processes.running[1:])
        # The compositor last, on its own: it writes the end of its run file.
        processes.stop(processes.running[:])
    return _with(
        record,
        log_path=log_path,
        settings_before=before,
        settings_after=_settings_after(before),
        moment_before=moment_before,
        moment_after=host.moment(),
    )


def _settings_after(before: dict[str, str]) -> dict[str, str]:
    """How the machine is set afterwards: a helper whose compositor was killed restores it by itself, a little later."""
    end_s = time.monotonic() + RESTORED_S
    while host.changed(before, after := host.settings()) and time.monotonic() < end_s:
        time.sleep(0.1)
    return after


def _measured(
    experiment: Experiment,
    arm: Arm,
    schedule: Schedule,
    backend: str,
    trace: Path,
    environment: dict[str, str],
    processes: Processes,
    log: IO[bytes],
    tick: Callable[[], None],
) -> dict[str, Any]:
    """The fields of a Session that are known while it runs."""
    compositor, line = _start_compositor(arm, backend, trace, environment, processes, log)
    if not line:
        code = compositor.ended
        if code == ExitCode.UNAVAILABLE:
            return {"refused": "the compositor would not start"}
        how = f"ended with exit code {code}" if code is not None else f"was not ready after {READY_S:g} s"
        return {"failure": f"the compositor {how}"}
    environment |= dict(word.split("=", 1) for word in line.split())

    clients, loads, missing = _start_company(experiment, arm, environment, processes, log)
    record: dict[str, Any] = {
        "clients": _numbered([(process.pid, Path(process.role.split()[-1]).name) for process in clients]),
        "loads": _numbered([(process.pid, process.role.split()[-1]) for process in loads]),
        "missing_loads": tuple(missing),
    }
    early = processes.wait(schedule.warmup_s, tick)
    if early is None:
        groups = [process.pid for process in processes.running]
        ticks = host.ticks_of(groups, os.getpid())
        threads, counters = host.thread_times(compositor.pid), host.counters()
        record["begin_ns"] = time.monotonic_ns()
        early = processes.wait(schedule.measure_s, tick)
        record["end_ns"] = time.monotonic_ns()
        during = host.between(counters, host.counters())
        record["threads"] = host.thread_times_between(threads, host.thread_times(compositor.pid))
        others = host.others_share(during, ticks, host.ticks_of(groups, os.getpid()), os.cpu_count() or 1)
        record["during"] = {**during, "others_share": others}
    if early is not None:
        record["failure"] = f"{early.role} ended early, {_how(early)}"
    return record


def _start_compositor(
    arm: Arm, backend: str, trace: Path, environment: dict[str, str], processes: Processes, log: IO[bytes]
) -> tuple[Process, str]:
    """The compositor, and what it says when it is ready ("" when it never is)."""
    arguments = [part for item in arm.settings.items() for part in ("--set", set_argument(*item))]
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd) as ready:
        try:
            compositor = processes.start(
                "the compositor",
                [
                    *(sys.executable, "-m", "minicomp", "run"),
                    *("--backend", backend, "--trace", str(trace), "--ready-fd", str(write_fd)),
                    *arguments,
                ],
                environment,
                log,
                pass_fds=[write_fd],
                death_signal="TERM",
                grace_s=COMPOSITOR_GRACE_S,
            )
        finally:
            os.close(write_fd)
        readable, _, _ = select.select([ready], [], [], READY_S)
        line = ready.readline().strip() if readable else ""
    if readable and not line:
        # It closed the pipe without a word: it is about to end, and its exit code says why.
        with suppress(subprocess.TimeoutExpired):
            compositor.popen.wait(COMPOSITOR_GRACE_S)
    return compositor, line


def _start_company(
    experiment: Experiment, arm: Arm, environment: dict[str, str], processes: Processes, log: IO[bytes]
) -> tuple[list[Process], list[Process], list[str]]:
    clients = [
        processes.start(f"client {client.command[0]}", program(client.command), environment | client.env, log)
        for client in experiment.clients
        for _ in range(client.count)
    ]
    loads, missing = [], []
    for load in experiment.loads_of(arm.name):
        for command in load_commands(load):
            if shutil.which(command[0]) is None:
                missing.append(f"{load.kind}: {command[0]} is not installed")
                break
            loads.append(processes.start(f"load {load.kind}", command, environment, log))
    return clients, loads, missing


def load_commands(load: Load) -> list[list[str]]:
    """The processes to start for one [[load]]."""
    if load.kind == "client":
        return [program(load.command)] * load.processes
    if load.kind == "stress-ng":
        return [["stress-ng", "--quiet", *load.arguments]] * load.processes
    return [[str(CLIENTS / "load"), load.kind, "--copies", str(load.processes), *load.arguments]]


def _with(record: dict[str, Any], *, log_path: Path, **more: Any) -> Session:
    """The Session; a failure is told with the last words of those who failed."""
    lines = _last_lines(log_path)
    if record.get("failure") and lines:
        record["failure"] += ": " + " | ".join(lines)
    if record.get("refused") and lines:
        record["refused"] = lines[-1].removeprefix("minicomp: ")  # the one line of a MinicompError
    return Session(**record, **more)


def _last_lines(path: Path) -> Sequence[str]:
    text = path.read_text(encoding="utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()][-LOG_LINES:]


def _numbered(processes: Sequence[tuple[int, str]]) -> dict[int, str]:
    names = [name for _, name in processes]
    ordinal = {index: names[:index].count(name) + 1 for index, name in enumerate(names)}
    return {
        pid: name if ordinal[index] == 1 else f"{name}#{ordinal[index]}" for index, (pid, name) in enumerate(processes)
    }


def _how(process: Process) -> str:
    code = process.ended
    return f"exit code {code}" if code is None or code >= 0 else f"by signal {-code}"


@contextmanager
def _runtime_dir() -> Iterator[dict[str, str]]:
    """An environment with a XDG_RUNTIME_DIR of its own: sockets of other sessions neither disturb nor are disturbed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WAYLAND_") and k not in ("DISPLAY",)}
    folder = tempfile.mkdtemp(prefix="minicomp-lab-")
    try:
        yield {**kept, "XDG_RUNTIME_DIR": folder, "PYTHONUNBUFFERED": "1"}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
