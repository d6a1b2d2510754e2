"""`scripts/vm` as a user runs it, and how it ends when the guest or its user breaks off. Each boots its own guest."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image
from vmlab import Guest, GuestDied
from vmlab.guest import TREE

pytestmark = pytest.mark.vm

VM = str(TREE / "scripts/vm")


def qemu_children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid), "-f", "qemu-system"], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split()]


def test_keys_and_screenshot_from_the_command_line(tmp_path: Path) -> None:
    """A person types at the console's shell and sees what they typed."""
    shot = tmp_path / "out" / "console.png"
    script = "printf '\\033[47m\\033[2J' >/dev/tty1; echo ready; read word </dev/tty1; echo got $word; exit 7"
    command = [VM, "--timeout", "60", "--keys", "until:ready wait:0.5 type:Hello", "--screenshot", str(shot)]
    command += ["--keys", "ret"]
    done = subprocess.run([*command, "sh", "-c", script], capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout) == (7, "ready\ngot Hello\n"), done.stderr
    with Image.open(shot) as image:
        colours = {colour for count, colour in image.convert("RGB").getcolors(1 << 20) or [] if count > 500_000}
    assert image.size == (1280, 800)
    assert colours == {(170, 170, 170)}


def test_sigterm_ends_qemu_and_leaves_no_files(tmp_path: Path) -> None:
    environment = dict(os.environ, TMPDIR=str(tmp_path))
    driver = subprocess.Popen([VM, "sleep", "600"], stderr=subprocess.PIPE, env=environment, text=True)
    assert driver.stderr is not None
    while "guest is up" not in (line := driver.stderr.readline()):
        assert line, "scripts/vm ended before the guest was up"
    (qemu,) = qemu_children(driver.pid)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(timeout=30) == 143
    assert not Path(f"/proc/{qemu}").exists()
    assert list(tmp_path.iterdir()) == []


def test_killed_driver_takes_qemu_with_it(tmp_path: Path) -> None:
    environment = dict(os.environ, TMPDIR=str(tmp_path))
    driver = subprocess.Popen([VM, "sleep", "600"], stderr=subprocess.PIPE, env=environment)
    deadline_s = time.monotonic() + 60
    while not (running := qemu_children(driver.pid)):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    driver.kill()
    driver.wait(timeout=10)
    while Path(f"/proc/{running[0]}").exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def test_guest_panic_is_told_at_once() -> None:
    with Guest() as guest:
        with pytest.raises(GuestDied, match="Kernel panic"):
            guest.run("echo c >/proc/sysrq-trigger; sleep 60", timeout_s=60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--devices", "keyboard,nose"], "unknown input device 'nose': choose from keyboard, tablet, mouse, touch"),
        (["--outputs", "17"], "17 outputs: the display has 1 to 16"),
        (["--keys", "jump:3"], "'jump:3' is no step"),
        (["--kernel", "2.4"], "no kernel 2.4 in Debian's suites; there are: "),
    ],
)
def test_bad_option_is_one_line_and_exit_125(arguments: list[str], message: str) -> None:
    done = subprocess.run([VM, *arguments, "true"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 125
    assert done.stderr.splitlines()[-1].startswith(f"vm: {message}")
