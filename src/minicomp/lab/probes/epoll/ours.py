"""How the compositor's own epoll instances are set, read from a running one."""

from __future__ import annotations

import re
import subprocess
import sys

from minicomp.lab.probes.probe import Budget, Number, Probe, Result, holds
from minicomp.lab.probes.processes import slowness

EPOLLET = 1 << 31
_READ = "cd /proc/$PPID/fdinfo && grep -H ^tfd *"
"""The program inside the compositor is its child, so it may look."""


def measure(budget: Budget) -> Result:
    command = [sys.executable, "-m", "minicomp", "run", "--backend", "headless", "--set", "loop.wait=epoll", "--"]
    result = subprocess.run([*command, "sh", "-c", _READ], capture_output=True, text=True, timeout=8 * slowness())
    found = re.findall(r"^(\d+):tfd: +(\d+) events: +([0-9a-f]+)", result.stdout, re.M)
    instances: dict[str, dict[str, int]] = {}
    for instance, fd, events in found:
        instances.setdefault(instance, {})[fd] = int(events, 16)
    inner = [fd for fds in instances.values() for fd in fds if fd in instances]  # libwayland's, inside ours
    if not inner:
        raise RuntimeError(f"no epoll instance inside another in /proc/PID/fdinfo: {result.stderr[-300:]}")
    theirs = [events for fd in inner for events in instances[fd].values()]
    ours = [events for fd, fds in instances.items() if fd not in inner for events in fds.values()]
    edges, own_edges = (sum(bool(events & EPOLLET) for events in some) for some in (theirs, ours))
    return holds(
        f"libwayland's loop, which has wlroots' events, watches {len(theirs)} fds, {edges} of them edge-triggered; "
        f"minicomp's own around it {len(ours)}, {own_edges} of them edge-triggered",
        Number.exact("fds watched by libwayland's loop", len(theirs)),
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
        "instances watch for, with EPOLLET or without. Judged is libwayland's, the one that another watches.",
        used_by="wlroots' events come through libwayland's loop, and minicomp watches that by loop.wait = epoll.",
        measure=measure,
    ),
)
