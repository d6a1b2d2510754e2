"""knobs.render and knobs.loop: the scheduling class of one native thread, set from outside by its thread id.

Read back by sched_getattr(2) and, where the kernel has it, by /proc/PID/task/TID/sched: EEVDF slices are ignored
without an error before kernel 6.12, and a BPF scheduler (sched_ext) ignores them at any time. RESET_ON_FORK is always
set: a deadline thread could not make threads otherwise, and Mesa makes some lazily. A deadline thread has DL_OVERRUN:
the compositor counts the SIGXCPU that says its budget was spent (native/pure/overrun.h).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicomp.lab.knobs import proc, syscalls
from minicomp.lab.knobs.knob import Effect, Hands, Knob, KnobRefused, Subject
from minicomp.lab.knobs.refusals import scheduling_refused
from minicomp.lab.knobs.reservation import (
    DEFAULT_QUANTILE,
    Reservation,
    is_derived,
    is_worth_changing,
    reservation,
)
from minicomp.lab.knobs.thread_operations import SetScheduling

if TYPE_CHECKING:
    from minicomp.config.knobs import KnobSettings, ThreadKnobs

DEFAULT_PRIORITY = 10  # above nothing in particular; the kernel's own threads have 50 and more
_POLICIES = {
    "other": syscalls.SCHED_OTHER,
    "fifo": syscalls.SCHED_FIFO,
    "rr": syscalls.SCHED_RR,
    "deadline": syscalls.SCHED_DEADLINE,
}


def knobs(settings: KnobSettings) -> list[Knob]:
    """The threads whose scheduling is set."""
    tables = {"loop": settings.loop, "render": settings.render}
    return [ThreadScheduling(thread, table) for thread, table in tables.items() if table.is_set()]


class ThreadScheduling(Knob):
    """All keys of one thread's table: they are one system call."""

    def __init__(self, thread: str, settings: ThreadKnobs) -> None:
        super().__init__(f"knobs.{thread}", settings.given())
        self._thread = thread
        self._settings = settings
        self._policy = settings.policy or "other"
        self._reservation: Reservation | None = None  # what was asked for last, class deadline
        self._measured_ns = 0  # what it was derived from

    def apply(self, subject: Subject, hands: Hands) -> None:
        tid = self._tid(subject)
        if tid == 0:
            remedy = "render.thread = true and the real clock" if self._thread == "render" else "start minicomp"
            raise KnobRefused(self.name, self.wanted, 0, f"there is no {self._thread} thread", remedy)
        if self._policy == "deadline":
            self._measured_ns = self._measure(subject)
            self._reservation = reservation(self._settings, self._thread, subject.refresh_ns, self._measured_ns)
        try:
            hands.do(self.name, self._operation(tid))
        except OSError as error:
            raise scheduling_refused(self.name, self.wanted, self._policy, tid, error) from None

    def update(self, subject: Subject, hands: Hands) -> bool:
        """Re-derives a deadline reservation after a mode change, or when the measured cost has shifted."""
        if self._policy != "deadline" or self._reservation is None or self._tid(subject) == 0:
            return False
        measured_ns = self._measure(subject) or (0 if subject.refresh_ns != self._reservation.period_ns else -1)
        if measured_ns < 0:
            return False  # nothing new is known
        better = reservation(self._settings, self._thread, subject.refresh_ns, measured_ns)
        if not is_worth_changing(self._reservation, better):
            return False
        kept = self._reservation
        try:
            self.apply(subject, hands)
        except KnobRefused:
            self._reservation = kept  # still in force
            raise
        return True

    def read_back(self, subject: Subject) -> Effect:
        tid = self._tid(subject)
        try:
            now = syscalls.sched_getattr(tid)
            seen = proc.sched_values(subject.pid, tid)
        except OSError as error:
            return Effect(self.name, self.wanted, None, False, f"it cannot be read back: {error.strerror}")
        effective: dict[str, Any] = {"class": syscalls.CLASS_NAMES.get(now.policy, str(now.policy))}
        wrong: list[str] = []
        if now.policy != _POLICIES[self._policy] or seen.get("policy", now.policy) != now.policy:
            wrong.append(f"the class is {effective['class']}")
        if self._policy == "other":
            wrong += self._read_back_other(now, seen, effective)
        elif self._policy == "deadline":
            wrong += self._read_back_deadline(now, effective)
        else:
            effective["priority"] = now.priority
            if now.priority != self._priority():
                wrong.append(f"the priority is {now.priority}")
        return Effect(self.name, self.wanted, effective, not wrong, "; ".join(wrong or self._remarks(subject)))

    def _read_back_other(self, now: syscalls.SchedAttr, seen: dict[str, float], effective: dict[str, Any]) -> list[str]:
        wrong = []
        effective["nice"] = now.nice
        slice_ns = int(seen.get("se.slice", now.runtime_ns))
        effective["slice_us"] = slice_ns / 1000
        if self._settings.nice not in (None, now.nice):
            wrong.append(f"nice is {now.nice}")
        if self._settings.slice_us is not None:
            if seen.get("ext.enabled"):
                wrong.append("sched_ext: a BPF scheduler runs this thread, slices are its own affair")
            if self._settings.slice_us * 1000 not in (slice_ns, now.runtime_ns) or not now.runtime_ns:
                wrong.append("the slice was ignored: kernels before 6.12 have none for class other")
        return wrong

    def _read_back_deadline(self, now: syscalls.SchedAttr, effective: dict[str, Any]) -> list[str]:
        got = Reservation(now.runtime_ns, now.deadline_ns, now.period_ns)
        effective |= {
            "runtime_us": got.runtime_ns / 1000,
            "deadline_us": got.deadline_ns / 1000,
            "period_us": got.period_ns / 1000,
            "reclaim": bool(now.flags & syscalls.RECLAIM),
        }
        return [] if got == self._reservation else [f"the reservation is {got}"]

    def _remarks(self, subject: Subject) -> list[str]:
        """What is worth knowing of a thread that has what it was to have."""
        remarks = []
        if self._policy == "deadline" and is_derived(self._settings):
            if self._measured_ns:
                remarks.append(f"derived: {self._measured_ns / 1e6:.2f} ms of CPU time are used per refresh")
            else:
                remarks.append("not measured yet: a first guess, derived anew as soon as it is")
        if self._policy == "deadline" and subject.overruns is not None and (count := subject.overruns()):
            remarks.append(f"throttled {count} times since the start")
        return remarks

    def _tid(self, subject: Subject) -> int:
        return subject.render_tid if self._thread == "render" else subject.loop_tid

    def _priority(self) -> int:
        return self._settings.priority or DEFAULT_PRIORITY

    def _measure(self, subject: Subject) -> int:
        if subject.cpu_per_refresh_ns is None or not is_derived(self._settings):
            return 0
        return subject.cpu_per_refresh_ns(self._thread, self._settings.quantile or DEFAULT_QUANTILE)

    def _operation(self, tid: int) -> SetScheduling:
        started = proc.started(tid)
        policy, flags = _POLICIES[self._policy], syscalls.RESET_ON_FORK
        if self._reservation is not None:
            flags |= syscalls.DL_OVERRUN | (syscalls.RECLAIM if self._settings.reclaim else 0)
            runtime_ns, deadline_ns, period_ns = self._reservation
            return SetScheduling(
                tid, started, policy, flags, runtime_ns=runtime_ns, deadline_ns=deadline_ns, period_ns=period_ns
            )
        if self._policy == "other":
            slice_ns = (self._settings.slice_us or 0) * 1000
            nice = self._settings.nice
            if nice is None:  # as minicomp was started
                nice = syscalls.sched_getattr(tid).nice
            return SetScheduling(tid, started, policy, flags, nice=nice, runtime_ns=slice_ns)
        return SetScheduling(tid, started, policy, flags, priority=self._priority())
