"""Looks inside the stage that made a frame late: did it work, wait for a page, or have no CPU?

The run file knows for each frame how much CPU time its thread used, its page faults and context switches. From that:

- a major page fault, or at least 64 minor ones more than usual, in composing: *page fault*;
- less CPU time than half of the stage, after an involuntary switch: the thread was taken off its CPU: *deadline
  throttled* when the kernel reported its budget spent (DEADLINE_OVERRUN), or when it was in the deadline class, by the
  configuration or by the kernel's trace (nothing else can preempt it for long), else *wake late*;
- a late wake-up: *deadline throttled* when its budget was reported spent in the stage or at most 60 ms before it, or
  when it is in the deadline class and had used at least 3/4 of its runtime since its last frame; *lock wait* when the
  loop thread, woken, waited for the lock for half of that; else *wake late*.

With the kernel's trace (`KernelSide`) the stage's time is divided into running, waiting for a CPU, throttled, asleep;
what makes up at least half of the excess decides, and the sentence names who ran instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicomp.lab.pipeline.cost import WINDOW_FRAMES
from minicomp.lab.pipeline.lookup import Records, before
from minicomp.lab.pipeline.points import Point, Source, source_name
from minicomp.lab.pipeline.reasons import Account, KernelSide, Reason, ms
from minicomp.lab.pipeline.tables import MISSING, Joined, take

DECIDES_SHARE = 0.5
MANY_FAULTS = 64
RUNTIME_SHARE = 0.75
RECENT_NS = 60_000_000
"""An overrun this long before a late wake-up may be what it waited for: throttling lasts to the end of the period."""
NO_WAIT_NS = 20_000
"""Taking a free lock and reading the clock takes the loop thread less."""
COUNT_LIMIT = 255
"""SCHED's counters stay at this."""
THREADS: dict[int, str] = {Source.LOOP: "mc-loop", Source.RENDER: "mc-render", Source.POLICY: "policy"}


