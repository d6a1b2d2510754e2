"""The native module over wlroots, rebuilt with AddressSanitizer and UBSan, under the headless tests that stress it most.

Leaks are not judged here (CPython and wlroots keep things to the end on purpose); use after free, overflows and undefined
behaviour in our code are.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
TESTS = [
    "tests/headless/test_chaos.py",
    "tests/headless/test_frames.py",
    "tests/headless/test_robustness.py",
    "tests/headless/test_teardown.py",
]


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with sanitized native modules; its `src` goes on PYTHONPATH."""
    copy = tmp_path_factory.mktemp("sanitized")
    ignore = shutil.ignore_patterns("*.so", "__pycache__", "_*.c")
    shutil.copytree(REPO / "src", copy / "src", ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(REPO / name, copy / name)
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1"
    environment = {**os.environ, "CFLAGS": flags, "LDFLAGS": "-fsanitize=address,undefined", "CC": "gcc"}
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    result = subprocess.run(build, cwd=copy, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-4000:]
    return copy


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_headless_under_sanitizers(sanitized: Path) -> None:
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(sanitized / "src"),
        "LD_PRELOAD": runtime.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:abort_on_error=0:exitcode=99",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "MINICOMP_CHAOS_STEPS": "2500",
        "MINICOMP_TEST_PRELOAD": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", *TESTS]
    # It watches memory grow, which AddressSanitizer's quarantine does by itself.
    command += ["--deselect", "tests/headless/test_teardown.py::test_started_and_stopped_thirty_times"]
    result = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=560)
    output = result.stdout + result.stderr
    assert "ERROR: AddressSanitizer" not in output and "runtime error:" not in output, output[-8000:]
    assert result.returncode == 0, output[-8000:]
