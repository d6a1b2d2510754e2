"""Frames on the step clock: which vblank shows which commit, to the nanosecond."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from minicomp.testing.client import Client, Window
from minicomp.testing.instance import InProcess, configure

LATCH_NS = 1_000_000
COLOURS = [0xFF0000, 0x00FF00, 0x0000FF, 0xFFFF00]


@pytest.fixture
def stepped() -> Iterator[InProcess]:
    config = configure(
        backend__clock="step", headless__outputs=["640x480@60"], headless__latch_us=1000, pacing__mode="asap"
    )
    with InProcess(config) as instance:
        yield instance


def map_window(instance: InProcess, client: Client, width: int = 640, height: int = 480) -> Window:
    """A window that is on the screen, its first frames shown, nothing in flight."""
    window = Window(client)

    def wait(condition: Any, what: str) -> Any:
        return instance.wait_for(condition, what)

    window.initial_commit(wait)
    window.commit(width, height, COLOURS[0])
    client.roundtrip()

    def shown() -> bool:
        instance.settle()
        instance.compositor.advance_to_vblank()
        client.roundtrip()
        return any(not p.discarded for p in window.presented)

    instance.wait_for(shown, "the first frame to be presented")
    for _ in range(3):
        instance.compositor.advance_to_vblank()
        client.roundtrip()
    window.presented.clear()
    window.callbacks.clear()
    return window


def commit_before_vblank(instance: InProcess, client: Client, window: Window, before_ns: int, colour: int) -> int:
    """Commits `before_ns` before the next vblank but one; that vblank's time."""
    compositor = instance.compositor
    compositor.advance_to_vblank(offset_ns=1000)
    vblank_ns = int(compositor.lib.mc_vdisplay_next_vblank(compositor.server, 1, compositor.now_ns()))
    compositor.advance_ns(vblank_ns - before_ns - compositor.now_ns())
    window.commit(640, 480, colour)
    client.roundtrip()
    client.roundtrip()  # the frame is composed at the end of the dispatch that brought the commit
    return vblank_ns


@pytest.mark.parametrize(
    ("before_ns", "vblanks_later"),
    [(LATCH_NS + 1, 0), (LATCH_NS, 0), (LATCH_NS - 1, 1), (1, 1), (8_000_000, 0)],
)
def test_the_latch_decides_the_vblank(stepped: InProcess, before_ns: int, vblanks_later: int) -> None:
    """A frame committed k ns before the latch is shown at vblank n, one committed after it at n + 1."""
    with Client(stepped.compositor.socket) as client:
        window = map_window(stepped, client)
        vblank_ns = commit_before_vblank(stepped, client, window, before_ns, COLOURS[1])
        for _ in range(3):
            stepped.compositor.advance_to_vblank()
            client.roundtrip()
        assert len(window.presented) == 1
        period_ns = window.presented[0].refresh_ns
        assert period_ns == 16_666_666
        shown_ns = window.presented[0].time_ns
        assert abs(shown_ns - (vblank_ns + vblanks_later * period_ns)) <= 1  # a period is 16666666.67 ns