class Closer:
    def __init__(self, joined: Joined, kernel: KernelSide | None) -> None:
        self.joined, self.frames, self.kernel = joined, joined.frames, kernel
        self.deadline, self.runtime_ns = _deadline_class(joined.run.meta)
        records = Records(joined.run)
        composed = records.of(Point.COMPOSE_BEGIN)
        keys = joined.frames.output_id << 32 | joined.frames.frame_id
        self.thread = dict(zip(records.frame[composed].tolist(), records.source[composed].tolist(), strict=True))
        self.keys = keys
        asked = records.of(Point.FRAME_CALLBACK)
        self.asked_by = dict(zip(records.t_ns[asked].tolist(), records.source[asked].tolist(), strict=True))
        waits, holds = records.of(Point.LOCK_WAIT_END), records.of(Point.LOCK_HOLD)
        begins = records.of(Point.LOCK_WAIT_BEGIN)
        begin = before(records.source[waits], waits, records.source[begins], begins)
        self.wait_end, self.wait_by = records.t_ns[waits], records.source[waits]
        self.wait_begin = np.where(begin >= 0, take(records.t_ns, take(begins, begin)), self.wait_end)
        self.wait_for = records.flags[waits]
        self.hold_end, self.hold_by = records.t_ns[holds], records.flags[holds]
        self.hold_begin = self.hold_end - records.arg[holds]
        overruns = records.of(Point.DEADLINE_OVERRUN)
        self.overrun_ns = records.arg[overruns]

    def look(self, row: int, stage: str, spent_ns: int, usual_ns: int) -> Reason:
        """Why `stage` of a frame took `spent_ns` where it usually takes `usual_ns`."""
        if stage == "lock":
            return self._lock(row, spent_ns, usual_ns)
        frames = self.frames
        begin, end = {
            "wake": (frames.planned_ns, frames.compose_begin_ns),
            "compose": (frames.compose_begin_ns, frames.kms_begin_ns),
            "commit": (frames.kms_begin_ns, frames.kms_end_ns),
        }[stage]
        thread = self._thread(row)
        begin_ns, end_ns = int(begin[row]), int(end[row])
        if stage == "wake":
            end_ns = begin_ns + spent_ns  # the lock wait behind it is a stage of its own
        found = self._in_kernel(thread, begin_ns, end_ns, spent_ns - usual_ns)
        if found is None:
            found = (
                self._wake(row, thread, spent_ns, usual_ns)
                if stage == "wake"
                else self._off_cpu(row, thread, stage, spent_ns)
            )
        return found or self._work(row, stage, spent_ns, usual_ns)

    def loop_kept_waiting(self, begin_ns: int, end_ns: int, late_ns: int) -> Reason | None:
        """Whether the loop thread had no CPU for most of the time by which it read a commit too late."""
        return self._in_kernel("mc-loop", begin_ns, end_ns, late_ns)

    def read_late(self, due_ns: int, read_ns: int) -> Reason | None:
        """Whether the loop thread could have read a commit sooner but for the lock or the CPU."""
        late, waited = read_ns - due_ns, self._loop_waited(due_ns, read_ns)
        if waited >= max(DECIDES_SHARE * late, NO_WAIT_NS):
            why = _waited(waited, self.holder(Source.LOOP, due_ns, read_ns))
            return Reason("lock wait", f"mc-loop {why}, with a commit to read")
        return self._in_kernel("mc-loop", due_ns, read_ns, late)

    def loop_late(self, event_ns: int, handled_ns: int) -> Reason:
        """Why the loop thread handled an event (a flip) so late."""
        late = handled_ns - event_ns
        found = self._in_kernel("mc-loop", event_ns, handled_ns, late)
        if found is not None:
            return found
        waited = self._loop_waited(event_ns, handled_ns)
        sentence = f"mc-loop learned of the flip before {ms(late)} after it"
        if waited >= DECIDES_SHARE * late:
            why = _waited(waited, self.holder(Source.LOOP, event_ns, handled_ns))
            return Reason("lock wait", f"{sentence}: it {why}")
        return Reason("wake late", sentence)

    def asked_late(self, due_ns: int, done_ns: int, what: str) -> Reason:
        """Why the frame callback that was sent at `done_ns` came too late."""
        source = self.asked_by.get(done_ns, int(Source.RENDER))
        thread, late = THREADS.get(source, "mc-render"), done_ns - due_ns
        mine = (self.wait_by == source) & (self.wait_end > due_ns) & (self.wait_end <= done_ns)
        waited = int((self.wait_end[mine] - np.maximum(self.wait_begin[mine], due_ns)).sum())
        if source == Source.LOOP:
            waited = max(waited, self._loop_waited(due_ns, done_ns))
        times = {"late": late, "lock": waited}
        if waited >= DECIDES_SHARE * late:
            why = _waited(waited, self.holder(source, due_ns, done_ns))
            return Reason("lock wait", f"{thread} {what}: it {why}", times)
        for name in (thread, "mc-loop"):  # which sets the render thread's timer
            found = self._in_kernel(name, due_ns, done_ns, late)
            if found is not None:
                return Reason(found.name, f"{thread} {what}: {found.evidence}", {**times, **found.times_ns})
        if self._overran(due_ns - RECENT_NS, done_ns):
            return Reason("deadline throttled", f"{thread} {what}: its deadline budget was spent", times)
        return Reason("wake late", f"{thread} {what}", times)

    def _loop_waited(self, begin_ns: int, end_ns: int) -> int:
        """How long the loop thread, woken, waited for lock and gate between two times."""
        turns = self.joined.turns
        mine = (turns.wake_ns != MISSING) & (turns.dispatch_begin_ns > begin_ns) & (turns.wake_ns < end_ns)
        ends = np.minimum(turns.dispatch_begin_ns[mine], end_ns)
        return int((ends - np.maximum(turns.wake_ns[mine], begin_ns)).sum())

    def holder(self, waiter: int, begin_ns: int, end_ns: int) -> int | None:
        """The other thread (a Source) that held the lock longest between two times, or that the waiter found."""
        overlap = np.minimum(self.hold_end, end_ns) - np.maximum(self.hold_begin, begin_ns)
        overlap = np.where(self.hold_by != waiter, overlap, 0)
        if len(overlap) and overlap.max() > 0:
            return int(self.hold_by[int(overlap.argmax())])
        mine = (self.wait_by == waiter) & (self.wait_end >= begin_ns) & (self.wait_end <= end_ns)
        return int(self.wait_for[mine][-1]) if mine.any() else None

    # ---- without the kernel ----

    def _lock(self, row: int, spent_ns: int, usual_ns: int) -> Reason:
        thread = self._thread(row)
        end_ns = int(self.frames.compose_begin_ns[row])
        found = self._in_kernel(thread, end_ns - spent_ns, end_ns, spent_ns - usual_ns)
        if found is not None:
            return found  # the lock was free, but the thread could not run to take it
        held = self.holder(self._source(row), end_ns - spent_ns, end_ns)
        sentence = f"{thread} {_waited(spent_ns, held)} (usually {ms(usual_ns)})"
        if held is not None and self.kernel is not None:
            account = self.kernel.account(THREADS.get(held, ""), end_ns - spent_ns, end_ns)
            if account is not None and account.waiting_ns + account.throttled_ns >= DECIDES_SHARE * spent_ns:
                sentence += (
                    f"; the holder had no CPU for {ms(account.waiting_ns + account.throttled_ns)}{_instead(account)}"
                )
        return Reason("lock wait", sentence)

    def _wake(self, row: int, thread: str, spent_ns: int, usual_ns: int) -> Reason:
        used = int(self.frames.cpu_ns[row])
        sentence = f"{thread} began {ms(spent_ns)} after its planned start (usually {ms(usual_ns)})"
        planned = int(self.frames.planned_ns[row])
        if self._overran(planned - RECENT_NS, planned + spent_ns):
            return Reason("deadline throttled", f"{sentence}: the kernel had reported its deadline budget spent")
        if self.deadline and used != MISSING and self.runtime_ns and used >= RUNTIME_SHARE * self.runtime_ns:
            sentence += f", with {ms(used)} of its runtime of {ms(self.runtime_ns)} used since its last frame"
            return Reason("deadline throttled", sentence)
        account = self.kernel.account(thread, planned, planned + spent_ns) if self.kernel is not None else None
        if account is not None and account.asleep_ns >= DECIDES_SHARE * (spent_ns - usual_ns):
            return Reason("wake late", f"{sentence}: nobody woke it for {ms(account.asleep_ns)} of that")
        if self._source(row) == Source.LOOP:
            # It stamps its wake-up when it has the lock: a wait for that is between the plan and the stamp.
            waited = self._loop_waited(planned, planned + spent_ns)
            if waited >= DECIDES_SHARE * spent_ns:
                why = _waited(waited, self.holder(Source.LOOP, planned, planned + spent_ns))
                return Reason("lock wait", f"{sentence}: it {why}")
            if self._loop_busy(row):
                return Reason("wake late", f"{sentence}: it was handling requests")
        return Reason("wake late", sentence)

    def _loop_busy(self, row: int) -> bool:
        turns = self.joined.turns
        planned = int(self.frames.planned_ns[row])
        turn = int(np.searchsorted(turns.dispatch_begin_ns, planned, "right")) - 1
        return turn >= 0 and (turns.dispatch_end_ns[turn] == MISSING or turns.dispatch_end_ns[turn] > planned)

    def _off_cpu(self, row: int, thread: str, stage: str, spent_ns: int) -> Reason | None:
        """The frame's thread was taken off its CPU inside composing or the commit."""
        used, flags = int(self.frames.cpu_ns[row]), int(self.frames.sched_flags[row])
        if MISSING in (used, flags) or used > (1 - DECIDES_SHARE) * spent_ns or not flags >> 8 & 0xFF:
            return None
        word = {"compose": "composing", "commit": "the commit"}[stage]
        sentence = f"{word} took {ms(spent_ns)}, but {thread} ran only {ms(used)}: it was taken off its CPU"
        begin_ns = int((self.frames.compose_begin_ns if stage == "compose" else self.frames.kms_begin_ns)[row])
        if self._overran(begin_ns, begin_ns + spent_ns):
            return Reason("deadline throttled", f"{sentence} when its deadline budget was spent")
        account = self.kernel.account(thread, begin_ns, begin_ns + spent_ns) if self.kernel is not None else None
        if self.deadline or (account is not None and account.in_deadline_class):
            return Reason("deadline throttled", f"{sentence} in the deadline class, which only its budget can stop")
        return Reason("wake late", sentence)

    def _overran(self, begin_ns: int, end_ns: int) -> bool:
        """Whether the kernel said within that time that a deadline budget was spent (not whose: it is one signal)."""
        return bool(((self.overrun_ns >= begin_ns) & (self.overrun_ns <= end_ns)).any())

    def _work(self, row: int, stage: str, spent_ns: int, usual_ns: int) -> Reason:
        if stage == "commit":
            return Reason("KMS late", f"the commit took {ms(spent_ns)} (usually {ms(usual_ns)})")
        sentence = f"composing took {ms(spent_ns)} (usually {ms(usual_ns)})"
        flags = int(self.frames.sched_flags[row])
        if flags != MISSING:
            minor, major = flags >> 16 & 0xFF, flags >> 24 & 0xFF
            usual = self._usual_faults(row)
            if major or minor - usual >= MANY_FAULTS:
                counts = f"{_count(minor)} minor and {_count(major)} major page faults (usually {usual} minor)"
                return Reason(
                    "page fault", f"{sentence}, with {counts}", {"minor faults": minor, "major faults": major}
                )
        used = int(self.frames.cpu_ns[row])
        return Reason("compose overrun", sentence if used == MISSING else f"{sentence}, {ms(used)} of CPU time")

    def _usual_faults(self, row: int) -> int:
        first = int(np.searchsorted(self.frames.output_id, self.frames.output_id[row]))
        recent = self.frames.sched_flags[first:row]
        recent = recent[recent != MISSING][-WINDOW_FRAMES:]
        return int(np.median(recent >> 16 & 0xFF)) if len(recent) else 0

    # ---- with it ----

    def _in_kernel(self, thread: str, begin_ns: int, end_ns: int, excess_ns: int) -> Reason | None:
        account = self.kernel.account(thread, begin_ns, end_ns) if self.kernel is not None else None
        if account is None:
            return None
        needed = DECIDES_SHARE * excess_ns
        times = {
            "waiting for a CPU": account.waiting_ns, "throttled": account.throttled_ns, "asleep": account.asleep_ns
        }  # fmt: skip
        if account.throttled_ns >= needed and account.throttled_ns > account.waiting_ns:
            sentence = f"{thread} had used up its deadline budget and was throttled for {ms(account.throttled_ns)}"
            return Reason("deadline throttled", sentence, times)
        if account.waiting_ns >= needed:
            return Reason("wake late", f"{thread} was runnable {ms(account.waiting_ns)}{_instead(account)}", times)
        return None

    def _source(self, row: int) -> int:
        source: int = self.thread.get(int(self.keys[row]), int(Source.RENDER))
        return source

    def _thread(self, row: int) -> str:
        return THREADS.get(self._source(row), "mc-render")


