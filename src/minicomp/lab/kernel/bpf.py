"""The same events by eBPF: a bpftrace program whose lines are kept as they come and decoded when the run is over.

bpftrace is optional (Debian's package of that name); it needs CAP_SYS_ADMIN and a kernel with BTF, and some seconds to
attach. Its `nsecs` is CLOCK_BOOTTIME up to 0.17 and CLOCK_MONOTONIC from 0.18 on: the first line tells which.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from minicomp.lab.kernel.events import RECORD, Event
from minicomp.lab.kernel.tracefs import TRACEFS, KernelTraceError

BTF = Path("/sys/kernel/btf/vmlinux")
ATTACH_TIMEOUT_S = 30.0
BEGIN_MARK = "B "

_SWITCH = r"""
tracepoint:sched:sched_switch /%s/ {
    printf("S %%llu %%d %%d %%d %%lld %%d %%d %%s|%%s\n", nsecs, cpu, args->prev_pid, args->prev_prio,
        args->prev_state, args->next_pid, args->next_prio, args->prev_comm, args->next_comm);
}"""
_WOKEN = r"""
tracepoint:sched:%s /%s/ {
    printf("%s %%llu %%d %%d %%d %%d %%s\n", nsecs, args->target_cpu, args->pid, pid, args->prio, args->comm);
}"""
_IRQ = r"""
tracepoint:irq:irq_handler_entry { printf("I %llu %d %d\n", nsecs, cpu, args->irq); }
tracepoint:irq:irq_handler_exit { printf("J %llu %d %d\n", nsecs, cpu, args->irq); }"""
_VBLANK = r"""
tracepoint:drm:drm_vblank_event { printf("V %llu %d %d %d\n", nsecs, cpu, args->crtc, args->seq); }"""


def program(tids: Iterable[int], *, everyone: bool, has_vblank: bool) -> str:
    """The bpftrace program; `everyone` as in `tracefs.Instance.open`."""
    tids = list(tids)
    own = " || ".join(f"args->prev_pid == {tid} || args->next_pid == {tid}" for tid in tids)
    # Each event wakes bpftrace, whose own switches would be events again: who ran before it counts on instead, unless
    # that is one of our threads.
    others = f'(args->prev_comm != "bpftrace" && args->next_comm != "bpftrace") || {own}'
    ours = " || ".join(f"args->pid == {tid}" for tid in tids)
    parts = [f'BEGIN {{ printf("{BEGIN_MARK}%llu\\n", nsecs); }}', _SWITCH % (others if everyone else own)]
    parts += [_WOKEN % (name, ours, letter) for name, letter in (("sched_waking", "W"), ("sched_wakeup", "U"))]
    return "\n".join([*parts, _IRQ, *([_VBLANK] if has_vblank else [])])


class Bpftrace:
    """A running bpftrace. Create it in a mount namespace with tracefs mounted (`tracefs.mount_privately`)."""

    def __init__(self, tids: Iterable[int], spool: IO[bytes], *, everyone: bool) -> None:
        command = shutil.which("bpftrace")
        if command is None:
            todo = "install the package bpftrace, or set trace.kernel=tracefs"
            raise KernelTraceError("there is no bpftrace", where="trace.kernel", todo=todo)
        if not BTF.exists():
            raise KernelTraceError("this kernel has no BTF", where=str(BTF), todo="set trace.kernel=tracefs")
        has_vblank = (TRACEFS / "events/drm/drm_vblank_event").is_dir()
        text = program(tids, everyone=everyone, has_vblank=has_vblank)
        self._spool, self._from = spool, spool.tell()
        environment = {**os.environ, "BPFTRACE_STRLEN": "16", "BPFTRACE_PERF_RB_PAGES": "512"}
        self.process = subprocess.Popen(
            [command, "-e", text],
            stdin=subprocess.DEVNULL, stdout=spool, stderr=subprocess.PIPE, env=environment,
        )  # fmt: skip
        self._wait_attached()
        self._attaching_s = self._cpu_s()

    def _wait_attached(self) -> None:
        deadline = time.monotonic() + ATTACH_TIMEOUT_S
        while BEGIN_MARK.encode() not in self._written():
            if self.process.poll() is not None:
                said = self.process.stderr.read().decode("utf-8", "replace") if self.process.stderr else ""
                lines = [line for line in said.splitlines() if "RLIMIT_MEMLOCK" not in line]
                raise KernelTraceError(f"bpftrace ended: {' '.join(lines)[:300]}", where="trace.kernel")
            if time.monotonic() > deadline:
                self.process.kill()
                raise KernelTraceError(f"bpftrace has not attached in {ATTACH_TIMEOUT_S:.0f} s", where="trace.kernel")
            time.sleep(0.02)

    def _written(self) -> bytes:
        return os.pread(self._spool.fileno(), 1 << 16, self._from)

    def stop(self) -> float:
        """Ends it; the CPU seconds it used since it had attached."""
        used_s = self._cpu_s() - self._attaching_s
        self.process.terminate()
        self.process.communicate(timeout=30)
        return used_s

    def _cpu_s(self) -> float:
        """CPU time so far (Documentation/scheduler/sched-stats.rst); 0 when it has ended by itself."""
        try:
            return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9
        except (OSError, IndexError):
            return 0.0


class TextDecoder:
    """Turns the lines into records. `names` collects what the threads were called, `lost` what bpftrace says it lost,
    `malformed` counts other lines."""

    def __init__(self, clocks_ns: tuple[int, int]) -> None:
        """`clocks_ns`: CLOCK_MONOTONIC and CLOCK_BOOTTIME, read when bpftrace had begun."""
        self.names: dict[int, str] = {}
        self.malformed = 0
        self.lost = 0
        self._monotonic_ns, self._boot_ns = clocks_ns
        self._behind_ns = 0
        self._takers: dict[str, Callable[[list[str]], bytes | None]] = {
            "S": self._switch,
            "W": lambda words: self._woken(Event.WAKING, words),
            "U": lambda words: self._woken(Event.WAKEUP, words),
            "I": lambda words: self._plain(Event.IRQ_BEGIN, words),
            "J": lambda words: self._plain(Event.IRQ_END, words),
            "V": lambda words: self._plain(Event.VBLANK, words),
            "B": self._begin,
            "Lost": self._lost,
        }

    def lines(self, text: str) -> Iterator[bytes]:
        for line in text.split("\n"):
            words = line.split(" ")
            taker = self._takers.get(words[0])
            try:
                record = taker(words) if taker is not None else None
            except (ValueError, IndexError):
                self.malformed += 1
                continue
            if record is not None:
                yield record

    def _begin(self, words: list[str]) -> None:
        t_ns = int(words[1])
        if abs(self._boot_ns - t_ns) < abs(self._monotonic_ns - t_ns):
            self._behind_ns = self._boot_ns - self._monotonic_ns

    def _lost(self, words: list[str]) -> None:
        self.lost += int(words[1])

    def _switch(self, words: list[str]) -> bytes:
        t_ns, cpu, a, prio_a, state, b, prio_b = map(int, words[1:8])
        left, _bar, come = " ".join(words[8:]).partition("|")
        self.names[a], self.names[b] = left, come
        return RECORD.pack(t_ns - self._behind_ns, a, b, prio_a, prio_b, cpu, Event.SWITCH, state & 0xFF)

    def _woken(self, kind: Event, words: list[str]) -> bytes:
        t_ns, cpu, a, b, prio = map(int, words[1:6])
        self.names.setdefault(a, " ".join(words[6:]))
        return RECORD.pack(t_ns - self._behind_ns, a, b, prio, 0, cpu, kind, 0)

    def _plain(self, kind: Event, words: list[str]) -> bytes:
        t_ns, cpu, a = map(int, words[1:4])
        b = int(words[4]) & 0x7FFFFFFF if len(words) > 4 else 0
        return RECORD.pack(t_ns - self._behind_ns, a, b, 0, 0, cpu, kind, 0)
