"""The real-time class as systemd sets it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from minicomp.lab.probes.probe import Budget, Missing, Probe, Result, holds
from minicomp.lab.probes.processes import slowness
from minicomp.lab.probes.requirements import program, root

_COMMAND = ["systemd-run", "--quiet", "--collect", "--wait", "--pipe", "-p", "CPUSchedulingPolicy=fifo"]
_COMMAND += ["-p", "CPUSchedulingPriority=50", "chrt", "-p", "0"]


def has_systemd() -> Missing | None:
    if Path("/run/systemd/system").exists():
        return None
    return Missing("systemd is not process 1 here", "a machine booted by systemd")


def measure(budget: Budget) -> Result:
    done = subprocess.run(_COMMAND, capture_output=True, text=True, timeout=8 * slowness(), check=True)
    policy = re.search(r"SCHED_\w+", done.stdout)
    priority = re.search(r"priority: (\d+)", done.stdout)
    seen = f"a unit with these two lines runs as {policy[0] if policy else '?'}, priority {priority[1] if priority else '?'}"
    return holds(seen, when="SCHED_FIFO" in done.stdout and priority is not None and priority[1] == "50")


PROBES = (
    Probe(
        name="sched-fifo-unit",
        section=2,
        statement="In the systemd unit: CPUSchedulingPolicy=fifo, CPUSchedulingPriority=50",
        method="systemd-run starts chrt in a unit with these settings, which says the class and priority it has.",
        used_by="Not used: the kiosk's unit leaves the class alone; [knobs.render] class sets it for one thread and watches it.",
        requires=(root, has_systemd, program("systemd-run", "systemd"), program("chrt", "util-linux")),
        measure=measure,
    ),
)
