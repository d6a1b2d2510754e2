"""Adaptive pacing on the modelled display with the step clock: real frames, real callbacks, modelled time."""

from __future__ import annotations

from typing import Any

import pytest

from minicomp.testing.client import Client, Window
from minicomp.testing.instance import InProcess, configure
from tests.headless.programs import pacing

COLOURS = [0x203040, 0x506070]


def drive(instance: InProcess, client: Client, window: Window, frames: int) -> None:
    """Lets time pass, the client committing at each frame callback, until it has committed `frames` more."""
    compositor = instance.compositor
    wanted = window.commits + frames
    answered = len(window.callbacks)
    window.commit(64, 64, COLOURS[0])
    client.roundtrip()
    while window.commits < wanted:
        compositor.advance_to_next_event()
        client.roundtrip()
        if len(window.callbacks) > answered:
            answered = len(window.callbacks)
            window.commit(64, 64, COLOURS[window.commits % 2])
            client.roundtrip()


@pytest.mark.parametrize("latch_us", [500, 1000, 2500])
def test_the_learned_margin_finds_the_latch(latch_us: int) -> None:
    """Within 20 % after 2,000 frames, with at most 10 misses; and frames are then composed that late."""
    config = configure(backend__clock="step", headless__outputs=["64x64@60"], headless__latch_us=latch_us)
    with InProcess(config) as instance, Client(instance.compositor.socket) as client:
        window = Window(client)

        def wait(condition: Any, what: str) -> Any:
            return instance.wait_for(condition, what)

        window.initial_commit(wait)
        window.commit(64, 64, COLOURS[0])
        client.roundtrip()

        def shown() -> bool:
            instance.settle()
            instance.compositor.advance_to_vblank()
            client.roundtrip()
            return any(not p.discarded for p in window.presented)

        instance.wait_for(shown, "the first frame to be presented")
        drive(instance, client, window, 2000)
        learned = pacing(instance)
        assert latch_us <= learned.latch_high_ns / 1000 <= latch_us * 1.2
        assert learned.misses <= 10
        # Each commit was shown at the vblank it was asked for: one a refresh.
        presented = [p for p in window.presented if not p.discarded]
        assert len(presented) >= 1990
        seqs = [p.seq for p in presented[-500:]]
        assert seqs[-1] - seqs[0] <= 502
        budget_us = learned.budget_ns / 1000
        assert budget_us < latch_us + 700, "a frame begins earlier than latch, cost and safety ask for"
