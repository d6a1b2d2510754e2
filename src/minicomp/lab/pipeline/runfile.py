"""Reads a run file (docs/trace-format.md) into one time-ordered numpy array, and writes small ones for tests.

A run file may be growing, or cut off because the compositor was killed: everything up to the last whole chunk is
read and `Run.cut_short` says what is missing. A file that is no run file, or whose contents contradict the format,
raises `RunFileError`; nothing else is raised for bad bytes. All times are CLOCK_MONOTONIC nanoseconds.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from minicomp.errors import ExitCode, MinicompError
from minicomp.lab.pipeline.points import RECORD_BYTES, RECORD_DTYPE, source_name

MAGIC = 0x3154434D
FORMAT_VERSION = 1
HEADER = struct.Struct("<IHHII")


class ChunkKind(IntEnum):
    META = 1
    RECORDS = 2
    NAMES = 3
    END = 4


class RunFileError(MinicompError):
    """The file cannot be read, or is no run file of this version."""

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        super().__init__(what, where=where, todo=todo, exit_code=ExitCode.USAGE)


@dataclass(frozen=True)
class Run:
    """One run, merged. `records` and `sources` have one entry a record, in time order (stable within a source)."""

    path: Path
    meta: Mapping[str, Any]
    records: npt.NDArray[np.void]
    sources: npt.NDArray[np.uint16]
    names: Mapping[tuple[str, int], Mapping[str, Any]]
    dropped: Mapping[int, int]
    """How many records each source's ring dropped."""
    end: Mapping[str, Any] | None
    cut_short: str | None
    """Why the file ends early, or None when it was closed properly."""

    @property
    def dropped_total(self) -> int:
        """All drops: by the chunks' own counts or, when it is larger, by the END chunk's total."""
        total = sum(self.dropped.values())
        declared = self.end.get("dropped", 0) if self.end else 0
        return max(total, declared) if isinstance(declared, int) else total

    @property
    def stepped(self) -> bool:
        """True when predicted, planned and vblank times are on the modelled (step) clock, not CLOCK_MONOTONIC."""
        return self.meta.get("clock") == "step"

    def column(self, field: str) -> npt.NDArray[np.int64]:
        """One record field as int64 (times stay below 2^63 ns for 292 years)."""
        return self.records[field].astype(np.int64)

    def name(self, kind: str, number: int) -> str:
        """What the run calls an output, surface or client; "output 3" when it has no name.

        Clients choose their app_id: what would not print becomes "?".
        """
        entry = self.names.get((kind, number), {})
        label = str(entry.get("name") or entry.get("app_id") or f"{kind} {number}")
        return "".join(character if character.isprintable() else "?" for character in label)

    def refresh_ns(self, output_id: int) -> int | None:
        """The refresh period of an output's mode in ns, or None when the run does not say."""
        refresh_mhz = self.names.get(("output", output_id), {}).get("refresh_mhz")
        if not isinstance(refresh_mhz, int | float) or isinstance(refresh_mhz, bool) or not 0 < refresh_mhz < 1e9:
            return None
        return round(1e12 / refresh_mhz)


