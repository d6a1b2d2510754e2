"""Where minicomp's start goes: the interpreter, each package's import, set-up to the socket, the first answer.

Imports are timed by the interpreter itself (-X importtime), which slows them down by a third or so: shares are meant,
not sums. The other parts are differences of wall-clock medians.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from .contenders import Contender
from .estimates import median
from .session import Session

PACKAGES = {
    name: name for name in ("minicomp", "wlroots", "pywayland", "xkbcommon", "msgspec", "logging", "argparse", "json")
} | {"cffi": "cffi", "_cffi_backend": "cffi"}
TOP_MODULES = 12


@dataclass(frozen=True)
class ImportTime:
    module: str
    self_us: int
    cumulative_us: int
    depth: int


@dataclass(frozen=True)
class StartBreakdown:
    interpreter_ms: float  # `python -c pass` in the same venv, from exec to exit
    imports_ms: dict[str, float]  # own time of modules by package, largest first
    slowest_modules_ms: list[tuple[str, float]]
    socket_ms: float  # exec to the socket's file
    first_roundtrip_ms: float


def parse_import_time(lines: Iterable[str]) -> list[ImportTime]:
    """The rows of -X importtime: "import time: self [us] | cumulative | imported package"."""
    rows = []
    for line in lines:
        found = re.match(r"import time:\s+(\d+) \|\s+(\d+) \|( +)(\S+)$", line.rstrip("\n"))
        if found:
            rows.append(ImportTime(found[4], int(found[1]), int(found[2]), len(found[3]) // 2))
    return rows


def by_package(rows: Iterable[ImportTime]) -> dict[str, float]:
    """Own time in ms added up by package; everything else is the standard library."""
    total: dict[str, float] = {}
    for row in rows:
        package = PACKAGES.get(row.module.split(".")[0], "standard library")
        total[package] = total.get(package, 0) + row.self_us / 1000
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def break_down(contender: Contender, pulse: Path, repeats: int) -> StartBreakdown:
    interpreter = [_bare_interpreter_ms() for _ in range(repeats)]
    starts = [_start_to_socket_ms(contender, pulse) for _ in range(repeats)]
    program, *arguments = contender.start_command
    timed = replace(contender, start_command=(sys.executable, "-X", "importtime", program, *arguments))
    with Session(timed, pulse, for_start=True) as session:
        rows = parse_import_time((session.private / "log").read_text(errors="replace").splitlines())
    slowest = sorted(rows, key=lambda row: -row.self_us)[:TOP_MODULES]
    return StartBreakdown(
        interpreter_ms=median(interpreter),
        imports_ms=by_package(rows),
        slowest_modules_ms=[(row.module, row.self_us / 1000) for row in slowest],
        socket_ms=median([socket_ms for socket_ms, _ in starts]),
        first_roundtrip_ms=median([roundtrip_ms for _, roundtrip_ms in starts]),
    )


def _bare_interpreter_ms() -> float:
    begin_ns = time.monotonic_ns()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return (time.monotonic_ns() - begin_ns) / 1e6


def _start_to_socket_ms(contender: Contender, pulse: Path) -> tuple[float, float]:
    """(exec to the socket's file, exec to the first round trip), the former by the file's own time stamp."""
    with Session(contender, pulse, for_start=True) as session:
        # File times are wall-clock time, in steps of the kernel's tick (4 ms or less).
        socket_unix_ns = (session.private / contender.display).stat().st_ctime_ns
        offset_ns = time.time_ns() - time.monotonic_ns()
        socket_ms = (socket_unix_ns - offset_ns - session.exec_ns) / 1e6
        return socket_ms, session.first_roundtrip_ms
