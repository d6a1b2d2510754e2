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


# With ThreadSanitizer. It sees what our own code reads and writes, not what wlroots, libwayland and pixman do inside.
THREAD_TESTS = ["tests/headless/test_chaos.py", "tests/headless/test_early.py"]
# CPython is not instrumented either, and its own locks are none that ThreadSanitizer knows.
THREAD_SUPPRESSIONS = "race:libpython\nrace:libffi\nrace:_cffi_backend\n"


def build(copy: Path, sanitizers: str) -> Path:
    """A copy of the project with sanitized native modules; its `src` goes on PYTHONPATH."""
    ignore = shutil.ignore_patterns("*.so", "__pycache__", "_*.c")
    shutil.copytree(REPO / "src", copy / "src", ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(REPO / name, copy / name)
    flags = f"-fsanitize={sanitizers} -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1"
    environment = {**os.environ, "CFLAGS": flags, "LDFLAGS": f"-fsanitize={sanitizers}", "CC": "gcc"}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    result = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-4000:]
    return copy


def runtime(name: str) -> str:
    found = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def run_headless(copy: Path, tests: list[str], **settings: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "MINICOMP_TEST_PRELOAD": "1", **settings}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", *tests]
    # It watches memory grow, which AddressSanitizer's quarantine does by itself.
    command += ["--deselect", "tests/headless/test_teardown.py::test_started_and_stopped_thirty_times"]
    result = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=560)
    return result.returncode, result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_headless_under_sanitizers(tmp_path: Path) -> None:
    code, output = run_headless(
        build(tmp_path / "copy", "address,undefined"),
        TESTS,
        LD_PRELOAD=runtime("libasan.so"),
        ASAN_OPTIONS="detect_leaks=0:halt_on_error=1:abort_on_error=0:exitcode=99",
        UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1",
        MINICOMP_CHAOS_STEPS="2500",
    )
    assert "ERROR: AddressSanitizer" not in output and "runtime error:" not in output, output[-8000:]
    assert code == 0, output[-8000:]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_headless_under_thread_sanitizer(tmp_path: Path) -> None:
    suppressions, log = tmp_path / "suppressions", tmp_path / "log"
    suppressions.write_text(THREAD_SUPPRESSIONS)
    code, output = run_headless(
        build(tmp_path / "copy", "thread"),
        THREAD_TESTS,
        LD_PRELOAD=runtime("libtsan.so"),
        TSAN_OPTIONS=f"suppressions={suppressions}:log_path={log}:history_size=4:exitcode=0",
        MINICOMP_CHAOS_STEPS="1500",
    )
    reports = "".join(path.read_text() for path in tmp_path.glob("log.*"))
    assert "WARNING: ThreadSanitizer" not in reports, reports[:8000]
    assert code == 0, output[-8000:]
