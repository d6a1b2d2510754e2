"""The loop thread waits in each of the ways that loop.wait names, and everything above it is the same.

Fds left open and native threads left running are counted around every test (`no_leaks` of this folder).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minicomp.testing.instance import InProcess, configure
from tests.headless.conftest import CLIENTS, REPO, thread_names
from tests.headless.seat_client import SeatClient

KINDS = ["epoll", "epoll-edge", "io-uring", "io-uring-sqpoll"]
RINGS = KINDS[2:]


@pytest.mark.parametrize("thread", [True, False], ids=["render-thread", "loop-renders"])
@pytest.mark.parametrize("kind", KINDS)
def test_clients_input_and_hot_plug(kind: str, thread: bool, tmp_path: Path) -> None:
    config = configure(loop__wait=kind, loop__sqpoll_idle_ms=1, render__thread=thread, policy__name="stacking")
    with InProcess(config) as instance:
        with SeatClient(instance) as client:
            client.window(0, 0)
            client.take()
            for _ in range(20):
                instance.compositor.seat.inject.type_text("a")
                assert [e.args[3] for e in client.take("keyboard") if e.name == "keyboard.key"] == [1, 0]
        for connector in (2, 3):
            assert instance.compositor.plug(640, 480, 60_000) == connector
        instance.compositor.unplug(2)
        names = {"HEADLESS-1", "HEADLESS-3"}
        instance.wait_for(lambda: {output.name for output in instance.compositor.outputs} == names, "the outputs")
        log = tmp_path / "pulse.jsonl"
        code, output = instance.run([str(CLIENTS / "pulse"), "--frames", "20", "--quiet", "--log", str(log)])
        assert code == 0, output
        frames = [entry for entry in map(json.loads, log.read_text().splitlines()) if entry["type"] == "frame"]
        assert len(frames) == 20


@pytest.mark.timeout(60, method="thread")  # a client that waits for ever does so in libwayland: no signal gets it out
@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_of_requests_from_many_clients(kind: str) -> None:
    """More clients ready at once than one dispatch takes (32), each with more than one read takes (4 KiB).

    What a dispatch leaves behind makes no edge: a loop that waited for one would sleep with requests unanswered.
    """
    with InProcess(configure(loop__wait=kind)) as instance:
        clients = [SeatClient(instance) for _ in range(34)]
        try:
            with instance.compositor.locked():  # the loop thread finds all of it at once
                for client in clients:
                    for _ in range(3000):
                        client.display.sync()
                    client.display.flush()
            for client in clients:
                client.roundtrip()
        finally:
            for client in clients:
                client.close()


@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_at_once_when_idle(kind: str) -> None:
    for _ in range(5):
        with InProcess(configure(loop__wait=kind)):
            if kind == "io-uring-sqpoll":
                assert any(name.startswith("iou-sqp") for name in thread_names())
    deadline = time.monotonic() + 10
    while any(name.startswith("iou-sqp") for name in thread_names()):  # the kernel ends its thread a moment later
        assert time.monotonic() < deadline, thread_names()
        time.sleep(0.01)


REFUSE = """
import ctypes, struct, os, sys
libc = ctypes.CDLL(None, use_errno=True)
number = 425  # io_uring_setup, on every architecture
filters = struct.pack("HBBI" * 4, 0x20, 0, 0, 0, 0x15, 0, 1, number, 6, 0, 0, 0x00050000 | {error}, 6, 0, 0, 0x7FFF0000)
buffer = ctypes.create_string_buffer(filters)
program = struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
os.execv(sys.executable, [sys.executable, "-m", "minicomp", *sys.argv[1:]])
"""


@pytest.mark.parametrize("kind", RINGS)
def test_a_refused_io_uring_says_what_to_do(kind: str) -> None:
    """As a container's seccomp profile refuses it. 69: a precondition is missing, nothing was started."""
    arguments = ["run", "--backend", "headless", "--set", f"loop.wait={kind}", "--", "true"]
    result = subprocess.run(
        [sys.executable, "-c", REFUSE.format(error=1), *arguments], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 69, result.stderr
    message = result.stderr.splitlines()[-1]
    assert f"loop.wait: {kind}: the kernel refuses it: Operation not permitted" in message
    assert "kernel.io_uring_disabled=0" in message and "seccomp" in message and '"epoll" works everywhere' in message
    arguments[4] = "loop.wait=epoll"
    result = subprocess.run(
        [sys.executable, "-c", REFUSE.format(error=1), *arguments], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_other_suites_pass_too(kind: str) -> None:
    """What exercises the loop most, in a pytest of its own: requests, the step clock, hot-plug, a random client."""
    suites = [f"tests/headless/test_{name}.py" for name in ("chaos", "frames", "input", "outputs")]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *suites],
        cwd=REPO,
        env={**os.environ, "MINICOMP_TEST_LOOP_WAIT": kind},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr
