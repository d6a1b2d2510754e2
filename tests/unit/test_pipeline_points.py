"""The names and numbers of the run file, against the document that fixes them."""

import re
from pathlib import Path

import numpy as np
import pytest

from minicomp.lab.pipeline import points
from minicomp.lab.pipeline.points import Origin, Point, PresentKind

FORMAT = Path(__file__).parents[2] / "docs" / "trace-format.md"


def test_points_are_those_of_the_format_document() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", FORMAT.read_text(), re.MULTILINE)
    assert {name: int(number) for number, name in rows} == {point.name: int(point) for point in Point}


def test_record_has_the_documented_layout() -> None:
    fields = re.search(r"^`(u64 t_ns[^`]+)`", FORMAT.read_text(), re.MULTILINE)
    assert fields
    kinds = {"u64": np.uint64, "u32": np.uint32, "u16": np.uint16}
    wanted = [field.split() for field in fields.group(1).split(", ")]
    assert [(name, points.RECORD_DTYPE[name]) for name in points.RECORD_DTYPE.names or ()] == [
        (name, np.dtype(kinds[kind])) for kind, name in wanted
    ]
    assert points.RECORD_DTYPE.itemsize == 32


def test_present_flags_pack_kind_origin_sequence_and_discarded() -> None:
    word = points.present_flags(
        PresentKind.VSYNC | PresentKind.HW_CLOCK, Origin.ESTIMATED, (1 << 24) + 5, discarded=True
    )
    assert word == 0x3 | 3 << 4 | 1 << 6 | 5 << 8


@pytest.mark.parametrize(
    ("point", "flags", "words"),
    [
        (Point.SURFACE_COMMIT, 1 | 4, "buffer|callback"),
        (Point.SURFACE_COMMIT, 0x100 | 2, "damage|0x100"),
        (Point.FRAME_QUEUED, 2, "callback_only"),
        (Point.PRESENTED, 1 | 1 << 4 | 77 << 8, "seq=77 hardware vsync"),
        (Point.PRESENTED, 1 << 6, "seq=0 now discarded"),
        (Point.SCHED, 0x04030201, "voluntary=1 involuntary=2 minor_faults=3 major_faults=4"),
        (Point.LOCK_WAIT_END, 2, "held_by=policy"),
        (Point.LOCK_HOLD, 9, "holder=thread 9"),
        (Point.INPUT_EVENT, 3, "button"),
        (Point.COMPOSE_BEGIN, 0, ""),
        (Point.EPOLL_WAKE, 6, "flags=0x6"),
        (99, 1, "flags=0x1"),
    ],
)
def test_flags_in_words(point: int, flags: int, words: str) -> None:
    assert points.describe_flags(point, flags) == words
