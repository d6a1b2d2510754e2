"""Whether two boots of one virtual-time image gave the same: exit code, output and every file, byte for byte."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .virtual_time import VirtualRun


def differences(first: VirtualRun, second: VirtualRun) -> list[str]:
    """What differs, by name: of an archive the files in it. Empty when both are the same."""
    found = []
    if first.code != second.code:
        found.append(f"exit code ({first.code}, {second.code})")
    if first.output != second.output:
        found.append("output")
    for path in _different(first.files, second.files):
        inside = _different(*(_members(run.files.get(path, b"")) for run in (first, second)))
        found += [f"{path}: {name}" for name in inside] or [path]
    return found


def again(path: str) -> Path:
    """Where the second boot's file goes: lab.tar -> lab-again.tar."""
    target = Path(path)
    return target.with_name(f"{target.stem}-again{target.suffix}")


def _different(first: Mapping[str, bytes], second: Mapping[str, bytes]) -> list[str]:
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


def _members(data: bytes) -> dict[str, bytes]:
    """The files in a tar archive; none when it is not one."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return {member.name: file.read() for member in archive if (file := archive.extractfile(member)) is not None}
    except tarfile.TarError:
        return {}
