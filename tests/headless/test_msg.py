"""`minicomp msg` against `minicomp run`, both as programs: what a script or a CI job sees."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from minicomp.testing.image import compare
from tests.headless.conftest import CLIENTS, REPO
from tests.headless.programs import BACKGROUND
from tests.headless.test_run import MINICOMP, environment, runtime_dir, start_until_ready

__all__ = ["runtime_dir"]  # a fixture

ECHO_COLOURS = ((0xE6, 0x19, 0x4B), (0x3C, 0xB4, 0x4B), (0xFF, 0xE1, 0x19))


def msg(runtime_dir: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MINICOMP, "msg", *arguments], env=environment(runtime_dir, **more), capture_output=True, text=True, timeout=30
    )


def ask(runtime_dir: Path, *arguments: str) -> Any:
    result = msg(runtime_dir, *arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@contextmanager
def compositor(runtime_dir: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`minicomp run`, once it is ready; ended, and required to end well, afterwards."""
    process, line = start_until_ready(runtime_dir, *arguments)
    try:
        assert line.startswith("WAYLAND_DISPLAY="), process.communicate(timeout=10)[1]
        yield process
        process.terminate()
        _, errors = process.communicate(timeout=20)
        assert "Traceback" not in errors and "ERROR" not in errors, errors
    finally:
        process.kill()
        process.communicate()