def test_sequence_numbers_count_vblanks(stepped: InProcess) -> None:
    with Client(stepped.compositor.socket) as client:
        window = map_window(stepped, client)
        for colour in COLOURS:
            commit_before_vblank(stepped, client, window, 5_000_000, colour)
            stepped.compositor.advance_to_vblank()
            client.roundtrip()
        assert len(window.presented) == len(COLOURS)
        first = window.presented[0]
        for shown in window.presented:
            vblanks = shown.seq - first.seq
            assert abs(shown.time_ns - first.time_ns - vblanks * 1_000_000_000 // 60) <= 1
            assert shown.flags == 1  # vsync; neither hardware clock nor hardware completion is claimed
        assert [p.seq for p in window.presented] == sorted({p.seq for p in window.presented})


def test_a_frame_callback_without_damage_needs_no_flip(stepped: InProcess) -> None:
    """The callback comes at the vblank that a flip would have made, and the display is left alone."""
    compositor = stepped.compositor
    with Client(compositor.socket) as client:
        window = map_window(stepped, client)
        frames = counters(stepped).frames
        compositor.advance_to_vblank(offset_ns=1000)
        window.commit_only(feedback=False)
        client.roundtrip()
        assert window.callbacks == []
        vblank_ns = compositor.advance_to_vblank()
        client.roundtrip()
        assert window.callbacks == [vblank_ns // 1_000_000 & 0xFFFFFFFF]
        assert counters(stepped).frames == frames
        assert counters(stepped).callback_only >= 1


def test_presentation_feedback_without_damage_is_presented(stepped: InProcess) -> None:
    with Client(stepped.compositor.socket) as client:
        window = map_window(stepped, client)
        stepped.compositor.advance_to_vblank(offset_ns=1000)
        window.commit_only(callback=False)
        client.roundtrip()
        stepped.compositor.advance_to_vblank()
        client.roundtrip()
        assert [p.discarded for p in window.presented] == [False]


def test_only_the_latest_commit_before_the_latch_is_shown(stepped: InProcess) -> None:
    """The flip is in flight once the first commit is composed: the second waits for the next vblank."""
    with Client(stepped.compositor.socket) as client:
        window = map_window(stepped, client)
        commit_before_vblank(stepped, client, window, 8_000_000, COLOURS[1])
        window.commit(640, 480, COLOURS[2])
        client.roundtrip()
        window.commit(640, 480, COLOURS[3])
        client.roundtrip()
        for _ in range(3):
            stepped.compositor.advance_to_vblank()
            client.roundtrip()
        assert [(p.commit, p.discarded) for p in sorted(window.presented, key=lambda p: p.commit)] == [
            (window.commits - 2, False),
            (window.commits - 1, True),
            (window.commits, False),
        ]


def test_a_late_flip_is_shown_late_and_said_so(stepped: InProcess) -> None:
    compositor = stepped.compositor
    with Client(compositor.socket) as client:
        window = map_window(stepped, client)
        compositor.lib.mc_vdisplay_inject_fault(compositor.server, 1, 2, 1)
        vblank_ns = commit_before_vblank(stepped, client, window, 5_000_000, COLOURS[1])
        for _ in range(4):
            compositor.advance_to_vblank()
            client.roundtrip()
        assert abs(window.presented[0].time_ns - vblank_ns - 2 * 1_000_000_000 // 60) <= 2


def test_a_refused_commit_is_tried_again_at_the_next_vblank(stepped: InProcess) -> None:
    compositor = stepped.compositor
    with Client(compositor.socket) as client:
        window = map_window(stepped, client)
        failed = counters(stepped).failed_commits
        compositor.lib.mc_vdisplay_inject_fault(compositor.server, 1, 0, 2)
        commit_before_vblank(stepped, client, window, 5_000_000, COLOURS[1])
        for _ in range(5):
            compositor.advance_to_vblank()
            client.roundtrip()
        assert counters(stepped).failed_commits == failed + 2
        assert [p.discarded for p in window.presented] == [False]


def test_the_screen_shows_what_the_client_drew(stepped: InProcess) -> None:
    with Client(stepped.compositor.socket) as client:
        window = map_window(stepped, client)
        for colour in COLOURS:
            commit_before_vblank(stepped, client, window, 5_000_000, colour)
            stepped.compositor.advance_to_vblank()
            image = stepped.image()
            assert image.size == (640, 480)
            assert image.getcolors() == [(640 * 480, ((colour >> 16) & 255, (colour >> 8) & 255, colour & 255))]
            stepped.compositor.advance_to_vblank()


def counters(instance: InProcess) -> Any:
    compositor = instance.compositor
    result = compositor.ffi.new("struct mc_counters *")
    compositor.lib.mc_server_counters(compositor.server, result)
    return result
