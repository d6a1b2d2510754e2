"""A golden run with a miss for each cause gives exactly these lines, with and without the kernel's side.

After a wanted change: `python tests/golden/test_causes.py --update`, then read the difference before committing it.
"""

import sys
import tempfile
from pathlib import Path

import pytest
from causes_scenario import STEPS, every_cause

from minicomp.lab.kernel.reader import read_beside
from minicomp.lab.pipeline.attribution import CAUSES, explain, shares
from minicomp.lab.pipeline.join import join
from minicomp.lab.pipeline.runfile import read_run
from minicomp.lab.report.misses_text import misses_text, percentages
from minicomp.lab.report.perfetto_export import export_perfetto

KEPT = Path(__file__).with_name("causes")


def reports(folder: Path) -> dict[str, str]:
    made = {}
    for name, kernel in (("run_file_alone", False), ("with_kernel", True)):
        run = read_run(every_cause(folder / f"{name}.mct", kernel=kernel))
        made[f"{name}.txt"] = misses_text(run, explain(join(run), read_beside(run.path)))
    return made


def test_each_cause_in_words(tmp_path: Path) -> None:
    made = reports(tmp_path)
    assert made == {file.name: file.read_text(encoding="utf-8") for file in KEPT.iterdir()}


@pytest.mark.parametrize("kernel", [False, True])
def test_every_cause_is_there_once(tmp_path: Path, kernel: bool) -> None:
    run = read_run(every_cause(tmp_path / "run.mct", kernel=kernel))
    causes = explain(join(run), read_beside(run.path))
    assert {cause.name for cause in causes} == set(CAUSES)
    assert len(causes) == len(STEPS)
    assert sum(shares(causes).values()) == sum(cause.vblanks for cause in causes)


def test_shares_add_up_to_100_percent() -> None:
    for counts in ([1, 1, 1], [2, 7, 9, 1], [1, 999], [0, 3], [5], [1] * 7):
        assert round(sum(percentages(counts)), 6) == 100.0, counts
    assert percentages([0, 0]) == [0.0, 0.0]


def test_perfetto_shows_when_threads_ran_and_who_ran_instead(tmp_path: Path) -> None:
    from trace_processor import TraceProcessor

    path = every_cause(tmp_path / "run.mct", kernel=True)
    export_perfetto(read_run(path), tmp_path / "out", read_beside(path))
    trace = TraceProcessor(tmp_path / "out")
    try:
        rows = trace.query(
            """select slice.name as name, count(*) as n, extract_arg(slice.arg_set_id, 'debug.ran instead') as instead
               from slice join track on slice.track_id = track.id where track.name = 'mc-render on CPUs' group by 1, 3"""
        )
        causes = trace.query(
            "select extract_arg(arg_set_id, 'debug.cause') as cause from slice where name = 'frame 40'"
        )
    finally:
        trace.close()
    assert next(row for row in rows if row["name"] == "runs on CPU 1")["n"] == 261
    assert any("`yes` (pid 4711) ran 7.890 ms of it on CPU 1" in (row["instead"] or "") for row in rows)
    assert causes == [{"cause": "wake late"}]


def update() -> None:
    KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for file, text in reports(Path(folder)).items():
            (KEPT / file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(__doc__)
    update()