def test_a_script_clicks_types_and_looks(runtime_dir: Path, tmp_path: Path) -> None:
    """The command's own script drives it: by MINICOMP_SOCKET, with nothing else said."""
    log, picture = tmp_path / "echo.log", tmp_path / "screen.png"
    script = f"""
set -e
{CLIENTS}/echo --quiet --size 300x200 --log {log} --events 3 &
until grep -q '"ready"' {log}; do sleep 0.02; done
msg() {{ {" ".join(MINICOMP)} msg "$@"; }}
msg input click 100 50
msg input.press keys=a
until [ "$(grep -c '"input"' {log})" = 2 ]; do sleep 0.02; done
(cd {tmp_path} && msg screenshot path={picture.name})
msg input.type text=7
wait
msg windows
msg quit
sleep 30
"""
    result = subprocess.run(
        [*MINICOMP, "run", "--backend", "headless", "--set", "policy.name=stacking", "--set",
         'headless.outputs=["640x480@60"]', "--", "sh", "-c", script],
        env=environment(runtime_dir), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    inputs = [entry for entry in map(json.loads, log.read_text().splitlines()) if entry["type"] == "input"]
    assert [(entry["kind"], entry["sym"]) for entry in inputs] == [("button", ""), ("key", "a"), ("key", "7")]
    assert inputs[0]["x"] == 100 and inputs[0]["y"] == 50
    golden = Image.new("RGB", (640, 480), BACKGROUND)
    golden.paste(ECHO_COLOURS[1], (0, 0, 300, 200))
    assert not compare(Image.open(picture), golden)
    assert result.stdout.endswith("none\nquitting  yes\n")  # echo has ended: no windows


def test_the_socket_is_found_in_every_way(runtime_dir: Path) -> None:
    with compositor(runtime_dir) as first:
        (control,) = runtime_dir.glob("minicomp-*.sock")
        display = control.stem.removeprefix("minicomp-")
        assert ask(runtime_dir, "version")["pid"] == first.pid  # the only one
        for arguments in (["--socket", str(control)], ["--socket", display]):
            assert msg(runtime_dir, "version", *arguments).returncode == 0
        assert msg(runtime_dir, "version", MINICOMP_SOCKET=str(control)).returncode == 0
        with compositor(runtime_dir) as second:
            unclear = msg(runtime_dir, "version")
            assert unclear.returncode == 69 and "several compositors" in unclear.stderr
            by_display = msg(runtime_dir, "version", "--json", WAYLAND_DISPLAY=display)
            assert json.loads(by_display.stdout)["pid"] == first.pid != second.pid


def test_no_compositor_is_one_clear_line(runtime_dir: Path) -> None:
    for arguments, words in (
        ([], "no minicomp runs here"),
        (["--socket", "wayland-7"], "no compositor answers: No such file"),
    ):
        result = msg(runtime_dir, "state", *arguments)
        assert result.returncode == 69 and result.stdout == ""
        assert words in result.stderr and len(result.stderr.splitlines()) == 1


def test_exit_codes_and_messages(runtime_dir: Path) -> None:
    with compositor(runtime_dir):
        unknown = msg(runtime_dir, "window.clsoe", "window=focused")
        assert unknown.returncode == 1 and "did you mean window.close?" in unknown.stderr
        assert msg(runtime_dir, "window.close", "window=focused").returncode == 1
        as_json = msg(runtime_dir, "window.close", "window=focused", "--json")
        assert json.loads(as_json.stdout)["error"]["code"] == -32001
        wrong = msg(runtime_dir, "input.click", "x=left")
        assert wrong.returncode == 2 and '"left" is not a number' in wrong.stderr
        missing = msg(runtime_dir, "input.click", "x=1")
        assert missing.returncode == 1 and "needs the parameter y" in missing.stderr
    shown = msg(runtime_dir, "--help").stdout
    assert "screenshot" in shown and "window.focus" in shown and "exit codes" in shown
    assert "scale (number): above 0, at most 16" in msg(runtime_dir, "help", "output.set").stdout


def test_subscribe_streams_until_the_end(runtime_dir: Path) -> None:
    with compositor(runtime_dir) as process:
        listener = subprocess.Popen(
            [*MINICOMP, "msg", "subscribe", "events=output", "--json"],
            env=environment(runtime_dir), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert listener.stdout is not None
        for _ in range(30):
            ask(runtime_dir, "output.plug")  # it may connect after the first of these
            if select.select([listener.stdout], [], [], 0.3)[0]:
                break
        plugged = json.loads(listener.stdout.readline())
        assert plugged["event"] in ("output.new", "output.changed") and plugged["output"]["name"].startswith("HEADLESS")
        process.terminate()
        assert listener.wait(10) == 0
        listener.stdout.close()


def test_a_killed_compositors_socket_is_replaced(runtime_dir: Path) -> None:
    process = subprocess.Popen(
        [*MINICOMP, "run", "--backend", "headless", "--socket", "wayland-9", "--", "sh", "-c", "kill -9 $PPID"],
        env=environment(runtime_dir), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.wait(20) == -signal.SIGKILL
    left = runtime_dir / "minicomp-wayland-9.sock"
    assert left.is_socket()
    gone = msg(runtime_dir, "state")
    assert gone.returncode == 69 and "the compositor that made it is gone" in gone.stderr
    with compositor(runtime_dir, "--socket", "wayland-9"):
        assert ask(runtime_dir, "version")["display"] == "wayland-9"


def test_it_can_be_off_and_is_not_inherited(runtime_dir: Path) -> None:
    result = subprocess.run(
        [*MINICOMP, "run", "--backend", "headless", "--set", "control.enabled=false", "--",
         "sh", "-c", 'ls "$XDG_RUNTIME_DIR"; echo "<$MINICOMP_SOCKET>"'],
        env=environment(runtime_dir, MINICOMP_SOCKET="/of/an/outer/compositor"),
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert result.returncode == 0 and ".sock" not in result.stdout and result.stdout.endswith("<>\n")


@pytest.mark.parametrize("obstacle", ["a file", "a long name"])
def test_without_a_socket_it_goes_on(runtime_dir: Path, obstacle: str) -> None:
    name = "n" * 90 if obstacle == "a long name" else "wayland-9"
    in_the_way = runtime_dir / f"minicomp-{name}.sock"
    if obstacle == "a file":
        in_the_way.write_text("mine")
    elif len(str(runtime_dir / name)) > 107:
        name = "n" * (107 - len(str(runtime_dir)) - 1)  # good for Wayland, too long with "minicomp-"
    result = subprocess.run(
        [*MINICOMP, "run", "--backend", "headless", "--socket", name, "--", "sh", "-c", 'echo "<$MINICOMP_SOCKET>"'],
        env=environment(runtime_dir), capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout == "<>\n" and "there is no control socket" in result.stderr
    if obstacle == "a file":
        assert in_the_way.read_text() == "mine"
        in_the_way.unlink()


def test_the_pages_examples_work(runtime_dir: Path, tmp_path: Path) -> None:
    """docs/control.md: every `minicomp msg` line, the raw request, the Python client and the configuration."""
    page = (REPO / "docs/control.md").read_text()
    commands, raw = re.findall(r"^```sh\n(.*?)^```", page, re.S | re.M)
    (python,) = re.findall(r"^```python\n(.*?)^```", page, re.S | re.M)
    (toml,) = re.findall(r"^```toml\n(.*?)^```", page, re.S | re.M)
    config = tmp_path / "page.toml"
    config.write_text(toml)
    program = tmp_path / "minicomp"
    program.write_text(f'#!/bin/sh\nexec {" ".join(MINICOMP)} "$@"\n')
    program.chmod(0o755)
    places = environment(runtime_dir, PATH=f"{tmp_path}:{os.environ['PATH']}")
    with compositor(runtime_dir, "--config", str(config)):
        result = subprocess.run(
            ["bash", "-exc", commands.replace(" fifo", " other")],  # which every user may have
            cwd=tmp_path, env=places, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert (tmp_path / "screen.png").exists()
        listener = subprocess.Popen(
            [sys.executable, "-uc", python.replace("as compositor:", "as compositor:\n    print('connected')")],
            env=places, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert listener.stdout is not None
        assert listener.stdout.readline() == "connected\n"
        with subprocess.Popen([CLIENTS / "echo", "--quiet", "--duration-s", "1"], env={
            **places, "WAYLAND_DISPLAY": ask(runtime_dir, "version")["display"]
        }):  # fmt: skip
            assert "window." in listener.stdout.readline() + listener.stdout.readline()
        assert ask(runtime_dir, "quit") == {"quitting": True}
        listener.communicate(timeout=10)
        assert listener.returncode == 0
    result = subprocess.run(["bash", "-ec", raw], env=places, capture_output=True, text=True, timeout=30)
    assert result.stdout == "HEADLESS-2\n", result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as somebody else")
def test_another_user_is_refused_even_when_the_file_is_open(runtime_dir: Path, tmp_path: Path) -> None:
    with compositor(runtime_dir):
        (control,) = runtime_dir.glob("minicomp-*.sock")
        os.chmod(control, 0o666)
        os.chmod(runtime_dir, 0o711)
        read_end, write_end = os.pipe()
        sock_dir = os.open(runtime_dir, os.O_PATH)  # the folders above are closed to others
        child = os.fork()
        if child == 0:
            os.fchdir(sock_dir)
            os.setresuid(65534, 65534, 65534)
            peer = socket.socket(socket.AF_UNIX)
            try:
                peer.connect(control.name)
                os.write(write_end, peer.recv(4096))
            except OSError as error:
                os.write(write_end, str(error).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(write_end)
        os.close(sock_dir)
        with open(read_end) as pipe:
            answer = pipe.read()
        assert "belongs to another user" in answer, answer
        assert ask(runtime_dir, "version")
