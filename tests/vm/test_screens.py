"""Screens of real KMS as the configuration and as clients of output-management and output-power set them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.vm.started import MINICOMP, WAIT_S, Started, eventually
from vmlab import Guest
from vmlab.process import GuestProcess

pytestmark = pytest.mark.vm

START_TIMEOUT_S = 60
TRUST = '[[trust.client]]\nuid = 0\nglobals = ["output-management"]\n'

Start = Callable[[str], GuestProcess]


@pytest.fixture
def start(guest: Guest) -> Iterator[Start]:
    """Two monitors, and minicomp on them with that configuration."""
    guest.plug_output(1, 1024, 768)
    eventually(lambda: status(guest) == "connected", "the second monitor")

    with Started(guest, START_TIMEOUT_S) as started:

        def run(config: str) -> GuestProcess:
            guest.write_file("/etc/minicomp/screens.toml", config.encode())
            return started.start([*MINICOMP, "--config", "/etc/minicomp/screens.toml", "--", "foot"])

        yield run
    guest.unplug_output(1)
    eventually(lambda: status(guest) == "disconnected", "the second monitor to go")


def status(guest: Guest) -> str:
    """Of the second connector, by the kernel."""
    return guest.run("cat /sys/class/drm/card0-Virtual-2/status").out.strip()


def display_of(process: GuestProcess) -> str:
    found = re.search(r"WAYLAND_DISPLAY=(\S+)", process.output())
    assert found is not None
    return found[1]


def randr(guest: Guest, process: GuestProcess, *arguments: str) -> dict[str, str]:
    """wlr-randr's words, by output."""
    environment = {"WAYLAND_DISPLAY": display_of(process)}
    done = guest.run(["wlr-randr", *arguments], env=environment, timeout_s=WAIT_S).check()
    return {text.split()[0]: text for text in re.split(r"\n(?=\S)", done.out) if text}


def is_on(guest: Guest, number: int) -> bool:
    """The kernel's word."""
    return guest.run(f"cat /sys/class/drm/card0-Virtual-{number}/enabled").out.strip() == "enabled"


def picture_size(guest: Guest, path: Path, head: int) -> tuple[int, int]:
    with Image.open(guest.screenshot(path, head)) as image:
        return image.size


def test_mode_place_and_highest_refresh_are_as_configured(guest: Guest, start: Start, tmp_path: Path) -> None:
    process = start(
        TRUST + '[[output]]\nname = "Virtual-1"\nmode = "highest-refresh"\nposition = [100, 768]\n'
        '[[output]]\nname = "Virtual-2"\nmode = "800x600@60"\nposition = [0, 0]\n'
    )
    process.wait_for("output Virtual-2: 800x600@60", WAIT_S)
    screens = randr(guest, process)
    width, height = guest.machine.screen
    of_its_size = re.findall(rf" {width}x{height} px, ([\d.]+) Hz(.*)", screens["Virtual-1"])
    (current,) = [float(hz) for hz, marks in of_its_size if "current" in marks]
    assert current == max(float(hz) for hz, _ in of_its_size)
    assert "Position: 100,768" in screens["Virtual-1"] and "Position: 0,0" in screens["Virtual-2"]
    eventually(lambda: picture_size(guest, tmp_path / "second.png", 1) == (800, 600), "the second screen's mode")


def test_a_screen_that_is_to_stay_dark_does_until_somebody_switches_it_on(
    guest: Guest, start: Start, tmp_path: Path
) -> None:
    process = start(TRUST + '[[output]]\nname = "Virtual-2"\nenabled = false\n')
    eventually(lambda: is_on(guest, 1), "the first screen")
    screens = randr(guest, process)
    assert not is_on(guest, 2) and "Enabled: no" in screens["Virtual-2"]
    randr(guest, process, "--output", "Virtual-2", "--on", "--mode", "800x600")
    eventually(lambda: is_on(guest, 2), "the second screen")
    eventually(lambda: picture_size(guest, tmp_path / "second.png", 1) == (800, 600), "its mode")
    randr(guest, process, "--output", "Virtual-1", "--off")
    eventually(lambda: not is_on(guest, 1), "the first screen to go off")
    randr(guest, process, "--output", "Virtual-1", "--on")
    eventually(lambda: is_on(guest, 1), "the first screen to come on")
    assert process.running and " ERROR " not in process.output()


def test_clients_that_are_not_trusted_cannot(guest: Guest, start: Start) -> None:
    process = start("")
    environment = {"WAYLAND_DISPLAY": display_of(process)}
    done = guest.run(["wlr-randr", "--output", "Virtual-1", "--off"], env=environment)
    assert done.code != 0 and is_on(guest, 1)


POWER = """
import sys, time
from minicomp.testing.client import Client
from tests.headless.seat_client import load_protocol
with Client(sys.argv[1]) as client:
    manager = client.bind(load_protocol("wlr-output-power-management-unstable-v1").ZwlrOutputPowerManagerV1)
    power = manager.get_output_power(client.outputs[0])
    modes = []
    power.dispatcher["mode"] = lambda _, mode: modes.append(mode)
    client.roundtrip()
    for wanted in (0, 1):
        power.set_mode(wanted)
        deadline_s = time.monotonic() + 20
        while modes[-1:] != [wanted] and time.monotonic() < deadline_s:
            client.roundtrip()
            time.sleep(0.1)
        print("told", modes, flush=True)
        time.sleep(5)
"""


def test_output_power_is_the_screens(guest: Guest, start: Start) -> None:
    process = start(
        '[[trust.client]]\nuid = 0\nglobals = ["output-power"]\n[[output]]\nname = "Virtual-2"\nenabled = false\n'
    )
    eventually(lambda: is_on(guest, 1), "the screen")
    client = guest.spawn([".venv/bin/python", "-c", POWER, display_of(process)])
    client.wait_for("told [1, 0]", WAIT_S)
    eventually(lambda: not is_on(guest, 1), "the screen to go off")
    client.wait_for("told [1, 0, 1]", WAIT_S)
    eventually(lambda: is_on(guest, 1), "the screen to come on")
    assert client.wait(WAIT_S).code == 0, client.output()
    assert process.running
