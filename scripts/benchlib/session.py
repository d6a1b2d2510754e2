"""One run of one compositor: started in a private folder, watched, stopped."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from .contenders import SWAY_CONFIG, WLROOTS_ENVIRONMENT, Contender
from .cpu_clock import descendants, process_cpu_ns
from .errors import BenchError

START_LIMIT_S = 20.0
STOP_LIMIT_S = 5.0
CHILD_END_S = 0.5
CLIENT_HEAD_START_S = 0.03  # a waiting client's own start must not fall into the compositor's


@dataclass(frozen=True)
class Memory:
    peak_rss_kib: int
    rss_kib: int
    pss_kib: int


class Session:
    """A running compositor, as a context manager. `first_roundtrip_ms` is measured at every start."""

    def __init__(self, contender: Contender, pulse: Path, *, for_start: bool = False) -> None:
        self.contender = contender
        self.pulse = pulse
        self._template = contender.start_command if for_start and contender.start_command else contender.command
        self.first_roundtrip_ms = 0.0
        self.start_cpu_ms = 0.0  # CPU time until then
        self.exec_ns = 0

    def __enter__(self) -> Session:
        self.private = Path(tempfile.mkdtemp(prefix="minicomp-bench-"))
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = getattr(self, "process", None)
        if process is not None:
            stop_with_children(process)
            self._log_file.close()
        shutil.rmtree(self.private, ignore_errors=True)

    @property
    def pid(self) -> int:
        return self.process.pid

    def client_environment(self) -> dict[str, str]:
        environment = _environment(self.private)
        environment["WAYLAND_DISPLAY"] = self.contender.display
        return environment

    def start_client(self, *arguments: str, output: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        command = [str(self.pulse), *arguments]
        return subprocess.Popen(
            command, env=self.client_environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE
        )

    def check_alive(self) -> None:
        if self.process.poll() is not None:
            raise BenchError(f"{self.contender.name} ended by itself with {self.process.returncode}: {self._log_end()}")

    def memory(self) -> Memory:
        status = Path(f"/proc/{self.pid}/status").read_text()
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return Memory(_kib("VmHWM", status), _kib("VmRSS", status), _kib("Pss", rollup))

    def _start(self) -> None:
        (self.private / "sway.config").write_text(SWAY_CONFIG)
        self._log = self.private / "log"
        self._log_file = self._log.open("wb")
        command = [word.replace("{private}", str(self.private)) for word in self._template]
        # The client tries to connect once a millisecond, so that is this measurement's resolution.
        client = self.start_client("--first-roundtrip", "--wait-s", str(START_LIMIT_S), output=subprocess.PIPE)
        try:
            time.sleep(CLIENT_HEAD_START_S)
            self.exec_ns = time.monotonic_ns()
            self.process = subprocess.Popen(
                command,
                env=_environment(self.private),
                cwd=self.private,
                stdin=subprocess.DEVNULL,
                stdout=self._log_file,
                stderr=self._log_file,
            )
            while client.poll() is None:
                self.check_alive()
                try:
                    client.wait(0.1)
                except subprocess.TimeoutExpired:
                    continue
            self.start_cpu_ms = process_cpu_ns(self.pid) / 1e6
            answer, complaint = client.communicate()
            if client.returncode != 0:
                self.check_alive()
                raise BenchError(f"{self.contender.name}: {complaint.decode().strip()} {self._log_end()}")
            self.first_roundtrip_ms = (int(answer) - self.exec_ns) / 1e6
        finally:
            stop(client)

    def _log_end(self) -> str:
        return self._log.read_text(errors="replace").strip()[-600:]


def stop(process: subprocess.Popen[bytes]) -> None:
    """TERM, and KILL when that does not end it. cage 0.1.4 aborts on TERM: exit codes are not looked at."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def stop_with_children(process: subprocess.Popen[bytes]) -> None:
    """Its children first: cage ends in order when its program does, and otherwise leaves it behind."""
    children = descendants(process.pid) if process.poll() is None else []
    if children:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)  # a child of a living parent: its pid is not recycled before it is reaped
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(CHILD_END_S)
    stop(process)


def _environment(private: Path) -> dict[str, str]:
    """The same for all: nothing of the user's own desktop or configuration."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(private),
        "XDG_RUNTIME_DIR": str(private),
        **WLROOTS_ENVIRONMENT,
    }


def _kib(key: str, text: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0
