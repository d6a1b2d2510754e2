"""Results of an experiment give exactly this text and CSV; the page holds the same and nothing from elsewhere.

After a wanted change: `python tests/golden/test_experiment_reports.py --update`, then read the difference.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import experiment_results
import pytest
from rich.console import Console

from minicomp.errors import MinicompError
from minicomp.lab.pipeline.attribution import CAUSES as EXPLAINED
from minicomp.lab.report import experiment
from minicomp.lab.report.experiment_command import add_arguments
from minicomp.lab.statistics.analysis import analyse
from minicomp.lab.statistics.measures import CAUSES
from minicomp.lab.statistics.results import read_results

KEPT = Path(__file__).with_name("experiments")
NAME = "results"
"""The folder's name is part of the report."""


def small(folder: Path) -> Path:
    return experiment_results.small(folder / NAME)


def unusable(folder: Path) -> Path:
    """Every run was disturbed or refused."""
    marks = {
        number: experiment_results.Mark("disturbed", ("other programs had 94 % of the CPU time (limit 10 %)",))
        for number in range(1, 7)
    }
    return experiment_results.write_experiment(folder / NAME, experiment_results.ARMS, blocks=2, frames=60, marks=marks)


def resolved(folder: Path) -> Path:
    """Enough runs to tell; the candidate never misses, the baseline often."""
    arms = {
        "other": experiment_results.Model({"knobs.render.class": "other"}, wake_us=90, stall=0.2, kind="hardware"),
        "deadline": experiment_results.Model({"knobs.render.class": "deadline"}, wake_us=25, lock=0.0, kind="hardware"),
    }
    return experiment_results.write_experiment(folder / NAME, arms, blocks=8, frames=400)


CASES = {"small": small, "unusable": unusable, "resolved": resolved}


@pytest.mark.parametrize("name", CASES)
def test_text_is_exactly_this(name: str, tmp_path: Path) -> None:
    folder = CASES[name](tmp_path)
    assert experiment.render_text(folder) == (KEPT / f"{name}.txt").read_text(encoding="utf-8")


def test_every_kept_report_is_still_made() -> None:
    assert {path.name for path in KEPT.iterdir()} == {*(f"{name}.txt" for name in CASES), "small.csv"}


def test_csv_is_exactly_this_and_agrees_with_the_text(tmp_path: Path) -> None:
    folder = small(tmp_path)
    written = {path.name for path in experiment.write_all(folder)}
    assert written == {"report.html", "report.txt", "summary.csv"}
    text = (folder / "summary.csv").read_text(encoding="utf-8")
    assert text == (KEPT / "small.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    rate = next(
        row for row in rows if (row["arm"], row["metric"], row["kind"]) == ("fifo", "compositor misses", "rate")
    )
    assert f"fifo misses {100 * float(rate['value']):.2f} %" in experiment.render_text(folder)


def test_the_sentence_comes_first_and_is_plain(tmp_path: Path) -> None:
    first = experiment.sentences(resolved(tmp_path))[0]
    shape = r"deadline misses 0\.00 % \[0\.00, 0\.\d+\] against [\d.]+ % \[[\d.]+, [\d.]+\], at least \d+ times fewer; "
    assert re.fullmatch(shape + r"more runs needed: no\.", first), first


