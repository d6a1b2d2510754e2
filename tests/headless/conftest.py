"""What headless tests share: a compositor in this process, and leak accounting around every test."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from minicomp.native.wlr import lib

REPO = Path(__file__).resolve().parents[2]
CLIENTS = REPO / "build/clients"


@pytest.fixture(autouse=True, scope="session")
def log_ring() -> None:
    """The native log ring and its eventfd are the process's own, made once: before anything is counted."""
    lib.mc_log_init(1)


def _fds() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the listing's own
    return found


def thread_names() -> list[str]:
    """Of this process's threads."""
    names = []
    for task in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            names.append(Path(f"/proc/self/task/{task}/comm").read_text().strip())
    return names


def _native_threads() -> list[str]:
    """Names of the compositor's own threads that run in this process."""
    return [name for name in thread_names() if name.startswith("mc-")]


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Every test leaves the file descriptors, threads and children it found."""
    before_fds, before_threads = _fds(), threading.active_count()
    yield
    gc.collect()
    after = _fds()
    extra = [target for name, target in after.items() if name not in before_fds]
    assert len(after) <= len(before_fds), f"leaked file descriptors: {extra}"
    assert threading.active_count() <= before_threads, f"leaked threads: {threading.enumerate()}"
    assert not _native_threads(), "leaked native threads"
