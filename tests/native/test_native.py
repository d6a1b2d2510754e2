"""The pure native parts, compiled with the C tests beside this file and run under each sanitizer."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PURE = HERE.parents[1] / "src/minicomp/native/pure"
SANITIZERS = {
    "plain": [],
    "asan-ubsan": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "tsan": ["-fsanitize=thread"],
}


@pytest.mark.parametrize("sanitizer", SANITIZERS)
@pytest.mark.parametrize("program", sorted(path.stem for path in HERE.glob("test_*.c")))
def test_native(program: str, sanitizer: str, tmp_path: Path) -> None:
    compiler = shutil.which("clang") or shutil.which("gcc")
    assert compiler, "neither clang nor gcc is installed"
    binary = tmp_path / program
    sources = [HERE / f"{program}.c", *sorted(path for path in PURE.glob("*.c") if not path.name.startswith("_"))]
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unused-result"]
    subprocess.run(
        [compiler, *flags, *SANITIZERS[sanitizer], f"-I{PURE}", "-o", binary, *sources, "-lpthread", "-lm"], check=True
    )
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": "detect_leaks=1"}
    result = subprocess.run([binary], capture_output=True, text=True, timeout=120, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith("ok\n")
