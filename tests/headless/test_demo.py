"""`minicomp demo` as a user runs it: its files, its tables, and the comparison at the end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(180)
def test_the_demo_ends_with_a_comparison(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "minicomp", "demo", "--seconds", "1", "--out", "shown"]
    for _again in range(2):  # over its own files
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=80, check=False)
        assert result.returncode == 0, result.stderr
    out = " ".join(result.stdout.split())
    assert "Where each frame's time went" in out
    assert "Does composing late, and asking clients late, show frames sooner?" in out
    assert "adaptive misses " in out and "more runs needed: " in out
    assert "adaptive, commit → presented: smaller than asap's in " in out
    folder = tmp_path / "shown"
    for name in ("demo.png", "demo.mct", "demo.pftrace", "comparison/report.html", "comparison/summary.csv"):
        assert (folder / name).stat().st_size > 500, name
    assert len(list((folder / "comparison/runs").glob("*.parquet"))) == 8


@pytest.mark.timeout(60)
def test_the_comparison_can_be_left_out(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "minicomp", "demo", "--seconds", "1", "--no-compare", "--out", "shown"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "shown/comparison").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--seconds", "0"], "argument --seconds: 0 is not a number of seconds from 1 to 3600"),
        (["--out", "/proc/nowhere"], "--out /proc/nowhere: cannot make this folder: No such file or directory"),
        (["--hz", "0"], "headless.outputs"),
    ],
)
def test_wrong_options_are_told_before_anything_runs(tmp_path: Path, arguments: list[str], says: str) -> None:
    command = [sys.executable, "-m", "minicomp", "demo", *arguments]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 2, result.stderr
    assert says in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr and "running" not in result.stdout
