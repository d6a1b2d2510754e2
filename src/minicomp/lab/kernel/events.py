"""The kernel's half of a trace as a file: what each event is, and the chunks they lie in (docs/trace-format.md).

A file holds either RECORDS, 24 bytes an event, or what a collector that was killed left behind: RAW sub-buffers of the
kernel's ring buffer, or TEXT lines of bpftrace. Times are CLOCK_MONOTONIC nanoseconds. Imports nothing heavy: the
collector runs beside what is measured.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

MAGIC = 0x314B434D
"""MCK1"""
VERSION = 1
HEADER = struct.Struct("<IHHII")
RECORD = struct.Struct("<QiihhHBB")
SUFFIX = ".kernel"
"""What a run file's kernel trace is called: the run file's name and this."""


class ChunkKind(IntEnum):
    META = 1
    RECORDS = 2
    NAMES = 3
    END = 4
    RAW = 5
    TEXT = 6


class Event(IntEnum):
    """What a record says; the meaning of its fields a, b, prio_a, prio_b and state."""

    SWITCH = 1
    """a left the CPU for b; the kernel's priorities of both; state: 0 a could go on (it was preempted or throttled)."""
    WAKING = 2
    """b wakes a; prio_a."""
    WAKEUP = 3
    """a was put on the run queue of `cpu`; prio_a."""
    IRQ_BEGIN = 4
    """The handler of interrupt a begins."""
    IRQ_END = 5
    VBLANK = 6
    """The kernel counted vblank b of CRTC a."""


def result_path(run_path: str | os.PathLike[str]) -> str:
    return os.fspath(run_path) + SUFFIX


def pack_chunk(kind: ChunkKind, payload: bytes, cpu: int = 0) -> bytes:
    return HEADER.pack(MAGIC, kind, cpu, len(payload), 0) + payload


def pack_json(kind: ChunkKind, value: Any) -> bytes:
    return pack_chunk(kind, json.dumps(value, separators=(",", ":")).encode())


def chunks(data: bytes | mmap.mmap) -> Iterator[tuple[int, int, bytes]]:
    """(kind, cpu, payload) of each whole chunk; stops at the first that is not. Raises ValueError for another file."""
    offset = 0
    if len(data) < HEADER.size or HEADER.unpack_from(data)[0] != MAGIC:
        raise ValueError("not a kernel trace")
    while offset + HEADER.size <= len(data):
        magic, kind, cpu, length, _ = HEADER.unpack_from(data, offset)
        offset += HEADER.size
        if magic != MAGIC or offset + length > len(data):
            return
        yield kind, cpu, data[offset : offset + length]
        offset += length
