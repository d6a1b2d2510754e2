"""How much of the machine's CPUs other programs have while the probes run; a hypervisor that takes them is one.

By /proc/stat, whose clock ticks every 10 ms: for short probes what was before them is looked at as well.
"""

from __future__ import annotations

import os
import resource
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

SPAN_S, LEAST_S = 1.0, 0.2
"""Looked at, at least, where there is so much; and what is too short to say anything."""
MUCH = 0.2
"""From this share of all CPUs on a verdict that hangs on times is in doubt."""
_IDLE = (3, 4)
_GUEST = 8
"""Fields of /proc/stat's first line: idle, iowait; guest time, which is in user time already, and after."""


@dataclass(frozen=True)
class _Moment:
    t_s: float
    busy_s: float  # all CPUs
    own_s: float


def _now() -> _Moment:
    words = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    ticks = sum(int(word) for place, word in enumerate(words[:_GUEST]) if place not in _IDLE)
    own_s = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        own_s += usage.ru_utime + usage.ru_stime
    return _Moment(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), own_s)


class Neighbours:
    def __init__(self) -> None:
        self._moments = deque([_now()])

    def share(self) -> float:
        """Of all CPUs, what others had since the call a second ago, or since the first; 0 when that is too short."""
        now = _now()
        while len(self._moments) > 1 and now.t_s - self._moments[1].t_s >= SPAN_S:
            self._moments.popleft()
        then = self._moments[0]
        self._moments.append(now)
        if (seconds := now.t_s - then.t_s) < LEAST_S:
            return 0.0
        others_s = (now.busy_s - then.busy_s) - (now.own_s - then.own_s)
        return max(0.0, others_s / seconds / (os.cpu_count() or 1))
