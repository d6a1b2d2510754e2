"""Initial file systems for the guest: a cpio writer in the kernel's `newc` format, and the function VM's image.

The image holds a static busybox, the few modules that reach the host's files over 9p, and `init.sh`. It depends on
the kernel only and is cached beside it; what differs from run to run is a second, small archive appended to it (the
kernel unpacks archives one after the other). Everything is written in sorted order and belongs to root, so
the same files give the same bytes. Format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import lzma
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from .errors import LabError
from .layers import Kernel

# What it takes to mount the host's root with a writable overlay above it.
ROOT_MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")


class Archive:
    """Files of an initial file system, collected and then written as one cpio archive."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, bytes | Path]] = {}
        for folder in ("dev", "proc", "sys", "run", "tmp", "root"):
            self.add_folder(folder)

    def add_folder(self, path: str) -> None:
        self._put(path, stat.S_IFDIR | 0o755, b"")

    def add_data(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._put(path, stat.S_IFREG | mode, data)

    def add_link(self, path: str, target: str) -> None:
        self._put(path, stat.S_IFLNK | 0o777, target.encode())

    def add_file(self, source: Path, path: str | None = None) -> None:
        """A host file (links followed) at `path`, by default at its own place."""
        executable = source.stat().st_mode & 0o111
        self._put(path or str(source), stat.S_IFREG | (0o755 if executable else 0o644), source)

    def add_tree(self, source: Path, path: str | None = None, skip: Callable[[Path], bool] = lambda _: False) -> None:
        """A host folder with everything below it, links kept as links; `skip` leaves out files and folders."""
        for entry in sorted(source.iterdir()):
            place = f"{path or source}/{entry.name}"
            if skip(entry):
                continue
            if entry.is_symlink():
                self.add_link(place, str(entry.readlink()))
            elif entry.is_dir():
                self.add_folder(place)
                self.add_tree(entry, place, skip)
            elif entry.is_file():
                self.add_file(entry, place)

    def files(self) -> list[Path]:
        """The host files that are in the archive."""
        return [content for _, content in self._entries.values() if isinstance(content, Path)]

    def __contains__(self, path: str) -> bool:
        return path.strip("/") in self._entries

    def write(self, target: Path) -> None:
        with target.open("wb") as out:
            for number, (name, (mode, content)) in enumerate(sorted(self._entries.items()), start=1):
                # A file's own time: Python's compiled modules are valid for it.
                if isinstance(content, Path):
                    data, time_s = content.read_bytes(), int(content.stat().st_mtime)
                else:
                    data, time_s = content, 0
                out.write(_record(name, number, mode, data, time_s))
            # The kernel opens it for init, before /dev is mounted.
            out.write(_record("dev/console", len(self._entries) + 1, stat.S_IFCHR | 0o600, b"", device=(5, 1)))
            out.write(_record("TRAILER!!!", 0, 0, b""))

    def _put(self, path: str, mode: int, content: bytes | Path) -> None:
        name = path.strip("/")
        parent = name.rpartition("/")[0]
        if parent and parent not in self._entries:
            self.add_folder(parent)
        self._entries[name] = (mode, content)


def _record(name: str, inode: int, mode: int, data: bytes, time_s: int = 0, device: tuple[int, int] = (0, 0)) -> bytes:
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (inode, mode, 0, 0, links, time_s, len(data), 0, 0, *device, len(encoded), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
    return header + bytes(-len(header) % 4) + data + bytes(-len(data) % 4)


def module_files(kernel: Kernel, names: Iterable[str]) -> list[Path]:
    """The modules' files with what they depend on, in loading order; what is built in or unknown is left out."""
    needs: dict[str, tuple[str, list[str]]] = {}
    for line in (kernel.modules_dir / "modules.dep").read_text().splitlines():
        path, _, dependencies = line.partition(":")
        needs[_module_name(path)] = (path, dependencies.split())
    order: list[str] = []
    for name in names:
        if known := needs.get(name):
            # modules.dep lists the nearest dependency first.
            order += [path for path in [*reversed(known[1]), known[0]] if path not in order]
    return [kernel.modules_dir / path for path in order]


def module_data(path: Path) -> bytes:
    """A module's bytes, decompressed: busybox' insmod hands them to the kernel as they are."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix != ".ko":
        raise LabError(f"{path}: modules compressed with {path.suffix} are not supported")
    return data


def add_modules(archive: Archive, kernel: Kernel, names: Iterable[str]) -> None:
    """Put modules at modules/NN-NAME.ko, numbered in loading order."""
    for number, path in enumerate(module_files(kernel, names)):
        archive.add_data(f"modules/{number:02d}-{_module_name(str(path))}.ko", module_data(path))


def function_image(kernel: Kernel, busybox: Path, target: Path) -> None:
    """The function VM's initial file system, without what differs from run to run."""
    archive = Archive()
    archive.add_data("init", (Path(__file__).parent / "init.sh").read_bytes(), 0o755)
    archive.add_file(busybox, "bin/busybox")
    add_modules(archive, kernel, ROOT_MODULES)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    archive.write(partial)
    partial.rename(target)


def _module_name(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")
