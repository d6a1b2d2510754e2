"""The test clients' command lines: what they refuse, what they document, how they end without a compositor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
BUILT = REPO / "build/clients"
COMMANDS = {
    "pulse": [str(BUILT / "pulse")],
    "echo": [str(BUILT / "echo")],
    "hostile": [str(BUILT / "hostile")],
    "gallery": [sys.executable, str(REPO / "clients/gallery.py")],
}


def run(client: str, *arguments: str, runtime: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYLAND")}
    if runtime is not None:
        environment["XDG_RUNTIME_DIR"] = str(runtime)
    return subprocess.run(
        [*COMMANDS[client], *arguments], capture_output=True, text=True, timeout=20, env=environment, check=False
    )


@pytest.mark.parametrize("client", COMMANDS)
def test_help_teaches_and_names_every_exit_code(client: str) -> None:
    answer = run(client, "--help")
    assert answer.returncode == 0
    assert "xit code: 0" in answer.stdout
    assert not answer.stderr
    assert max(map(len, answer.stdout.splitlines())) <= 120


@pytest.mark.parametrize("client", COMMANDS)
def test_without_a_compositor_the_exit_code_is_2(client: str, tmp_path: Path) -> None:
    arguments = ["bad-object"] if client == "hostile" else []
    answer = run(client, *arguments, runtime=tmp_path)
    assert answer.returncode == 2
    assert "cannot connect to a compositor" in answer.stderr


@pytest.mark.parametrize(
    ("client", "arguments", "named"),
    [
        ("pulse", ["--frames", "-1"], "--frames"),
        ("pulse", ["--frames", "0"], "--frames"),
        ("pulse", ["--size", "640"], "--size"),
        ("pulse", ["--size", "0x480"], "--size"),
        ("pulse", ["--size", "640x480x3"], "--size"),
        ("pulse", ["--mode", "vsync"], "vsync"),
        ("pulse", ["--period-us", "1000"], "--mode period"),
        ("pulse", ["--work-dist", "normal:1000"], "2 numbers"),
        ("pulse", ["--work-dist", "bimodal:1,2,1.5"], "probability"),
        ("pulse", ["--work-dist", "pareto:100,0"], "alpha"),
        ("pulse", ["--work-dist", "normal:1,2", "--work-us", "5", "--work-dist", "normal:1,2"], "--work-us"),
        ("pulse", ["--color", "red"], "six hex digits"),
        ("pulse", ["--no-feedback", "--require-presentation"], "contradict"),
        ("pulse", ["frames"], "frames"),
        ("echo", ["--events", "many"], "--events"),
        ("hostile", [], "one scenario"),
        ("hostile", ["no-such-thing"], "no-such-thing"),
        ("hostile", ["bad-object", "--count", "3"], "--count"),
        ("gallery", ["--scene", "no-such-thing"], "no-such-thing"),
    ],
)
def test_wrong_usage_is_named_and_ends_with_1(client: str, arguments: list[str], named: str) -> None:
    answer = run(client, *arguments)
    assert answer.returncode == 1
    assert named in answer.stderr
    assert not answer.stdout


def test_a_log_that_cannot_be_opened_ends_with_4(tmp_path: Path) -> None:
    answer = run("pulse", "--log", str(tmp_path / "no/such/folder"))
    assert answer.returncode == 4
    assert "No such file" in answer.stderr


def test_hostile_lists_every_scenario_once_with_an_expectation() -> None:
    lines = run("hostile", "--list").stdout.splitlines()[1:]
    names = [line.split()[0] for line in lines]
    assert len(names) == len(set(names)) >= 40
    assert {line.split()[1] for line in lines} == {"killed", "survives", "either", "dies"}


def test_gallery_gives_each_element_its_own_colour() -> None:
    listing = run("gallery", "--help").stdout.split("colours:")[1].split("The ready line")[0]
    colours = [line.split()[1] for line in listing.strip().splitlines()]
    assert len(colours) == len(set(colours)) == 15