def _waited(waited_ns: int, held: int | None) -> str:
    """ "waited 8.0 ms for the compositor lock, held by policy"; `held` is what `Closer.holder` found."""
    by = "" if held is None else f", held by {source_name(held)}"
    return f"waited {ms(waited_ns)} for the compositor lock{by}"


def _instead(account: Account) -> str:
    """ "; `yes` (pid 4711) ran 8.0 ms of it on CPU 1, SCHED_OTHER", or that the CPU was idle."""
    parts = [f"{runner.words.format(ran=ms(runner.ran_ns))}" for runner in account.instead[:2]]
    if account.idle_ns > DECIDES_SHARE * account.waiting_ns:
        parts.insert(0, f"its CPU was idle for {ms(account.idle_ns)} of it and woke that late")
    return "; " + ", ".join(parts) if parts else ""


def _count(number: int) -> str:
    number &= 0xFF
    return f"{COUNT_LIMIT} or more" if number == COUNT_LIMIT else str(number)


def _deadline_class(meta: Any) -> tuple[bool, int]:
    """Whether the render thread was to run in the deadline class, and its runtime (0: not known)."""
    config = meta.get("config")
    knobs = config.get("knobs") if isinstance(config, dict) else None
    render = knobs.get("render") if isinstance(knobs, dict) else None
    if not isinstance(render, dict) or render.get("class") != "deadline":
        return False, 0
    runtime_us = render.get("runtime_us")
    return True, round(runtime_us * 1000) if isinstance(runtime_us, int | float) else 0
