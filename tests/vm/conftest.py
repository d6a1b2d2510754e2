"""One guest for all VM tests: booting takes longer than most of them.

Tests leave it as they found it: what they start they stop, what they plug they unplug. The second head is there
but unplugged. A test that must break the guest boots its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "scripts"))

from vmlab import Guest  # noqa: E402
from vmlab.qemu import Machine  # noqa: E402


@pytest.fixture(scope="session")
def guest() -> Iterator[Guest]:
    machine = Machine(outputs=2, devices=("keyboard", "tablet", "touch"))
    with Guest(machine) as booted:
        yield booted


@pytest.fixture(scope="session")
def compiled(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Compile tests/vm/NAME.c against libdrm and put it into the guest; its path there."""
    done: dict[str, str] = {}

    def build(name: str) -> str:
        if name not in done:
            program = tmp_path_factory.mktemp("bin") / name
            flags = subprocess.run(
                ["pkg-config", "--cflags", "--libs", "libdrm"], capture_output=True, text=True, check=True
            ).stdout.split()
            source = HERE / f"{name}.c"
            command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", str(source), "-o", str(program), *flags]
            subprocess.run(command, check=True)
            done[name] = f"/opt/vm-tests/{name}"
            guest.write_file(done[name], program.read_bytes(), mode=0o755)
        return done[name]

    return build
