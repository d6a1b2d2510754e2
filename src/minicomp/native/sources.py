"""What the build of both native modules shares: where the C is and how it is compiled. Not imported at run time."""

import re
from pathlib import Path

NATIVE = Path(__file__).resolve().parent
# setuptools wants paths relative to the project's root, where setup.py runs.
ROOT = NATIVE.parents[2]

COMPILE_ARGS = [
    "-std=gnu11",
    "-O2",
    "-g",
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


def declarations(path: Path) -> str:
    """A header's text as cffi's cdef takes it: no preprocessor lines, no comments, no asserts, no attributes."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines)
    text = re.sub(r"_Static_assert\(.*?\);", "", text, flags=re.DOTALL)
    return re.sub(r"__attribute__\(\(.*?\)\)\)", "", text, flags=re.DOTALL)
