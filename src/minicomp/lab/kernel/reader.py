"""Reads a kernel trace, and says for any thread of ours and any time where that time went and who ran instead.

A thread is running, waiting for a CPU (woken, or preempted), or asleep. It waits on one CPU: that of its wake-up or of
its preemption; what ran there meanwhile ran instead of it. A thread of the deadline class (priority -1) that waits
while a lower class runs there is throttled: it has spent its budget. So it is in a wait of more than a millisecond,
except while its own class runs there: an idle CPU would have taken it, and what the trace does not know is no excuse.

Not every kernel traces every switch away from the idle task. A thread that leaves a CPU without having come to it came
when it was woken, and what leaves an idle CPU had been running there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minicomp.lab.kernel import events
from minicomp.lab.kernel.collector import decode
from minicomp.lab.kernel.events import ChunkKind, Event
from minicomp.lab.kernel.tracefs import KernelTraceError

DTYPE = np.dtype(
    [("t_ns", "<u8"), ("a", "<i4"), ("b", "<i4"), ("prio_a", "<i2"), ("prio_b", "<i2"), ("cpu", "<u2"), ("kind", "u1"),
     ("state", "u1")]
)  # fmt: skip
DEADLINE_PRIO = -1
FIRST_FAIR_PRIO = 100
WAKES_NS = 1_000_000
"""An idle CPU needs less than this to wake up."""

ASLEEP, WAITING, RUNNING = 0, 1, 2


@dataclass(frozen=True)
class Ran:
    """A thread that ran on the CPU that ours waited for."""

    pid: int
    name: str
    cpu: int
    prio: int
    ran_ns: int

    @property
    def words(self) -> str:
        """With {ran} where the time belongs."""
        name = self.name.replace("{", "(").replace("}", ")")
        return f"`{name}` (pid {self.pid}) ran {{ran}} of it on CPU {self.cpu}, {class_of(self.prio)}"


@dataclass(frozen=True)
class ThreadTime:
    """Where a thread's time went; ns. `throttled_ns` is no part of `waiting_ns`; `idle_ns` is.

    `in_deadline_class`: the kernel gave its priority as SCHED_DEADLINE's within that time.
    """

    ran_ns: int
    waiting_ns: int
    throttled_ns: int
    idle_ns: int
    asleep_ns: int
    instead: Sequence[Ran]
    """Longest first."""
    in_deadline_class: bool


@dataclass(frozen=True)
class Slice:
    """A stretch of one thread's time in one state."""

    begin_ns: int
    end_ns: int
    state: int
    cpu: int
    prio: int
    after: int
    """Running: who ran next on its CPU."""

    @property
    def runs(self) -> bool:
        return self.state == RUNNING

    @property
    def waits(self) -> bool:
        return self.state == WAITING


