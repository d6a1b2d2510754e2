"""Experiment files: what is read, what is refused and where the message points, the ready-made ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from minicomp.config import parse_set
from minicomp.errors import ConfigError
from minicomp.lab.experiments.plan import make_plan
from minicomp.lab.experiments.read import FAIR, read_experiment, set_argument
from minicomp.lab.experiments.results import COLUMNS
from minicomp.lab.experiments.session import load_commands
from minicomp.lab.experiments.spec import Client, ExperimentFile, Load, Schedule, Validity
from minicomp.lab.statistics.bootstrap import ENOUGH_BLOCKS

REPO = Path(__file__).resolve().parents[2]
READY_MADE = sorted(file for file in (REPO / "configs/experiments").glob("*.toml") if file.stem != "demo")
"""Without the few seconds that end `minicomp demo`."""
GOOD = """\
name = "example"

[schedule]
measure_s = 3

[[client]]
command = ["pulse", "--fullscreen"]

[[load]]
kind = "cpu"
arms = ["b"]

[base]
headless.outputs = ["640x480@120"]
pacing.mode = "asap"

[arm.a]
about = "as it is"

[arm.b]
pacing = { mode = "fixed", fixed_ms = 3.5 }
"""


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "example.toml"
    file.write_text(text)
    return str(file)


def test_arms_are_laid_over_the_base(tmp_path: Path) -> None:
    experiment = read_experiment(write(tmp_path, GOOD))
    first, second = experiment.arms
    assert (first.name, first.about, experiment.baseline) == ("a", "as it is", "a")
    assert first.settings == {"headless.outputs": ["640x480@120"], "pacing.mode": "asap", **FAIR}
    assert second.settings["pacing.mode"] == "fixed" and second.settings["pacing.fixed_ms"] == 3.5
    assert experiment.schedule.measure_s == 3 and experiment.quick.measure_s == 2


def test_fairness_gives_way_to_what_the_file_says(tmp_path: Path) -> None:
    text = GOOD.replace("[arm.a]\n", "[arm.a]\nknobs.system.timer_slack_ns = 50000\n")
    first, second = read_experiment(write(tmp_path, text)).arms
    assert first.settings["knobs.system.timer_slack_ns"] == 50_000
    assert second.settings["knobs.system.timer_slack_ns"] == 1


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('name = "example"', 'name = "Example"', 1, "lower-case"),
        ('name = "example"', 'nam = "example"', 1, 'did you mean "name"'),
        ("measure_s = 3", "measure_s = -3", 4, "seconds"),
        ("measure_s = 3", "mesure_s = 3", 4, 'did you mean "measure_s"'),
        ('command = ["pulse", "--fullscreen"]', "command = []", 7, "a program and its arguments"),
        ('kind = "cpu"', 'kind = "cpus"', 10, 'did you mean "cpu"'),
        ('arms = ["b"]', 'arms = ["c"]', 11, "there are: a, b"),
        ('arms = ["b"]', 'command = ["pulse"]', 9, 'kind "client"'),
        ('pacing.mode = "asap"', 'pacing.mode = "soon"', 15, '"asap", "fixed", "adaptive"'),
        ('pacing.mode = "asap"', 'pacing.moed = "asap"', 15, 'did you mean "mode"'),
        ('pacing.mode = "asap"', 'trace.path = "x.mct"', 15, "set by the experiment"),
        ('about = "as it is"', "about = 3", 18, "sentence"),
        ("fixed_ms = 3.5", "fixed_ms = -1", 21, "milliseconds before the vblank"),
        ("[arm.b]", "[arm.B]", 20, "lower-case"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(ConfigError) as raised:
        read_experiment(write(tmp_path, GOOD.replace(old, new)))
    message = str(raised.value)
    assert f"example.toml:{line}: " in message
    assert words in message
    assert len(message.splitlines()) == 1


def test_no_client_and_no_arm_are_mistakes(tmp_path: Path) -> None:
    for wanted, table in (("client", "[[client]]"), ("arm", "[arm.")):
        lines = GOOD.split("\n\n")
        text = "\n\n".join(part for part in lines if not part.startswith(table))
        with pytest.raises(ConfigError, match=wanted):
            read_experiment(write(tmp_path, text.replace('arms = ["b"]', "")))


def test_settings_survive_the_command_line(tmp_path: Path) -> None:
    """What is passed by --set is read there as the same value."""
    awkward = {
        "headless.outputs": ["1x1@60", "2x2@59.94"],
        "policy.options.state": 'a "quoted" \\ word = [1]',
        "render.thread": False,
        "pacing.fixed_ms": 0.5,
        "headless.latch_us": 1000,
        "policy.options.outputs": {"a b": "HEADLESS-1"},
    }
    for key, value in awkward.items():
        override = parse_set(set_argument(key, value))
        assert (".".join(override.path), override.value) == (key, value)


@pytest.mark.parametrize("file", READY_MADE, ids=lambda file: file.stem)
def test_ready_made_experiments_are_good_and_large_enough(file: Path) -> None:
    experiment = read_experiment(str(file))
    assert experiment.name == file.stem
    assert experiment.question.endswith("?")
    assert len(experiment.arms) >= 2
    plan = make_plan(experiment, quick=False)
    runs = len(plan.runs) / len(plan.arms)
    # 10,000 vblanks an arm, and enough blocks to resample.
    refresh_hz = 120 if "@120" in file.read_text() else 60
    assert runs * experiment.schedule.measure_s * refresh_hz >= 10_000
    assert experiment.schedule.blocks >= 10
    quick = make_plan(experiment, quick=True)
    # Under three minutes with the report, and enough blocks for intervals that are not only "rough".
    assert len(quick.runs) * quick.run_s < 165
    assert experiment.quick.blocks >= ENOUGH_BLOCKS


def test_the_eight_of_the_documentation_are_there() -> None:
    assert [file.stem for file in READY_MADE] == sorted(
        [
            "epoll-vs-io_uring",
            "gc-and-gil",
            "huge-pages",
            "pacing-pareto",
            "pi-vs-plain",
            "pinning",
            "populate-and-mlock",
            "scheduler-under-load",
        ]
    )


def test_loads_become_commands(tmp_path: Path) -> None:
    text = GOOD.replace('kind = "cpu"\narms = ["b"]', 'kind = "fork"\ncount = 2\narguments = ["--per-second", "5"]')
    (load,) = read_experiment(write(tmp_path, text)).loads
    (command,) = load_commands(load)
    assert command[1:] == ["fork", "--copies", "2", "--per-second", "5"]


def test_the_documentation_s_example_is_a_good_file_with_every_key(tmp_path: Path) -> None:
    text = (REPO / "docs/lab.md").read_text().partition("```toml\n")[2].partition("```")[0]
    experiment = read_experiment(write(tmp_path, text))
    assert [arm.name for arm in experiment.arms] == ["other", "fifo"]
    for struct in (ExperimentFile, Schedule, Client, Load, Validity):
        lacking = [key for key in struct.__struct_encode_fields__ if not re.search(rf"\b{key}\b", text)]
        assert lacking == [], f"docs/lab.md does not show {struct.__name__}'s {lacking}"


def test_the_documentation_s_columns_are_the_files() -> None:
    text = (REPO / "docs/lab.md").read_text().partition("Columns of the Parquet files")[2].partition("### ")[0]
    assert [name for name in COLUMNS if not re.search(rf"\b{name}\b", text)] == []
