"""A tracefs instance of our own: events chosen, filtered to our threads, stamped with CLOCK_MONOTONIC, read raw.

tracefs is mounted in a mount namespace of the calling process only, so that nothing stays mounted however it ends. The
instance is a directory of the kernel's, instances/minicomp-PID, and outlives its maker: `Instance.open` first removes
those whose process is gone. Needs CAP_SYS_ADMIN. Source: Documentation/trace/ftrace.rst.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from minicomp.errors import ExitCode, MinicompError
from minicomp.lab.kernel.ringbuffer import USED_MASK

TRACEFS = Path("/sys/kernel/tracing")
PREFIX = "minicomp-"
SUB_BUFFER_BYTES = 4096
BUFFER_KIB = 2048
"""For each CPU: two to three seconds of a busy one."""
CLONE_NEWNS = 0x00020000
MS_REC_PRIVATE = 0x4000 | 0x40000
REMEDY = "as root: minicomp lab kernel-trace --pid PID --out FILE"

SWITCH, WAKING = "sched/sched_switch", "sched/sched_waking"
WOKEN = (WAKING, "sched/sched_wakeup", "sched/sched_wakeup_new")
OTHERS = ("irq/irq_handler_entry", "irq/irq_handler_exit", "drm/drm_vblank_event")


class KernelTraceError(MinicompError):
    """The kernel's side cannot be traced here."""

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        super().__init__(what, where=where, todo=todo, exit_code=ExitCode.UNAVAILABLE)


def mount_privately() -> None:
    """Gives this process a mount namespace of its own with tracefs mounted. Raises KernelTraceError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        _refuse("a mount namespace of our own was refused", ctypes.get_errno())
    if libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None) != 0:
        _refuse("mounts could not be made private", ctypes.get_errno())
    if (TRACEFS / "instances").is_dir():
        return
    if not TRACEFS.is_dir():
        raise KernelTraceError("this kernel has no tracefs", where=str(TRACEFS), todo="set trace.kernel=off")
    if libc.mount(b"tracefs", os.fsencode(TRACEFS), b"tracefs", 0, None) != 0:
        _refuse("tracefs could not be mounted", ctypes.get_errno())


def remove_stale() -> list[str]:
    """Removes instances whose maker is gone; their names."""
    gone = []
    for path in (TRACEFS / "instances").glob(f"{PREFIX}*"):
        number = path.name.removeprefix(PREFIX)
        if number.isdecimal() and not _is_collector(int(number)):
            _remove(path)
            gone.append(path.name)
    return gone


class Instance:
    """One instance, recording from `open` to `close`. `tids` are our threads."""

    def __init__(self, path: Path, formats: dict[str, str]) -> None:
        self.path = path
        self.formats = formats
        """Event name -> its format file, of the events that this kernel has."""
        self._readers: dict[int, int] = {}

    @classmethod
    def open(cls, tids: Iterable[int], *, everyone: bool) -> Instance:
        """`everyone`: every switch of every CPU, which tells who ran instead; else only our threads' own."""
        remove_stale()
        path = TRACEFS / "instances" / f"{PREFIX}{os.getpid()}"
        try:
            path.mkdir(exist_ok=True)
            instance = cls(path, {})
            try:
                instance._set_up(list(tids), everyone)
            except OSError:
                instance.close()
                raise
        except OSError as error:
            raise KernelTraceError(error.strerror or str(error), where=str(error.filename or path)) from error
        return instance

    def read(self) -> Iterator[tuple[int, bytes]]:
        """(cpu, sub-buffers cut to what they have in use) of what was recorded since the last call; never waits."""
        for cpu, fd in self._readers.items():
            pages = []
            while True:
                try:
                    page = os.read(fd, SUB_BUFFER_BYTES)
                except BlockingIOError:
                    break
                used = int.from_bytes(page[8:16], "little") & USED_MASK
                if not used:
                    break
                pages.append(page[: 16 + used])
            if pages:
                yield cpu, b"".join(pages)

    def lost(self) -> int:
        """How many events were overwritten before they were read, or could not be written."""
        total = 0
        for path in self.path.glob("per_cpu/cpu*/stats"):
            found = re.findall(r"^(?:overrun|commit overrun|dropped events): (\d+)$", path.read_text(), re.MULTILINE)
            total += sum(map(int, found))
        return total

    def stop(self) -> None:
        (self.path / "tracing_on").write_text("0")

    def close(self) -> None:
        for fd in self._readers.values():
            os.close(fd)
        self._readers.clear()
        _remove(self.path)

    def _set_up(self, tids: list[int], everyone: bool) -> None:
        self._write("tracing_on", "0")
        self._write("trace_clock", "mono")
        self._write("buffer_size_kb", str(BUFFER_KIB))
        ours = " || ".join(f"pid == {tid}" for tid in tids)
        own = " || ".join(f"prev_pid == {tid} || next_pid == {tid}" for tid in tids)
        filters = {SWITCH: "" if everyone else own, **dict.fromkeys(WOKEN, ours)}
        for event in (SWITCH, *WOKEN, *OTHERS):
            folder = self.path / "events" / event
            if not folder.is_dir():
                continue  # this kernel has none, or the driver is not loaded
            self.formats[event.split("/")[1]] = (folder / "format").read_text()
            if filters.get(event):
                (folder / "filter").write_text(filters[event])
            (folder / "enable").write_text("1")
        for folder in self.path.glob("per_cpu/cpu*"):
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            self._readers[int(folder.name.removeprefix("cpu"))] = os.open(folder / "trace_pipe_raw", flags)
        self._write("tracing_on", "1")

    def _write(self, name: str, value: str) -> None:
        (self.path / name).write_text(value)


def _remove(path: Path) -> None:
    for _attempt in range(20):
        try:
            path.rmdir()  # tracefs removes what is in it
        except FileNotFoundError:
            return
        except OSError:  # a reader that was killed has not let go yet
            with suppress(OSError):
                (path / "tracing_on").write_text("0")
            time.sleep(0.05)
        else:
            return
    raise KernelTraceError("a trace instance cannot be removed", where=str(path), todo="who still reads it?")


def _is_collector(pid: int) -> bool:
    try:
        return b"minicomp" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _refuse(what: str, errno: int) -> None:
    todo = f"tracing the kernel needs CAP_SYS_ADMIN; {REMEDY}" if errno == 1 else ""
    raise KernelTraceError(f"{what} ({os.strerror(errno)})", where="trace.kernel", todo=todo)
