"""The pointer on a cursor plane of real KMS, seen in the kernel's own state and in what VNC is told of it.

virtio-gpu hides its cursor plane from atomic clients that do not know hotspots; WLR_DRM_NO_ATOMIC makes wlroots use the
old interface, for which it is there.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.vm.started import MINICOMP, PIXMAN, Started, eventually
from vmlab import Guest, steps
from vmlab.process import GuestProcess

pytestmark = pytest.mark.vm

START_TIMEOUT_S, WAIT_S = 60, 20
DEVICE_LOST = 75
REACH = 24  # no hotspot of the default theme at this size lies further from the picture's upper left

Start = Callable[..., GuestProcess]


@pytest.fixture
def start(guest: Guest) -> Iterator[Start]:
    with Started(guest, START_TIMEOUT_S) as started:

        def run(*options: str, env: dict[str, str] | None = None) -> GuestProcess:
            return started.start([*MINICOMP, *options, "--", "foot"], PIXMAN | {"WLR_DRM_NO_ATOMIC": "1"} | (env or {}))

        yield run
    for process in started.processes:
        # libinput calls it an error when the host is busy: "your system is too slow".
        expected = (
            "too slow",
            "refused every frame",
            "drmModePageFlip failed",
            "drmModeSetCursor failed",
            "device was lost",
        )
        lines = [line for line in process.output().splitlines() if " ERROR " in line]
        assert not [line for line in lines if not any(text in line for text in expected)]


def plane_place(guest: Guest) -> tuple[int, int] | None:
    """The upper left of the 64x64 picture that the first display's cursor plane shows, or None when it shows none."""
    state = guest.run("cat /sys/kernel/debug/dri/0/state").check().out
    places = re.findall(r"crtc=crtc-0\n\tfb=\d+\n(?:\t\t.*\n)*\tcrtc-pos=64x64([+-]\d+)([+-]\d+)\n", state)
    return (int(places[0][0]), int(places[0][1])) if places else None


def shown_at(guest: Guest, x: int, y: int) -> bool:
    place = plane_place(guest)
    return place is not None and 0 <= x - place[0] <= REACH and 0 <= y - place[1] <= REACH


def move(guest: Guest, x: int, y: int) -> None:
    steps.perform(guest, steps.parse(f"move:{x},{y}"))


def test_it_follows_the_pointer_and_is_not_in_the_picture(guest: Guest, start: Start, tmp_path: Path) -> None:
    """Over a terminal that draws nothing meanwhile: each motion alone makes the frame that moves the plane."""
    process = start("--set", "cursor.hide_after_ms=3000", "--set", "log.level=debug")
    time.sleep(1)
    assert plane_place(guest) is None, "no pointer before the first motion"
    for x, y in ((100, 100), (700, 400), (704, 400), (1270, 790)):
        move(guest, x, y)
        eventually(lambda x=x, y=y: shown_at(guest, x, y), lambda: plane_place(guest), WAIT_S)
    assert "the cursor is on a hardware plane" in process.output()
    with Image.open(guest.screenshot(tmp_path / "screen.png")) as image:
        corner = image.convert("RGB").crop((1240, 760, 1280, 800))
    assert len(corner.getcolors(1600) or []) == 1, "the frame has no cursor in it"
    eventually(lambda: plane_place(guest) is None, lambda: plane_place(guest), WAIT_S)  # it rests, and is hidden
    move(guest, 300, 300)
    eventually(lambda: shown_at(guest, 300, 300), lambda: plane_place(guest), WAIT_S)


def test_it_is_there_again_after_the_screen_was_off_and_after_another_vt(guest: Guest, start: Start) -> None:
    """wlroots frees the plane's buffers when an output is switched off."""
    start("--set", "idle.output_off_after_s=3")
    move(guest, 200, 200)
    eventually(lambda: shown_at(guest, 200, 200), lambda: plane_place(guest), WAIT_S)
    enabled = "cat /sys/class/drm/card0-Virtual-1/enabled"
    eventually(lambda: guest.run(enabled).out.strip() == "disabled", lambda: "the screen to go off", WAIT_S)
    move(guest, 210, 210)  # wakes it; until it is on there is no place for a pointer
    eventually(lambda: guest.run(enabled).out.strip() == "enabled", lambda: "the screen to come on", WAIT_S)
    move(guest, 220, 210)
    eventually(lambda: shown_at(guest, 220, 210), lambda: plane_place(guest), WAIT_S)
    steps.press(guest, "ctrl-alt-f3")
    eventually(lambda: guest.run("cat /sys/class/tty/tty0/active").out == "tty3\n", lambda: "tty3", WAIT_S)
    steps.press(guest, "ctrl-alt-f1")
    eventually(lambda: guest.run("cat /sys/class/tty/tty0/active").out == "tty1\n", lambda: "tty1", WAIT_S)
    time.sleep(1)
    move(guest, 400, 300)
    eventually(lambda: shown_at(guest, 400, 300), lambda: plane_place(guest), WAIT_S)


@pytest.fixture
def refusing(guest: Guest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which the display driver refuses what files in /run say (refuse_kms.c)."""
    library, source = tmp_path / "refuse_kms.so", Path(__file__).with_name("refuse_kms.c")
    flags = ["-D_GNU_SOURCE", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
    # With libdrm, which Python loads with wlroots, out of RTLD_NEXT's sight.
    link = ["-Wl,--no-as-needed", "-ldrm"]
    subprocess.run(["gcc", *flags, str(source), "-o", str(library), *link], check=True)
    guest.write_file("/opt/vm-tests/refuse_kms.so", library.read_bytes())
    yield {"LD_PRELOAD": "/opt/vm-tests/refuse_kms.so"}
    guest.run("rm -f /run/refuse-cursor /run/refuse-flips").check()


def test_a_driver_that_refuses_frames_with_it_gets_frames_without(
    guest: Guest, start: Start, refusing: dict[str, str], tmp_path: Path
) -> None:
    guest.write_file("/run/refuse-cursor", b"")
    process = start(env=refusing)
    move(guest, 600, 300)
    process.wait_for("refuses frames with the cursor on its plane; drawing it in software", WAIT_S)

    def is_drawn() -> bool:
        with Image.open(guest.screenshot(tmp_path / "screen.png")) as image:
            around = image.convert("RGB").crop((590, 290, 630, 330))
        return len(around.getcolors(1600) or []) > 1

    eventually(is_drawn, lambda: process.output(), WAIT_S)
    assert plane_place(guest) is None and process.running


def test_a_display_that_refuses_every_frame_is_lost(guest: Guest, start: Start, refusing: dict[str, str]) -> None:
    """As after a GPU reset: it ends within seconds, for the supervisor to start it anew."""
    process = start(env=refusing)
    guest.write_file("/run/refuse-flips", b"")
    steps.perform(guest, steps.parse("type:x"))  # something to be shown
    assert process.wait(WAIT_S).code == DEVICE_LOST
    assert "the display device has refused every frame for 10 s" in process.output()


def test_it_turns_with_the_screen(guest: Guest, start: Start) -> None:
    start("--set", 'output=[{transform="90"}]')
    move(guest, 300, 200)
    # A tablet that is a pointer covers the layout, 800x1280 now: (187, 320) there is (320, 612) on the display. Turned
    # by 90 degrees the picture's upper left is the lower left of the plane's square.
    x, y = 320, 612

    def is_there() -> bool:
        place = plane_place(guest)
        return place is not None and 0 <= x - place[0] <= REACH and 0 <= place[1] + 64 - y <= REACH

    eventually(is_there, lambda: plane_place(guest), WAIT_S)