class KernelTrace:
    """One file's events in time order, and the time lines of our threads."""

    def __init__(
        self, meta: dict[str, Any], records: npt.NDArray[np.void], names: dict[int, str], end: Any, lost: int
    ) -> None:
        self.meta, self.records, self.names, self.end, self.lost = meta, records, names, end, lost
        self.threads: dict[str, int] = meta["threads"]
        self._slices = {name: self._follow(tid) for name, tid in self.threads.items()}
        self._begins = {name: np.array([s.begin_ns for s in line], np.int64) for name, line in self._slices.items()}
        switches = records[records["kind"] == Event.SWITCH]
        self._switches = {cpu: switches[switches["cpu"] == cpu] for cpu in np.unique(switches["cpu"]).tolist()}

    def slices(self, thread: str) -> list[Slice]:
        """A thread's time line."""
        return self._slices.get(thread, [])

    def account(self, thread: str, begin_ns: int, end_ns: int) -> ThreadTime | None:
        """Where the thread's time went.

        None when the trace does not know the thread or the whole of that time, or has lost events: who ran when could
        be wrong then.
        """
        line = self._slices.get(thread)
        if self.lost or not line or begin_ns < line[0].begin_ns or end_ns > line[-1].end_ns:
            return None
        totals = {ASLEEP: 0, WAITING: 0, RUNNING: 0}
        throttled = idle = 0
        in_deadline_class = False
        ran: dict[tuple[int, int, int], int] = {}
        for place in range(int(np.searchsorted(self._begins[thread], begin_ns, "right")) - 1, len(line)):
            piece = line[place]
            if piece.begin_ns >= end_ns:
                break
            begin, end = max(piece.begin_ns, begin_ns), min(piece.end_ns, end_ns)
            totals[piece.state] += end - begin
            in_deadline_class |= piece.prio == DEADLINE_PRIO
            if not piece.waits:
                continue
            # Itself it cannot have waited for: the switch away from it is one that was not traced.
            others = [one for one in self._on_cpu(piece.cpu, begin, end) if one[0] != self.threads[thread]]
            if piece.prio == DEADLINE_PRIO:
                # Only its own class keeps it waiting, or an idle CPU for a moment. The rest of a long wait is throttled
                # also where the trace does not know who ran.
                is_long = piece.end_ns - piece.begin_ns > WAKES_NS
                waited = end - begin if is_long else sum(ns for _pid, _prio, ns in others)
                others = [one for one in others if one[1] == DEADLINE_PRIO or (one[0] == 0 and not is_long)]
                throttled += waited - sum(ns for _pid, _prio, ns in others)
            for pid, prio, ran_ns in others:
                if pid == 0:
                    idle += ran_ns
                else:
                    ran[pid, piece.cpu, prio] = ran.get((pid, piece.cpu, prio), 0) + ran_ns
        instead = [Ran(pid, self.names.get(pid, "?"), cpu, prio, ran_ns) for (pid, cpu, prio), ran_ns in ran.items()]
        instead.sort(key=lambda other: -other.ran_ns)
        waiting = totals[WAITING] - throttled
        return ThreadTime(totals[RUNNING], waiting, throttled, idle, totals[ASLEEP], instead, in_deadline_class)

    def _on_cpu(self, cpu: int, begin_ns: int, end_ns: int) -> list[tuple[int, int, int]]:
        """(pid, prio, ns) of what ran on a CPU."""
        switches = self._switches.get(cpu)
        if switches is None:
            return []
        first = int(np.searchsorted(switches["t_ns"], begin_ns, "right")) - 1
        found = []
        now, pid, prio = begin_ns, -1, 0
        if first >= 0:
            pid, prio = int(switches["b"][first]), int(switches["prio_b"][first])
        elif len(switches):
            pid, prio = int(switches["a"][0]), int(switches["prio_a"][0])
        for row in switches[first + 1 :]:
            t_ns = min(int(row["t_ns"]), end_ns)
            if pid == 0 and row["a"]:
                pid, prio = int(row["a"]), int(row["prio_a"])
            if t_ns > now and pid >= 0:
                found.append((pid, prio, t_ns - now))
            now, pid, prio = t_ns, int(row["b"]), int(row["prio_b"])
            if now >= end_ns:
                return found
        if pid >= 0:
            found.append((pid, prio, end_ns - now))
        return found

    def _follow(self, tid: int) -> list[Slice]:
        """The states of one thread, from the events that name it."""
        records = self.records
        kinds = records["kind"]
        named = ((kinds == Event.SWITCH) & ((records["a"] == tid) | (records["b"] == tid))) | (
            ((kinds == Event.WAKING) | (kinds == Event.WAKEUP)) & (records["a"] == tid)
        )
        line: list[Slice] = []
        state, since, on_cpu, with_prio = ASLEEP, -1, 0, 0
        for t_ns, a, b, prio_a, prio_b, cpu, kind, asleep in records[named].tolist():
            if kind == Event.SWITCH:
                next_state = (ASLEEP if asleep else WAITING) if a == tid else RUNNING
                prio, after = (prio_a, b) if a == tid else (prio_b, 0)
            elif state == RUNNING:
                continue  # woken before it had gone to sleep
            else:
                next_state, prio, after = WAITING, prio_a, 0
                if kind == Event.WAKEUP and state == WAITING:
                    on_cpu, with_prio = cpu, prio  # waking names the CPU of before, wake-up the one that was chosen
                    continue
            if since >= 0:
                came_unseen = kind == Event.SWITCH and a == tid and state == WAITING
                line.append(Slice(since, t_ns, RUNNING if came_unseen else state, on_cpu, with_prio, after))
            state, since, on_cpu, with_prio = next_state, t_ns, cpu, prio
        if since >= 0:
            line.append(Slice(since, max(since, int(records["t_ns"][-1])), state, on_cpu, with_prio, 0))
        return line


def class_of(prio: int) -> str:
    """The scheduling class that a kernel priority belongs to."""
    if prio == DEADLINE_PRIO:
        return "SCHED_DEADLINE"
    return "SCHED_FIFO or RR" if prio < FIRST_FAIR_PRIO else "SCHED_OTHER"


def read_beside(run_path: str | os.PathLike[str]) -> KernelTrace | None:
    """The kernel trace that lies beside a run file, or None."""
    path = Path(events.result_path(run_path))
    return read_kernel_trace(path) if path.exists() else None


def read_kernel_trace(path: Path) -> KernelTrace:
    """Raises KernelTraceError when the file cannot be read or is none."""
    try:
        found = list(events.chunks(path.read_bytes()))
        by_kind = {kind: payload for kind, _cpu, payload in found}
        meta = json.loads(by_kind[ChunkKind.META])
        if meta["version"] != events.VERSION:
            raise KernelTraceError(f"version {meta['version']}; this minicomp reads {events.VERSION}", where=str(path))
        lost = 0
        if ChunkKind.RECORDS in by_kind:
            records = np.frombuffer(by_kind[ChunkKind.RECORDS], DTYPE)
            names = {int(pid): name for pid, name in json.loads(by_kind[ChunkKind.NAMES]).items()}
        else:
            packed, names, lost = decode(found, meta)
            records = np.frombuffer(packed, DTYPE)
        end = json.loads(by_kind[ChunkKind.END]) if ChunkKind.END in by_kind else None
        if end is not None:
            lost = int(end["lost"])
        return KernelTrace(meta, records, names, end, lost)
    except OSError as error:
        raise KernelTraceError(error.strerror or str(error), where=str(path)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise KernelTraceError(f"not a kernel trace ({error})", where=str(path)) from error
