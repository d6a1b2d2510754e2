"""Reading run files: whole, growing, cut off anywhere, damaged, hostile."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minicomp.lab.pipeline.points import RECORD_DTYPE, Point, Source
from minicomp.lab.pipeline.runfile import HEADER, MAGIC, RunFileError, RunWriter, describe_drops, read_run

# The fixtures that matter here only hand out a folder; every example writes its own file into it.
FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)


def record(t_ns: int, point: int = Point.EPOLL_WAKE, arg: int = 0) -> tuple[int, ...]:
    return (t_ns, arg, 0, 0, point, 0, 0)


def small_run(path: Path) -> Path:
    with RunWriter(path, {"clock": "real", "pid": 7, "start_ns": 5}) as writer:
        writer.names([{"type": "output", "id": 1, "name": "A", "refresh_mhz": 60_000}])
        writer.records(Source.LOOP, [record(10, arg=1), record(30, arg=2)], dropped=3)
        writer.records(Source.RENDER, [record(10, arg=3), record(20, arg=4)], dropped=1)
        writer.records(Source.LOOP, [record(30, arg=5)], dropped=4)
        writer.end(31)
    return path


def test_sources_are_merged_by_time_and_ties_keep_their_order(tmp_path: Path) -> None:
    run = read_run(small_run(tmp_path / "run"))
    assert run.records["t_ns"].tolist() == [10, 10, 20, 30, 30]
    assert run.records["arg"].tolist() == [1, 3, 4, 2, 5]
    assert run.sources.tolist() == [0, 1, 1, 0, 0]
    assert run.cut_short is None
    assert run.end == {"records": 5, "dropped": 5, "end_ns": 31}


def test_drop_counts_are_each_rings_last_word(tmp_path: Path) -> None:
    run = read_run(small_run(tmp_path / "run"))
    assert run.dropped == {0: 4, 1: 1}
    assert run.dropped_total == 5
    assert describe_drops(run) == "5 (loop 4, render 1)"


def test_later_names_replace_earlier_ones_and_never_reach_a_terminal_raw(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", {}) as writer:
        writer.names(
            [{"type": "surface", "id": 2, "name": "old"}, {"type": "surface", "id": 3, "app_id": "\x1b[2Jevil\n"}]
        )
        writer.names([{"type": "surface", "id": 2, "name": "new"}])
    run = read_run(tmp_path / "run")
    assert [run.name("surface", number) for number in (2, 3, 4)] == ["new", "?[2Jevil?", "surface 4"]


@pytest.mark.parametrize(
    ("refresh_mhz", "period_ns"), [(60_000, 16_666_667), (59.94e3, 16_683_350), (0, None), ("60", None), (None, None)]
)
def test_refresh_period_comes_from_the_outputs_name(tmp_path: Path, refresh_mhz: object, period_ns: int | None) -> None:
    with RunWriter(tmp_path / "run", {}) as writer:
        writer.names([{"type": "output", "id": 1, "refresh_mhz": refresh_mhz}])
    assert read_run(tmp_path / "run").refresh_ns(1) == period_ns


def test_a_run_that_is_still_being_written_says_so(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", {}) as writer:
        writer.records(Source.LOOP, [record(1)])
    run = read_run(tmp_path / "run")
    assert len(run.records) == 1
    assert run.cut_short is not None and "no END" in run.cut_short


def test_a_tail_of_zeros_is_where_the_file_ends(tmp_path: Path) -> None:
    path = small_run(tmp_path / "run")
    path.write_bytes(path.read_bytes() + bytes(4096))
    run = read_run(path)
    assert len(run.records) == 5
    assert run.cut_short is not None and run.cut_short.startswith("no chunk at byte")


def test_unknown_chunks_are_skipped(tmp_path: Path) -> None:
    path = small_run(tmp_path / "run")
    path.write_bytes(path.read_bytes() + HEADER.pack(MAGIC, 77, 0, 3, 0) + b"abc")
    run = read_run(path)
    assert len(run.records) == 5
    assert run.cut_short is None


def chunk(kind: int, payload: bytes) -> bytes:
    return HEADER.pack(MAGIC, kind, 0, len(payload), 0) + payload


META = chunk(1, b'{"version":1}')


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "it is empty"),
        (b"\x7fELF" + bytes(60), "not a run file"),
        (b"MCT1", "cut off inside a chunk header"),
        (chunk(3, b"[]"), "first chunk is not META"),
        (chunk(1, b"[]"), "a JSON object was expected"),
        (chunk(1, b'{"version":2}'), "format version 2"),
        (chunk(1, b'{"version":1,"pid":"x"}'), "META's pid is not an integer"),
        (chunk(1, b"{nonsense"), "damaged JSON"),
        (chunk(1, b"[" * 100_000), "damaged JSON"),
        (META + chunk(3, b"{}"), "a JSON array was expected"),
        (META + chunk(3, b'[{"type":"surface"}]'), "a name without an integer id"),
        (META + chunk(2, b"x" * 33), "33 bytes are not whole 32-byte records"),
        (META + chunk(2, b"\xff" * 32), "past the year 2262"),
        (META[:-1], "not a run file (cut off inside the chunk at byte 0"),
    ],
)
def test_what_is_no_run_file_is_named_with_its_path(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "run"
    path.write_bytes(content)
    with pytest.raises(RunFileError) as caught:
        read_run(path)
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match="No such file"):
        read_run(tmp_path / "nothing")


@FILES
@given(cut=st.integers(min_value=0))
def test_any_truncation_reads_whole_chunks_or_says_it_is_no_run_file(tmp_path: Path, cut: int) -> None:
    path = small_run(tmp_path / "run")
    whole = path.read_bytes()
    cut %= len(whole)
    path.write_bytes(whole[:cut])
    meta_bytes = HEADER.size + HEADER.unpack_from(whole)[3]
    if cut < meta_bytes:
        with pytest.raises(RunFileError):
            read_run(path)
        return
    run = read_run(path)
    assert run.cut_short
    assert len(run.records) in (0, 2, 4, 5)
    assert (np.diff(run.records["t_ns"].astype(np.int64)) >= 0).all()


@FILES
@given(data=st.data())
def test_any_damage_is_read_or_refused_with_the_documented_error(tmp_path: Path, data: st.DataObject) -> None:
    path = small_run(tmp_path / "run")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        run = read_run(path)
    except RunFileError as error:
        assert str(path) in str(error)
    else:
        assert len(run.records) == len(run.sources) <= 5


@FILES
@given(
    parts=st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.integers(0, 1 << 40), max_size=20), st.integers(0, 9)), max_size=6
    )
)
def test_what_was_written_is_read_back(tmp_path: Path, parts: list[tuple[int, list[int], int]]) -> None:
    path = tmp_path / "run"
    with RunWriter(path, {}) as writer:
        for source, times, dropped in parts:
            writer.records(source, np.array([record(t) for t in sorted(times)], RECORD_DTYPE), dropped)
        writer.end(0)
    run = read_run(path)
    assert run.records["t_ns"].tolist() == sorted(t for _source, times, _dropped in parts for t in times)
    assert run.dropped == {s: max(d for source, _t, d in parts if source == s) for s in {part[0] for part in parts}}
    assert run.cut_short is None
    assert json.dumps(run.meta)
