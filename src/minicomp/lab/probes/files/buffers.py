"""What a client's buffer really is, looked up in a running compositor."""

from __future__ import annotations

import re
import subprocess
import sys

from minicomp.lab.probes.probe import Budget, Number, Probe, Result, holds
from minicomp.lab.probes.processes import slowness
from minicomp.lab.probes.requirements import program

_CLIENT = "weston-simple-shm"
_READ = f"{_CLIENT} >/dev/null 2>&1 & sleep 0.5; cat /proc/$PPID/maps; kill $!"


def measure(budget: Budget) -> Result:
    command = [sys.executable, "-m", "minicomp", "run", "--backend", "headless", "--", "sh", "-c", _READ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=8 * slowness())
    shared = re.findall(r"^\S+ rw-s .* (\S*(?:weston-shared|memfd:|/dev/dri|dmabuf)\S*)", result.stdout, re.M)
    shared = sorted({re.sub(r"-\w{6}$", "", name) for name in shared})
    if not shared:
        raise RuntimeError(f"no buffer of {_CLIENT} in the compositor's memory: {result.stderr[-300:]}")
    dma = [name for name in shared if "dri" in name or "dmabuf" in name]
    seen = f"the compositor has {', '.join(shared)} mapped for {_CLIENT}: "
    return holds(
        seen + ("a dma-buf" if dma else "plain shared memory"), Number.exact("dma-bufs", len(dma)), when=bool(dma)
    )


PROBES = (
    Probe(
        name="buffers-dma-buf",
        section=3,
        statement="Why this matters for Wayland: every buffer (wl_buffer) is backed by a dma-buf fd.",
        method=f"A headless minicomp shows {_CLIENT}, and a program beside it reads what shared memory the compositor has mapped.",
        used_by="wl_shm as well as linux-dmabuf; minicomp inspect names the kind of each buffer's fd.",
        requires=(program(_CLIENT, "weston"),),
        measure=measure,
    ),
)
