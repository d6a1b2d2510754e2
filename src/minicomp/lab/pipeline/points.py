"""The trace points and the 32-byte record, as docs/trace-format.md fixes them.

The numbers are shared with the native trace ring (a test compares the two); they never change, new points are added
at the end. This module only names things: reading a file is `runfile`, meaning is `join`.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np


class Point(IntEnum):
    """What a record says happened."""

    EPOLL_WAKE = 1
    DISPATCH_BEGIN = 2
    DISPATCH_END = 3
    FD_RECEIVED = 4
    COMMIT_REQUEST = 5
    SURFACE_COMMIT = 6
    FRAME_QUEUED = 7
    FRAME_PLANNED = 8
    RENDER_WAKE = 9
    LOCK_WAIT_BEGIN = 10
    LOCK_WAIT_END = 11
    COMPOSE_BEGIN = 12
    COMPOSE_END = 13
    SURFACE_LATCHED = 14
    KMS_COMMIT_BEGIN = 15
    KMS_COMMIT_END = 16
    PRESENTED = 17
    FRAME_CALLBACK = 18
    INPUT_EVENT = 19
    INPUT_DELIVERED = 20
    SCHED = 21
    LOCK_HOLD = 22
    DEADLINE_OVERRUN = 23
    CLIENT_MUTED = 24


class Source(IntEnum):
    """The thread that wrote a record."""

    LOOP = 0
    RENDER = 1
    POLICY = 2


class CommitFlag(IntFlag):
    """flags of SURFACE_COMMIT."""

    BUFFER = 1
    DAMAGE = 2
    CALLBACK = 4
    FEEDBACK = 8


class QueueReason(IntFlag):
    """flags of FRAME_QUEUED: why the output needs a frame."""

    DAMAGE = 1
    CALLBACK_ONLY = 2
    OUTPUT_CHANGE = 4
    CAPTURE_OR_CURSOR = 8
    FAULT_RETRY = 16


class ComposeFlag(IntFlag):
    """flags of COMPOSE_END."""

    DIRECT_SCANOUT = 1


class KmsFlag(IntFlag):
    """flags of KMS_COMMIT_END."""

    REFUSED = 1


class MutedFlag(IntFlag):
    """flags of CLIENT_MUTED."""

    SERVED = 1


class PresentKind(IntFlag):
    """Bits 0-3 of PRESENTED's flags: wp_presentation_feedback.kind (presentation-time.xml)."""

    VSYNC = 1
    HW_CLOCK = 2
    HW_COMPLETION = 4
    ZERO_COPY = 8


class Origin(IntEnum):
    """Bits 4-5 of PRESENTED's flags: where the vblank time came from."""

    NOW = 0
    HARDWARE = 1
    MODELLED = 2
    ESTIMATED = 3


class InputKind(IntEnum):
    """flags of INPUT_EVENT and INPUT_DELIVERED."""

    KEY = 1
    MOTION = 2
    BUTTON = 3
    AXIS = 4
    TOUCH = 5
    GESTURE = 6


PRESENT_KIND_MASK = 0xF
PRESENT_ORIGIN_SHIFT = 4
PRESENT_ORIGIN_MASK = 0x3
PRESENT_DISCARDED = 1 << 6
PRESENT_SEQ_SHIFT = 8

RECORD_DTYPE = np.dtype(
    [
        ("t_ns", "<u8"),
        ("arg", "<u8"),
        ("frame_id", "<u4"),
        ("surface_id", "<u4"),
        ("point", "<u2"),
        ("output_id", "<u2"),
        ("flags", "<u4"),
    ]
)
RECORD_BYTES = 32
assert RECORD_DTYPE.itemsize == RECORD_BYTES


def present_flags(kind: int, origin: int, seq: int, *, discarded: bool = False) -> int:
    """PRESENTED's flags from their parts; `seq` is kept modulo 2^24."""
    word = (kind & PRESENT_KIND_MASK) | (origin & PRESENT_ORIGIN_MASK) << PRESENT_ORIGIN_SHIFT
    if discarded:
        word |= PRESENT_DISCARDED
    return word | (seq & 0xFFFFFF) << PRESENT_SEQ_SHIFT


def describe_flags(point: int, flags: int) -> str:
    """The flags of one record in words, for `minicomp trace dump`; '' when there is nothing to say."""
    if point == Point.PRESENTED:
        return _describe_present(flags)
    if point == Point.SCHED:
        counts = [(flags >> shift) & 0xFF for shift in (0, 8, 16, 24)]
        return "voluntary={} involuntary={} minor_faults={} major_faults={}".format(*counts)
    if point in (Point.INPUT_EVENT, Point.INPUT_DELIVERED) and flags in set(InputKind):
        return InputKind(flags).name.lower()
    if point in (Point.LOCK_WAIT_BEGIN, Point.LOCK_WAIT_END, Point.LOCK_HOLD):
        word = {Point.LOCK_WAIT_BEGIN: "waits", Point.LOCK_WAIT_END: "held_by"}.get(Point(point), "holder")
        return f"{word}={source_name(flags)}"
    bits = _FLAG_BITS.get(point)
    if bits is None or not flags:
        return f"flags={flags:#x}" if flags else ""
    known = [bit.name.lower() for bit in bits if flags & bit and bit.name]
    rest = flags & ~sum(bits)
    return "|".join([*known, *([f"{rest:#x}"] if rest else [])])


def source_name(source: int) -> str:
    """A thread's name in reports; a number that this version does not know stays a number."""
    return Source(source).name.lower() if source in set(Source) else f"thread {source}"


def point_name(point: int) -> str:
    """A point's name as the format document spells it."""
    return Point(point).name if point in set(Point) else f"POINT_{point}"


_FLAG_BITS: dict[int, type[IntFlag]] = {
    Point.SURFACE_COMMIT: CommitFlag,
    Point.FRAME_QUEUED: QueueReason,
    Point.COMPOSE_END: ComposeFlag,
    Point.KMS_COMMIT_END: KmsFlag,
    Point.CLIENT_MUTED: MutedFlag,
}


def _describe_present(flags: int) -> str:
    origin = Origin((flags >> PRESENT_ORIGIN_SHIFT) & PRESENT_ORIGIN_MASK).name.lower()
    kinds = [kind.name.lower() for kind in PresentKind if flags & kind and kind.name]
    words = [f"seq={flags >> PRESENT_SEQ_SHIFT}", origin, *kinds]
    return " ".join([*words, "discarded"] if flags & PRESENT_DISCARDED else words)
