"""The missed vblanks of a run as rows of an experiment's table need them.

A frame that was late is late for every surface in it: the miss belongs to their rows. A miss that is one surface's own
(its client answered too late, or the loop thread could not read the answer) happened when there was no frame: it gets a
row of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minicomp.lab.pipeline.attribution import Cause, explain
from minicomp.lab.pipeline.reasons import KernelSide
from minicomp.lab.pipeline.tables import Bools, Joined


class Miss(NamedTuple):
    """Vblanks in a row that showed nothing new although they should have, from `vblank_ns` on."""

    latch_row: int
    vblank_ns: int
    vblanks: int
    cause: str
    evidence: str


class Misses(NamedTuple):
    of_frames: dict[int, Miss]
    """By latch row."""
    of_surfaces: list[Miss]


def misses_of(joined: Joined, measured: Bools, kernel: KernelSide | None = None) -> Misses:
    """Every miss that hit a measured latch (`measured`: one a row of `joined.latches`)."""
    of_frames: dict[int, Miss] = {}
    of_surfaces: list[Miss] = []
    latches = joined.latches
    for cause in explain(joined, kernel):
        for row in np.flatnonzero(measured & (latches.frame_row == cause.frame_row)).tolist():
            if not cause.surface_id:
                of_frames[row] = _miss(row, cause)
            elif latches.surface_id[row] == cause.surface_id:
                of_surfaces.append(_miss(row, cause))
                break
    return Misses(of_frames, of_surfaces)


def _miss(row: int, cause: Cause) -> Miss:
    return Miss(row, cause.vblank_ns, cause.vblanks, cause.name, cause.evidence)
