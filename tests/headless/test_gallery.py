"""What every shell feature looks like: whole pictures, compared pixel by pixel with what they should be.

The client is clients/gallery.py, flat colours only, so an expected picture is a list of rectangles.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from minicomp.shell.policy import Policy
from minicomp.testing.client import XRGB8888, Client, Window
from minicomp.testing.image import compare
from minicomp.testing.instance import InProcess, configure
from tests.headless.conftest import REPO
from tests.headless.programs import BACKGROUND, colours, output_of, picture_with, rgb, share, shown_window

COLOURS = {
    "toplevel": 0x3366CC, "dialog": 0xCC6633, "popup": 0x33CC66, "nested-popup": 0xCCCC33,
    "subsurface-lower": 0xCC3333, "subsurface-upper": 0x33CCCC, "subsurface-below": 0x9933CC, "layer-top": 0x666699,
    "layer-overlay": 0xFF3399, "cursor": 0xFF00FF, "viewport-scaled": 0x0099FF, "viewport-cropped": 0x99FF00,
    "decorated": 0x336666, "fullscreen": 0x202060,
}  # fmt: skip

Rectangle = tuple[str, int, int, int, int]  # colour, left, top, width, height in layout units

TOPLEVEL: Rectangle = ("toplevel", 0, 0, 320, 240)
SCENES: dict[str, list[Rectangle]] = {  # from the bottom up, under the stacking policy on 800x600
    "toplevel": [TOPLEVEL],
    "dialog": [TOPLEVEL, ("dialog", 80, 70, 160, 100)],
    "popup": [TOPLEVEL, ("popup", 20, 50, 100, 80)],
    "nested-popup": [TOPLEVEL, ("popup", 20, 50, 100, 80), ("nested-popup", 40, 100, 60, 40)],
    "subsurfaces": [
        ("subsurface-below", 0, 0, 80, 60),
        ("toplevel", 20, 20, 320, 240),  # the window's geometry begins where its subsurface does
        ("subsurface-lower", 140, 40, 80, 60),
        ("subsurface-upper", 180, 70, 80, 60),
    ],
    "layer-top": [("layer-top", 0, 0, 800, 32), ("toplevel", 0, 32, 320, 240)],
    "layer-overlay": [TOPLEVEL, ("layer-overlay", 300, 500, 200, 100)],
    "cursor": [TOPLEVEL],  # no pointer, no cursor
    "viewporter": [TOPLEVEL, ("viewport-scaled", 20, 160, 80, 60), ("viewport-cropped", 120, 160, 80, 60)],
    "decorations": [("decorated", 0, 0, 320, 240)],
    "fullscreen": [("fullscreen", 0, 0, 800, 600)],
    "all": [
        ("subsurface-below", 0, 32, 80, 60),
        ("toplevel", 20, 52, 320, 240),
        ("subsurface-lower", 140, 72, 80, 60),
        ("subsurface-upper", 180, 102, 80, 60),
        ("viewport-scaled", 40, 212, 80, 60),
        ("viewport-cropped", 140, 212, 80, 60),
        ("popup", 20, 82, 100, 80),
        ("nested-popup", 40, 132, 60, 40),
        ("decorated", 32, 64, 160, 120),
        ("dialog", 90, 112, 160, 100),
        ("layer-top", 0, 0, 800, 32),
        ("layer-overlay", 300, 500, 200, 100),
    ],
}


def expected(rectangles: list[Rectangle], size: tuple[int, int] = (800, 600), scale: int = 1) -> Image.Image:
    image = Image.new("RGB", (size[0] * scale, size[1] * scale), BACKGROUND)
    for name, x, y, width, height in rectangles:
        box = (x * scale, y * scale, (x + width) * scale, (y + height) * scale)
        image.paste(rgb(COLOURS[name]), box)
    return image


def show(instance: InProcess, scene: str) -> dict[str, dict[str, Any]]:
    """Starts the gallery; its elements by name, once all are on the screen."""
    process = instance.launch(
        [sys.executable, str(REPO / "clients/gallery.py"), "--scene", scene], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    fd = process.stdout.fileno()
    os.set_blocking(fd, False)
    line = bytearray()

    def ready() -> bool:
        with suppress(BlockingIOError):
            line.extend(os.read(fd, 65536))
        assert process.poll() is None, f"gallery ended with {process.returncode}"
        return b"\n" in line

    instance.wait_for(ready, "the gallery")
    instance.settle()
    return {element["name"]: element for element in json.loads(line)["elements"]}


def assert_looks(instance: InProcess, wanted: Image.Image) -> None:
    """The screen is the wanted picture, at once or soon: the policy may have placed a window a moment ago."""
    picture_with(instance, lambda image: image.size == wanted.size and not compare(image, wanted), "the right picture")


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_looks_as_it_should(scene: str) -> None:
    with InProcess(configure(headless__outputs=["800x600@60"], policy__name="stacking")) as instance:
        show(instance, scene)
        assert_looks(instance, expected(SCENES[scene]))


@pytest.mark.parametrize("scene", ["toplevel", "fullscreen"])
def test_the_kiosk_shows_them_full_screen(scene: str) -> None:
    with InProcess(configure(headless__outputs=["640x400@60"])) as instance:
        show(instance, scene)
        assert_looks(instance, expected([(scene, 0, 0, 640, 400)], (640, 400)))


def test_the_kiosk_centres_dialogs() -> None:
    with InProcess(configure(headless__outputs=["640x400@60"])) as instance:
        show(instance, "dialog")
        wanted = expected([("toplevel", 0, 0, 640, 400), ("dialog", 240, 150, 160, 100)], (640, 400))
        assert_looks(instance, wanted)


def test_at_scale_two_everything_is_twice_as_large() -> None:
    config = configure(headless__outputs=["1600x1200@60"], policy__name="stacking", output=[{"scale": 2.0}])
    with InProcess(config) as instance:
        show(instance, "all")
        assert_looks(instance, expected(SCENES["all"], scale=2))


TURNED = {  # wl_output.transform (counter-clockwise) -> how the upright picture becomes the buffer's
    "normal": [],
    "90": [Image.Transpose.ROTATE_90],
    "180": [Image.Transpose.ROTATE_180],
    "270": [Image.Transpose.ROTATE_270],
    "flipped": [Image.Transpose.FLIP_LEFT_RIGHT],
    "flipped-90": [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90],
    "flipped-180": [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180],
    "flipped-270": [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_270],
}


@pytest.mark.parametrize("transform", TURNED)
def test_on_turned_outputs(transform: str, tmp_path: Path) -> None:
    """The buffer that goes to the display is turned; what grim makes of it, knowing the transform, is upright."""
    mode = "600x800@60" if transform.endswith(("90", "270")) else "800x600@60"
    config = configure(headless__outputs=[mode], policy__name="stacking", output=[{"transform": transform}])
    with InProcess(config) as instance:
        show(instance, "all")
        upright = buffer = expected(SCENES["all"])
        for step in TURNED[transform]:
            buffer = buffer.transpose(step)
        assert_looks(instance, buffer)
        output_of(instance, ["grim", tmp_path / "grim.png"])
        with Image.open(tmp_path / "grim.png") as picture:
            assert not compare(picture, upright)


class At(Policy):
    """Puts windows where the test says."""

    place = (0, 0)

    def on_window_map(self, window: Any) -> None:
        window.place(*self.place)
        window.show()
        window.focus()


@pytest.mark.parametrize(
    ("place", "popup"),
    [
        ((300, 200), (20, 50)),  # room
        ((700, 200), (-30, 50)),  # flipped to the left of its anchor's right edge
        ((300, 500), (20, -60)),  # flipped above its anchor
        ((700, 500), (-30, -60)),  # both
        ((760, 200), (-60, 50)),  # flipping does not help: slid
        ((-60, 200), (60, 50)),  # slid to the left edge
    ],
)
def test_popups_stay_on_the_screen(place: tuple[int, int], popup: tuple[int, int]) -> None:
    policy = type("There", (At,), {"place": place})
    with InProcess(configure(headless__outputs=["800x600@60"]), policy=policy) as instance:
        element = show(instance, "popup")["popup"]
        assert (element["x"], element["y"]) == popup
        x, y = place
        wanted = expected([("toplevel", x, y, 320, 240), ("popup", x + popup[0], y + popup[1], 100, 80)])
        assert_looks(instance, wanted)


def test_nested_popups_stay_on_the_screen() -> None:
    policy = type("There", (At,), {"place": (640, 470)})
    with InProcess(configure(headless__outputs=["800x600@60"]), policy=policy) as instance:
        elements = show(instance, "nested-popup")
        (x, y), (nx, ny) = ((elements[name]["x"], elements[name]["y"]) for name in ("popup", "nested-popup"))
        assert (x, y) == (20, 50)  # it fits just so
        assert (nx, ny) == (20, -20)  # its place would be 600 to 640: flipped above its anchor
        popup = ("popup", 640 + x, 470 + y, 100, 80)
        nested = ("nested-popup", 640 + x + nx, 470 + y + ny, 60, 40)
        assert_looks(instance, expected([("toplevel", 640, 470, 320, 240), popup, nested]))


def test_the_cursor_of_a_client_follows_the_pointer() -> None:
    with InProcess(configure(headless__outputs=["800x600@60"], policy__name="stacking")) as instance:
        show(instance, "cursor")
        assert_looks(instance, expected([TOPLEVEL]))
        for x, y in ((10, 20), (200, 100)):
            instance.compositor.seat.inject.move(x, y)
            assert_looks(instance, expected([TOPLEVEL, ("cursor", x, y, 16, 16)]))
        instance.compositor.seat.inject.move(500, 400)  # beyond the window: the theme's arrow
        picture_with(instance, lambda image: share(image, rgb(COLOURS["cursor"])) == 0, "another cursor")
        assert colours(instance.image(), (500, 400, 524, 424)) != {BACKGROUND}


QUADRANTS = [0xFF0000, 0x00FF00, 0x0000FF, 0xFFFF00]  # upper left, upper right, lower left, lower right


def quadrant_buffer(client: Client, size: int) -> Any:
    half = size // 2
    rows = []
    for top, right in ((0, 1), (2, 3)):
        row = b"".join((QUADRANTS[i] | 0xFF000000).to_bytes(4, "little") * half for i in (top, right))
        rows.append(row * half)
    data = b"".join(rows)
    fd = os.memfd_create("quadrants", os.MFD_CLOEXEC)
    os.write(fd, data)
    pool = client.bound["wl_shm"].create_pool(fd, len(data))
    buffer = pool.create_buffer(0, size, size, size * 4, XRGB8888)
    pool.destroy()
    os.close(fd)
    return buffer


@pytest.mark.parametrize("transform", ["normal", "90"])
@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize("destination", [40, 60, 100])
@pytest.mark.parametrize("quadrant", range(4))
def test_the_viewporter_crops_at_its_offset(quadrant: int, destination: int, scale: float, transform: str) -> None:
    """At any scale, turned or not, also with pixman."""
    config = configure(
        headless__outputs=["400x400@60"], policy__name="stacking", output=[{"scale": scale, "transform": transform}]
    )
    with InProcess(config) as instance, Client(instance.compositor.socket) as client:
        window = Window(client)
        window.initial_commit(instance.wait_for)
        viewport = client.bound["wp_viewporter"].get_viewport(window.surface)
        # One pixel inside the quadrant: a filter that looks at neighbours mixes nothing in.
        viewport.set_source(40 * (quadrant % 2) + 1, 40 * (quadrant // 2) + 1, 38, 38)
        viewport.set_destination(destination, destination)
        buffer = quadrant_buffer(client, 80)
        window.surface.attach(buffer, 0, 0)
        window.surface.damage_buffer(0, 0, 80, 80)
        window.surface.commit()
        client.roundtrip()
        shown_window(instance)
        pixels = int(destination * scale)
        # Upper left of the layout: turned counter-clockwise it is the buffer's lower left.
        top = 400 - pixels if transform == "90" else 0
        wanted = Image.new("RGB", (400, 400), BACKGROUND)
        wanted.paste(rgb(QUADRANTS[quadrant]), (0, top, pixels, top + pixels))
        assert_looks(instance, wanted)
