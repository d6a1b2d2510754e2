"""From run files to tables: every frame of a measured surface once, every missed vblank once, in the measured time."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from pyarrow import parquet
from tests.golden import scenarios
from tests.golden.scenarios import MS, START_NS, Output

from minicomp.lab.experiments.results import COLUMNS, write_parquet
from minicomp.lab.experiments.rows import Columns, count, frame_rows
from minicomp.lab.pipeline.attribution import explain, shares
from minicomp.lab.pipeline.join import join
from minicomp.lab.pipeline.runfile import Run, read_run
from minicomp.lab.pipeline.tables import MISSING

ALWAYS = (0, 1 << 62)


def run_of(name: str, tmp_path: Path) -> Run:
    return read_run(scenarios.SCENARIOS[name](tmp_path / f"{name}.mct"))


def missed(columns: Columns) -> Counter[str]:
    found: Counter[str] = Counter()
    for cause, vblanks in zip(columns["cause"], columns["missed_vblanks"], strict=True):
        assert (cause == "") == (vblanks == 0)
        if vblanks:
            found[cause] += int(vblanks)
    return found


@pytest.mark.parametrize("name", ["asap_60hz", "misses", "client_late", "two_outputs", "truncated"])
def test_every_miss_is_in_the_table_once(name: str, tmp_path: Path) -> None:
    run = run_of(name, tmp_path)
    columns = frame_rows(run, *ALWAYS, {})
    expected = {cause: vblanks for cause, vblanks in shares(explain(join(run))).items() if vblanks}
    assert missed(columns) == expected
    assert bool(expected) == (name in ("misses", "client_late"))


def test_frames_and_misses_add_up_to_the_vblanks(tmp_path: Path) -> None:
    run = run_of("misses", tmp_path)
    columns = frame_rows(run, *ALWAYS, {5007: "pulse"})
    presented = [ns for ns in columns["presented_ns"] if ns != MISSING]
    first, last = min(presented), max(presented)
    due = len(set(presented)) + sum(missed(columns).values())
    vblanks = round((last - first) / Output().refresh_ns) + 1
    # The discarded frame's vblank showed nothing, for a reason that is not lateness.
    assert due == vblanks - 1
    assert set(columns["surface"]) == {"pulse"} and set(columns["output"]) == {"HEADLESS-1"}
    assert list(columns["frame"]) == list(range(1, len(columns["frame"]) + 1))


def test_only_the_measured_time_counts(tmp_path: Path) -> None:
    run = run_of("misses", tmp_path)
    begin_ns, end_ns = START_NS + 500 * MS, START_NS + 1500 * MS
    columns = frame_rows(run, begin_ns, end_ns, {})
    everything = frame_rows(run, *ALWAYS, {})
    inside = [ns for ns in everything["presented_ns"] if begin_ns <= ns < end_ns]
    assert [ns for ns in columns["presented_ns"] if ns != MISSING] == inside
    numbers = count(run, columns, begin_ns, end_ns)
    assert numbers["shown"] == len(inside) == 59  # of 60: one of the three late frames lies in this second
    assert numbers["vblanks"] in (59, 60) and sum(numbers["missed"].values()) == 1


def test_windows_of_loads_do_not_count(tmp_path: Path) -> None:
    run = run_of("two_outputs", tmp_path)
    everything = frame_rows(run, *ALWAYS, {})
    pids = {entry["client_pid"]: entry["app_id"] for (kind, _), entry in run.names.items() if kind == "surface"}
    assert list(pids.values()) == ["left", "right", "shared"]
    load = min(pids)
    columns = frame_rows(run, *ALWAYS, pids, load_pids=[load])
    assert set(columns["surface"]) == {"right", "shared"}
    assert 0 < len(columns["frame"]) < len(everything["frame"])


def test_the_file_says_the_same(tmp_path: Path) -> None:
    run = run_of("client_late", tmp_path)
    columns = frame_rows(run, *ALWAYS, {})
    identity = {"experiment": "e", "host": "h", "arm": "a", "block": 2, "run": 3, "status": "ok"}
    path = tmp_path / "runs.parquet"
    assert write_parquet(path, columns, identity, {"settings": {"pacing.mode": "asap"}}) == len(columns["frame"])
    table = parquet.read_table(path)
    assert tuple(table.column_names) == COLUMNS
    assert json.loads(table.schema.metadata[b"minicomp.settings"]) == {"pacing.mode": "asap"}
    for name, value in identity.items():
        assert set(table[name].to_pylist()) == {value}
    for name in ("presented_ns", "missed_vblanks", "commit_ns"):
        assert table[name].to_pylist() == [None if n == MISSING else n for n in columns[name].tolist()]
    assert table["cause"].to_pylist() == list(columns["cause"])
    assert parquet.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"
    assert not list(tmp_path.glob("*.partial"))


def test_an_empty_run_makes_an_empty_table(tmp_path: Path) -> None:
    run = run_of("misses", tmp_path)
    columns = frame_rows(run, 0, 1, {})
    identity = {"experiment": "e", "host": "h", "arm": "a", "block": 1, "run": 1, "status": "disturbed"}
    assert write_parquet(tmp_path / "empty.parquet", columns, identity, {}) == 0
    assert count(run, columns, 0, 1)["shown"] == 0
