"""Outputs: several, of any kind, changed by clients, plugged and unplugged; what clients and screenshots see of it."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from minicomp.compositor.outputs import Output
from minicomp.shell.kiosk import Kiosk
from minicomp.testing.client import Client, Window
from minicomp.testing.image import compare
from minicomp.testing.instance import InProcess, configure
from tests.headless.conftest import CLIENTS
from tests.headless.programs import BACKGROUND, output_of, picture_with, rgb, share, shown_window, start
from tests.headless.seat_client import load_protocol

COLOUR = 0x2080C0


@pytest.fixture
def two() -> Iterator[InProcess]:
    """Two outputs side by side under the kiosk policy."""
    with InProcess(configure(headless__outputs=["800x600@60", "640x480@75"])) as instance:
        yield instance


def by_name(instance: InProcess) -> dict[str, Any]:
    return {output.name: output for output in instance.compositor.outputs}


def boxes(instance: InProcess) -> dict[str, tuple[int, int, int, int]]:
    return {output.name: output.box for output in instance.compositor.outputs if output.placed}


def randr(instance: InProcess, *arguments: str) -> str:
    return output_of(instance, ["wlr-randr", *arguments])


def wl_outputs(instance: InProcess) -> dict[str, str]:
    """What wayland-info says of each wl_output and xdg_output, by name."""
    text = output_of(instance, ["wayland-info"])
    found = {}
    for part in text.split("interface: '")[1:]:
        if part.startswith("wl_output'"):
            name = re.search(r"name: (HEADLESS-\d+)", part)
            assert name is not None, part
            found[name[1]] = " ".join(part.split())
    return found


def test_several_outputs_are_as_configured() -> None:
    config = configure(
        headless__outputs=["1280x720@60", "1920x1080@144", "600x800@59.95"],
        output=[
            {"name": "HEADLESS-1", "position": [0, 0]},
            {"name": "HEADLESS-2", "scale": 2.0, "position": [2000, 50]},
            {"name": "HEADLESS-3", "transform": "90", "position": [0, 720]},
        ],
    )
    with InProcess(config) as instance:
        assert boxes(instance) == {
            "HEADLESS-1": (0, 0, 1280, 720),
            "HEADLESS-2": (2000, 50, 960, 540),
            "HEADLESS-3": (0, 720, 800, 600),
        }
        seen = wl_outputs(instance)
        assert "width: 1280 px, height: 720 px, refresh: 60.000 Hz" in seen["HEADLESS-1"]
        assert "scale: 2," in seen["HEADLESS-2"] and "refresh: 144.000 Hz" in seen["HEADLESS-2"]
        assert "output_transform: 90°" in seen["HEADLESS-3"] and "refresh: 59.950 Hz" in seen["HEADLESS-3"]
        for name, size in (("HEADLESS-1", (1280, 720)), ("HEADLESS-2", (1920, 1080)), ("HEADLESS-3", (600, 800))):
            assert instance.image(name).size == size


def test_grim_sees_the_whole_layout(two: InProcess, tmp_path: Path) -> None:
    start(two, "foot", "--config=/dev/null", f"--override=colors.background={COLOUR:06x}", "sleep", "60")
    shown_window(two)
    picture_with(two, lambda image: share(image, rgb(COLOUR)) > 0.9, "the window", "HEADLESS-1")

    def grim_sees_what_is_shown() -> bool:
        output_of(two, ["grim", tmp_path / "all.png"])
        with Image.open(tmp_path / "all.png") as picture:
            assert picture.size == (1440, 600)
            assert not compare(picture.crop((800, 0, 1440, 480)), two.image("HEADLESS-2"))
            return not compare(picture.crop((0, 0, 800, 600)), two.image("HEADLESS-1"))

    two.wait_for(grim_sees_what_is_shown, "a picture from before and after foot drew its cursor anew")
    output_of(two, ["grim", "-o", "HEADLESS-2", tmp_path / "second.png"])
    with Image.open(tmp_path / "second.png") as picture:
        assert not compare(picture, two.image("HEADLESS-2"))


# ---- wlr-randr ----


def test_wlr_randr_lists_them(two: InProcess) -> None:
    text = randr(two)
    assert dict(re.findall(r'^(HEADLESS-\d+) "(.+)"', text, re.M)) == {
        "HEADLESS-1": "minicomp modelled display 1",
        "HEADLESS-2": "minicomp modelled display 2",
    }
    assert "640x480 px, 75.000000 Hz (preferred, current)" in text
    assert "Position: 800,0" in text


@pytest.mark.parametrize(
    ("arguments", "box", "pixels"),
    [
        (("--scale", "2"), (0, 0, 400, 300), (800, 600)),
        (("--scale", "1.5"), (0, 0, 533, 400), (800, 600)),
        (("--transform", "90"), (0, 0, 600, 800), (800, 600)),
        (("--transform", "flipped-180"), (0, 0, 800, 600), (800, 600)),
        (("--custom-mode", "1024x768@50Hz"), (0, 0, 1024, 768), (1024, 768)),
        (("--pos", "100,200"), (100, 200, 800, 600), (800, 600)),
    ],
    ids=lambda value: value[0] + value[1] if isinstance(value[0], str) else "",
)
def test_wlr_randr_changes_are_seen_by_the_window_and_on_the_screen(
    arguments: tuple[str, str], box: tuple[int, int, int, int], pixels: tuple[int, int]
) -> None:
    with InProcess(configure(headless__outputs=["800x600@60"])) as instance:
        start(instance, "foot", "--config=/dev/null", f"--override=colors.background={COLOUR:06x}", "sleep", "60")
        window = shown_window(instance)
        instance.wait_for(lambda: window.refresh() and window.geometry == (0, 0, 800, 600), "the window to fill it")
        randr(instance, "--output", "HEADLESS-1", *arguments)
        instance.wait_for(lambda: boxes(instance).get("HEADLESS-1") == box, f"{arguments}; it is {boxes(instance)}")
        instance.wait_for(lambda: window.refresh() and window.geometry == box, "the window to fill it again")
        image = picture_with(
            instance,
            lambda image: share(image, rgb(COLOUR)) > 0.9 and share(image, BACKGROUND) == 0,
            "the window on all of the screen",
        )
        assert image.size == pixels
        text = randr(instance)
        if arguments[0] == "--transform":
            assert f"Transform: {arguments[1]}" in text
        elif arguments[0] == "--scale":
            assert f"Scale: {float(arguments[1]):f}" in text
        elif arguments[0] == "--custom-mode":
            assert re.search(r"1024x768 px, 50.000000 Hz \(.*current\)", text), text


def test_wlr_randr_switches_off_and_on(two: InProcess) -> None:
    start(two, "foot", "--config=/dev/null", f"--override=colors.background={COLOUR:06x}", "sleep", "60")
    window = shown_window(two)
    two.wait_for(lambda: window.refresh() and window.geometry == (0, 0, 800, 600), "the window on the first output")
    randr(two, "--output", "HEADLESS-1", "--off")
    two.wait_for(lambda: list(boxes(two)) == ["HEADLESS-2"], "the first output to be off")
    second = by_name(two)["HEADLESS-2"].box
    two.wait_for(lambda: window.refresh() and window.geometry == second, "the window on the other output")
    picture_with(two, lambda image: share(image, rgb(COLOUR)) > 0.9, "its picture there", "HEADLESS-2")
    assert re.search(r"HEADLESS-1 .*?Enabled: no", randr(two), re.S)
    assert list(wl_outputs(two)) == ["HEADLESS-2"]
    randr(two, "--output", "HEADLESS-1", "--on")
    two.wait_for(lambda: len(boxes(two)) == 2, "both to be on")
    first = by_name(two)["HEADLESS-1"].box
    two.wait_for(lambda: window.refresh() and window.geometry == first, "the window back where it started")


def test_what_a_display_cannot_do_is_refused(two: InProcess) -> None:
    before = boxes(two)
    code, text = two.run(["wlr-randr", "--output", "HEADLESS-1", "--custom-mode", "100000x100000"])
    assert code != 0, text
    code, text = two.run(["wlr-randr", "--output", "HEADLESS-1", "--mode", "123x45"])
    assert code != 0, text
    assert boxes(two) == before


# ---- output power ----


class Power:
    """The first output's switch, by zwlr_output_power_v1."""

    def __init__(self, client: Client) -> None:
        protocol = load_protocol("wlr-output-power-management-unstable-v1")
        self.client = client
        self.modes: list[int] = []
        self.power = client.bind(protocol.ZwlrOutputPowerManagerV1).get_output_power(client.outputs[0])
        self.power.dispatcher["mode"] = lambda _, mode: self.modes.append(mode)
        client.roundtrip()

    def set(self, on: bool) -> None:
        self.power.set_mode(int(on))
        self.client.roundtrip()


