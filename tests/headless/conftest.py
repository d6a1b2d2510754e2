"""What headless tests share: a compositor in this process, and leak accounting around every test."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
CLIENTS = REPO / "build/clients"


def _fds() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the listing's own
    return found


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Every test leaves the file descriptors, threads and children it found."""
    before_fds, before_threads = _fds(), threading.active_count()
    before_tasks = len(os.listdir("/proc/self/task"))
    yield
    gc.collect()
    after = _fds()
    # The process-wide log ring's eventfd is made by the first compositor and stays.
    extra = [target for name, target in after.items() if name not in before_fds]
    log_ring = 1 if not getattr(no_leaks, "seen", False) and "anon_inode:[eventfd]" in extra else 0
    no_leaks.seen = True  # type: ignore[attr-defined]
    assert len(after) <= len(before_fds) + log_ring, f"leaked file descriptors: {extra}"
    assert threading.active_count() <= before_threads, f"leaked threads: {threading.enumerate()}"
    assert len(os.listdir("/proc/self/task")) <= before_tasks, "leaked native threads"
