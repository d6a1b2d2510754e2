"""The pure native parts, compiled with the C tests beside this file and run under each sanitizer."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PURE = HERE.parents[1] / "src/minicomp/native/pure"
NOT_POSSIBLE_HERE = 77
"""Exit code of a program that needs a right this machine does not give; it has said which one."""
SANITIZERS = {
    "plain": [],
    "asan-ubsan": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "tsan": ["-fsanitize=thread"],
}


def build(program: str, flags: list[str], folder: Path) -> Path:
    """A C test of this folder with the pure native parts; the binary."""
    compiler = shutil.which("clang") or shutil.which("gcc")
    assert compiler, "neither clang nor gcc is installed"
    binary = folder / program
    sources = [HERE / f"{program}.c", *sorted(path for path in PURE.glob("*.c") if not path.name.startswith("_"))]
    common = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unused-result"]
    libraries = ["-lpthread", "-luring", "-lm"]
    subprocess.run([compiler, *common, *flags, f"-I{PURE}", "-o", binary, *sources, *libraries], check=True)
    return binary


@pytest.mark.parametrize("sanitizer", SANITIZERS)
@pytest.mark.parametrize("program", sorted(path.stem for path in HERE.glob("test_*.c")))
def test_native(program: str, sanitizer: str, tmp_path: Path) -> None:
    binary = build(program, SANITIZERS[sanitizer], tmp_path)
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": "detect_leaks=1"}
    result = subprocess.run([binary], capture_output=True, text=True, timeout=120, env=environment)
    if result.returncode == NOT_POSSIBLE_HERE:
        pytest.skip(result.stdout.strip())
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith("ok\n")


PER_WAKE = {
    "epoll": {"epoll_wait": 1},
    "epoll-edge": {"epoll_wait": 1, "epoll_ctl": 1},  # the look whether something was left behind
    "io-uring": {"io_uring_enter": 1},
    # To sleep; a second one to wake the kernel thread when that has gone to sleep meanwhile.
    "io-uring-sqpoll": {"io_uring_enter": 1},
}


@pytest.fixture(scope="module")
def wait_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("test_wait", [], tmp_path_factory.mktemp("wait"))


@pytest.mark.parametrize("kind", PER_WAKE)
def test_system_calls_of_a_wake_up(kind: str, wait_program: Path, tmp_path: Path) -> None:
    """Of the waiting thread, for an fd like libwayland's loop; the program's own inner epoll_wait is one a wake-up."""
    log, pings = tmp_path / "strace", 500
    calls = "epoll_wait,epoll_ctl,io_uring_enter"
    command = ["strace", "-f", "-e", f"trace={calls}", "-e", "signal=none", "-o", log, wait_program, kind, str(pings)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    wakes = int(result.stdout.removeprefix("wakes "))
    assert wakes >= pings
    # One thread makes all of them, so no line is split in "unfinished" and "resumed".
    lines = log.read_text().splitlines()
    counted = {call: sum(f" {call}(" in line for line in lines) for call in calls.split(",")}
    counted["epoll_wait"] -= wakes
    for call, number in counted.items():
        expected = PER_WAKE[kind].get(call, 0) * wakes
        most = 2 * expected if kind == "io-uring-sqpoll" else expected + 4  # the first arming, epoll_ctl of the test
        assert expected <= number <= most + 4, (kind, counted, wakes)
