"""Runs a probe in a forked process: what it changes of itself dies with it, and it cannot hang or crash the rest.

Call it from a process with one thread.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import time
import traceback
from contextlib import suppress
from dataclasses import replace

from minicomp.lab.probes.neighbours import MUCH, Neighbours
from minicomp.lab.probes.probe import EMULATED, Basis, Probe, Result, Verdict, cannot_test
from minicomp.lab.probes.processes import is_emulated, slowness

LIMIT_S = {True: 10.0, False: 60.0}
"""Hard limits of a probe, quick or not; the runner then kills its process group."""


def run(probe: Probe, quick: bool, neighbours: Neighbours | None = None) -> Result:
    """Never raises: a probe that fails is a Result with `error`. `neighbours` is one for several probes in a row."""
    neighbours = neighbours or Neighbours()
    limit_s = LIMIT_S[quick] * slowness()
    began = time.monotonic()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _in_child(probe, quick, writing)
    os.close(writing)
    try:
        data = _read(reading, began + limit_s)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # also what the probe may have left running
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # when it had not got as far as its own group
        _, status = os.waitpid(pid, 0)
    seconds = time.monotonic() - began
    others = neighbours.share()
    if data is None:
        late = f"it took longer than {limit_s:.3g} s and was killed"
        if others > MUCH or is_emulated():
            why = f"other programs had {others:.0%} of the CPUs" if others > MUCH else EMULATED
            return replace(cannot_test(f"{late}; {why}", "a machine less busy"), seconds=seconds)
        return _failed(late, seconds)
    if not data:
        return _failed(f"its process ended without a result (code {os.waitstatus_to_exitcode(status)})", seconds)
    result: Result = pickle.loads(data)
    doubts = [result.doubt] if result.doubt else []
    if others > MUCH and probe.basis is not Basis.FACT and result.verdict is not Verdict.CANNOT_TEST:
        doubts.append(f"other programs had {others:.0%} of the CPUs")
    return replace(result, seconds=seconds, doubt="; ".join(doubts))


def _in_child(probe: Probe, quick: bool, fd: int) -> None:
    try:
        os.setpgid(0, 0)
        try:
            result = probe.run(quick)
        except Exception:
            result = _failed(traceback.format_exc(limit=-3).strip(), 0.0)
        data = pickle.dumps(result)
        with os.fdopen(fd, "wb") as file:
            file.write(len(data).to_bytes(8, "little") + data)
    finally:
        os._exit(0)


def _read(fd: int, deadline: float) -> bytes | None:
    """The result's bytes; none when it ended without, None when it does not come in time."""
    data = bytearray()
    while (left := deadline - time.monotonic()) > 0:
        if select.select([fd], [], [], left)[0]:
            chunk = os.read(fd, 1 << 16)
            data += chunk
            # Not to the end of the pipe: a process that the probe left behind may hold it open.
            if not chunk or len(data) - 8 >= int.from_bytes(data[:8], "little") > 0:
                return bytes(data[8:])
    return None


def _failed(error: str, seconds: float) -> Result:
    return Result(Verdict.CANNOT_TEST, "the probe failed", needed="a look at the probe", error=error, seconds=seconds)
