"""The misses of clients, and those of surfaces that were asked too late, each with its cause.

The rules are in `attribution`; which vblanks passed is found by `client_late`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from minicomp.lab.pipeline.client_late import Answer, late_answers
from minicomp.lab.pipeline.closer import Closer
from minicomp.lab.pipeline.plans import Plans
from minicomp.lab.pipeline.points import Source, source_name
from minicomp.lab.pipeline.reasons import EXPLAINS_SHARE, Cause, Reason, ms
from minicomp.lab.pipeline.tables import Joined


def client_causes(joined: Joined, plans: Plans, closer: Closer, found: list[Cause]) -> Iterator[Cause]:
    """`found` are the causes of late frames, whose vblanks are taken."""
    claimed: dict[tuple[int, int], _Claimed] = {}
    for cause in found:
        period = float(plans.refresh_ns[cause.frame_row])
        ours = claimed.setdefault((cause.output_id, 0), _Claimed())
        ours.add(cause.vblank_ns + round(k * period) for k in range(cause.vblanks))
    for answer in late_answers(joined, plans):
        latch = answer.latch_row
        output_id, surface_id = int(joined.latches.output_id[latch]), int(joined.latches.surface_id[latch])
        row = int(joined.latches.frame_row[latch])
        period = float(plans.refresh_ns[row])
        own = claimed.setdefault((output_id, _client(joined, surface_id)), _Claimed())
        ours = claimed.setdefault((output_id, 0), _Claimed())
        who = joined.run.name("surface", surface_id)
        for begin, end, look in (
            (answer.asked_for_ns, answer.due_ns, _asked),
            (answer.due_ns, answer.target_ns, _answered),
        ):
            slots = [begin + round(k * period) for k in range(round((end - begin) / period))]
            slots = [slot for slot in slots if not own.near(slot, period / 2) and not ours.near(slot, period / 2)]
            if not slots:
                continue
            own.add(slots)
            name, evidence, times = look(closer, answer, who)
            frame_id = int(joined.frames.frame_id[row])
            yield Cause(name, evidence, output_id, frame_id, row, surface_id, slots[0], len(slots), times)


def _asked(closer: Closer, answer: Answer, who: str) -> Reason:
    """Why the surface was asked so late."""
    late = answer.callback_ns - answer.ask_by_ns
    return closer.asked_late(answer.ask_by_ns, answer.callback_ns, f"asked {who} for its frame {ms(late)} late")


def _answered(closer: Closer, answer: Answer, who: str) -> Reason:
    """Why its answer was read so late."""
    times = {"answer": answer.late_ns, "loop wait": answer.loop_wait_ns}
    if answer.loop_wait_ns >= EXPLAINS_SHARE * answer.late_ns:
        held = closer.holder(Source.LOOP, answer.request_ns - answer.loop_wait_ns, answer.request_ns)
        why = "it held the lock for other requests"
        if held is not None:
            why = f"the compositor lock was held by {source_name(held)}"
        sentence = f"mc-loop could not read {who}'s commit for {ms(answer.loop_wait_ns)}: {why}"
        return Reason("lock wait", sentence, times)
    kept = closer.loop_kept_waiting(answer.callback_ns, answer.request_ns, answer.late_ns)
    if kept is not None:
        return Reason(kept.name, kept.evidence, {**times, **kept.times_ns})
    taken, usual = ms(answer.request_ns - answer.callback_ns), ms(answer.usual_ns)
    return Reason("client late", f"{who} answered its frame callback after {taken}, usually {usual}", times)


def _client(joined: Joined, surface_id: int) -> int:
    """A number for the client that a surface belongs to: its pid where the run file has it."""
    pid = joined.run.names.get(("surface", surface_id), {}).get("client_pid")
    return pid if isinstance(pid, int) and pid > 0 else -surface_id


class _Claimed:
    """Vblanks that have their cause."""

    def __init__(self) -> None:
        self._sorted: list[int] = []

    def add(self, vblanks: Iterable[int]) -> None:
        for vblank in vblanks:
            insort(self._sorted, vblank)

    def near(self, vblank: int, within_ns: float) -> bool:
        place = bisect_left(self._sorted, vblank - within_ns)
        return place < len(self._sorted) and self._sorted[place] < vblank + within_ns
