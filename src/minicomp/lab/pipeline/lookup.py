"""Record columns and the searches that join them: whole-array answers to "the last one of this group before here".

A record's position in the merged run is its place in time, without ties; groups are ids of up to 32 bits. Every search
answers with an index per question and -1 for none.
"""

from __future__ import annotations

import numpy as np

from minicomp.lab.pipeline.points import Point
from minicomp.lab.pipeline.runfile import Run
from minicomp.lab.pipeline.tables import Ints


class Records:
    """The record columns as int64."""

    def __init__(self, run: Run) -> None:
        self.t_ns = run.column("t_ns")
        self.arg = run.column("arg")
        self.frame = run.column("output_id") << 32 | run.column("frame_id")
        self.surface_id = run.column("surface_id")
        self.flags = run.column("flags")
        self.source = run.sources.astype(np.int64)
        self._point = run.records["point"]

    def of(self, *points: Point) -> Ints:
        """Positions of the records of these points, in time order."""
        return np.flatnonzero(np.isin(self._point, points)).astype(np.int64)


def before(groups: Ints, at: Ints, other_groups: Ints, other_at: Ints) -> Ints:
    """For each (group, position): the index into `other` of the last one of the same group before it, or -1."""
    order, keys, wanted = _packed(groups, at, other_groups, other_at)
    return _same_group(groups, other_groups, order, np.searchsorted(keys, wanted, "left") - 1)


def after(groups: Ints, at: Ints, other_groups: Ints, other_at: Ints) -> Ints:
    """For each (group, position): the index into `other` of the first one of the same group after it, or -1."""
    order, keys, wanted = _packed(groups, at, other_groups, other_at)
    return _same_group(groups, other_groups, order, np.searchsorted(keys, wanted, "right"))


def _packed(groups: Ints, at: Ints, other_groups: Ints, other_at: Ints) -> tuple[Ints, Ints, Ints]:
    """(group, position) pairs as single integers: a group has 32 bits at most, a position counts one file's records."""
    stride = 1 + max(int(at.max(initial=0)), int(other_at.max(initial=0)))
    packed = other_groups * stride + other_at
    order = np.argsort(packed, kind="stable")
    return order, packed[order], groups * stride + at


def _same_group(groups: Ints, other_groups: Ints, order: Ints, place: Ints) -> Ints:
    if not len(order):
        return np.full(len(groups), -1, np.int64)
    found = order[np.clip(place, 0, len(order) - 1)]
    inside = (place >= 0) & (place < len(order))
    return np.where(inside & (other_groups[found] == groups), found, -1)


def first_not_before(groups: Ints, value: Ints, other_groups: Ints, other_value: Ints) -> Ints:
    """For each (group, value): the index of the first of the same group with at least that value, or -1.

    `other` is sorted by (group, value). Values may be times, too large to pack: both sides are ranked together first.
    """
    _values, rank = np.unique(np.concatenate([value, other_value]), return_inverse=True)
    rank = rank.reshape(-1).astype(np.int64)
    stride = len(rank) + 1
    keys = other_groups * stride + rank[len(value) :]
    place = np.searchsorted(keys, groups * stride + rank[: len(value)], "left")
    return _same_group(groups, other_groups, np.arange(len(keys)), place)


def find(keys: Ints, wanted: Ints) -> Ints:
    """Row of each wanted key in sorted unique keys, or -1."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    rows = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[rows] == wanted, rows, -1)
