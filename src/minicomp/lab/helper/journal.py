"""What the helper must undo, on disk before it is done: one JSON object a line, each forced out (fsync) at once.

A journal is one helper's, in a directory of its own (mode 0700), and locked (flock) as long as that helper lives: one
that can be locked was left by a helper that was killed. `restore_left` undoes such journals; `minicomp lab restore` and
the next helper call it. Settings do not survive a reboot, so a journal of another boot is only removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from pathlib import Path

from minicomp.lab.knobs.operations import Forbidden, Operation, read_file
from minicomp.lab.knobs.registry import operation_from_wire

VERSION = 1
_GONE = (errno.ESRCH, errno.ENOENT, errno.ENODEV)  # the thread, cgroup or device is no more: nothing to undo


def directory() -> Path:
    """Where journals are: /run/minicomp. MINICOMP_JOURNAL_DIR is for tests (sudo and systemd do not pass it on)."""
    return Path(os.environ.get("MINICOMP_JOURNAL_DIR") or "/run/minicomp")


def prepared_directory() -> Path:
    """The directory, made if need be; it must be ours alone. Raises PermissionError."""
    folder = directory()
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "it must be a directory of mode 0700 that belongs to root", str(folder))
    return folder


class Journal:
    """The running helper's own journal."""

    def __init__(self, folder: Path, owner_pid: int, owner_uid: int) -> None:
        self.path = folder / f"helper-{os.getpid()}-{time.monotonic_ns()}.journal"
        # Locked before it has its name: else somebody who restores could take it for a dead helper's.
        unnamed = self.path.with_suffix(".new")
        self._fd = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        unnamed.rename(self.path)
        self._entries: list[tuple[int, str, Operation]] = []
        self._next = 0
        self._write({"journal": VERSION, "boot": boot_id(), "owner_pid": owner_pid, "owner_uid": owner_uid})

    def note(self, knob: str, undoing: Operation) -> int:
        """Must return before the thing itself is done. The entry's number."""
        number, self._next = self._next, self._next + 1
        self._write({"number": number, "knob": knob, "undo": undoing.to_wire()})
        self._entries.append((number, knob, undoing))
        return number

    def forget(self, number: int) -> None:
        """The thing was not done after all."""
        self._entries = [entry for entry in self._entries if entry[0] != number]
        self._write({"undone": number})

    def undo(self, knob: str | None = None) -> list[str]:
        """Undoes what was done for one knob, or everything, last first; what could not be undone, in words."""
        failed = []
        for number, name, operation in reversed(self._entries):
            if knob is None or knob == name:
                failed += _performed(name, operation)
                self._write({"undone": number})
        self._entries = [entry for entry in self._entries if knob is not None and entry[1] != knob]
        return failed

    def close(self) -> None:
        self.path.unlink()
        os.close(self._fd)

    def _write(self, entry: dict[str, object]) -> None:
        os.write(self._fd, json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        os.fsync(self._fd)


def restore_left(folder: Path) -> tuple[list[str], list[str]]:
    """Undoes every journal whose helper is gone: what was undone, and what could not be, in words.

    A journal of which something could not be undone stays.
    """
    done: list[str] = []
    failed: list[str] = []
    for path in sorted(folder.glob("helper-*.journal")):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # somebody else who restores has just done it
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its helper lives
            status = os.fstat(fd)
            if status.st_uid != os.geteuid() or status.st_nlink == 0:
                continue
            this_failed: list[str] = []
            for knob, operation in _left_to_undo(fd, path, this_failed):
                problems = _performed(knob, operation)
                this_failed += problems
                if not problems:
                    done.append(f"{knob}: {described(operation)}")
            if not this_failed:
                path.unlink()
            failed += this_failed
        finally:
            os.close(fd)
    return done, failed


def _left_to_undo(fd: int, path: Path, failed: list[str]) -> list[tuple[str, Operation]]:
    """The operations that a journal still asks for, in the order in which to perform them."""
    entries: dict[int, tuple[str, Operation]] = {}
    with open(fd, encoding="utf-8", closefd=False) as file:
        for line_number, line in enumerate(file, 1):
            try:
                entry = json.loads(line)
                if "journal" in entry and (entry["journal"] != VERSION or entry["boot"] != boot_id()):
                    return []
                if "undone" in entry:
                    entries.pop(entry["undone"], None)
                elif "undo" in entry:
                    entries[entry["number"]] = (str(entry["knob"]), operation_from_wire(entry["undo"]))
            except (ValueError, TypeError, KeyError, Forbidden) as error:
                if line.endswith("\n"):  # a last line without its end: the helper died before doing what it says
                    failed.append(f"{path}:{line_number}: unreadable ({error})")
    return [entries[number] for number in sorted(entries, reverse=True)]


def described(operation: Operation) -> str:
    fields = operation.to_wire()
    if fields["kind"] == "write-file":
        return f"{fields['path']} = {fields['value']}"
    return " ".join(f"{name}={value}" if name != "kind" else str(value) for name, value in fields.items())


def boot_id() -> str:
    return read_file("/proc/sys/kernel/random/boot_id")


def _performed(knob: str, operation: Operation) -> list[str]:
    try:
        operation.perform()
    except OSError as error:
        if error.errno not in _GONE:
            return [f"{knob}: {described(operation)}: {error.strerror}"]
    return []
