"""Frames begun early because every client has answered, and vblanks that wake nobody."""

from __future__ import annotations

import time
from typing import Any

import pytest

from minicomp.testing.client import Client, Window
from minicomp.testing.instance import InProcess, configure
from tests.headless.conftest import CLIENTS
from tests.headless.programs import pacing

COLOUR = 0x203040
PULSE = str(CLIENTS / "pulse")


@pytest.mark.parametrize("thread", [True, False], ids=["render-thread", "loop-thread"])
def test_a_frame_that_all_have_answered_begins_early(thread: bool) -> None:
    config = configure(headless__outputs=["320x240@60"], render__thread=thread)
    with InProcess(config) as instance:
        instance.launch([PULSE, "--size", "64x64", "--quiet", "--no-feedback"])
        instance.wait_for(lambda: pacing(instance).early_frames > 10, "frames begun early", 20)


@pytest.mark.parametrize("setting", [{"render__early": "no"}, {"pacing__mode": "fixed"}, {"pacing__mode": "asap"}])
def test_not_when_it_is_switched_off_or_the_start_is_fixed(setting: dict[str, Any]) -> None:
    with InProcess(configure(headless__outputs=["320x240@60"], **setting)) as instance:
        instance.launch([PULSE, "--size", "64x64", "--quiet", "--no-feedback"])
        output = next(iter(instance.compositor.outputs))
        instance.wait_for(lambda: pacing(instance).frames > 60, f"frames on {output.name}", 20)
        assert pacing(instance).early_frames == 0


def client_with_window(instance: InProcess, client: Client) -> Window:
    window = Window(client)
    window.initial_commit(instance.wait_for)
    window.commit(64, 64, COLOUR)
    client.roundtrip()
    return window


def test_presentation_feedback_comes_at_the_vblank() -> None:
    """Not with the next callback, which is planned for nearly a refresh (200 ms) later."""
    with (
        InProcess(configure(headless__outputs=["320x240@5"])) as instance,
        Client(instance.compositor.socket) as client,
    ):
        window = client_with_window(instance, client)
        for number in range(8):
            shown = len(window.presented)

            def told(shown: int = shown) -> bool:
                client.roundtrip()
                return len(window.presented) > shown

            instance.wait_for(told, "feedback")
            late_ms = (time.monotonic_ns() - window.presented[-1].time_ns) / 1e6
            assert late_ms < 100, f"feedback {number} came {late_ms:.1f} ms after its vblank"
            window.commit(64, 64, COLOUR + number)
            client.roundtrip()


def test_the_last_flip_is_completed_without_a_client() -> None:
    """No callback, no feedback: still the vblank is seen to, and the output is free for the next frame."""
    with (
        InProcess(configure(headless__outputs=["320x240@20"])) as instance,
        Client(instance.compositor.socket) as client,
    ):
        window = Window(client)
        window.initial_commit(instance.wait_for)
        buffer = client.buffer(64, 64, COLOUR)
        window.surface.attach(buffer, 0, 0)
        window.surface.damage_buffer(0, 0, 64, 64)
        window.commit_only(callback=False, feedback=False)
        client.roundtrip()
        instance.wait_for(lambda: pacing(instance).frames > 0, "the flip to be completed")
