"""The initial file system of a virtual-time run: everything a command needs, and nothing that reaches the host.

Programs and libraries are put at the places they have on the host, libraries found by ldd. Package layers come
before the host, as in the function VM. Python is the interpreter that runs this, with its standard library, and the
tree's venv with just what minicomp needs at run time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from .errors import LabError
from .initramfs import Archive, add_modules
from .layers import Kernel, library_path

# In loading order. bochs gives the most repeatable display; uinput makes repeatable input, in the guest.
MODULES = ("bochs", "virtio_gpu", "evdev", "uinput", "udmabuf")
DATA = (Path("/usr/share/X11/xkb"), Path("/usr/share/libinput"), Path("/etc/passwd"), Path("/etc/group"))
# Tests, a GUI toolkit, and packages that are not the standard library's own.
STDLIB_SKIP = {"test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip"}
STDLIB_SKIP |= {"site-packages", "dist-packages"}
SOURCE_FOLDERS = ("src", "configs")
# Run by the venv's interpreter: the files and folders in site-packages that belong to minicomp and what it requires.
RUNTIME_PACKAGES = """
import importlib.metadata, re
todo, tops = ["minicomp"], {}
for name in todo:
    distribution = importlib.metadata.distribution(name)
    for file in distribution.files:
        if file.parts[0] not in ("..", "__pycache__"):
            tops[str(distribution.locate_file(file.parts[0]))] = None
    for requirement in distribution.requires or []:
        needed = re.match(r"[\\w.-]+", requirement)[0]
        if "extra ==" not in requirement and needed not in todo:
            todo.append(needed)