def test_numbers_in_the_report_are_those_of_the_rows(tmp_path: Path) -> None:
    """Counted again from the files, without the code under test."""
    from pyarrow import parquet

    folder = small(tmp_path)
    rows = [
        row
        for path in sorted((folder / "runs").glob("*-fifo.parquet"))
        if json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["status"] == "ok"
        for row in parquet.read_table(path).to_pylist()
    ]
    shown = sorted(row["commit_to_presented_ms"] for row in rows if row["presented_ns"] is not None)
    missed = sum(row["missed_vblanks"] for row in rows)
    arm = analyse(read_results(folder), resamples=50).arm("fifo")
    assert (arm.frames, arm.due, arm.runs) == (len(shown), len(shown) + missed, 5)
    by_client = sum(row["missed_vblanks"] for row in rows if row["cause"] == "client late")
    assert arm.rates["client"].hits == by_client
    assert arm.rates["compositor"].hits == missed - by_client
    assert sum(arm.causes.values()) == missed
    latency = arm.summaries["commit_to_presented_ms"]
    assert latency.max is not None and latency.max.value == shown[-1]
    p99 = latency.percentiles["p99"]
    assert p99 is not None and p99.value == shown[-(-len(shown) * 99 // 100) - 1]
    # One more sample for each vblank that a shown frame missed, as far as the latency holds so many refreshes.
    assert arm.corrected.count == len(shown) + missed - by_client


def test_left_out_runs_change_no_number(tmp_path: Path) -> None:
    """Garbage in a disturbed run's rows, or none at all, makes no difference to anything but what is said of it."""
    folder = small(tmp_path)
    before = experiment.render_text(folder)
    (folder / "runs/0005-other.parquet").write_bytes(b"no table")
    assert experiment.render_text(folder) == before
    with pytest.raises(MinicompError, match=r"0005-other\.parquet"):
        experiment.render_text(folder, with_disturbed=True)


def test_disturbed_runs_count_only_loudly(tmp_path: Path) -> None:
    folder = unusable(tmp_path)
    nothing, remedy = experiment.sentences(folder)
    assert nothing == "Nothing can be said: none of the 6 runs is usable. The reasons are below."
    assert "--redo" in remedy and "--with-disturbed" in remedy
    said = experiment.sentences(folder, with_disturbed=True)
    assert said[0].startswith("fifo misses ")
    assert "6 of the 6 runs were disturbed" in said[-1]


def test_a_run_without_its_table_is_missing_not_fatal(tmp_path: Path) -> None:
    folder = small(tmp_path)
    (folder / "runs/0001-fifo.parquet").unlink(missing_ok=True)
    (folder / "runs/0001-other.parquet").unlink(missing_ok=True)
    (folder / "runs/0001-deadline.parquet").unlink(missing_ok=True)
    assert re.search(r"0001-\w+ +missing +0001-\w+\.parquet is not there", experiment.render_text(folder))


def test_a_folder_of_something_else_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MinicompError, match=r"plan\.json: No such file"):
        experiment.render_text(tmp_path)
    folder = small(tmp_path)
    (folder / "plan.json").write_text("[]", encoding="utf-8")
    with pytest.raises(MinicompError, match="not what `minicomp lab run` writes"):
        experiment.render_text(folder)


def test_a_table_that_lacks_columns_is_refused_in_one_line(tmp_path: Path) -> None:
    """As one of another version of the runner's; what it does have is nobody's business."""
    from pyarrow import parquet

    folder = small(tmp_path)
    path = folder / "runs/0002-other.parquet"
    parquet.write_table(parquet.read_table(path).drop_columns(["evidence", "commit_ns"]), path)
    with pytest.raises(MinicompError) as refused:
        experiment.render_text(folder)
    said = "not what `minicomp lab run` writes: lacks the columns commit_ns, evidence"
    assert str(refused.value) == f"{path}: {said}"


class _Page(HTMLParser):
    """Balanced tags, and everything that could reach outside."""

    VOID = ("meta", "link", "br", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.figures = 0
        self.captions: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.figures += tag == "figure"
        if tag in ("script", "link", "img", "iframe"):
            self.outside.append(tag)
        self.outside += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.outside += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "figcaption":
            self.captions.append(data)


def test_the_page_stands_alone_and_each_picture_says_its_n(tmp_path: Path) -> None:
    path = experiment.write_html(small(tmp_path))
    text = path.read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    page.close()
    assert page.open == ["html"] or page.open == []
    assert page.outside == []
    assert "url(" not in text and "@import" not in text
    assert page.figures == 7
    assert len(page.captions) == 7
    assert all(re.search(r"n = [\d,]+ ", caption) for caption in page.captions)
    assert all("modelled display's clock" in caption or "CLOCK_MONOTONIC" in caption for caption in page.captions)
    assert path.stat().st_size < 3_000_000
    assert "nan" not in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def test_names_with_markup_stay_names(tmp_path: Path) -> None:
    """What a file says is shown, never run."""
    folder = experiment_results.write_experiment(
        tmp_path / NAME, experiment_results.ARMS, question="Is <script>alert(1)</script> & 3 > 2?", blocks=2, frames=80
    )
    page = _Page()
    page.feed(experiment.write_html(folder).read_text(encoding="utf-8"))
    assert page.outside == []


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_terminal_of_any_width_shows_the_answer_and_the_reasons(width: int, tmp_path: Path) -> None:
    out = io.StringIO()
    experiment.print_report(small(tmp_path), Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    words = " ".join(out.getvalue().split())
    assert "fifo misses 0.32 % [0.06, 0.96] against" in words
    for run in ("0005-other", "0009-other", "0012-fifo", "0018-other"):
        assert run in words


def test_the_command_writes_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    folder = resolved(tmp_path)
    options = parser.parse_args([str(folder)])
    assert options.run(options) == 0
    assert f"{folder / 'report.html'}" in "".join(capsys.readouterr().out.split("\n"))
    assert (folder / "report.txt").read_text(encoding="utf-8") == experiment.render_text(folder)
    shutil.rmtree(folder / "runs")
    options = parser.parse_args([str(folder), "--text"])
    options.run(options)
    assert "none of the 16 runs is usable" in capsys.readouterr().out


def test_causes_are_those_that_attribution_gives() -> None:
    assert CAUSES == EXPLAINED


def update() -> None:
    KEPT.mkdir(exist_ok=True)
    for old in KEPT.iterdir():
        old.unlink()
    for name, make in CASES.items():
        with tempfile.TemporaryDirectory() as place:
            folder = make(Path(place))
            (KEPT / f"{name}.txt").write_text(experiment.render_text(folder), encoding="utf-8")
            if name == "small":
                experiment.write_all(folder)
                shutil.copy(folder / "summary.csv", KEPT / "small.csv")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(__doc__)
    update()