def frames_of(instance: InProcess) -> int:
    compositor = instance.compositor
    counters = compositor.ffi.new("struct mc_counters *")
    compositor.lib.mc_server_counters(compositor.server, counters)
    return int(counters.frames)


def lit(instance: InProcess) -> list[bool]:
    return [output.enabled for output in instance.compositor.outputs]


def test_output_power_switches_off_and_on(tmp_path: Path) -> None:
    """A client that draws survives the night and goes on in the morning. Nobody sees the output go: its wl_output
    stays, and so does all that lies on it."""
    log = tmp_path / "pulse.jsonl"
    with InProcess(configure(headless__outputs=["640x480@60"])) as instance:
        pulse = start(instance, CLIENTS / "pulse", "--log", log, "--quiet")
        window = shown_window(instance)
        place = window.geometry
        with Client(instance.compositor.socket) as client:
            power = Power(client)
            assert power.modes == [1]
            there = boxes(instance)
            power.set(False)
            instance.wait_for(lambda: lit(instance) == [False], "the output to be off")
            instance.settle()
            client.roundtrip()
            assert power.modes[-1] == 0
            assert boxes(instance) == there and list(instance.dispatcher.outputs)
            assert len(client.outputs) == 1
            frames = frames_of(instance)
            instance.pump(0.2)
            assert frames_of(instance) == frames, "frames for a display that is asleep"
            power.set(True)
            instance.wait_for(lambda: lit(instance) == [True], "the output to be on")
            client.roundtrip()
            assert power.modes[-1] == 1
            assert boxes(instance) == there
        instance.wait_for(lambda: window.refresh() and window.geometry == place, "the window in its place")
        assert_frames_go_on(instance, pulse, log)


