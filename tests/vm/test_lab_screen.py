"""The VM lab acts from outside as a person would: sees the screen, types, points, touches, plugs and unplugs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from vmlab import Guest, steps
from vmlab.process import GuestProcess

pytestmark = pytest.mark.vm

RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)


@pytest.fixture
def events(guest: Guest) -> Iterator[GuestProcess]:
    """libinput's own event printer, started and ready."""
    process = guest.spawn("stdbuf -oL libinput debug-events --show-keycodes")
    process.wait_for("QEMU Virtio Keyboard", timeout_s=20)
    process.wait_for("QEMU Virtio Tablet", timeout_s=20)
    yield process
    process.stop()


def quarters(path: Path) -> list[object]:
    with Image.open(path) as image:
        picture = image.convert("RGB")
        width, height = picture.size
        return [picture.getpixel((width * x // 4, height * y // 4)) for y in (1, 3) for x in (1, 3)]


def test_screenshot_shows_what_a_program_put_on_the_screen(
    guest: Guest, compiled: Callable[[str], str], tmp_path: Path
) -> None:
    painter = guest.spawn([compiled("kms_paint")])
    try:
        painter.wait_for("painted 1280x800", timeout_s=20)
        shot = guest.screenshot(tmp_path / "screen.png")
    finally:
        painter.stop()
    assert quarters(shot) == [RED, GREEN, BLUE, YELLOW]


def test_display_has_a_vblank_clock(guest: Guest, compiled: Callable[[str], str]) -> None:
    """Flips complete at successive vblanks, one sequence number and one refresh period (13.3 ms) apart.

    In real time the emulated guest stalls now and then: the least distance is the clock's, longer ones are stalls.
    """
    done = guest.run([compiled("kms_paint"), "flip", "60"]).check()
    flips = [tuple(map(int, line.split()[1:])) for line in done.out.splitlines() if line.startswith("flip")]
    assert len(flips) == 60
    for (before, before_us), (after, after_us) in itertools.pairwise(flips):
        assert after > before
        assert (after_us - before_us) / (after - before) == pytest.approx(1e6 / 75, rel=0.01)


def test_keys_reach_libinput(guest: Guest, events: GuestProcess) -> None:
    steps.perform(guest, steps.parse("type:aB ctrl-alt-delete"))
    text = events.wait_for("KEY_DELETE", timeout_s=10)
    events.wait_for("KEY_LEFTCTRL (29) released", timeout_s=10)
    presses = [line.split()[3] for line in text.splitlines() if line.endswith("pressed")]
    assert presses == ["KEY_A", "KEY_LEFTSHIFT", "KEY_B", "KEY_LEFTCTRL", "KEY_LEFTALT", "KEY_DELETE"]


def test_pointer_reaches_libinput(guest: Guest, events: GuestProcess) -> None:
    steps.perform(guest, steps.parse("move:640,400 click:left"))
    text = events.wait_for("BTN_LEFT (272) released", timeout_s=10)
    assert "BTN_LEFT (272) pressed" in text
    # debug-events scales positions to 100 x 100.
    place = next(line for line in text.splitlines() if "POINTER_MOTION_ABSOLUTE" in line)
    x, y = (float(number) for number in place.replace("/", " ").split()[-2:])
    assert (x, y) == (pytest.approx(50, abs=0.2), pytest.approx(50, abs=0.2))


def test_touch_reaches_libinput(guest: Guest, events: GuestProcess) -> None:
    steps.perform(guest, steps.parse("touch:320,200"))
    text = events.wait_for("TOUCH_UP", timeout_s=10)
    place = next(line for line in text.splitlines() if "TOUCH_DOWN" in line)
    x, y = (float(number) for number in place.split()[5].split("/"))
    assert (x, y) == (pytest.approx(25, abs=0.2), pytest.approx(25, abs=0.2))


def test_output_is_plugged_and_unplugged(guest: Guest) -> None:
    def state() -> list[str]:
        folder = "/sys/class/drm/card0-Virtual-2"
        return guest.run(f"cat {folder}/status; head -n 1 {folder}/modes").out.split()

    assert state() == ["disconnected"]
    guest.plug_output(1, 1024, 768)
    assert until(lambda: state() == ["connected", "1024x768"]), state()
    guest.unplug_output(1)
    assert until(lambda: state() == ["disconnected"]), state()


def test_only_output_goes_and_comes_back(guest: Guest) -> None:
    status = "cat /sys/class/drm/card0-Virtual-1/status"
    guest.unplug_output(0)
    assert until(lambda: guest.run(status).out == "disconnected\n")
    guest.plug_output(0, *guest.machine.screen)
    assert until(lambda: guest.run(status).out == "connected\n")


@pytest.mark.parametrize(
    ("driver", "properties", "shown"),
    [
        ("usb-kbd", {}, "QEMU QEMU USB Keyboard"),
        ("virtio-mouse-pci", {"bus": "hotplug0"}, "QEMU Virtio Mouse"),
    ],
)
def test_input_device_is_plugged_and_unplugged(
    guest: Guest, events: GuestProcess, driver: str, properties: dict[str, str], shown: str
) -> None:
    guest.plug_device(driver, "extra0", **properties)
    text = events.wait_for(shown, timeout_s=20)
    added = next(line for line in text.splitlines() if shown in line)
    assert "DEVICE_ADDED" in added
    guest.unplug_device("extra0")
    removed = added.split()[0].lstrip("-") + " "
    assert until(lambda: any("DEVICE_REMOVED" in line and removed in line for line in events.output().splitlines()))


def until(condition: Callable[[], bool], timeout_s: float = 15) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.2)
    return True
