"""scripts/setup where it cannot do its work: one clear line and the documented exit code, nothing changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
NOBODY = 65534

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, which only root can")


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A checkout in which nothing has been set up; readable for everybody, as its parents are for the test's time."""
    folder = tmp_path / "checkout"
    for name in ("scripts", "src", "clients"):
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.o")
        shutil.copytree(TREE / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py"):
        shutil.copy(TREE / name, folder / name)
    closed = [parent for parent in folder.parents if not parent.stat().st_mode & 0o001]
    modes = {parent: parent.stat().st_mode for parent in closed}
    for parent, mode in modes.items():
        parent.chmod(mode | 0o011)
    yield folder
    for parent, mode in modes.items():
        parent.chmod(mode)


def set_up(checkout: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["scripts/setup"], cwd=checkout, user=NOBODY, group=NOBODY, extra_groups=[], stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "HOME": str(checkout)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_packages_that_this_user_cannot_install_are_listed(checkout: Path) -> None:
    packages = checkout / "scripts/packages.txt"
    packages.write_text(packages.read_text().replace("[build]", "[build]\nno-such-package-anywhere", 1))
    (checkout / "build").mkdir()
    os.chown(checkout / "build", NOBODY, NOBODY)
    done = set_up(checkout)
    assert done.returncode == 3, done.stderr
    assert "this user cannot install them" in done.stderr and "no-such-package-anywhere" in done.stderr
    assert "as root (apt-get install" in done.stderr.splitlines()[-1]
    assert not (checkout / ".venv").exists()


def test_somebody_elses_checkout_is_named(checkout: Path) -> None:
    done = set_up(checkout)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"cannot write to {checkout}: run scripts/setup as its owner" in line
