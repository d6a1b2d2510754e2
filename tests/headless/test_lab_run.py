"""`minicomp lab run` end to end: a real compositor for each run, real clients and loads, and what is left of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.compute as compute
import pytest
from pyarrow import parquet

LAB_RUN = [sys.executable, "-m", "minicomp", "lab", "run"]
EXPERIMENT = """\
name = "tiny"
question = "Does it run?"
[schedule]
warmup_s = 0.4
measure_s = 1.6
settle_s = 0.1
blocks = 2
[validity] # other tests run beside this one
max_others_share = 1.0
max_steal_share = 1.0
min_frame_share = 0.02
[[client]]
command = ["pulse", "--fullscreen", "--damage", "64x64", "--quiet"]
[[load]]
kind = "client"
command = ["pulse", "--size", "64x64", "--quiet"]
arms = ["fixed"]
[[load]]
kind = "memory"
count = 1
arguments = ["--megabytes", "8"]
arms = ["fixed"]
[base]
headless.outputs = ["640x480@120"]
policy.name = "stacking"
[arm.asap]
about = "at once"
pacing.mode = "asap"
[arm.fixed]
pacing.mode = "fixed"
pacing.fixed_ms = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(EXPERIMENT)
    return path


def lab_run(*arguments: str | Path, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAB_RUN, *map(str, arguments)], capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL
    )


def record(out: Path, stem: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "runs" / f"{stem}.json").read_text())
    return found


def children_of_experiments(marker: str) -> list[str]:
    """Command lines of processes, of any parent, that have `marker` (a path of ours) in their environment or arguments."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if marker.encode() in text:
            found.append(text.replace(b"\0", b" ").decode())
    return found


@pytest.mark.timeout(150)
def test_two_arms_two_runs_each(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = lab_run(file, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "2 arms x 2 runs of 1.6 s (up to 384 frames an arm); 4 runs to do" in result.stderr
    assert re.search(r"^4 runs: 4 ok; results in ", result.stderr, re.MULTILINE), result.stderr

    assert (out / "experiment.toml").read_text() == EXPERIMENT
    plan = json.loads((out / "plan.json").read_text())
    assert plan["arms"] == ["asap", "fixed"] and [run["block"] for run in plan["runs"]] == [1, 1, 2, 2]
    for run in plan["runs"]:
        stem = f"{run['number']:04d}-{run['arm']}"
        check_run(out, stem, run["arm"])
    # The run file of each arm's first run is kept.
    first = {run["arm"]: f"{run['number']:04d}-{run['arm']}.mct" for run in reversed(plan["runs"])}
    assert {path.name for path in (out / "traces").glob("*.mct")} == set(first.values())
    assert "tiny: 2 arms, 4 of 4 runs" in result.stdout
    assert (out / "report.txt").read_text().strip() == result.stdout.strip()
    assert "<html" in (out / "report.html").read_text()

    # Nothing of it is done again.
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()}
    again = lab_run(file, "--out", out, "--resume")
    assert again.returncode == 0 and "0 runs to do" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir()} == before

    # A disturbed run is done again when that is asked for, and only that.
    stem = f"{plan['runs'][2]['number']:04d}-{plan['runs'][2]['arm']}"
    disturbed = {**record(out, stem), "status": "disturbed", "reasons": ["a test says so"]}
    (out / "runs" / f"{stem}.json").write_text(json.dumps(disturbed))
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").iterdir() if path.stem != stem}
    redone = lab_run(file, "--out", out, "--resume", "--redo")
    assert redone.returncode == 0 and "1 runs to do" in redone.stderr and "4 runs: 4 ok" in redone.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before

    # Without --resume, or with another plan, nothing is overwritten.
    assert lab_run(file, "--out", out).returncode == 2
    other = lab_run(file, "--out", out, "--resume", "--quick")
    assert other.returncode == 2 and "another plan" in other.stderr


def check_run(out: Path, stem: str, arm: str) -> None:
    found = record(out, stem)
    assert found["status"] == "ok" and found["reasons"] == [] and found["settings"]["pacing.mode"] == arm
    assert found["run_file"]["config"]["pacing"]["mode"] == arm
    assert [load["kind"] for load in found["loads"]] == (["client", "memory"] if arm == "fixed" else [])
    assert 1.5 < found["host"]["during"]["seconds"] < 5
    assert found["threads"]["mc-loop"]["cpu_ns"] > 0
    assert found["host"]["before"]["kernel"] == os.uname().release

    table = parquet.read_table(out / "runs" / f"{stem}.parquet")
    assert table.num_rows == found["counts"]["rows"] > 20
    about = {key.decode(): json.loads(value) for key, value in table.schema.metadata.items() if b"minicomp" in key}
    assert about["minicomp.arm"] == arm and about["minicomp.settings"]["pacing.mode"] == arm
    assert set(table["arm"].to_pylist()) == {arm}
    assert set(table["surface"].to_pylist()) == {"pulse"}  # the load's windows do not count
    assert set(table["output"].to_pylist()) == {"HEADLESS-1"}
    assert set(table["refresh_ns"].to_pylist()) == {8_333_333}
    assert table["frame"].to_pylist() == list(range(1, table.num_rows + 1))
    shown = table.filter(compute.is_valid(table["presented_ns"]))
    presented = shown["presented_ns"].to_pylist()
    session = found["session"]
    assert presented == sorted(presented)
    assert session["begin_ns"] <= presented[0] <= presented[-1] < session["end_ns"]
    assert set(shown["presented_kind"].to_pylist()) == {"modelled"}
    for row in shown.to_pylist():
        assert row["commit_ns"] < row["kms_commit_ns"] < row["presented_ns"]
        assert row["commit_to_presented_ms"] == pytest.approx((row["presented_ns"] - row["commit_ns"]) / 1e6)
        assert (row["cause"] == "") == (row["missed_vblanks"] == 0)


@pytest.mark.timeout(150)
def test_killed_and_resumed(file: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of a run: nothing goes on running, and --resume does only what is missing."""
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*LAB_RUN, str(file), "--out", str(out)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: len(list((out / "runs").glob("*.json"))) >= 1 and len(list((out / "traces").iterdir())) >= 2)
    process.kill()
    process.wait(10)
    wait_for(lambda: not children_of_experiments(str(out)), "the compositor to end with the experiment")
    done = {path: path.stat().st_mtime_ns for path in (out / "runs").glob("*.json")}
    assert 1 <= len(done) < 4

    result = lab_run(file, "--out", out, "--resume")
    assert result.returncode == 0, result.stderr
    assert f"{4 - len(done)} runs to do" in result.stderr and "4 runs: 4 ok" in result.stderr
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert not list(out.rglob("*.partial"))


