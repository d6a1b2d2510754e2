"""What the build of both native modules shares: where the C is and how it is compiled. Not imported at run time."""

import re
import subprocess
from pathlib import Path

NATIVE = Path(__file__).resolve().parent
# setuptools wants paths relative to the project's root, where setup.py runs.
ROOT = NATIVE.parents[2]

COMPILE_ARGS = [
    "-std=gnu11",
    "-O2",
    "-g",
    # Each module is one library with one door (PyInit): its own functions are called, and its thread-locals found,
    # directly.
    "-fvisibility=hidden",
    "-ftls-model=initial-exec",
    "-fno-plt",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-parameter",
    "-Wno-missing-field-initializers",
]
DEFINES: list[tuple[str, str | None]] = [("_GNU_SOURCE", None), ("WLR_USE_UNSTABLE", None)]


def c_files(folder: str) -> list[str]:
    """The C files of one native folder, relative to the project root and sorted."""
    return sorted(
        str(path.relative_to(ROOT)) for path in (NATIVE / folder).glob("*.c") if not path.name.startswith("_")
    )


def protocol_sources(names: list[str]) -> tuple[list[str], str]:
    """The code wayland-scanner makes of protocols, named by their paths in wayland-protocols: C files, and the folder
    of the server headers, all relative to the project's root. What is newer than its XML is left alone.
    """
    data, scanner = (
        subprocess.run(["pkg-config", f"--variable={variable}", package], check=True, capture_output=True, text=True)
        for variable, package in (("pkgdatadir", "wayland-protocols"), ("wayland_scanner", "wayland-scanner"))
    )
    folder = Path("build/protocols")
    (ROOT / folder).mkdir(parents=True, exist_ok=True)
    files = []
    for name in names:
        xml = Path(data.stdout.strip()) / name
        for kind, suffix in (("private-code", "-protocol.c"), ("server-header", "-server-protocol.h")):
            target = ROOT / folder / f"{xml.stem}{suffix}"
            if not target.exists() or target.stat().st_mtime < xml.stat().st_mtime:
                subprocess.run([scanner.stdout.strip(), kind, str(xml), str(target)], check=True)
        files.append(str(folder / f"{xml.stem}-protocol.c"))
    return files, str(folder)


def declarations(path: Path) -> str:
    """A header's text as cffi's cdef takes it: no preprocessor lines, no comments, no asserts, no attributes."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines)
    text = re.sub(r"_Static_assert\(.*?\);", "", text, flags=re.DOTALL)
    return re.sub(r"__attribute__\(\(.*?\)\)\)", "", text, flags=re.DOTALL)