print(*sorted(tops), sep="\\n")
"""
GLES2_LIBRARIES = ("libEGL.so.1", "libGLESv2.so.2", "libEGL_mesa.so.0", "libgbm.so.1")
ELF = b"\x7fELF"


class TimingImage:
    def __init__(self, kernel: Kernel, tree: Path, layers: Sequence[Path], busybox: Path) -> None:
        self.archive = Archive()
        self._tree = tree
        self._layers = layers
        self._examined: set[Path] = set()
        self.archive.add_data("init", (Path(__file__).parent / "init_timing.sh").read_bytes(), 0o755)
        self.archive.add_file(busybox, "bin/busybox")
        for name in ("bin", "sbin", "lib", "lib64"):
            self.archive.add_link(name, f"usr/{name}")
        self.archive.add_file(busybox, "usr/bin/busybox")
        add_modules(self.archive, kernel, MODULES)
        for path in DATA:
            if (found := self._locate(path)) is not None:
                self.add(found, str(path))

    def add(self, source: Path, path: str | None = None) -> None:
        """A file or folder, at its own place unless `path` says otherwise."""
        if source.is_dir():
            self.archive.add_tree(source, path, _is_rubbish)
        elif source.exists():
            self._add_file(source, path)
        else:
            raise LabError(f"{source}: no such file to put into the image")

    def add_program(self, name: str) -> str:
        """A program by name or path, with its interpreter when it is a script; its path in the image."""
        found = self._find_program(name)
        place = self._place(found)
        if found.is_relative_to(self._tree / ".venv"):
            self.add_python()
            return str(found)
        self._add_file(found, place)
        first = found.open("rb").readline(200)
        if first.startswith(b"#!"):
            for word in first[2:].decode(errors="replace").split():
                if "python" in word:
                    self.add_python()
                elif not word.startswith("-") and Path(word).name not in ("env", "sh"):
                    self.add_program(word)
        return place

    def add_python(self) -> None:
        """The interpreter, its standard library, the tree's venv and its sources."""
        venv = self._tree / ".venv"
        if not (venv / "bin/python").exists():
            raise LabError("the tree has no .venv to put into the image: run scripts/setup")
        interpreter = (venv / "bin/python").resolve()
        self._add_file(interpreter)
        self.archive.add_tree(_standard_library(interpreter), skip=lambda p: p.name in STDLIB_SKIP or _is_rubbish(p))
        self.archive.add_file(venv / "pyvenv.cfg")
        for program in sorted((venv / "bin").iterdir()):
            if program.resolve() == interpreter:
                self.archive.add_link(str(program), str(interpreter))
            elif program.name.startswith("minicomp"):
                self.archive.add_file(program)
        for entry in _runtime_packages(venv):
            self.add(entry)
        # Compiled now, so that a second run's image is not another one because the first import wrote them.
        subprocess.run([str(venv / "bin/python"), "-m", "compileall", "-q", str(self._tree / "src")], check=False)
        for folder in SOURCE_FOLDERS:
            if (self._tree / folder).is_dir():
                self.add(self._tree / folder)

    def add_gles2(self) -> None:
        """Mesa's software renderer with EGL, GBM and GLES2."""
        folder = Path("/usr/lib/x86_64-linux-gnu")
        for pattern in ("dri/*swrast_dri.so", "dri/libdril_dri.so", "libgallium-*.so", "gbm/dri_gbm.so"):
            for root in (*self._layers, Path("/")):
                for library in (root / str(folder)[1:]).glob(pattern):
                    self._add_file(library, self._place(library))
        for name in GLES2_LIBRARIES:
            if (entry := self._locate(folder / name)) is not None:
                self._add_file(entry, str(folder / name))
        vendors = Path("/usr/share/glvnd/egl_vendor.d")
        if (found := self._locate(vendors)) is not None:
            self.add(found, str(vendors))

    def write(self, target: Path) -> None:
        """Find the libraries of every program and library, then write the archive."""
        while elves := [f for f in self.archive.files() if f not in self._examined and _is_elf(f)]:
            self._examined.update(elves)
            for library in self._libraries(elves):
                place = str(library)
                if place.strip("/") not in self.archive:
                    self._add_file(self._locate(library) or library, place)
        self.archive.write(target)

    def _libraries(self, elves: Sequence[Path]) -> set[Path]:
        """What ldd says these files load, as paths in the guest."""
        environment = dict(os.environ, LD_LIBRARY_PATH=":".join(library_path(layer) for layer in self._layers))
        listed = subprocess.run(
            ["ldd", *map(str, elves)], env=environment, capture_output=True, text=True, check=False
        ).stdout
        if missing := re.findall(r"^\s+(\S+) => not found", listed, re.MULTILINE):
            raise LabError(f"{missing[0]} is needed in the image and not on this system")
        found = {Path(path) for path in re.findall(r"(?:=>\s+|^\s+)(/\S+) \(0x", listed, re.MULTILINE)}
        return {Path(self._place(path)) for path in found}

    def _add_file(self, source: Path, path: str | None = None) -> None:
        """Its merged-/usr place, since /lib and its like are links in the image."""
        place = re.sub(r"^/(bin|sbin|lib|lib64)/", r"/usr/\1/", path or str(source))
        self.archive.add_file(source, place)

    def _find_program(self, name: str) -> Path:
        found: Path | None
        if "/" in name:
            found = self._locate((self._tree / name).absolute())
        else:
            path = os.pathsep.join([str(self._tree / ".venv/bin"), *_program_folders(self._layers)])
            where = shutil.which(name, path=path)
            found = Path(where) if where else None
        if found is None:
            raise LabError(f"{name}: no such program on this system to put into the image")
        return found

    def _locate(self, path: Path) -> Path | None:
        """Where on the host the guest's `path` comes from: the last layer that has it, else the host."""
        for root in (*reversed(self._layers), Path("/")):
            if (candidate := root / str(path)[1:]).exists():
                return candidate
        return None

    def _place(self, path: Path) -> str:
        """Where the guest has a file of a layer or of the host."""
        for layer in self._layers:
            if path.is_relative_to(layer):
                return "/" + str(path.relative_to(layer))
        return str(path)


def _standard_library(interpreter: Path) -> Path:
    asked = [str(interpreter), "-I", "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]
    return Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())


def _runtime_packages(venv: Path) -> list[Path]:
    """What pip installed for minicomp and its run-time requirements, without extras (tests, reports, lint)."""
    asked = subprocess.run([str(venv / "bin/python"), "-I", "-c", RUNTIME_PACKAGES], capture_output=True, text=True)
    if asked.returncode != 0:
        raise LabError(f"minicomp is not installed in {venv}: run scripts/setup ({asked.stderr.strip()})")
    return [Path(line) for line in asked.stdout.splitlines()]


def needs_python(words: Iterable[str]) -> bool:
    return any("python" in word or "minicomp" in word for word in words)


def _program_folders(layers: Sequence[Path]) -> list[str]:
    folders = ("usr/local/bin", "usr/bin", "usr/sbin", "usr/libexec", "bin", "sbin")
    return [str(root / folder) for root in (*reversed(layers), Path("/")) for folder in folders]


def _is_rubbish(path: Path) -> bool:
    return path.name in (".git", ".mypy_cache", "tests") or path.suffix in (".a", ".o")


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == ELF