@pytest.mark.timeout(100)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(file: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*LAB_RUN, str(file), "--out", str(out)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: (out / "traces").is_dir() and any((out / "traces").iterdir()))
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert not children_of_experiments(str(out))
    if number == signal.SIGINT:
        assert "--resume" in said


@pytest.mark.timeout(100)
def test_collected_here_and_tabulated_there(file: Path, tmp_path: Path) -> None:
    """Collecting imports neither numpy nor pyarrow: a small machine has neither."""
    out = tmp_path / "out"
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for name in ("numpy", "pyarrow", "rich"):
        (blocked / f"{name}.py").write_text(f"raise ImportError('{name} is not to be imported')\n")
    result = subprocess.run(
        [*LAB_RUN, str(file), "--out", str(out), "--collect-only", "--arms", "asap"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(blocked)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "2 runs: 2 collected" in result.stderr
    assert not list((out / "runs").glob("*.parquet"))

    result = lab_run(file, "--out", out, "--resume", "--arms", "asap")
    assert result.returncode == 0, result.stderr
    assert "0 runs to do" in result.stderr and "2 runs: 2 ok" in result.stderr
    assert len(list((out / "runs").glob("*.parquet"))) == 2


def test_an_arm_that_does_not_take_effect_is_untreated(tmp_path: Path) -> None:
    """The kernel's refusal, in the record and in what is printed; the other arm goes on."""
    text = EXPERIMENT.replace('[arm.fixed]\npacing.mode = "fixed"\npacing.fixed_ms = 3', "[arm.fixed]\n" + UNKNOWN_CPU)
    file, out = tmp_path / "tiny.toml", tmp_path / "out"
    file.write_text(text.replace("blocks = 2", "blocks = 1"))
    result = lab_run(file, "--out", out)
    assert result.returncode == 0, result.stderr
    (path,) = (out / "runs").glob("*-fixed.json")
    found = json.loads(path.read_text())
    assert found["status"] == "untreated", found["reasons"]
    assert "render_cpus" in " ".join(found["reasons"]) or "cpuset" in " ".join(found["reasons"])
    assert "1 ok, 1 untreated" in result.stderr


UNKNOWN_CPU = 'knobs.cpuset.partition = "root"\nknobs.cpuset.render_cpus = "4094"'
"""No machine that runs these tests has a CPU of that number."""


def test_a_load_that_cannot_be_built_fails_loudly(tmp_path: Path) -> None:
    """A client that ends early spoils the run; when that happens again and again, the experiment stops."""
    file, out = tmp_path / "tiny.toml", tmp_path / "out"
    file.write_text(EXPERIMENT.replace('"pulse", "--fullscreen"', '"pulse", "--no-such-option"'))
    result = lab_run(file, "--out", out)
    assert result.returncode == 125
    last = result.stderr.strip().splitlines()[-1]
    assert "first 3 runs failed" in last and "client pulse ended early, exit code 1" in last
    assert not children_of_experiments(str(out))


def wait_for(condition: Any, what: str = "something to be written", timeout_s: float = 30) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.02)
