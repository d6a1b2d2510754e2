"""docs/ci.md does what it says: its shell and Python blocks are run, its TOML is read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minicomp.config import load
from tests.headless.conftest import REPO

TEXT = (REPO / "docs/ci.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.S | re.M)


def environment(folder: Path) -> dict[str, str]:
    """With `minicomp` found in PATH, and no runtime directory."""
    (folder / "bin").mkdir()
    program = folder / "bin/minicomp"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m minicomp "$@"\n')
    program.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if k not in ("WAYLAND_DISPLAY", "DISPLAY")}
    return {**kept, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


@pytest.mark.parametrize("number", range(len(blocks("sh"))))
def test_shell(number: int, tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    result = subprocess.run(
        ["bash", "-ec", blocks("sh")[number]], cwd=tmp_path, capture_output=True, text=True, timeout=30,
        env={**environment(tmp_path), "XDG_RUNTIME_DIR": str(runtime)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    if "wlr-randr" in blocks("sh")[number]:
        assert "HEADLESS-1" in result.stdout


def test_python(tmp_path: Path) -> None:
    (tmp_path / "test_from_the_page.py").write_text("\n\n".join(blocks("python")))
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_from_the_page.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, env=environment(tmp_path),
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    assert "5 passed" in result.stdout


@pytest.mark.parametrize("number", range(len(blocks("toml"))))
def test_toml(number: int, tmp_path: Path) -> None:
    path = tmp_path / "page.toml"
    path.write_text(blocks("toml")[number])
    assert load(path, [])


def test_the_protocol_log(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "minicomp", "run", "--backend", "headless", "--", "wayland-info"],
        capture_output=True, text=True, timeout=30, env={**environment(tmp_path), "WAYLAND_DEBUG": "server"},
    )  # fmt: skip
    assert result.returncode == 0
    assert "wl_display@1.get_registry" in result.stderr
