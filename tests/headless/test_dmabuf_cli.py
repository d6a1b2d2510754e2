"""clients/dmabuf as a command: what it says to a mistake, and its exit codes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.headless.conftest import CLIENTS


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CLIENTS / "dmabuf", *arguments], capture_output=True, text=True, timeout=20, env={**os.environ, **environment}
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--allocator", "disk"], "must be udmabuf, heap, dumb or auto"),
        (["--format", "NV12"], "must be XRGB8888"),
        (["--modifier", "tiled"], "must be linear or invalid"),
        (["--size", "0x5"], "size"),
        (["--buffers", "17"], "buffers"),
        (["--after", "dark"], "must be destroy"),
        (["--bad", "manners"], "no scenario is called manners"),
        (["more"], "unexpected argument more"),
        (["--frobnicate"], "frobnicate"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_wrong_usage_is_told_before_anything_is_tried(arguments: list[str], said: str) -> None:
    done = run(*arguments, WAYLAND_DISPLAY="wayland-none")
    assert done.returncode == 1, done.stderr
    assert said in done.stderr


def test_help_is_the_manual() -> None:
    done = run("--help")
    assert done.returncode == 0
    for option in (
        "--allocator",
        "--format",
        "--stride-extra",
        "--offset",
        "--poison",
        "--fence-ms",
        "--bad",
        "--list",
    ):
        assert option in done.stdout


def test_no_compositor(tmp_path: Path) -> None:
    done = run("--frames", "1", WAYLAND_DISPLAY="wayland-none", XDG_RUNTIME_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "cannot connect to a compositor" in done.stderr


def test_list_names_every_scenario_once() -> None:
    rows = [line.split() for line in run("--list").stdout.splitlines()[1:]]
    assert len({row[0] for row in rows}) == len(rows) >= 40
    assert {row[1] for row in rows} == {"-", "dma-buf", "wl_drm"}
