"""Windows that lie on each other: what is hidden is not drawn, and what is to be seen is all there."""

from __future__ import annotations

import random

import pytest
from PIL import Image

from minicomp.testing.instance import InProcess, configure
from tests.headless.programs import BACKGROUND, rgb
from tests.headless.seat_client import Placed, PlacedWindow, SeatClient

WIDTH, HEIGHT = 320, 240
Place = tuple[int, int, int, int]


def painted(pile: list[tuple[Place, int]]) -> Image.Image:
    """The screen by the painter's rule: one after another, whole."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    for (x, y, width, height), colour in pile:
        picture.paste(rgb(colour), (x, y, x + width, y + height))
    return picture


@pytest.mark.parametrize("seed", range(4))
def test_every_pixel_is_the_topmost_windows(seed: int) -> None:
    """Few corners to choose from, so that there are windows which hide others whole, by an edge, and not quite."""
    chance = random.Random(seed)
    config = configure(headless__outputs=[f"{WIDTH}x{HEIGHT}@120"])
    with InProcess(config, policy=Placed) as instance, SeatClient(instance) as client:
        windows: list[PlacedWindow] = []
        pile: list[tuple[Place, int]] = []
        for _ in range(14):
            # Wherever the next one is put, its top-left corner is free to be found by the pointer: it is on top.
            place = chance.randrange(0, 160, 20), chance.randrange(0, 120, 20), *chance.choices(range(40, 160, 20), k=2)
            pile.append((place, chance.randrange(1 << 24)))
            windows.append(client.window(*place, pile[-1][1]))
        assert instance.image().convert("RGB").tobytes() == painted(pile).tobytes()
        for _ in range(25):
            for number in chance.sample(range(len(pile)), 2):
                place, colour = pile[number][0], chance.randrange(1 << 24)
                pile[number] = place, colour
                windows[number].commit(*place[2:], colour)
            client.roundtrip()
            assert instance.image().convert("RGB").tobytes() == painted(pile).tobytes()