def read_run(path: str | Path) -> Run:
    """Reads a whole run file.

    Raises RunFileError when the file cannot be opened or is not a run file; a file that was cut off is no error.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:  # which mmap refuses
                raise RunFileError("not a run file (it is empty)", where=str(path))
            with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data).read()
    except OSError as error:
        raise RunFileError(error.strerror or str(error), where=str(path)) from error


class RunWriter:
    """Writes a run file chunk by chunk: for tests and for tools that make traces. The compositor's writer is native.

    Use as a context manager; leaving it closes the file without an END chunk unless `end` was called.
    """

    def __init__(self, path: str | Path, meta: Mapping[str, Any]) -> None:
        self._file: BinaryIO = Path(path).open("wb")  # noqa: SIM115 - closed by __exit__
        self._dropped: dict[int, int] = {}
        self._records = 0
        self._chunk(ChunkKind.META, _json_bytes({"version": FORMAT_VERSION, **meta}))

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._file.close()

    def names(self, entries: Iterable[Mapping[str, Any]]) -> None:
        self._chunk(ChunkKind.NAMES, _json_bytes(list(entries)))

    def records(self, source: int, records: npt.NDArray[np.void] | Sequence[tuple[int, ...]], dropped: int = 0) -> None:
        """One RECORDS chunk; tuples are in the record's field order. `dropped` is the ring's total so far."""
        array = np.asarray(records, dtype=RECORD_DTYPE)
        self._dropped[source] = dropped
        self._records += len(array)
        self._chunk(ChunkKind.RECORDS, array.tobytes(), source, dropped)

    def end(self, end_ns: int) -> None:
        facts = {"records": self._records, "dropped": sum(self._dropped.values()), "end_ns": end_ns}
        self._chunk(ChunkKind.END, _json_bytes(facts))

    def _chunk(self, kind: int, payload: bytes, source: int = 0, dropped: int = 0) -> None:
        self._file.write(HEADER.pack(MAGIC, kind, source, len(payload), dropped))
        self._file.write(payload)


class _Reader:
    """Walks the chunks of one mapped file; the arrays it returns own their memory (the mapping is closed after)."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.meta: dict[str, Any] | None = None
        self.end: dict[str, Any] | None = None
        self.names: dict[tuple[str, int], dict[str, Any]] = {}
        self.dropped: dict[int, int] = {}
        self.chunks: list[tuple[int, npt.NDArray[np.void]]] = []

    def read(self) -> Run:
        note = self._walk()
        if self.meta is None:
            raise RunFileError(f"not a run file ({note or 'it has no META chunk'})", where=str(self.path))
        if note is None and self.end is None:
            note = "it has no END chunk: the compositor was killed or is still writing"
        records, sources = self._merge()
        return Run(self.path, self.meta, records, sources, self.names, self.dropped, self.end, note)

    def _walk(self) -> str | None:
        """Reads chunk after chunk; returns why it stopped early, or None at a clean end of file."""
        offset, size = 0, len(self.data)
        while offset < size:
            if size - offset < HEADER.size:
                return f"cut off inside a chunk header at byte {offset}"
            magic, kind, source, length, dropped = HEADER.unpack_from(self.data, offset)
            if magic != MAGIC:
                return f"no chunk at byte {offset}"
            start = offset + HEADER.size
            if size - start < length:
                return f"cut off inside the chunk at byte {offset}: {size - start} of {length} bytes"
            self._chunk(kind, source, dropped, offset, start, length)
            offset = start + length
        return None

    def _chunk(self, kind: int, source: int, dropped: int, offset: int, start: int, length: int) -> None:
        where = f"{self.path}, chunk at byte {offset}"
        if self.meta is None and kind != ChunkKind.META:
            raise RunFileError("not a run file (the first chunk is not META)", where=where)
        if kind == ChunkKind.RECORDS:
            if length % RECORD_BYTES:
                raise RunFileError(f"{length} bytes are not whole {RECORD_BYTES}-byte records", where=where)
            part = np.frombuffer(self.data, RECORD_DTYPE, length // RECORD_BYTES, start).copy()
            if int(part["t_ns"].max(initial=0)) >= 1 << 63:
                raise RunFileError("a record's time is past the year 2262", where=where)
            self.chunks.append((source, part))
            self.dropped[source] = max(dropped, self.dropped.get(source, 0))
        elif kind in (ChunkKind.META, ChunkKind.NAMES, ChunkKind.END):
            value = _parse_json(self.data[start : start + length], where)
            if kind == ChunkKind.NAMES:
                self._take_names(value, where)
            elif not isinstance(value, dict):
                raise RunFileError("a JSON object was expected", where=where)
            elif kind == ChunkKind.META:
                self._take_meta(value, where)
            else:
                self.end = value
        # Any other kind is a later addition to the format: chunks can be skipped by their length.

    def _take_meta(self, value: dict[str, Any], where: str) -> None:
        version = value.get("version")
        if version != FORMAT_VERSION:
            raise RunFileError(f"format version {version!r}; this minicomp reads version {FORMAT_VERSION}", where=where)
        for key in ("start_ns", "start_unix_ns", "pid"):
            if not isinstance(value.setdefault(key, 0), int):
                raise RunFileError(f"META's {key} is not an integer", where=where)
        self.meta = value

    def _take_names(self, value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise RunFileError("a JSON array was expected", where=where)
        for entry in value:
            if not isinstance(entry, dict) or not isinstance(entry.get("id"), int):
                raise RunFileError("a name without an integer id", where=where)
            self.names[str(entry.get("type")), entry["id"]] = entry

    def _merge(self) -> tuple[npt.NDArray[np.void], npt.NDArray[np.uint16]]:
        if not self.chunks:
            return np.empty(0, RECORD_DTYPE), np.empty(0, np.uint16)
        records = np.concatenate([part for _source, part in self.chunks])
        sources = np.concatenate([np.full(len(part), source, np.uint16) for source, part in self.chunks])
        order = np.argsort(records["t_ns"], kind="stable")
        return records[order], sources[order]


def describe_drops(run: Run) -> str:
    """ "12 (loop 10, render 2)", or "0"."""
    parts = [f"{source_name(source)} {count}" for source, count in sorted(run.dropped.items()) if count]
    return f"{run.dropped_total} ({', '.join(parts)})" if parts else str(run.dropped_total)


def _json_bytes(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _parse_json(raw: bytes, where: str) -> Any:
    try:
        return cast(Any, json.loads(raw))
    except (ValueError, RecursionError) as error:
        raise RunFileError(f"damaged JSON ({error})", where=where) from error
