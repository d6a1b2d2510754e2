"""A kiosk on real KMS: its settings take hold, its screens sleep, and whatever is taken away ends it in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.vm.started import MINICOMP, PIXMAN, WAIT_S, Started, eventually
from vmlab import Guest, steps
from vmlab.process import GuestProcess

pytestmark = pytest.mark.vm

START_TIMEOUT_S = 60
DEVICE_LOST, UNAVAILABLE = 75, 69

Start = Callable[..., GuestProcess]


@pytest.fixture
def start(guest: Guest) -> Iterator[Start]:
    """Start minicomp with a configuration; ended at the end of the test."""
    with Started(guest, START_TIMEOUT_S) as started:

        def run(
            config: str, *client: str, user: tuple[str, ...] = (), env: dict[str, str] | None = None
        ) -> GuestProcess:
            guest.write_file("/etc/minicomp/kiosk.toml", config.encode())
            command = [*user, *MINICOMP, "--config", "/etc/minicomp/kiosk.toml", "--", *client]
            return started.start(command, PIXMAN | (env or {}))

        yield run


def picture(guest: Guest, path: Path) -> Image.Image:
    with Image.open(guest.screenshot(path)) as image:
        return image.convert("RGB")


def has_window(image: Image.Image) -> bool:
    """weston-simple-shm's white rim around the middle."""
    width, height = image.size
    return image.getpixel((width // 2 - 120, height // 2)) == (255, 255, 255)


def screen_is(guest: Guest) -> str:
    """The kernel's word: "enabled" or "disabled"."""
    return guest.run("cat /sys/class/drm/card0-Virtual-1/enabled").out.strip()


def test_settings_take_hold(guest: Guest, start: Start, tmp_path: Path) -> None:
    process = start(
        '[backend]\ngpu = "/dev/dri/card0"\n[log]\nlevel = "debug"\n'
        '[[output]]\nmode = "1024x768"\ntransform = "90"\nscale = 2.0\nadaptive_sync = true\n'
        '[[input]]\ntype = "touch"\ntap = true\ncalibration = [0, -1, 1, 1, 0, 0]\n'
        '[[input]]\nid = "0627:0003"\naccel_speed = 0.5\n',
        "weston-simple-shm",
    )
    process.wait_for("1024x768@60.004, scale 2, transform 90", WAIT_S)
    process.wait_for("adaptive_sync is not available", WAIT_S)
    process.wait_for("running as root", WAIT_S)
    process.wait_for('"QEMU Virtio MultiTouch" has no setting tap', WAIT_S)
    output = process.output()
    assert "is refused" not in output  # the calibration is a setting that this device has
    assert "calibration" not in output
    assert picture(guest, tmp_path / "mode.png").size == (1024, 768)
    # virtio-gpu has a cursor plane, but only for clients that know its hotspots: wlroots 0.15 does not.
    steps.perform(guest, steps.parse("move:100,100 wait:0.2 move:110,100"))
    process.wait_for("the cursor is drawn in software", WAIT_S)

    def corner_has_cursor() -> bool:
        image = picture(guest, tmp_path / "cursor.png")
        background = image.getpixel((3, 3))
        middle = (range(250, 774), range(120, 648))
        return any(
            image.getpixel((x, y)) != background
            for x in range(0, 1024, 3)
            for y in range(0, 768, 3)
            if not (x in middle[0] and y in middle[1])
        )

    eventually(corner_has_cursor, "a cursor on the screen")
    assert "ERROR" not in process.output()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("gpu = '/dev/dri/card7'", "there is no /dev/dri/card7 (there are: /dev/dri/card0)"),
        ("gpu = '/dev/null'", "wlroots could not open the drm backend"),
    ],
)
def test_a_gpu_that_is_none_is_said_so(guest: Guest, config: str, message: str) -> None:
    done = guest.run([*MINICOMP, "--set", f"backend.{config.replace(' ', '')}", "--", "true"], env=PIXMAN, timeout_s=60)
    assert (done.code, message in done.err) == (UNAVAILABLE, True), done.err