def assert_frames_go_on(instance: InProcess, pulse: Any, log: Path) -> None:
    """Frames that the client begins from now on are presented."""
    import time

    before_ns = time.monotonic_ns()
    instance.pump(0.5)
    assert pulse.poll() is None
    pulse.terminate()
    instance.wait_for(lambda: pulse.poll() is not None, "pulse to end")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    frames = [r for r in records if r["type"] == "frame" and (r["presented_ns"] or 0) > before_ns]
    assert len(frames) > 10, records[-5:]


# ---- plug and unplug ----


def test_connectors_keep_their_names(two: InProcess) -> None:
    two.compositor.unplug(1)
    two.wait_for(lambda: list(by_name(two)) == ["HEADLESS-2"], "the first to go")
    connector = two.compositor.plug(1024, 768, 60_000)  # the first free one
    assert connector == 1
    two.wait_for(lambda: boxes(two).get("HEADLESS-1", (0,) * 4)[2:] == (1024, 768), "another monitor on it")
    assert two.compositor.plug(320, 240, 60_000, connector=7) == 7
    two.wait_for(lambda: "HEADLESS-7" in boxes(two), "a third one")
    assert sorted(wl_outputs(two)) == ["HEADLESS-1", "HEADLESS-2", "HEADLESS-7"]


def test_windows_move_to_what_remains_and_back(two: InProcess) -> None:
    start(two, "foot", "--config=/dev/null", f"--override=colors.background={COLOUR:06x}", "sleep", "60")
    window = shown_window(two)
    two.wait_for(lambda: window.refresh() and window.geometry == (0, 0, 800, 600), "the window on the first output")
    two.compositor.unplug(1)
    two.wait_for(lambda: window.refresh() and window.geometry[2:] == (640, 480), "the window on the other output")
    picture_with(two, lambda image: share(image, rgb(COLOUR)) > 0.9, "its picture there", "HEADLESS-2")
    two.compositor.plug(1000, 500, 60_000, connector=1)
    two.wait_for(lambda: window.refresh() and window.geometry[2:] == (1000, 500), "the window where it started")
    picture_with(two, lambda image: share(image, rgb(COLOUR)) > 0.9, "its picture there", "HEADLESS-1")


