"""`minicomp run` as a program: exit codes, signals, readiness, and what is left behind (nothing)."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.headless.conftest import CLIENTS

MINICOMP = [sys.executable, "-m", "minicomp"]


@pytest.fixture
def runtime_dir(tmp_path: Path) -> Iterator[Path]:
    """A runtime directory of our own; afterwards it must be empty again."""
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    yield folder
    assert list(folder.iterdir()) == [], "left in XDG_RUNTIME_DIR"


def environment(runtime_dir: Path | None, **more: str) -> dict[str, str]:
    dropped = ("WAYLAND_", "XDG_RUNTIME", "DISPLAY", "MINICOMP_SOCKET")
    result = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    if runtime_dir is not None:
        result["XDG_RUNTIME_DIR"] = str(runtime_dir)
    return {**result, **more}


def run(
    runtime_dir: Path | None, *arguments: str, timeout_s: float = 20, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MINICOMP, "run", "--backend", "headless", *arguments],
        env=environment(runtime_dir, **more),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["sh", "-c", "exit 0"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -9 $$"], 137),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["/nonexistent/program"], 127),
        (["no-such-command-anywhere"], 127),
        (["/etc/passwd"], 126),
        (["/"], 126),
    ],
)
def test_exit_code_is_the_commands(runtime_dir: Path, command: list[str], code: int) -> None:
    result = run(runtime_dir, "--", *command)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    if code in (126, 127):
        assert command[0] in result.stderr and len(result.stderr.strip().splitlines()) == 2  # "ready", and why


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--trace", "/nonexistent/run.mct"],
            "/nonexistent/run.mct: cannot write the trace: No such file or directory",
        ),
        (["--set", "headless.latch_us=999999"], "latch_us must be shorter than a refresh"),
        (
            ["--set", "headless.outputs=[]"],
            "headless.outputs: a list is not allowed; allowed: a list of at least one mode",
        ),
        (["--set", "keyboard.layout=xx"], 'keyboard.layout: xkb knows no layout "xx"'),
        (["--backend", "nested", "--clock", "step"], "backend.clock: the step clock needs the modelled display"),
    ],
)
def test_what_cannot_be_done_as_asked_is_a_mistake_in_the_asking(
    runtime_dir: Path, arguments: list[str], says: str
) -> None:
    """Not 125, which says that the compositor failed under a command that ran."""
    result = run(runtime_dir, *arguments, "--", "true")
    assert result.returncode == 2, result.stderr
    assert says in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_background_grandchild_keeps_nothing_alive(runtime_dir: Path) -> None:
    process = subprocess.Popen(
        [*MINICOMP, "run", "--backend", "headless", "--", "sh", "-c", "sleep 60 & echo $!; exit 5"],
        env=environment(runtime_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as output:  # not to its end: the grandchild holds the pipe, too
        grandchild = int(output.readline())
    assert process.wait(20) == 5
    os.kill(grandchild, signal.SIGKILL)  # still there


def test_the_program_has_the_open_file_limit_that_minicomp_was_started_with(runtime_dir: Path) -> None:
    """minicomp itself takes all it may have: its clients' connections and buffers are files."""
    inner = "ulimit -Sn; sed -n 's/^Max open files *//p' /proc/$PPID/limits"
    command = shlex.join([*MINICOMP, "run", "--backend", "headless", "--", "sh", "-c", inner])
    result = subprocess.run(
        ["sh", "-c", f"ulimit -Sn 700; ulimit -Hn 1500; exec {command}"],
        env=environment(runtime_dir), capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["700", "1500", "1500", "files"]


def start_until_ready(runtime_dir: Path | None, *arguments: str, **more: str) -> tuple[subprocess.Popen[str], str]:
    """Starts minicomp with a ready fd; the process and the line it wrote."""
    read_fd, write_fd = os.pipe()
    process = subprocess.Popen(
        [*MINICOMP, "run", "--backend", "headless", "--ready-fd", str(write_fd), *arguments],
        env=environment(runtime_dir, **more),
        pass_fds=[write_fd],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write_fd)
    with os.fdopen(read_fd) as ready:
        line = ready.readline()
        assert ready.readline() == ""  # closed: nobody inherited it
    return process, line


def wait_for_line(process: subprocess.Popen[str], line: str) -> None:
    """Until the program that minicomp runs has printed it."""
    assert process.stdout is not None
    assert process.stdout.readline() == f"{line}\n"


def close(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(runtime_dir: Path, number: int) -> None:
    process, line = start_until_ready(runtime_dir)
    assert re.fullmatch(r"WAYLAND_DISPLAY=wayland-\d+\n", line)
    name = line.strip().split("=")[1]
    assert (runtime_dir / name).stat().st_mode & 0o777 == 0o600
    # Ready means ready: one attempt to connect must do.
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(runtime_dir / name))
    process.send_signal(number)
    assert process.wait(10) == 0
    close(process)


def test_a_signal_ends_the_client_first(runtime_dir: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ended"
    script = f"trap 'echo term > {marker}; exit 3' TERM; echo trapped; while :; do sleep 0.05; done"
    process, _ = start_until_ready(runtime_dir, "--", "sh", "-c", script)
    wait_for_line(process, "trapped")
    process.terminate()
    assert process.wait(20) == 3
    assert marker.read_text() == "term\n"
    close(process)


def test_a_client_that_ignores_sigterm_is_killed_after_the_grace_time(runtime_dir: Path) -> None:
    process, _ = start_until_ready(
        runtime_dir, "--set", "app.kill_grace_ms=300", "--", "sh", "-c", "trap '' TERM; echo trapped; exec sleep 60"
    )
    wait_for_line(process, "trapped")
    process.terminate()
    assert process.wait(20) == 137
    close(process)


def test_sd_notify(runtime_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(10)
        result = run(runtime_dir, "--", "sh", "-c", 'test -z "$NOTIFY_SOCKET"', NOTIFY_SOCKET=str(path))
        assert result.returncode == 0  # the client does not inherit it
        assert receiver.recv(100) == b"READY=1"
        assert receiver.recv(100) == b"STOPPING=1"


def test_without_a_runtime_directory_it_makes_its_own(tmp_path: Path) -> None:
    result = run(
        None, "--", "sh", "-c", 'stat -c "%a %n" "$XDG_RUNTIME_DIR"; ls "$XDG_RUNTIME_DIR"', TMPDIR=str(tmp_path)
    )
    assert result.returncode == 0, result.stderr
    mode, path = result.stdout.splitlines()[0].split(" ")
    assert mode == "700"
    assert "wayland-0" in result.stdout
    assert not Path(path).exists()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: folder.rmdir(), "No such file"),
        (lambda folder: (folder.rmdir(), folder.write_text("")), "not a directory"),
        (lambda folder: os.chown(folder, 12345, -1), "belongs to uid 12345"),
    ],
    ids=["missing", "file", "foreign"],
)
def test_a_bad_runtime_directory_is_refused(tmp_path: Path, prepare: object, message: str) -> None:
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    if message.startswith("belongs") and os.getuid() != 0:
        pytest.skip("only root can give a directory away")
    prepare(folder)  # type: ignore[operator]
    result = run(folder, "--", "true")
    assert result.returncode == 69
    assert message in result.stderr and str(folder) in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_backend_that_cannot_be_opened_says_why(runtime_dir: Path) -> None:
    result = subprocess.run(
        [*MINICOMP, "run", "--backend", "nested", "--", "true"],
        env=environment(runtime_dir, WAYLAND_DISPLAY="nobody-there"), capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert result.returncode == 69
    *messages, last = result.stderr.splitlines()
    assert "wlroots could not open the nested backend (its messages are above)" in last
    assert any("minicomp[wlroots] ERROR" in line and "Could not connect" in line for line in messages)


def test_two_at_once_take_different_sockets(runtime_dir: Path) -> None:
    first, first_line = start_until_ready(runtime_dir)
    second, second_line = start_until_ready(runtime_dir)
    assert first_line != second_line
    for process in (first, second):
        process.terminate()
        assert process.wait(10) == 0
        close(process)


def test_a_socket_name_in_use_is_a_clear_error(runtime_dir: Path) -> None:
    first, line = start_until_ready(runtime_dir, "--socket", "wayland-77")
    assert line == "WAYLAND_DISPLAY=wayland-77\n"
    result = run(runtime_dir, "--socket", "wayland-77", "--", "true")
    assert result.returncode == 69
    assert "wayland-77" in result.stderr and "Traceback" not in result.stderr
    first.terminate()
    assert first.wait(10) == 0
    close(first)


def test_stats_and_trace(runtime_dir: Path, tmp_path: Path) -> None:
    trace = tmp_path / "run.mct"
    result = run(
        runtime_dir, "--trace", str(trace), "--stats", "--", str(CLIENTS / "pulse"), "--frames", "60", "--quiet"
    )
    assert result.returncode == 0, result.stderr
    assert "commit" in result.stderr and "presented" in result.stderr
    from minicomp.lab.pipeline.runfile import read_run

    read = read_run(trace)
    assert read.cut_short is None and read.dropped_total == 0
    points = set(read.records["point"].tolist())
    assert {1, 2, 3, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 18, 21} <= points


def test_killed_hard_it_leaves_a_readable_trace(tmp_path: Path) -> None:
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    trace = tmp_path / "run.mct"
    pulse = str(CLIENTS / "pulse")
    process, _ = start_until_ready(
        folder,
        "--trace",
        str(trace),
        "--",
        "sh",
        "-c",
        f"{pulse} --frames 60 --quiet; echo shown; exec {pulse} --quiet",
    )
    wait_for_line(process, "shown")
    process.kill()
    process.wait(10)
    close(process)  # the second pulse ends with its connection
    from minicomp.lab.pipeline.runfile import read_run

    read = read_run(trace)
    assert read.cut_short is not None
    assert (read.records["point"] == 17).sum() > 10


def test_start_up_imports_nothing_that_only_a_sandbox_needs() -> None:
    script = "import minicomp.compositor.run, minicomp.compositor.server, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert {"pathlib", "shutil", "subprocess", "minicomp.compositor.sandbox"}.isdisjoint(loaded)
