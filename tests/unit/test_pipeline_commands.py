"""`minicomp trace ...` as a user calls it: what it prints, what it writes, how it ends."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minicomp.cli import main
from minicomp.lab.pipeline.points import RECORD_DTYPE, Origin, Point, Source, present_flags
from minicomp.lab.pipeline.runfile import RunWriter, read_run
from minicomp.lab.report.csv_export import COLUMNS, write_csv
from minicomp.lab.report.perfetto_export import export_perfetto
from minicomp.lab.report.summary import summarise_run, to_json
from minicomp.lab.report.text import pipeline_table, summary_text


def write_run(path: Path, *, dropped: int = 0, origin: Origin = Origin.MODELLED) -> Path:
    shown = present_flags(1, origin, 1)
    rows = [
        (1_000_000, 0, 0, 7, Point.COMMIT_REQUEST, 0, 0),
        (1_020_000, 1, 0, 7, Point.SURFACE_COMMIT, 0, 3),
        (1_030_000, 0, 1, 0, Point.COMPOSE_BEGIN, 1, 0),
        (1_031_000, 1, 1, 7, Point.SURFACE_LATCHED, 1, 0),
        (1_900_000, 0, 1, 0, Point.COMPOSE_END, 1, 0),
        (17_000_000, 16_000_000, 1, 0, Point.PRESENTED, 1, shown),
    ]
    with RunWriter(path, {"clock": "real", "backend": "headless"}) as writer:
        writer.names([{"type": "output", "id": 1, "name": "A", "refresh_mhz": 60_000}])
        writer.records(Source.LOOP, rows, dropped)
        writer.end(17_000_000)
    return path


def test_summary_prints_the_metrics_and_says_what_the_times_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", "summary", str(write_run(tmp_path / "run"))]) == 0
    out = capsys.readouterr().out
    assert "MsUntilDisplayed" in out and "15.000" in out
    assert "modelled, not photons" in out
    assert "these are not photon latencies" in out


def test_only_hardware_times_are_called_photon_latencies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "summary", str(write_run(tmp_path / "run", origin=Origin.HARDWARE))]) == 0
    out = capsys.readouterr().out
    assert "not photon" not in out
    assert "hardware's vblank stamps" in out


def test_summary_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "summary", "--json", str(write_run(tmp_path / "run"))]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["metrics_ms"]["MsUntilDisplayed"] == {
        "note": "", "count": 1, "p50": None, "p90": None, "p99": None, "p99.9": None, "max": 15.0
    }  # fmt: skip
    assert said["display_times"]["photons"] is False


def test_dropped_records_withhold_percentiles_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_run(tmp_path / "run", dropped=3))
    assert main(["trace", "summary", path]) == 1
    refused = capsys.readouterr().out
    assert "Dropped records: 3 (loop 3)" in refused and "--force" in refused
    assert "MsUntilDisplayed" not in refused
    assert main(["trace", "summary", "--json", path]) == 1
    assert json.loads(capsys.readouterr().out)["metrics_ms"] == {}
    assert main(["trace", "summary", "--force", path]) == 0
    assert "MsUntilDisplayed" in capsys.readouterr().out


def test_an_unknown_output_is_answered_with_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "summary", "--output", "B", str(write_run(tmp_path / "run"))]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no output 'B'" in captured.err and "it has: A" in captured.err


def test_export_writes_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_run(tmp_path / "run"))
    table, trace = tmp_path / "out.csv", tmp_path / "out.pftrace"
    assert main(["trace", "export", path, "--csv", str(table), "--perfetto", str(trace)]) == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["output"], row["MsUntilDisplayed"], row["flip_ns"]) for row in rows] == [
        ("A", "15.000000", "16000000")
    ]
    assert trace.stat().st_size > 100
    assert "1 frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["export", "RUN"], 2, "--perfetto OUT"),
        (["export", "RUN", "--csv", "/nonexistent/out"], 69, "/nonexistent/out: No such file"),
        (["export", "RUN", "--perfetto", "/nonexistent/out"], 69, "/nonexistent/out: No such file"),
        (["summary", "/nonexistent/run"], 2, "/nonexistent/run: No such file"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, complaint: str
) -> None:
    path = str(write_run(tmp_path / "run"))
    assert main(["trace", *(path if word == "RUN" else word for word in arguments)]) == code
    errors = capsys.readouterr().err
    assert complaint in errors
    assert errors.count("\n") == 1


def test_dump_prints_records_up_to_the_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_run(tmp_path / "run"))
    assert main(["trace", "dump", path, "--limit", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "      0.000000 ms  loop    COMMIT_REQUEST    surface=7",
        "      0.020000 ms  loop    SURFACE_COMMIT    surface=7 arg=1 buffer|damage",
    ]
    assert main(["trace", "dump", path]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6


small = st.integers(0, 4)
wild = st.integers(0, (1 << 32) - 1)
garbage = st.lists(
    st.tuples(
        st.integers(0, 300) | st.integers(0, (1 << 63) - 1),
        st.integers(0, 300) | st.integers(0, (1 << 64) - 1),
        small | wild,
        small | wild,
        st.integers(0, 24) | st.integers(0, 65535),
        small | st.integers(0, 65535),
        st.integers(0, 20) | wild,
    ),
    max_size=60,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(rows=garbage, clock=st.sampled_from(["real", "step"]), source=st.integers(0, 3))
def test_any_records_at_all_make_every_report(
    tmp_path: Path, rows: list[tuple[int, ...]], clock: str, source: int
) -> None:
    """A record's numbers are never trusted: reports of nonsense are nonsense, not a crash."""
    assert RECORD_DTYPE.names is not None
    path = tmp_path / "run"
    with RunWriter(path, {"clock": clock}) as writer:
        writer.names([{"type": "output", "id": 1, "name": "A", "refresh_mhz": 60_000}])
        writer.records(Source.LOOP, rows[::2])
        writer.records(source, rows[1::2])
    run = read_run(path)
    assert summary_text(summarise_run(run))
    assert pipeline_table(run)
    assert json.dumps(to_json(summarise_run(run)))
    table = io.StringIO()
    frames = write_csv(run, table)
    assert len(list(csv.reader(table.getvalue().splitlines()))) == frames + 1
    assert table.getvalue().startswith(",".join(COLUMNS[:3]))
    export_perfetto(run, tmp_path / "out")
