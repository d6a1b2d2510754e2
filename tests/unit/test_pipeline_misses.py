"""The verdict on each commit, at the edges of its definition. Times are us, and 100 us is a refresh period here."""

from pathlib import Path

import pytest

from minicomp.lab.pipeline.join import join
from minicomp.lab.pipeline.misses import Verdict, count_verdicts, judge
from minicomp.lab.pipeline.points import Origin, Point, Source, present_flags
from minicomp.lab.pipeline.runfile import RunWriter, read_run
from minicomp.lab.pipeline.tables import Joined

REFRESH_MHZ = 10_000_000
PLANNED, PREDICTED = 1_050, 1_100


def one_frame(
    folder: Path,
    *,
    committed: int,
    shown: int | None,
    predicted: int = PREDICTED,
    clock: str = "real",
    named: bool = True,
) -> Joined:
    ids = {"frame_id": 1, "output_id": 1}
    rows = [
        _row(committed, Point.SURFACE_COMMIT, surface_id=7, arg=1, flags=3),
        _row(1_049, Point.FRAME_QUEUED, arg=predicted * 1_000, flags=1, **ids),
        _row(1_049, Point.FRAME_PLANNED, arg=PLANNED * 1_000, **ids),
        _row(1_060, Point.COMPOSE_BEGIN, **ids),
        _row(1_060, Point.SURFACE_LATCHED, surface_id=7, arg=1, **ids),
    ]
    if shown is not None:
        flags = present_flags(1, Origin.MODELLED, 1, discarded=shown == 0)
        rows.append(_row(1_400, Point.PRESENTED, arg=shown * 1_000, flags=flags, **ids))
    with RunWriter(folder / "run", {"clock": clock}) as writer:
        if named:
            writer.names([{"type": "output", "id": 1, "name": "A", "refresh_mhz": REFRESH_MHZ}])
        writer.records(Source.LOOP, sorted(rows))
    return join(read_run(folder / "run"))


def _row(
    t_us: int, point: Point, *, arg: int = 0, frame_id: int = 0, surface_id: int = 0, output_id: int = 0, flags: int = 0
) -> tuple[int, ...]:
    return (t_us * 1_000, arg, frame_id, surface_id, point, output_id, flags)


@pytest.mark.parametrize(
    ("committed", "shown", "verdict"),
    [
        (1_000, 1_100, Verdict.ON_TIME),
        (1_050, 1_150, Verdict.ON_TIME),  # committed at the planned start, shown half a refresh after the prediction
        (1_050, 1_151, Verdict.MISSED),
        (1_051, 1_150, Verdict.LATE_BUT_SHOWN),
        (1_051, 1_200, Verdict.CLIENT_LATE),
        (1_000, 1_000, Verdict.ON_TIME),  # earlier than predicted is no miss
        (1_000, 0, Verdict.DISCARDED),
        (1_000, None, Verdict.UNJUDGED),
    ],
)
def test_verdicts(tmp_path: Path, committed: int, shown: int | None, verdict: Verdict) -> None:
    assert judge(one_frame(tmp_path, committed=committed, shown=shown)).tolist() == [verdict]


def test_nothing_is_judged_without_a_prediction(tmp_path: Path) -> None:
    assert judge(one_frame(tmp_path, committed=1_000, shown=1_300, predicted=0)).tolist() == [Verdict.UNJUDGED]


def test_nothing_is_judged_without_a_refresh_period(tmp_path: Path) -> None:
    assert judge(one_frame(tmp_path, committed=1_000, shown=1_300, named=False)).tolist() == [Verdict.UNJUDGED]


def test_a_stepped_clock_judges_vblanks_but_no_client(tmp_path: Path) -> None:
    late = one_frame(tmp_path, committed=1_059, shown=1_200, clock="step")
    assert judge(late).tolist() == [Verdict.MISSED]


def test_the_rate_is_of_the_commits_made_in_time(tmp_path: Path) -> None:
    joined = one_frame(tmp_path, committed=1_000, shown=1_200)
    count = count_verdicts(joined, judge(joined), 1)
    assert (count.missed, count.in_time, count.rate, count.missed_frames) == (1, 1, 1.0, 1)
    assert count.interval is not None and count.interval[1] == 1.0


def test_another_output_has_no_rate(tmp_path: Path) -> None:
    joined = one_frame(tmp_path, committed=1_000, shown=1_200)
    count = count_verdicts(joined, judge(joined), 2)
    assert (count.in_time, count.rate, count.interval) == (0, None, None)
