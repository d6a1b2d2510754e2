"""Runs in the guest, where dma-bufs can be allocated, with the compositor in its own process: what only that can tell.

Prints one JSON object: how often mapped buffers were read and synchronised, by who asked and what for.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))

from minicomp.native.wlr import lib  # noqa: E402
from minicomp.testing.instance import InProcess, configure  # noqa: E402


def counts(instance: InProcess) -> Any:
    counts = instance.compositor.ffi.new("struct mc_dmabuf_counts *")
    lib.mc_dmabuf_get_counts(instance.compositor.server, counts)
    return counts


def frames(instance: InProcess) -> int:
    counters = instance.compositor.ffi.new("struct mc_counters *")
    lib.mc_server_counters(instance.compositor.server, counters)
    return int(counters.frames)


def jump(instance: InProcess) -> None:
    for place in ((50, 50), (500, 400)):
        instance.compositor.seat.inject.move(*place)
        instance.pump(0.04)


def main() -> None:
    result: dict[str, int] = {}
    os.environ["WLR_NO_HARDWARE_CURSORS"] = "1"  # drawn into the frame: moving it damages two places
    with InProcess(configure(headless__outputs=["640x480@60"])) as instance:
        client = instance.launch([str(ROOT / "build/clients/dmabuf"), "--quiet"])
        instance.wait_for(lambda: counts(instance).mapped == 1, "the buffer")
        instance.pump(0.5)
        result["mapped_bytes"] = counts(instance).mapped_bytes
        result["held_fds"] = counts(instance).held_fds
        # The pointer jumps: each frame repaints where it was and where it is, from a buffer that does not change.
        # The theme is read on a thread of its own; until it is there, nothing is drawn and nothing repainted.
        first_reads = counts(instance).reads
        instance.wait_for(lambda: jump(instance) or counts(instance).reads > first_reads, "the pointer's picture", 30)
        instance.pump(0.2)
        before, first = counts(instance), frames(instance)
        for _ in range(20):
            jump(instance)
        instance.pump(0.2)
        after = counts(instance)
        result["frames"] = frames(instance) - first
        result["syncs"] = after.syncs - before.syncs
        result["reads"] = after.reads - before.reads
        client.terminate()
        instance.wait_for(lambda: counts(instance).buffers == 0, "the buffer to go")
        gone = counts(instance)
        result["held_after"] = gone.held_fds + gone.mapped + gone.mapped_bytes
    print(json.dumps(result))


if __name__ == "__main__":
    main()
