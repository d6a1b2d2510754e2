"""How the compositor's own epoll instances are set, read from a running one."""

from __future__ import annotations

import re
import subprocess
import sys

from minicomp.lab.probes.probe import Budget, Number, Probe, Result, holds

EPOLLET = 1 << 31
_READ = "cat /proc/$PPID/fdinfo/*"
"""The program inside the compositor is its child, so it may look."""


def measure(budget: Budget) -> Result:
    command = [sys.executable, "-m", "minicomp", "run", "--backend", "headless", "--set", "loop.wait=epoll", "--"]
    result = subprocess.run([*command, "sh", "-c", _READ], capture_output=True, text=True, timeout=8)
    watched = [int(events, 16) for events in re.findall(r"^tfd: +\d+ events: +([0-9a-f]+)", result.stdout, re.M)]
    if not watched:
        raise RuntimeError(f"no epoll instance was seen in /proc/PID/fdinfo: {result.stderr[-300:]}")
    edges = sum(bool(events & EPOLLET) for events in watched)
    return holds(
        f"{len(watched)} fds watched by the compositor's epoll instances (libwayland's and ours), {edges} edge-triggered",
        Number.exact("fds watched", len(watched)),
        Number.exact("of them edge-triggered", edges),
        when=edges == 0,
    )


PROBES = (
    Probe(
        name="epoll-level-in-wlroots",
        section=5,
        statement="wlroots uses level-triggered epoll for simplicity and correctness (the event loop is not "
        "latency-critical to the point where edge-triggered matters).",
        method="A headless minicomp runs a program that reads the compositor's /proc/PID/fdinfo: the events that its epoll "
        "instances watch for, with EPOLLET or without.",
        used_by="wlroots' events come through libwayland's loop, and minicomp watches that by loop.wait = epoll.",
        measure=measure,
    ),
)
