"""Follows a run file while the compositor writes it: whole chunks as they arrive, the newest seconds of records kept.

The compositor's trace thread appends a few chunks about ten times a second. What is read here is the file only:
nothing is asked of the compositor, and nothing slows it down. Records stay in the order of the file; `as_run` sorts
what is kept into a `Run`, so that everything in lab/pipeline works on it.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from minicomp.lab.pipeline.points import RECORD_BYTES, RECORD_DTYPE
from minicomp.lab.pipeline.runfile import FORMAT_VERSION, HEADER, MAGIC, ChunkKind, Run, RunFileError

MOST_RECORDS = 150_000
"""Kept at most, however many a second there are: more could not be joined several times a second."""
LONGEST_CHUNK_BYTES = 1 << 26
"""Ten times more than the compositor's largest ring: a longer one is damage, and would be waited for in vain."""
READ_BYTES = 1 << 22


class Tail:
    """Use as a context manager. Raises RunFileError when the file is no run file, or becomes none."""

    def __init__(self, path: str | Path, window_s: float) -> None:
        self.path = Path(path)
        self.window_ns = round(window_s * 1e9)
        self.meta: dict[str, Any] = {}
        self.names: dict[tuple[str, int], dict[str, Any]] = {}
        self.dropped: dict[int, int] = {}
        self.end: dict[str, Any] | None = None
        self.records_read = 0
        self.newest_ns = 0
        self._chunks: deque[tuple[int, npt.NDArray[np.void]]] = deque()
        self._kept = 0
        self._offset = 0
        self._rest = b""
        try:
            self._file: BinaryIO = self.path.open("rb")
        except OSError as error:
            raise RunFileError(error.strerror or str(error), where=str(path)) from error

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._file.close()

    def read(self) -> int:
        """Takes in what has been appended since; returns how many whole chunks that was."""
        chunks = 0
        while part := self._file.read(READ_BYTES):
            self._rest += part
            chunks += self._take_chunks()
        self._forget()
        return chunks

    def behind_s(self) -> float:
        """How long ago the file was last written to."""
        return max(0.0, time.time() - os.fstat(self._file.fileno()).st_mtime)

    def as_run(self) -> Run:
        """What is kept, as a run that was cut off here."""
        if self._chunks:
            records = np.concatenate([part for _source, part in self._chunks])
            sources = np.concatenate([np.full(len(part), source, np.uint16) for source, part in self._chunks])
        else:
            records, sources = np.empty(0, RECORD_DTYPE), np.empty(0, np.uint16)
        order = np.argsort(records["t_ns"], kind="stable")
        return Run(self.path, self.meta, records[order], sources[order], self.names, self.dropped, self.end, None)

    def _take_chunks(self) -> int:
        rest, start, count = self._rest, 0, 0
        while len(rest) - start >= HEADER.size:
            magic, kind, source, length, dropped = HEADER.unpack_from(rest, start)
            if magic != MAGIC or length > LONGEST_CHUNK_BYTES or (not self.meta and kind != ChunkKind.META):
                raise RunFileError(f"not a run file (no chunk at byte {self._offset + start})", where=str(self.path))
            end = start + HEADER.size + length
            if end > len(rest):
                break
            self._take(kind, source, dropped, rest[start + HEADER.size : end])
            start, count = end, count + 1
        self._rest = rest[start:]
        self._offset += start
        return count

    def _take(self, kind: int, source: int, dropped: int, payload: bytes) -> None:
        if kind == ChunkKind.RECORDS:
            if len(payload) % RECORD_BYTES:
                raise RunFileError("a chunk does not hold whole records", where=str(self.path))
            part = np.frombuffer(payload, RECORD_DTYPE)
            self.dropped[source] = max(dropped, self.dropped.get(source, 0))
            if len(part):
                self._chunks.append((source, part))
                self._kept += len(part)
                self.records_read += len(part)
                self.newest_ns = max(self.newest_ns, int(part["t_ns"].max()))
            return
        if kind not in (ChunkKind.META, ChunkKind.NAMES, ChunkKind.END):
            return  # a later addition to the format
        try:
            value = json.loads(payload)
        except ValueError as error:
            raise RunFileError(f"damaged JSON ({error})", where=str(self.path)) from error
        if kind == ChunkKind.META:
            self._take_meta(value)
        elif kind == ChunkKind.END:
            self.end = value if isinstance(value, dict) else {}
        else:
            self._take_names(value)

    def _take_meta(self, value: Any) -> None:
        if not isinstance(value, dict) or value.get("version") != FORMAT_VERSION:
            raise RunFileError(f"not of format version {FORMAT_VERSION}", where=str(self.path))
        self.meta = value

    def _take_names(self, value: Any) -> None:
        for entry in value if isinstance(value, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("id"), int):
                self.names[str(entry.get("type")), entry["id"]] = entry

    def _forget(self) -> None:
        """Drops chunks that are older than the window, and the oldest of too many."""
        while self._chunks:
            _source, part = self._chunks[0]
            if self.newest_ns - int(part["t_ns"][-1]) <= self.window_ns and self._kept <= MOST_RECORDS:
                return
            self._kept -= len(part)
            self._chunks.popleft()


def wait_for_file(path: str | Path, wait_s: float) -> None:
    """Returns once the file holds something. Raises RunFileError after wait_s seconds."""
    path = Path(path)
    until_s = time.monotonic() + wait_s
    while True:
        if path.exists() and path.stat().st_size >= HEADER.size:
            return
        if time.monotonic() >= until_s:
            what = "is empty" if path.exists() else "does not exist"
            raise RunFileError(what, where=str(path), todo=f"start the compositor with: minicomp run --trace {path}")
        time.sleep(0.05)
