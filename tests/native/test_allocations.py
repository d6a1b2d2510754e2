"""What a frame allocates: nothing by our own code on the render thread, and by the libraries within a budget.

An allocation under the lock can wait for the kernel. Our own code makes none; wlroots', libwayland's and pixman's are
counted, so that a change that brings more of them is seen.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tests.headless.conftest import CLIENTS

SOURCE = Path(__file__).parent / "count_allocations.c"
THREADS, OWNERS = ("mc-render", "mc-loop"), ("own", "wlroots", "wayland", "pixman", "other")
SIZE = len(THREADS) * len(OWNERS) * 8
WARM_UP, FRAMES = 60, 200
BUDGET_PER_FRAME = 40
"""Of both threads and all libraries together. Measured: 24, of which libwayland 17 (one for each request, and what it
makes: a callback, feedback), wlroots 4, pixman 2."""

Counts = dict[tuple[str, str], int]


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("allocations") / "count.so"
    command = ["gcc", "-O1", "-Wall", "-Werror", "-fPIC", "-shared", "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True)
    return library


def read(memory: mmap.mmap) -> Counts:
    values = struct.unpack(f"{SIZE // 8}Q", memory[:SIZE])
    names = [(thread, owner) for thread in THREADS for owner in OWNERS]
    return dict(zip(names, values, strict=True))


def frames(client: subprocess.Popen[str], number: int) -> None:
    """Reads the client's log until it has shown so many more frames."""
    assert client.stdout is not None
    seen = 0
    for line in client.stdout:
        seen += line.startswith('{"type":"frame"')
        if seen == number:
            return
    raise AssertionError("the client ended")


def per_frame(counter: Path, folder: Path, *settings: str) -> dict[tuple[str, str], float]:
    shared = folder / "counts"
    shared.write_bytes(bytes(SIZE))
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    environment = {
        **os.environ,
        "XDG_RUNTIME_DIR": str(runtime),
        "LD_PRELOAD": str(counter),
        "MINICOMP_ALLOCATIONS": str(shared),
    }
    read_fd, ready_fd = os.pipe()
    words = [
        sys.executable,
        "-m",
        "minicomp",
        "run",
        "--backend",
        "headless",
        "--socket",
        "w",
        "--ready-fd",
        str(ready_fd),
    ]
    words += ["--set", "log.level=warning", *(word for setting in settings for word in ("--set", setting))]
    server = subprocess.Popen(words, env=environment, pass_fds=[ready_fd])
    os.close(ready_fd)
    with shared.open("r+b") as file, mmap.mmap(file.fileno(), SIZE) as memory, os.fdopen(read_fd) as ready:
        try:
            assert ready.readline(), "minicomp did not start"
            own = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "WAYLAND_DISPLAY": "w"}
            pulse = [str(CLIENTS / "pulse"), "--size", "200x150", "--log", "-", "--quiet"]
            with subprocess.Popen(pulse, env=own, stdout=subprocess.PIPE, text=True) as client:
                frames(client, WARM_UP)
                before = read(memory)
                frames(client, FRAMES)
                after = read(memory)
                client.terminate()
                client.communicate()
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(20) in (0, 128 + signal.SIGTERM)
    return {key: (after[key] - before[key]) / FRAMES for key in after}


@pytest.mark.parametrize("setting", ["render.early=no", "render.early=yes", "render.thread=false", "pacing.mode=asap"])
def test_a_frame_keeps_the_budget(setting: str, counter: Path, tmp_path: Path) -> None:
    """Both threads count: a request is dispatched, a frame composed, callbacks and feedback sent."""
    counts = per_frame(counter, tmp_path, setting)
    table = ", ".join(f"{thread} {owner} {count:.2f}" for (thread, owner), count in counts.items() if count)
    print(f"allocations per frame, {setting}: {table}")
    assert counts["mc-render", "own"] == 0 and counts["mc-loop", "own"] == 0, table
    assert 5 < sum(counts.values()) < BUDGET_PER_FRAME, table
