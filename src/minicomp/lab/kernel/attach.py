"""Starts and ends the collector for a compositor: what `minicomp run` and `minicomp lab kernel-trace` use.

Imports nothing heavy. The compositor itself never touches tracefs; the collector is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicomp.lab.kernel.events import result_path
from minicomp.lab.kernel.tracefs import KernelTraceError

if TYPE_CHECKING:
    import logging

OUR_THREADS = ("mc-loop", "mc-render")
NAMED_TIMEOUT_S = 5.0
END_TIMEOUT_S = 120.0
"""Decoding a long run takes a while."""


def threads_of(pid: int) -> dict[str, int]:
    """The compositor's threads that frames go through, by name. Raises KernelTraceError when it has none.

    A thread names itself when it first runs. On a busy machine that may be after we look: it has its process's name
    until then, and is waited for.
    """
    give_up_s = time.monotonic() + NAMED_TIMEOUT_S
    while True:
        names = _thread_names(pid)
        found = {name: tid for tid, name in names.items() if name in OUR_THREADS}
        nameless = any(name == names.get(pid) for tid, name in names.items() if tid != pid)
        if len(found) == len(OUR_THREADS) or not nameless or time.monotonic() > give_up_s:
            break
        time.sleep(0.002)
    if not found:
        raise KernelTraceError("is no running minicomp", where=f"process {pid}")
    return found


def _thread_names(pid: int) -> dict[int, str]:
    try:
        return {int(task.name): (task / "comm").read_text().strip() for task in Path(f"/proc/{pid}/task").iterdir()}
    except OSError as error:
        raise KernelTraceError(error.strerror or str(error), where=f"process {pid}") from error


class Collector:
    """A running collector: made early, `record` when the threads exist, then `stop`.

    It is a process of its own from the start, so that it keeps the privileges that the compositor gives up, and has
    none of the compositor's scheduling. It never outlives us: it ends when its standard input is closed.
    """

    def __init__(self, out: str | os.PathLike[str], method: str, scope: str = "all") -> None:
        """Raises KernelTraceError when the kernel cannot be traced here."""
        self.out = os.path.abspath(out)
        self.facts: dict[str, Any] = {}
        request = {"out": self.out, "method": method, "scope": scope}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "minicomp.lab.kernel.collector", json.dumps(request)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self._expect("prepared")

    @classmethod
    def beside(cls, run_path: str | os.PathLike[str], method: str, scope: str) -> Collector:
        """The file lies beside the run file."""
        return cls(result_path(run_path), method, scope)

    def record(self, pid: int, threads: dict[str, int]) -> None:
        """Begins; returns when events are being recorded. Raises KernelTraceError."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"pid": pid, "threads": threads}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # what it said before it ended is read next
        self._expect("ready")

    def close(self) -> None:
        """Ends it, whatever it does; for when the run does not get so far. Safe to call at any time."""
        if self._process.poll() is None:
            self._process.communicate(timeout=END_TIMEOUT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def finish(self, log: logging.Logger) -> None:
        """`stop` at the end of a run, whose other results count without this one: what went wrong is logged."""
        try:
            log.info("kernel trace: %s", describe(self.stop()))
        except (KernelTraceError, subprocess.TimeoutExpired, ValueError) as error:
            log.error("the kernel trace %s is not complete: %s", self.out, error)

    def stop(self) -> dict[str, Any]:
        """Ends it and waits for the file; the facts of its END chunk."""
        out, _ = self._process.communicate(timeout=END_TIMEOUT_S)  # closes its standard input
        if self._process.returncode != 0:
            said = out.strip().removeprefix("error: ") or f"the collector ended with {self._process.returncode}"
            raise KernelTraceError(said, where=self.out)
        self.facts = json.loads(out)
        return self.facts

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        if said != word:
            self.close()
            raise KernelTraceError(said.removeprefix("error: ") or "the collector ended without a word")


def describe(facts: dict[str, Any]) -> str:
    """What tracing recorded and what it cost, in a sentence."""
    share = 100 * facts["cpu_s"] / max(facts["elapsed_s"], 1e-9)
    lost = f", {facts['lost']} lost" if facts["lost"] else ""
    return (
        f"{facts['events']} events{lost}, {facts['events_per_s']:.0f} a second; "
        f"the collector used {share:.2f} % of a CPU"
    )