def test_keyboards_sleep_and_the_vt(guest: Guest, start: Start) -> None:
    """vt_switching = false, a keyboard with a layout of its own, LEDs of a keyboard plugged later, idleness."""
    process = start(
        "[log]\nlevel = 'debug'\n[backend]\nvt_switching = false\n[idle]\noutput_off_after_s = 4\n"
        '[[input]]\nname = "*USB Keyboard*"\ntype = "keyboard"\nlayout = "de"\n',
        *("foot", "sh", "-c", "echo prompt; cat >/tmp/typed"),
    )
    eventually(lambda: guest.run("pgrep -x cat").code == 0, "the terminal's program")
    steps.perform(guest, steps.parse("ctrl-alt-f3 wait:1 type:yz"))
    assert guest.run("cat /sys/class/tty/tty0/active").out == "tty1\n"
    guest.plug_device("usb-kbd", "kbd1")
    try:
        process.wait_for('USB Keyboard": keyboard', WAIT_S)  # its keymap is compiled next
        time.sleep(1)
        steps.perform(guest, steps.parse("type:yz"))
        eventually(lambda: screen_is(guest) == "disabled", "the screen to go off")
        steps.perform(guest, steps.parse("touch:300,300"))
        eventually(lambda: screen_is(guest) == "enabled", "the screen to come on")
    finally:
        guest.unplug_device("kbd1")
    steps.perform(guest, steps.parse("type:x ret ctrl-d"))
    assert process.wait(WAIT_S).code == 0
    assert guest.read_file("/tmp/typed") == b"yzzyx\n"


def test_lock_lights_are_on_every_keyboard(guest: Guest, start: Start) -> None:
    def lit() -> list[str]:
        return guest.run("cat /sys/class/leds/*::capslock/brightness").out.split()

    start("", "weston-simple-shm")
    steps.perform(guest, steps.parse("caps_lock"))
    try:
        eventually(lambda: "1" in lit(), "the light")
        guest.plug_device("usb-kbd", "kbd2")
        eventually(lambda: len(lit()) == 2 and lit()[1] == "1", f"the new keyboard's light: {lit()}")
    finally:
        steps.perform(guest, steps.parse("caps_lock"))
        guest.unplug_device("kbd2")


def test_no_key_is_stuck_after_a_vt_switch(guest: Guest, start: Start) -> None:
    process = start("", "foot", "sh", "-c", "cat >/tmp/typed")
    eventually(lambda: guest.run("pgrep -x cat").code == 0, "the terminal's program")
    for chord, vt in (("ctrl-alt-f3", "tty3\n"), ("ctrl-alt-f1", "tty1\n")):
        steps.press(guest, chord)
        eventually(lambda vt=vt: guest.run("cat /sys/class/tty/tty0/active").out == vt, vt)
    time.sleep(1)
    steps.perform(guest, steps.parse("type:free ret ctrl-d"))
    assert process.wait(WAIT_S).code == 0
    assert guest.read_file("/tmp/typed") == b"free\n"


def test_a_user_of_its_own_and_no_monitor_at_the_start(guest: Guest, start: Start, tmp_path: Path) -> None:
    """As docs/kiosk.md has it for seatd: the group video lets the user in."""
    guest.run(
        "useradd -m -G video kiosk; install -d -m 700 -o kiosk /run/kiosk; pkill -x seatd; sleep 0.5; "
        "seatd -g video -l error </dev/null >/run/seatd.log 2>&1 & sleep 1"
    )
    guest.unplug_output(0)
    try:
        eventually(lambda: "disconnected" in guest.run("cat /sys/class/drm/card0-Virtual-1/status").out, "no monitor")
        user = ("setpriv", "--reuid=kiosk", "--regid=kiosk", "--init-groups")
        process = start(
            "", "weston-simple-shm", user=user, env={"XDG_RUNTIME_DIR": "/run/kiosk", "HOME": "/home/kiosk"}
        )
        process.wait_for("no output is connected yet", WAIT_S)
        assert "running as root" not in process.output()
    finally:
        guest.plug_output(0, *guest.machine.screen)
    eventually(lambda: has_window(picture(guest, tmp_path / "window.png")), "the window")


# ---- what is lost: exit code 75 within seconds ----


def test_the_end_of_seatd_is_the_end(guest: Guest, start: Start) -> None:
    process = start("", "weston-simple-shm")
    guest.run("pkill -x seatd")
    try:
        assert process.wait(WAIT_S).code == DEVICE_LOST
        assert "the display device was lost" in process.output()
    finally:
        guest.run("seatd -g video -l error </dev/null >/run/seatd.log 2>&1 & sleep 1")


def test_the_end_of_the_gpu_is_the_end_and_a_restart_works(guest: Guest, start: Start, tmp_path: Path) -> None:
    driver = "/sys/bus/pci/drivers/virtio-pci"
    device = guest.run("basename $(readlink -f /sys/class/drm/card0/device)").out.strip()
    process = start("", "weston-simple-shm")
    unbind = guest.spawn(f"echo {device} >{driver}/unbind")
    try:
        assert process.wait(WAIT_S).code == DEVICE_LOST
        assert "the display device was lost" in process.output()
        assert unbind.wait(WAIT_S).code == 0
    finally:
        guest.run(f"echo {device} >{driver}/bind; udevadm settle --timeout=20", timeout_s=WAIT_S)
    start("", "weston-simple-shm")
    eventually(lambda: has_window(picture(guest, tmp_path / "again.png")), "the window after the restart")