@pytest.mark.parametrize("policy", ["kiosk", "stacking"])
def test_no_outputs_and_back(policy: str, tmp_path: Path) -> None:
    log = tmp_path / "pulse.jsonl"
    with InProcess(configure(headless__outputs=["640x480@60"], policy__name=policy)) as instance:
        pulse = start(instance, CLIENTS / "pulse", "--log", log, "--quiet", "--size", "300x200")
        shown_window(instance)
        for _ in range(3):
            instance.compositor.unplug(1)
            instance.wait_for(lambda: not by_name(instance), "the output to go")
            instance.pump(0.05)
            with Client(instance.compositor.socket) as client:  # clients may come meanwhile
                assert not client.outputs
                late = Window(client)
                late.surface.commit()
                client.roundtrip()
            assert pulse.poll() is None
            instance.compositor.plug(800, 600, 60_000, connector=1)
            instance.wait_for(lambda: boxes(instance), "the output to come back")
        shown = shown_window(instance)
        assert shown.geometry.x >= 0 and shown.geometry.y >= 0
        picture_with(instance, lambda image: share(image, BACKGROUND) < 1, "the window on the new monitor")
        assert_frames_go_on(instance, pulse, log)


def test_a_monitor_that_goes_while_it_is_configured_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between policy's look at it and the verb; for the log it has not refused anything."""
    with InProcess() as instance:
        compositor = instance.compositor
        monkeypatch.setattr(compositor.outputs, "_warn_of_unlisted_mode", lambda output, settings: compositor.unplug(2))
        compositor.plug(640, 480, 60_000, connector=2)
        instance.settle()
        assert list(by_name(instance)) == ["HEADLESS-1"]
        assert not [message for message in instance.log.messages(logging.WARNING) if "HEADLESS-2" in message]


def test_ready_is_when_every_output_is_configured_and_the_policy_knows() -> None:
    class Slow(Kiosk):
        def on_output_new(self, output: Output) -> None:
            time.sleep(0.2)
            super().on_output_new(output)

    with InProcess(configure(headless__outputs=["800x600@60", "640x480@75", "320x240@60"]), policy=Slow) as instance:
        assert len(boxes(instance)) == len(instance.dispatcher.outputs) == 3


def test_an_output_that_is_off_stays_off_when_events_were_lost(two: InProcess) -> None:
    off = by_name(two)["HEADLESS-2"].handle
    two.compositor.outputs.set_enabled(off, False)
    two.settle()
    two.thread.call(two.dispatcher.resync)
    two.settle()
    assert list(boxes(two)) == ["HEADLESS-1"]


def test_a_client_bound_to_an_unplugged_output_may_use_it(two: InProcess) -> None:
    """It finds out late: asking for full screen on an output that is gone is no error."""
    with Client(two.compositor.socket) as client:
        window = Window(client)
        window.initial_commit(two.wait_for)
        window.commit(300, 200, COLOUR)
        client.roundtrip()
        assert len(client.outputs) == 2
        two.compositor.unplug(1)
        window.toplevel.set_fullscreen(client.outputs[0])
        client.roundtrip()
        two.wait_for(lambda: list(by_name(two)) == ["HEADLESS-2"], "the output to go")
        client.roundtrip()


def test_faults_of_the_display_are_survived(tmp_path: Path) -> None:
    """Flips that are late, and commits that are refused."""
    log = tmp_path / "pulse.jsonl"
    with InProcess(configure(headless__outputs=["640x480@120"])) as instance:
        compositor = instance.compositor
        pulse = start(instance, CLIENTS / "pulse", "--log", log, "--quiet")
        shown_window(instance)
        for vblanks, count in ((2, 5), (0, 5)):
            assert compositor.lib.mc_vdisplay_inject_fault(compositor.server, 1, vblanks, count) == 0
            instance.pump(0.2)
        failed = next(iter(compositor.outputs)).handle
        info = compositor.ffi.new("struct mc_output_info *")
        assert compositor.lib.mc_output_get_info(compositor.server, failed, info) == 0
        assert info.failed_commits == 5
        instance.expect("^minicomp.wlroots: .*")
        assert_frames_go_on(instance, pulse, log)
