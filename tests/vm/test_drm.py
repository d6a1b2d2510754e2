"""minicomp on real KMS: what a person at the screen sees and does. Pictures are taken and keys typed from outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.vm.started import MINICOMP, PIXMAN, Started
from vmlab import Guest, steps
from vmlab.process import GuestProcess

pytestmark = pytest.mark.vm

# Loading Mesa's LLVM in the emulated guest takes most of it.
START_TIMEOUT_S = 90
PICTURE_TIMEOUT_S = 40
# llvmpipe's threads are not waited for by a flip: without them pictures are whole.
GLES2 = {"WLR_RENDERER": "gles2", "LP_NUM_THREADS": "0", "WLR_RENDERER_ALLOW_SOFTWARE": "1"}

Start = Callable[..., GuestProcess]


@pytest.fixture
def start(guest: Guest) -> Iterator[Start]:
    """Start minicomp on the guest's display with a client; ended at the end of the test."""
    with Started(guest, START_TIMEOUT_S) as started:

        def run(*client: str, env: dict[str, str] = PIXMAN) -> GuestProcess:
            return started.start([*MINICOMP, "--", *client], env)

        yield run


def picture(guest: Guest, path: Path, head: int = 0) -> Image.Image:
    with Image.open(guest.screenshot(path, head)) as image:
        return image.convert("RGB")


def shows(guest: Guest, path: Path, condition: Callable[[Image.Image], bool], head: int = 0) -> bool:
    """Whether the screen meets the condition within the time limit; the last picture stays at `path`."""
    deadline_s = time.monotonic() + PICTURE_TIMEOUT_S
    while not condition(picture(guest, path, head)):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.5)
    return True


def has_shm_pattern(image: Image.Image) -> bool:
    """weston-simple-shm's window, 250x250 with a white rim, in the middle of the screen."""
    width, height = image.size
    left, top = (width - 250) // 2, (height - 250) // 2
    rim = [image.getpixel((left + x, top + 5)) for x in (5, 60, 125, 245)]
    return all(pixel == (255, 255, 255) for pixel in rim) and image.getpixel((left - 20, top)) != (255, 255, 255)


def has_triangle(image: Image.Image) -> bool:
    """weston-simple-egl's triangle: plenty of nearly pure red, green and blue, on black."""
    counts = dict.fromkeys(((1, 0, 0), (0, 1, 0), (0, 0, 1)), 0)
    for count, (red, green, blue) in image.getcolors(1 << 22) or []:
        pure = (int(red > 150), int(green > 150), int(blue > 150))
        if pure in counts:
            counts[pure] += count
    return min(counts.values()) > 1000 and image.getpixel((3, image.size[1] // 2)) == (0, 0, 0)


def has_terminal_with_text(image: Image.Image) -> bool:
    """A full-screen foot: bright letters at the top left of its dark grey. The text console behind it is black."""
    width, height = image.size
    letters = image.crop((0, 0, 200, 40)).getextrema()
    return image.getpixel((width // 2, height // 2)) == (0x11, 0x11, 0x11) and letters[1][1] > 150


def test_exit_code_is_the_clients(guest: Guest) -> None:
    command = [".venv/bin/minicomp", "run", "--backend", "drm", "--", "sh", "-c", "exit 7"]
    assert guest.run(command, timeout_s=START_TIMEOUT_S, env=PIXMAN).code == 7


@pytest.mark.parametrize("environment", [PIXMAN, GLES2], ids=["pixman", "gles2"])
def test_shm_client_is_on_the_screen(guest: Guest, start: Start, tmp_path: Path, environment: dict[str, str]) -> None:
    start("weston-simple-shm", env=environment)
    assert shows(guest, tmp_path / "shm.png", has_shm_pattern), tmp_path


def test_egl_client_is_on_the_screen(guest: Guest, start: Start, tmp_path: Path) -> None:
    start("weston-simple-egl", env=GLES2)
    assert shows(guest, tmp_path / "egl.png", has_triangle), tmp_path


def test_typed_text_reaches_a_terminal(guest: Guest, start: Start, tmp_path: Path) -> None:
    process = start("foot", "sh", "-c", "echo prompt; cat >/tmp/typed")
    assert shows(guest, tmp_path / "terminal.png", has_terminal_with_text)
    steps.perform(guest, steps.parse("type:'Hello, World_42!' ret ctrl-d"))
    assert process.wait(30).code == 0
    assert guest.read_file("/tmp/typed") == b"Hello, World_42!\n"


def test_vt_switch_away_and_back(guest: Guest, start: Start, tmp_path: Path) -> None:
    def state() -> tuple[str, str]:
        vt, *clients = guest.run("cat /sys/class/tty/tty0/active /sys/kernel/debug/dri/0/clients").out.splitlines()
        return vt, next(line.split()[3] for line in clients if "minicomp" in line)

    start("weston-simple-shm")
    assert shows(guest, tmp_path / "before.png", has_shm_pattern)
    assert state() == ("tty1", "y")
    for chord, vt, master in (("ctrl-alt-f3", "tty3", "n"), ("ctrl-alt-f1", "tty1", "y")):
        steps.press(guest, chord)
        deadline_s = time.monotonic() + PICTURE_TIMEOUT_S
        while state() != (vt, master):
            assert time.monotonic() < deadline_s, state()
            time.sleep(0.2)
    assert shows(guest, tmp_path / "after.png", has_shm_pattern)


def test_outputs_come_and_go(guest: Guest, start: Start, tmp_path: Path) -> None:
    """A second monitor, and then the only one out and back: the client's window is there all the time."""
    process = start("weston-simple-shm")
    assert shows(guest, tmp_path / "first.png", has_shm_pattern)
    guest.plug_output(1, 1024, 768)
    try:
        assert shows(guest, tmp_path / "second.png", lambda image: image.size == (1024, 768), head=1)
    finally:
        guest.unplug_output(1)
    guest.unplug_output(0)
    time.sleep(1)
    guest.plug_output(0, *guest.machine.screen)
    assert shows(guest, tmp_path / "back.png", has_shm_pattern)
    assert process.running
