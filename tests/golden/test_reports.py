"""Golden traces give exactly these reports.

After a wanted change: `python tests/golden/test_reports.py --update`, then read the difference before committing it.
"""

import io
import json
import sys
import tempfile
from pathlib import Path

import pytest
from scenarios import SCENARIOS

from minicomp.lab.pipeline.runfile import read_run
from minicomp.lab.report.csv_export import write_csv
from minicomp.lab.report.summary import summarise_run, to_json
from minicomp.lab.report.text import pipeline_table, summary_text

REPORTS = Path(__file__).with_name("reports")
AS_JSON = ("two_outputs", "dropped", "step_clock")
AS_CSV = ("misses", "callback_only", "step_clock")


def reports(name: str, folder: Path) -> dict[str, str]:
    """File name -> text, for everything that is said of one scenario."""
    run = read_run(SCENARIOS[name](folder / f"{name}.mct"))
    made = {f"{name}.txt": summary_text(summarise_run(run)), f"{name}.pipeline.txt": pipeline_table(run)}
    if run.dropped_total:
        made[f"{name}.forced.txt"] = summary_text(summarise_run(run, force=True))
    if name in AS_JSON:
        made[f"{name}.json"] = json.dumps(to_json(summarise_run(run)), indent=1) + "\n"
    if name in AS_CSV:
        text = io.StringIO()
        write_csv(run, text)
        made[f"{name}.csv"] = text.getvalue()
    if name == "two_outputs":
        made[f"{name}.HDMI-A-1.txt"] = summary_text(summarise_run(run, output="HDMI-A-1"))
    return made


@pytest.mark.parametrize("name", SCENARIOS)
def test_reports_are_exactly_these(name: str, tmp_path: Path) -> None:
    for file, text in reports(name, tmp_path).items():
        assert text == (REPORTS / file).read_text(encoding="utf-8"), file


def test_every_kept_report_is_still_made(tmp_path: Path) -> None:
    made = {file for name in SCENARIOS for file in reports(name, tmp_path)}
    assert made == {path.name for path in REPORTS.iterdir()}


def test_the_same_scenario_makes_the_same_bytes(tmp_path: Path) -> None:
    for name, make in SCENARIOS.items():
        assert make(tmp_path / "a").read_bytes() == make(tmp_path / "b").read_bytes(), name


def update() -> None:
    REPORTS.mkdir(exist_ok=True)
    for old in REPORTS.iterdir():
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        for name in SCENARIOS:
            for file, text in reports(name, Path(folder)).items():
                (REPORTS / file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(__doc__)
    update()
