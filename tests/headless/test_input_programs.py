"""Debian's programs at the other end of the seat: what is typed, clicked and touched has its effect in them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minicomp.lab.pipeline.runfile import read_run
from minicomp.testing.instance import InProcess, configure
from tests.headless.conftest import CLIENTS
from tests.headless.seat_client import Placed

INPUT_EVENT, INPUT_DELIVERED = 19, 20  # docs/trace-format.md
KEY, MOTION, BUTTON = 1, 2, 3
KEY_E, KEY_D, KEY_Z, KEY_ENTER, KEY_APOSTROPHE = 18, 32, 44, 28, 40  # linux/input-event-codes.h
KEY_LEFTCTRL, KEY_LEFTSHIFT, KEY_LEFTALT, KEY_RIGHTALT = 29, 42, 56, 100
SENT = [MOTION, MOTION, BUTTON, BUTTON, KEY, KEY]  # a motion, a click (which moves there), a key


class Corner(Placed):
    """Windows at 0, 0."""

    def on_window_map(self, window: Any) -> None:
        window.place(0, 0)
        window.show()
        window.focus()


@pytest.fixture
def stage() -> Iterator[InProcess]:
    with InProcess(configure(headless__outputs=["800x600@60"]), policy=Corner) as instance:
        yield instance


def start(stage: InProcess, command: list[str]) -> Any:
    """The program's process once its window has the keyboard."""
    process = stage.launch(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stage.wait_for(lambda: stage.compositor.seat.focused, f"{command[0]}'s window")
    stage.pump(0.2)
    return process


@pytest.mark.parametrize("terminal", [["foot"], ["weston-terminal"]], ids=lambda command: command[0])
def test_typing_into_a_terminal(stage: InProcess, terminal: list[str], tmp_path: Path) -> None:
    start(stage, terminal)
    said = tmp_path / "said"
    text = "Hello, World! {[~]}"
    stage.compositor.seat.inject.type_text(f"echo '{text}' >{said}; exit\n")
    stage.wait_for(lambda: said.exists() and said.read_text() == f"{text}\n", "the shell to have done it")
    stage.wait_for(lambda: len(stage.dispatcher.windows) == 0, "the terminal to end")


def test_wtype_into_a_terminal(stage: InProcess, tmp_path: Path) -> None:
    start(stage, ["foot"])
    said = tmp_path / "said"
    typist = stage.launch(["wtype", f"echo 語é >{said}; exit", "-k", "Return"])
    stage.wait_for(lambda: typist.poll() is not None, "wtype to end")
    stage.wait_for(lambda: said.exists() and said.read_text() == "語é\n", "the shell to have done it")


def test_foot_selects_and_pastes_with_the_mouse(stage: InProcess, tmp_path: Path) -> None:
    """A double click selects a word (primary selection), the middle button pastes it."""
    said = tmp_path / "said"
    script = f"printf 'marvellous\\n\\n\\n'; read word; printf %s \"$word\" >{said}"
    start(stage, ["foot", "--override=pad=0x0", "sh", "-c", script])
    inject = stage.compositor.seat.inject

    def ink() -> int:
        """How many bright pixels the first line has."""
        line = stage.image().crop((0, 0, 200, 14))
        return sum(max(line.getpixel((x, y))) > 150 for x in range(200) for y in range(14))

    stage.wait_for(lambda: ink() > 50, "the word to be shown")
    plain = ink()
    inject.click(30, 8, times=2)
    stage.wait_for(lambda: ink() > 2 * plain, "the word to be selected")
    inject.click(30, 300, button=0x112)
    stage.pump(0.2)  # the text goes from foot to foot by a pipe
    inject.type_text("\n")
    stage.wait_for(lambda: said.exists() and said.read_text() == "marvellous", "the pasted word to be written")


def test_a_gtk_program_is_driven_by_pointer_and_keyboard(stage: InProcess) -> None:
    """gtk3-demo's search: a click on the button, then text; its close button ends it."""
    process = start(stage, ["gtk3-demo"])
    inject = stage.compositor.seat.inject
    stage.pump(0.5)
    window = next(iter(stage.dispatcher.windows))
    window.refresh()
    before = stage.image()
    inject.press("Down")
    inject.press("Down")
    stage.wait_for(lambda: stage.image().tobytes() != before.tobytes(), "the selection to move")
    right, top = window.geometry.x + window.geometry.width, window.geometry.y
    inject.click(right - 22, top + 24)
    stage.wait_for(lambda: process.poll() is not None, "gtk3-demo to close")


def test_weston_simple_touch_draws_where_fingers_go(stage: InProcess) -> None:
    start(stage, ["weston-simple-touch"])
    before = stage.image()
    stage.compositor.seat.inject.swipe((50, 100), (150, 100), steps=20)
    stage.wait_for(
        lambda: stage.image().getpixel((100, 100)) != before.getpixel((100, 100)), "a line where the finger went"
    )
    after = stage.image()
    assert after.getpixel((100, 180)) == before.getpixel((100, 180))


def test_input_is_followed_from_the_event_to_the_screen(tmp_path: Path) -> None:
    """The run file has, for every injected event, its arrival and its delivery, both with the event's own time."""
    log = tmp_path / "echo.jsonl"
    path = tmp_path / "run.mct"
    config = configure(headless__outputs=["800x600@60"])
    with InProcess(config, policy=Corner) as stage:
        from minicomp.compositor.tracefile import TraceFile

        trace = TraceFile(stage.compositor, path)
        try:
            start(stage, [str(CLIENTS / "echo"), "--log", str(log)])
            inject = stage.compositor.seat.inject
            inject.move(50, 50)
            stage.pump(0.1)
            colour = stage.image().getpixel((20, 20))
            inject.click(50, 50)
            inject.type_text("a")
            stage.wait_for(lambda: stage.image().getpixel((20, 20)) != colour, "another colour")
            stage.pump(0.1)
        finally:
            stage.compositor.lib.mc_loop_stop(stage.compositor.server)
            trace.close()
    run = read_run(path)
    marks = run.records[np.isin(run.records["point"], [INPUT_EVENT, INPUT_DELIVERED])]
    kinds = [(int(mark["point"]), int(mark["flags"])) for mark in marks]
    assert kinds == [(point, kind) for kind in SENT for point in (INPUT_EVENT, INPUT_DELIVERED)]
    for event, delivered in zip(marks[::2], marks[1::2], strict=True):
        assert event["arg"] == delivered["arg"] <= event["t_ns"] <= delivered["t_ns"]
        assert delivered["surface_id"] != 0 == event["surface_id"]
    told = [record for record in map(json.loads, log.read_text().splitlines()) if record["type"] == "input"]
    assert len(told) >= 2, "echo answers a press and a key"


def test_compose_and_another_layout_in_a_terminal(tmp_path: Path) -> None:
    """Compose sequences are the client's, by our keymap's Multi_key; the second layout is the keymap's other group."""
    config = configure(
        headless__outputs=["800x600@60"],
        keyboard__layout="us,de",
        keyboard__options="compose:ralt,grp:alt_shift_toggle",
    )
    with InProcess(config, policy=Corner) as stage:
        said = tmp_path / "said"
        process = stage.launch(["foot", "sh", "-c", f"cat >{said}"], env={"LC_ALL": "C.UTF-8"})
        stage.wait_for(lambda: stage.compositor.seat.focused, "foot's window")
        stage.pump(0.2)
        inject = stage.compositor.seat.inject

        def tap(*codes: int) -> None:
            for pressed in (True, False):
                for code in codes if pressed else reversed(codes):
                    inject.key(code, pressed)

        tap(KEY_Z)
        for code in (KEY_RIGHTALT, KEY_APOSTROPHE, KEY_E):
            tap(code)
        tap(KEY_LEFTALT, KEY_LEFTSHIFT)
        tap(KEY_Z)
        tap(KEY_LEFTALT, KEY_LEFTSHIFT)
        tap(KEY_Z)
        tap(KEY_ENTER)
        tap(KEY_LEFTCTRL, KEY_D)
        stage.wait_for(lambda: process.poll() is not None, "foot to end")
        assert said.read_text() == "zéyz\n"
