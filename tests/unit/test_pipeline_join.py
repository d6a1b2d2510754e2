"""How records meet: each rule of the join on the smallest trace that shows it. Times in these tests are bare ns."""

from pathlib import Path

import numpy as np
import pytest

from minicomp.lab.pipeline.join import join
from minicomp.lab.pipeline.points import InputKind, KmsFlag, Origin, Point, QueueReason, Source, present_flags
from minicomp.lab.pipeline.runfile import RunWriter, read_run
from minicomp.lab.pipeline.tables import MISSING, Joined

REFUSED = KmsFlag.REFUSED
SHOWN = present_flags(1, Origin.MODELLED, 9)
DISCARDED = present_flags(0, Origin.MODELLED, 0, discarded=True)


class Scene:
    """A trace written point by point."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "run"
        self._rows: dict[int, list[tuple[int, ...]]] = {}

    def at(
        self,
        t_ns: int,
        point: Point,
        *,
        arg: int = 0,
        frame: int = 0,
        surface: int = 0,
        output: int = 0,
        flags: int = 0,
        source: int = Source.LOOP,
    ) -> None:
        self._rows.setdefault(source, []).append((t_ns, arg, frame, surface, point, output, flags))

    def commit(self, t_ns: int, number: int, surface: int = 7, flags: int = 3) -> None:
        self.at(t_ns, Point.COMMIT_REQUEST, surface=surface)
        self.at(t_ns + 1, Point.SURFACE_COMMIT, surface=surface, arg=number, flags=flags)

    def frame(self, t_ns: int, frame: int, latched: dict[int, int], *, flags: int | None = SHOWN, kms: int = 0) -> None:
        """Composed at t, committed at t+2, shown at t+10 (flags None: not presented)."""
        ids = {"frame": frame, "output": 1}
        self.at(t_ns, Point.COMPOSE_BEGIN, **ids)
        for surface, number in latched.items():
            self.at(t_ns, Point.SURFACE_LATCHED, surface=surface, arg=number, **ids)
        self.at(t_ns + 1, Point.COMPOSE_END, **ids)
        self.at(t_ns + 2, Point.KMS_COMMIT_END, flags=kms, **ids)
        if flags is not None:
            self.at(t_ns + 11, Point.PRESENTED, arg=t_ns + 10, flags=flags, **ids)

    def join(self, clock: str = "real") -> Joined:
        with RunWriter(self._path, {"clock": clock}) as writer:
            for source, rows in self._rows.items():
                writer.records(source, sorted(rows, key=lambda row: row[0]))
        return join(read_run(self._path))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_an_empty_run_has_empty_tables(scene: Scene) -> None:
    joined = scene.join()
    tables = (joined.frames, joined.commits, joined.latches, joined.inputs)
    assert [len(table) for table in tables] == [0, 0, 0, 0]


def test_a_frame_collects_its_points(scene: Scene) -> None:
    ids = {"frame": 4, "output": 1}
    scene.at(10, Point.FRAME_QUEUED, arg=100, flags=QueueReason.DAMAGE, **ids)
    scene.at(11, Point.FRAME_PLANNED, arg=50, **ids)
    scene.at(52, Point.RENDER_WAKE, arg=50, **ids)
    scene.frame(60, 4, {7: 1})
    scene.at(63, Point.SCHED, arg=5, flags=1, **ids)
    frames = scene.join().frames
    facts = (frames.queued_ns, frames.predicted_ns, frames.planned_ns, frames.wake_ns, frames.wake_planned_ns)
    assert [column.tolist() for column in facts] == [[10], [100], [50], [52], [50]]
    facts = (frames.compose_begin_ns, frames.compose_end_ns, frames.kms_end_ns, frames.presented_ns, frames.told_ns)
    assert [column.tolist() for column in facts] == [[60], [61], [62], [70], [71]]
    assert (frames.seq.tolist(), frames.origin.tolist(), frames.cpu_ns.tolist()) == ([9], [Origin.MODELLED], [5])


def test_frames_of_two_outputs_with_the_same_number_are_two_frames(scene: Scene) -> None:
    scene.at(5, Point.COMPOSE_BEGIN, frame=1, output=2)
    scene.at(6, Point.COMPOSE_BEGIN, frame=1, output=1)
    frames = scene.join().frames
    assert list(zip(frames.output_id.tolist(), frames.compose_begin_ns.tolist(), strict=True)) == [(1, 6), (2, 5)]


def test_callbacks_alone_neither_make_a_frame_nor_date_the_next_one(scene: Scene) -> None:
    ids = {"frame": 1, "output": 1}
    scene.at(10, Point.FRAME_QUEUED, arg=100, flags=QueueReason.CALLBACK_ONLY, **ids)
    scene.at(110, Point.FRAME_QUEUED, arg=200, flags=QueueReason.CALLBACK_ONLY, **ids)
    scene.at(210, Point.FRAME_QUEUED, arg=300, flags=QueueReason.DAMAGE | QueueReason.CALLBACK_ONLY, **ids)
    scene.at(215, Point.FRAME_QUEUED, arg=301, flags=QueueReason.DAMAGE, **ids)
    scene.frame(220, 1, {})
    joined = scene.join()
    assert joined.callback_only == {1: 2}
    assert joined.frames.queued_ns.tolist() == [210]
    assert joined.frames.predicted_ns.tolist() == [301]


def test_a_request_after_composing_began_is_the_next_frames(scene: Scene) -> None:
    scene.at(10, Point.FRAME_QUEUED, arg=100, flags=1, frame=1, output=1)
    scene.frame(20, 1, {})
    scene.at(25, Point.FRAME_QUEUED, arg=200, flags=1, frame=1, output=1)
    frames = scene.join().frames
    assert (frames.queued_ns.tolist(), frames.predicted_ns.tolist()) == ([10], [100])


@pytest.mark.parametrize(("clock", "planned"), [("real", 20), ("step", MISSING)])
def test_without_a_plan_composing_itself_is_the_plan_on_the_same_clock(scene: Scene, clock: str, planned: int) -> None:
    scene.frame(20, 1, {})
    assert scene.join(clock).frames.planned_ns.tolist() == [planned]


def test_a_frames_lock_wait_is_the_composing_threads_after_its_wake(scene: Scene) -> None:
    for begin, end, source in ((1, 2, 1), (12, 15, 0), (13, 16, 1), (30, 31, 1)):
        scene.at(begin, Point.LOCK_WAIT_BEGIN, source=source)
        scene.at(end, Point.LOCK_WAIT_END, source=source)
    ids = {"frame": 1, "output": 1, "source": 1}
    scene.at(10, Point.RENDER_WAKE, **ids)
    scene.at(20, Point.COMPOSE_BEGIN, **ids)
    scene.at(40, Point.RENDER_WAKE, frame=2, output=1, source=1)
    scene.at(45, Point.COMPOSE_BEGIN, frame=2, output=1, source=1)
    frames = scene.join().frames
    assert frames.lock_begin_ns.tolist() == [13, MISSING]
    assert frames.lock_end_ns.tolist() == [16, MISSING]


def test_a_commit_knows_its_request_and_the_callback_it_answers(scene: Scene) -> None:
    scene.at(5, Point.FRAME_CALLBACK, surface=7)
    scene.commit(10, 1)
    scene.commit(20, 2)
    scene.at(25, Point.FRAME_CALLBACK, surface=8)
    scene.at(26, Point.FRAME_CALLBACK, surface=7)
    scene.at(27, Point.FRAME_CALLBACK, surface=7)
    scene.commit(30, 3)
    commits = scene.join().commits
    assert commits.request_ns.tolist() == [10, 20, 30]
    assert commits.callback_ns.tolist() == [5, MISSING, 27]
    assert commits.next_callback_ns.tolist() == [MISSING, 26, MISSING]


def test_a_synchronized_subsurface_commits_with_its_parent(scene: Scene) -> None:
    scene.at(10, Point.COMMIT_REQUEST, surface=8)
    scene.at(12, Point.COMMIT_REQUEST, surface=8)
    scene.at(14, Point.COMMIT_REQUEST, surface=7)
    scene.at(15, Point.SURFACE_COMMIT, surface=7, arg=1)
    scene.at(16, Point.SURFACE_COMMIT, surface=8, arg=1)
    scene.at(20, Point.SURFACE_COMMIT, surface=8, arg=2)
    commits = scene.join().commits
    rows = zip(commits.surface_id.tolist(), commits.request_ns.tolist(), commits.commit_ns.tolist(), strict=True)
    assert list(rows) == [(7, 14, 15), (8, 12, 16), (8, MISSING, 20)]


def shown(joined: Joined) -> dict[tuple[int, int], int]:
    """(surface, commit) -> the frame that showed it, 0 for none."""
    latches = joined.latches
    frame = np.where(latches.shown_row >= 0, joined.frames.frame_id[latches.shown_row], 0)
    return dict(
        zip(zip(latches.surface_id.tolist(), latches.number.tolist(), strict=True), frame.tolist(), strict=True)
    )


def test_a_commit_is_shown_by_the_frame_that_latched_it_first(scene: Scene) -> None:
    scene.commit(1, 1)
    scene.frame(10, 1, {7: 1})
    scene.frame(30, 2, {7: 1})
    assert shown(scene.join()) == {(7, 1): 1}


@pytest.mark.parametrize("lost", [{"kms": REFUSED, "flags": None}, {"flags": DISCARDED}])
def test_content_of_a_lost_frame_is_shown_by_the_next_one(scene: Scene, lost: dict[str, int | None]) -> None:
    scene.commit(1, 1)
    scene.commit(2, 1, surface=8)
    scene.frame(10, 1, {7: 1, 8: 1}, **lost)  # type: ignore[arg-type]
    scene.commit(25, 2, surface=8)
    scene.frame(30, 2, {8: 2})
    assert shown(scene.join()) == {(7, 1): 2, (8, 1): 0, (8, 2): 2}


def test_a_frame_without_an_end_shows_nothing(scene: Scene) -> None:
    scene.commit(1, 1)
    scene.frame(10, 1, {7: 1}, flags=None)
    scene.frame(30, 2, {})
    assert shown(scene.join()) == {(7, 1): 0}


def test_input_meets_its_event_its_commit_and_its_frame(scene: Scene) -> None:
    for t_ns, own_ns, kind in ((100, 90, InputKind.MOTION), (101, 90, InputKind.BUTTON), (130, 90, InputKind.MOTION)):
        scene.at(t_ns, Point.INPUT_EVENT, arg=own_ns, flags=kind)
        scene.at(t_ns + 5, Point.INPUT_DELIVERED, arg=own_ns, flags=kind, surface=7)
    scene.commit(99, 1)
    scene.commit(110, 2, flags=4)  # a callback request alone is no answer to input
    scene.commit(120, 3)  # never latched: replaced by 4
    scene.commit(121, 4)
    scene.frame(140, 1, {7: 4})
    joined = scene.join()
    inputs, commits, latches = joined.inputs, joined.commits, joined.latches
    assert inputs.event_ns.tolist() == [100, 101, 130]
    assert inputs.own_ns.tolist() == [90, 90, 90]
    assert commits.number[inputs.commit_row[:2]].tolist() == [3, 3]
    assert latches.number[inputs.latch_row[:2]].tolist() == [4, 4]
    assert (inputs.commit_row[2], inputs.latch_row[2]) == (-1, -1)  # delivered after the last commit


def test_input_without_a_later_commit_has_none(scene: Scene) -> None:
    scene.commit(10, 1)
    scene.frame(12, 1, {7: 1})
    scene.at(30, Point.INPUT_DELIVERED, arg=99, flags=InputKind.KEY, surface=7)
    inputs = scene.join().inputs
    assert (inputs.commit_row.tolist(), inputs.latch_row.tolist(), inputs.event_ns.tolist()) == ([-1], [-1], [MISSING])
    assert inputs.own_ns.tolist() == [30]  # an own time after the arrival is on another clock


def test_loop_turns_pair_wake_begin_and_end(scene: Scene) -> None:
    scene.at(1, Point.EPOLL_WAKE)
    scene.at(2, Point.DISPATCH_BEGIN)
    scene.at(4, Point.DISPATCH_END)
    scene.at(6, Point.DISPATCH_BEGIN)  # its wake was dropped
    scene.at(7, Point.EPOLL_WAKE)
    scene.at(8, Point.DISPATCH_BEGIN)  # and so was the end before it
    turns = scene.join().turns
    assert turns.wake_ns.tolist() == [1, MISSING, 7]
    assert turns.dispatch_end_ns.tolist() == [4, MISSING, MISSING]
