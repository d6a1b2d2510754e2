"""build/clients/load: it works hard, ends at once when told to, and never outlives who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LOAD = Path(__file__).resolve().parents[2] / "build/clients/load"


def group_members(group: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def wait_until_gone(group: int) -> None:
    end_s = time.monotonic() + 5
    while group_members(group):
        assert time.monotonic() < end_s, f"left running: {group_members(group)}"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("arguments", "cpu_s"),
    [
        (["cpu", "--copies", "2"], 0.2),
        (["memory", "--copies", "1", "--megabytes", "16"], 0.1),
        (["pagecache", "--copies", "1", "--megabytes", "8"], 0.05),
        (["fork", "--copies", "1"], 0.1),
        (["cpu", "--copies", "1", "--nice", "5"], 0.05),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_each_kind_works_until_it_is_told_to_end(arguments: list[str], cpu_s: float) -> None:
    before = os.times()
    process = subprocess.Popen([str(LOAD), *arguments], process_group=0, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(1.0)
        assert process.poll() is None
        process.terminate()
        _, said = process.communicate(timeout=5)
    finally:
        process.kill()
    after = os.times()
    assert (process.returncode, said) == (0, "")
    wait_until_gone(process.pid)
    used_s = after.children_user + after.children_system - before.children_user - before.children_system
    assert used_s >= cpu_s, f"only {used_s:.2f} s of CPU time"


@pytest.mark.parametrize("kind", ["cpu", "fork"])
def test_it_ends_when_its_parent_is_killed(kind: str) -> None:
    script = (
        "import os, subprocess, sys\n"
        f"print(subprocess.Popen([{str(LOAD)!r}, {kind!r}], process_group=0).pid, flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        group = int(parent.stdout.readline())
        time.sleep(0.2)
        assert len(group_members(group)) >= 2  # itself and a copy
        parent.kill()
    wait_until_gone(group)


def test_a_copy_that_dies_ends_all_with_a_reason() -> None:
    answer = subprocess.run(
        [str(LOAD), "pagecache", "--dir", "/proc/self/nowhere"], capture_output=True, text=True, timeout=10
    )
    assert answer.returncode == 4
    assert "cannot make /proc/self/nowhere/minicomp-load-" in answer.stderr


def test_the_page_cache_file_has_no_name(tmp_path: Path) -> None:
    process = subprocess.Popen([str(LOAD), "pagecache", "--copies", "1", "--megabytes", "2", "--dir", str(tmp_path)])
    try:
        time.sleep(0.3)
        assert process.poll() is None
        assert list(tmp_path.iterdir()) == []
    finally:
        process.terminate()
        process.wait(5)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 1, "is needed"),
        (["cpus"], 1, "is needed"),
        (["cpu", "memory"], 1, "is needed"),
        (["cpu", "--copies", "0"], 1, "--copies"),
        (["memory", "--megabytes", "x"], 1, "--megabytes"),
        (["cpu", "--nice", "-1"], 1, "--nice"),
        (["under"], 1, "load under"),
        (["under", "TERM", "true"], 1, "load under"),
        (["under", "HUP", "--", "true"], 1, "load under"),
        (["under", "TERM", "--", "no-such-program-anywhere"], 127, "No such file"),
        (["under", "TERM", "--", "/etc/passwd"], 126, "Permission denied"),
    ],
)
def test_wrong_usage(arguments: list[str], code: int, words: str) -> None:
    answer = subprocess.run([str(LOAD), *arguments], capture_output=True, text=True, timeout=10)
    assert answer.returncode == code
    assert words in answer.stderr


@pytest.mark.parametrize(("name", "number"), [("TERM", signal.SIGTERM), ("KILL", signal.SIGKILL)])
def test_under_ties_a_command_to_its_parent(name: str, number: signal.Signals, tmp_path: Path) -> None:
    report = tmp_path / "signal"
    trap = f"trap 'echo TERM > {report}; exit' TERM; echo ready; while :; do sleep 0.05; done"
    script = (
        "import subprocess, sys\n"
        f"subprocess.Popen([{str(LOAD)!r}, 'under', {name!r}, '--', 'sh', '-c', {trap!r}], process_group=0)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "ready\n"
        parent.kill()
        # The pipe's other end is the command's: it is closed when that has ended.
        assert parent.stdout.read() == ""
    assert report.exists() == (number == signal.SIGTERM)


def test_under_passes_the_exit_code_on() -> None:
    assert subprocess.run([str(LOAD), "under", "TERM", "--", "sh", "-c", "exit 7"], timeout=10).returncode == 7


def test_help_teaches_and_names_every_exit_code() -> None:
    answer = subprocess.run([str(LOAD), "--help"], capture_output=True, text=True, timeout=10)
    assert answer.returncode == 0 and not answer.stderr
    for word in ("cpu", "memory", "pagecache", "fork", "under", "Exit code: 0", "--copies", "--dir"):
        assert word in answer.stdout
    assert max(map(len, answer.stdout.splitlines())) <= 120
