"""The seat's protocols: relative pointer, constraints, gestures, selections, drag and drop, popups' grabs, virtual
devices, input methods."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pywayland.protocol.keyboard_shortcuts_inhibit_unstable_v1 import ZwpKeyboardShortcutsInhibitManagerV1
from pywayland.protocol.pointer_constraints_unstable_v1 import ZwpPointerConstraintsV1
from pywayland.protocol.pointer_gestures_unstable_v1 import ZwpPointerGesturesV1
from pywayland.protocol.relative_pointer_unstable_v1 import ZwpRelativePointerManagerV1
from pywayland.protocol.text_input_unstable_v3 import ZwpTextInputManagerV3

from minicomp.testing.instance import InProcess, configure
from tests.headless.seat_client import Placed, PlacedWindow, SeatClient, load_protocol

BTN_LEFT = 0x110
ONESHOT, PERSISTENT = 1, 2


@pytest.fixture
def stage() -> Iterator[InProcess]:
    with InProcess(configure(headless__outputs=["800x600@60"]), policy=Placed) as instance:
        yield instance


def names(events: list[Any]) -> list[str]:
    return [event.name for event in events]


# ---- relative motion and constraints ----


def relative_pointer(client: SeatClient) -> Any:
    manager = client.bind(ZwpRelativePointerManagerV1)
    return client.watch(manager.get_relative_pointer(client.pointer), "relative", "relative_motion")


def test_relative_motion(stage: InProcess) -> None:
    with SeatClient(stage) as client:
        client.window(0, 0)
        relative_pointer(client)
        stage.compositor.seat.inject.move(50, 50)
        client.take()
        stage.compositor.seat.inject.move_by(3, -2.5)
        event = client.take("relative")[0]
        assert event.args[2:] == (3.0, -2.5, 3.0, -2.5)
        time_us = (event.args[0] << 32) + event.args[1]
        assert time_us % 1000 == 0


def test_a_locked_pointer_stays_and_comes_back_at_the_hint(stage: InProcess) -> None:
    seat = stage.compositor.seat
    with SeatClient(stage) as client:
        window = client.window(100, 100)
        relative = relative_pointer(client)
        seat.inject.move(150, 150)
        constraints = client.bind(ZwpPointerConstraintsV1)
        lock = constraints.lock_pointer(window.surface, client.pointer, None, PERSISTENT)
        client.watch(lock, "lock", "locked unlocked")
        assert "lock.locked" in names(client.take())
        seat.inject.move_by(40, 0)
        events = client.take("pointer.motion", "relative")
        assert names(events) == ["relative.relative_motion"]
        assert (seat.pointer.x, seat.pointer.y) == (150, 150)
        lock.set_cursor_position_hint(10, 20)
        window.surface.commit()
        lock.destroy()
        client.roundtrip()
        assert (seat.pointer.x, seat.pointer.y) == (110, 120)
        seat.inject.move_by(1, 0)
        assert names(client.take("pointer.motion")) == ["pointer.motion"]
        relative.destroy()


def test_a_lock_waits_for_the_keyboard_and_ends_with_it(stage: InProcess) -> None:
    """A window that the pointer merely crosses does not catch it; one that loses the keyboard lets it go."""
    seat = stage.compositor.seat
    with SeatClient(stage) as client:
        game, other = client.window(0, 0), client.window(300, 0)
        constraints = client.bind(ZwpPointerConstraintsV1)
        lock = constraints.lock_pointer(game.surface, client.pointer, None, PERSISTENT)
        client.watch(lock, "lock", "locked unlocked")
        seat.inject.move(50, 50)
        assert names(client.take("lock")) == []
        seat.focus_window(game.handle)
        assert names(client.take("lock")) == ["lock.locked"]
        seat.focus_window(other.handle)
        assert names(client.take("lock")) == ["lock.unlocked"]
        seat.inject.move_by(5, 5)
        assert (seat.pointer.x, seat.pointer.y) == (55, 55)


def test_a_oneshot_lock_is_over_when_it_ends(stage: InProcess) -> None:
    seat = stage.compositor.seat
    with SeatClient(stage) as client:
        game, other = client.window(0, 0), client.window(300, 0)
        seat.focus_window(game.handle)
        seat.inject.move(50, 50)
        lock = client.bind(ZwpPointerConstraintsV1).lock_pointer(game.surface, client.pointer, None, ONESHOT)
        client.watch(lock, "lock", "locked unlocked")
        assert names(client.take("lock")) == ["lock.locked"]
        seat.focus_window(other.handle)
        seat.focus_window(game.handle)
        assert names(client.take("lock")) == ["lock.unlocked"]


def test_a_confined_pointer_keeps_to_the_region(stage: InProcess) -> None:
    seat = stage.compositor.seat
    with SeatClient(stage) as client:
        window = client.window(100, 100)
        region = client.bound["wl_compositor"].create_region()
        region.add(20, 20, 60, 40)
        seat.inject.move(110, 110)
        constraints = client.bind(ZwpPointerConstraintsV1)
        confined = constraints.confine_pointer(window.surface, client.pointer, region, PERSISTENT)
        client.watch(confined, "confined", "confined unconfined")
        assert names(client.take("confined")) == [], "it is outside the region still"
        seat.inject.move(150, 140)
        assert names(client.take("confined")) == ["confined.confined"]
        seat.inject.move_by(500, 500)
        assert 178 <= seat.pointer.x <= 180 and 158 <= seat.pointer.y <= 160
        seat.inject.move(0, 0)
        assert 120 <= seat.pointer.x < 122 and 120 <= seat.pointer.y < 122
        window.toplevel.destroy()
        window.xdg_surface.destroy()
        client.roundtrip()
        seat.inject.move(0, 0)
        assert (seat.pointer.x, seat.pointer.y) == (0, 0)


def test_gestures(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as client:
        window = client.window(0, 0)
        gestures = client.bind(ZwpPointerGesturesV1)
        client.watch(gestures.get_swipe_gesture(client.pointer), "swipe", "begin update end")
        client.watch(gestures.get_pinch_gesture(client.pointer), "pinch", "begin update end")
        client.watch(gestures.get_hold_gesture(client.pointer), "hold", "begin end")
        inject.move(10, 10)
        client.take()
        inject.swipe_gesture(3, [(5, 0), (6, 1)])
        swipe = client.take("swipe")
        assert names(swipe) == ["swipe.begin", "swipe.update", "swipe.update", "swipe.end"]
        assert swipe[0].args[2] is window.surface and swipe[0].args[3] == 3
        assert swipe[2].args[1:] == (6.0, 1.0) and swipe[3].args[2] == 0
        inject.pinch_gesture(2, [1.5], cancelled=True)
        pinch = client.take("pinch")
        assert names(pinch) == ["pinch.begin", "pinch.update", "pinch.end"]
        assert pinch[1].args[3] == 1.5 and pinch[2].args[2] == 1
        inject.hold_gesture(4)
        assert names(client.take("hold")) == ["hold.begin", "hold.end"]


# ---- selections and drags ----


def test_the_clipboard_between_programs(tmp_path: Path) -> None:
    """wl-copy and wl-paste, both selections."""
    with InProcess(configure(), policy=SideBySide) as stage:
        for option in ([], ["--primary"]):
            # Its forked process keeps what it inherits: no pipes.
            copy = stage.launch(["wl-copy", "--foreground", *option, "from one to another"])
            pasted = tmp_path / "pasted"

            def paste(option: list[str] = option, pasted: Path = pasted) -> bool:
                with pasted.open("w") as file:
                    paste = stage.launch(["wl-paste", "--no-newline", *option], stdout=file, stderr=subprocess.DEVNULL)
                    stage.wait_for(lambda: paste.poll() is not None, "wl-paste to end")
                return pasted.read_text() == "from one to another"

            stage.wait_for(paste, "the text to be pasted")
            copy.terminate()


def test_a_drag_with_a_wrong_serial_is_refused(stage: InProcess) -> None:
    with SeatClient(stage) as client:
        window = client.window(0, 0)
        stage.compositor.seat.inject.move(50, 50)
        device = client.bound["wl_data_device_manager"].get_data_device(client.seat)
        source = client.watch(client.bound["wl_data_device_manager"].create_data_source(), "source", "cancelled target")
        source.offer("text/plain")
        device.start_drag(source, window.surface, None, 1)
        assert names(client.take("source")) == ["source.cancelled"]


class SideBySide(Placed):
    """Windows in a row."""

    def on_window_map(self, window: Any) -> None:
        window.place(400 * (len(self.windows) - 1), 0)
        window.show()
        window.focus()


# weston-dnd shows flowers on a chequered pattern of slots, 80 apart; centres in the window's geometry.
FLOWER, EMPTY_SLOT = (134, 75), (134, 155)


def flowers(stage: InProcess) -> list[Any]:
    """Two weston-dnd, side by side; their processes."""
    processes = []
    for count in (1, 2):
        processes.append(stage.launch(["weston-dnd"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        x = 400 * (count - 1)
        stage.wait_for(lambda x=x: any_colour(stage, x + FLOWER[0], FLOWER[1]), f"window {count}")
    return processes


def any_colour(stage: InProcess, x: int, y: int) -> bool:
    """Whether a flower is there: windows are black, flowers bright, and much larger than pointers."""
    box = stage.image().crop((x - 25, y - 25, x + 25, y + 25))
    return sum(max(box.getpixel((i, j))) > 70 for i in range(50) for j in range(50)) > 200


@pytest.mark.parametrize("by", ["pointer", "touch"])
def test_drag_and_drop_between_programs(by: str) -> None:
    """A flower is taken from one weston-dnd and dropped on another; it is seen at the pointer, or finger, meanwhile."""
    with InProcess(configure(headless__outputs=["800x600@60"]), policy=SideBySide) as stage:
        inject = stage.compositor.seat.inject
        flowers(stage)
        target = (400 + EMPTY_SLOT[0], EMPTY_SLOT[1])
        assert not any_colour(stage, *target)
        (inject.move if by == "pointer" else inject.touch_down)(*FLOWER)
        if by == "pointer":
            inject.button(BTN_LEFT, True)
        on_the_way = (375, 450)  # between and below the windows
        stage.pump(0.1)
        for point in (*[(x, 200) for x in range(200, 381, 20)], on_the_way):
            (inject.move if by == "pointer" else inject.touch_move)(*point)
            stage.pump(0.01)
        stage.wait_for(lambda: any_colour(stage, *on_the_way), "the icon at the pointer")
        for x in range(400, target[0], 20):
            (inject.move if by == "pointer" else inject.touch_move)(x, target[1])
        (inject.move if by == "pointer" else inject.touch_move)(*target)
        stage.pump(0.2)  # both programs agree on a type and an action
        inject.button(BTN_LEFT, False) if by == "pointer" else inject.touch_up()
        stage.wait_for(lambda: any_colour(stage, *target) and not any_colour(stage, *on_the_way), "the drop")
        inject.move(10, 590)
        stage.pump(0.1)
        assert any_colour(stage, *target), "it stays without a drag icon"
        inject.type_text("x")
        stage.pump(0.05)


def test_a_drag_ends_with_its_client() -> None:
    with InProcess(configure(headless__outputs=["800x600@60"]), policy=SideBySide) as stage:
        inject = stage.compositor.seat.inject
        processes = flowers(stage)
        inject.move(*FLOWER)
        inject.button(BTN_LEFT, True)
        stage.pump(0.1)
        for x in range(200, 600, 20):
            inject.move(x, 300)
            stage.pump(0.01)
        processes[0].kill()
        stage.wait_for(lambda: len(stage.dispatcher.windows) == 1, "the window to go")
        inject.move(500, 310)
        inject.button(BTN_LEFT, False)
        inject.move(400 + FLOWER[0], FLOWER[1])
        inject.click(500, 310)
        assert processes[1].poll() is None
        assert stage.compositor.seat.pointer.buttons == 0


# ---- popups ----


def popup(client: SeatClient, window: PlacedWindow, serial: int) -> tuple[Any, Any, Any]:
    shell = client.bound["xdg_wm_base"]
    positioner = shell.create_positioner()
    positioner.set_size(60, 40)
    positioner.set_anchor_rect(10, 10, 1, 1)
    positioner.set_anchor(8)
    positioner.set_gravity(8)
    surface = client.bound["wl_compositor"].create_surface()
    xdg_surface = shell.get_xdg_surface(surface)
    xdg_surface.dispatcher["configure"] = lambda s, number: s.ack_configure(number)
    xdg_popup = xdg_surface.get_popup(window.xdg_surface, positioner)
    client.watch(xdg_popup, "popup", "configure popup_done")
    xdg_popup.grab(client.seat, serial)
    surface.commit()
    client.roundtrip()
    client.roundtrip()
    buffer = client.buffer(60, 40, 0xFFFFFF)
    surface.attach(buffer, 0, 0)
    surface.commit()
    client.roundtrip()
    return surface, xdg_surface, xdg_popup


def test_a_press_elsewhere_dismisses_a_popup(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as client, SeatClient(stage) as other:
        window = client.window(0, 0)
        inject.move(5, 5)
        client.take()
        inject.button(BTN_LEFT, True)
        serial = client.take("pointer.button")[0].args[0]
        inject.button(BTN_LEFT, False)
        surface, xdg_surface, xdg_popup = popup(client, window, serial)
        inject.move(20, 20)
        assert client.take("pointer.enter")[-1].args[1] is surface
        inject.type_text("a")
        assert names(client.take("keyboard.key")) == ["keyboard.key"] * 2, "its client has the keyboard"
        outside = other.window(300, 0)  # takes the keyboard: the policy says so
        assert "popup.popup_done" in names(client.take("popup"))
        xdg_popup.destroy(), xdg_surface.destroy()
        client.roundtrip()
        assert stage.compositor.seat.focused == outside.handle
        inject.type_text("b")
        assert names(other.take("keyboard.key")) == ["keyboard.key"] * 2

        stage.compositor.seat.focus_window(window.handle)
        inject.move(5, 5)
        client.take(), other.take()
        inject.button(BTN_LEFT, True)
        serial = client.take("pointer.button")[0].args[0]
        inject.button(BTN_LEFT, False)
        surface, xdg_surface, xdg_popup = popup(client, window, serial)
        client.take()
        inject.click(350, 50)
        assert "popup.popup_done" in names(client.take("popup"))
        assert names(other.take("pointer.button")) == [], "the press that dismisses is nobody else's"
        inject.click(350, 50)
        assert names(other.take("pointer.button")) == ["pointer.button"] * 2


# ---- virtual devices ----


def test_wtype_types_with_a_keymap_of_its_own(stage: InProcess) -> None:
    with SeatClient(stage) as client:
        client.window(0, 0)
        real = client.take("keyboard.keymap")[-1].args[2]
        typist = stage.launch(["wtype", "aé語", "-k", "Return"])
        stage.wait_for(lambda: typist.poll() is not None, "wtype to end")
        assert typist.returncode == 0
        events = client.take("keyboard")
        assert len([e for e in events if e.name == "keyboard.key"]) == 8
        keymaps = [e.args[2] for e in events if e.name == "keyboard.keymap"]
        assert len(keymaps) >= 2 and keymaps[0] != real and keymaps[-1] == real, "the real keymap comes back"
        stage.settle()
        assert (0, True) in stage.policy.devices and stage.policy.devices[-1] == (-1, False)


def test_a_virtual_keyboard_that_dies_releases_its_keys(stage: InProcess) -> None:
    with SeatClient(stage) as client:
        client.window(0, 0)
        client.take()
        typist = stage.launch(["wtype", "-P", "a", "-s", "100000"])
        pressed = stage.wait_for(lambda: client.take("keyboard.key"), "the press")
        assert [e.args[3] for e in pressed] == [1]
        typist.kill()
        released = stage.wait_for(lambda: client.take("keyboard.key"), "the release")
        assert [e.args[3] for e in released] == [0]


def test_a_virtual_pointer(stage: InProcess) -> None:
    manager_type = load_protocol("wlr-virtual-pointer-unstable-v1").ZwlrVirtualPointerManagerV1
    with SeatClient(stage) as client, SeatClient(stage) as remote:
        client.window(100, 100)
        pointer = remote.bind(manager_type).create_virtual_pointer(remote.seat)
        pointer.motion_absolute(1, 150, 150, 800, 600)
        pointer.frame()
        pointer.button(2, BTN_LEFT, 1)
        pointer.frame()
        remote.roundtrip()
        events = client.take("pointer.enter", "pointer.button")
        assert names(events) == ["pointer.enter", "pointer.button"] and events[0].args[2:] == (50.0, 50.0)
        pointer.axis_source(0)
        pointer.axis_discrete(3, 0, 15, 1)
        remote.roundtrip()
        pointer.destroy()  # in the middle of a frame, with a button down
        remote.roundtrip()
        events = client.take("pointer.button")
        assert [e.args[3] for e in events] == [0]
        assert stage.compositor.seat.pointer.buttons == 0
        stage.compositor.seat.inject.scroll(1)
        assert "pointer.axis" in names(client.take("pointer"))


def test_two_sources_may_scroll_within_one_frame(stage: InProcess) -> None:
    """wlr_seat asserts that they do not."""
    manager_type = load_protocol("wlr-virtual-pointer-unstable-v1").ZwlrVirtualPointerManagerV1
    with SeatClient(stage) as client:
        client.window(0, 0)
        stage.compositor.seat.inject.move(10, 10)
        manager = client.bind(manager_type)
        pointers = [manager.create_virtual_pointer(client.seat) for _ in range(2)]
        for axis in (0, 1):
            pointers[0].axis(1, axis, 10)
            pointers[0].axis_source(axis)  # wheel for one axis, finger for the other
        pointers[0].frame()
        client.take()
        client.roundtrip()
        stage.compositor.seat.inject.scroll(1)
        assert "pointer.axis" in names(client.take("pointer"))


def test_shortcuts_can_be_inhibited() -> None:
    config = configure(binding=[{"keys": "Super+q", "action": "hit"}])
    with InProcess(config, policy=Placed) as stage, SeatClient(stage) as client:
        window = client.window(0, 0)
        manager = client.bind(ZwpKeyboardShortcutsInhibitManagerV1)
        inhibitor = client.watch(manager.inhibit_shortcuts(window.surface, client.seat), "inhibitor", "active inactive")
        assert names(client.take("inhibitor")) == ["inhibitor.active"]
        stage.compositor.seat.inject.press("Super+q")
        assert len(client.take("keyboard.key")) == 4
        inhibitor.destroy()
        client.roundtrip()
        stage.compositor.seat.inject.press("Super+q")
        stage.settle()
        assert stage.policy.bindings == ["hit"]


# ---- input methods ----


class Method(SeatClient):
    """An input method on its own connection."""

    def __init__(self, instance: InProcess) -> None:
        super().__init__(instance)
        manager_type = load_protocol("input-method-unstable-v2").ZwpInputMethodManagerV2
        self.method = self.bind(manager_type).get_input_method(self.seat)
        self.watch(
            self.method,
            "method",
            "activate deactivate surrounding_text text_change_cause content_type done unavailable",
        )
        self.roundtrip()


def text_input(client: SeatClient) -> Any:
    field = client.bind(ZwpTextInputManagerV3).get_text_input(client.seat)
    return client.watch(field, "field", "enter leave preedit_string commit_string delete_surrounding_text done")


def enable(field: Any, client: SeatClient, rectangle: tuple[int, int, int, int] = (10, 20, 2, 15)) -> None:
    field.enable()
    field.set_surrounding_text("hello", 5, 5)
    field.set_content_type(0, 0)
    field.set_cursor_rectangle(*rectangle)
    field.commit()
    client.roundtrip()


def test_an_input_method_composes_text(stage: InProcess) -> None:
    with SeatClient(stage) as client:
        window = client.window(100, 100)
        field = text_input(client)
        assert client.take("field") == [], "no input method runs"
        with Method(stage) as method:
            assert client.take("field.enter")[0].args[0] is window.surface
            enable(field, client)
            events = method.take("method")
            assert names(events)[0] == "method.activate" and names(events)[-1] == "method.done"
            assert next(e for e in events if e.name == "method.surrounding_text").args == ("hello", 5, 5)

            method.method.set_preedit_string("ni", 0, 2)
            method.method.commit(1)
            method.roundtrip()
            events = client.take("field")
            assert [(e.name, *e.args) for e in events] == [("field.preedit_string", "ni", 0, 2), ("field.done", 1)]
            method.method.commit_string("你")
            method.method.delete_surrounding_text(1, 0)
            method.method.commit(1)
            method.roundtrip()
            assert [(e.name, *e.args) for e in client.take("field")] == [
                ("field.commit_string", "你"),
                ("field.delete_surrounding_text", 1, 0),
                ("field.done", 1),
            ]
            stage.compositor.seat.focus_none()
            assert names(method.take("method"))[:1] == ["method.deactivate"]
            assert names(client.take("field")) == ["field.leave"]
            stage.compositor.seat.focus_window(window.handle)
            assert names(client.take("field")) == ["field.enter"]
            enable(field, client)
            assert names(method.take("method"))[0] == "method.activate"
            field.disable()
            field.commit()
            client.roundtrip()
            assert names(method.take("method"))[0] == "method.deactivate"
        client.roundtrip()
        stage.wait_for(lambda: client.take("field.leave"), "the field to be left")


def test_an_input_method_may_take_the_keyboard(stage: InProcess) -> None:
    with SeatClient(stage) as client, Method(stage) as method:
        client.window(0, 0)
        field = text_input(client)
        enable(field, client)
        client.take()
        grab = method.watch(method.method.grab_keyboard(), "grab", "keymap key modifiers repeat_info")
        grab.dispatcher["keymap"] = lambda _, format, fd, size: os.close(fd)
        method.roundtrip()
        inject = stage.compositor.seat.inject
        inject.key(30, True)
        assert [e.args[2:] for e in method.take("grab.key")] == [(30, 1)]
        grab.release()
        method.roundtrip()
        inject.key(30, False)
        inject.type_text("b")
        assert [e.args[2:] for e in client.take("keyboard.key")] == [(48, 1), (48, 0)]


def test_one_input_method_a_seat(stage: InProcess) -> None:
    with Method(stage), Method(stage) as second:
        assert names(second.take("method")) == ["method.unavailable"]


@pytest.mark.parametrize(
    ("window_at", "rectangle", "popup_at"),
    [
        ((100, 100), (10, 20, 2, 15), (110, 135)),  # under the cursor
        ((100, 480), (10, 90, 2, 15), (110, 530)),  # no room below: above it
        ((580, 100), (190, 20, 2, 15), (720, 135)),  # no room at the right
    ],
)
def test_candidates_are_shown_at_the_cursor(
    stage: InProcess, window_at: tuple[int, int], rectangle: tuple[int, int, int, int], popup_at: tuple[int, int]
) -> None:
    with SeatClient(stage) as client, Method(stage) as method:
        client.window(*window_at)
        field = text_input(client)
        enable(field, client, rectangle)
        surface = method.bound["wl_compositor"].create_surface()
        candidates = method.method.get_input_popup_surface(surface)
        method.watch(candidates, "candidates", "text_input_rectangle")
        buffer = method.buffer(80, 40, 0xFF8000)
        surface.attach(buffer, 0, 0)
        surface.damage(0, 0, 80, 40)
        surface.commit()
        method.roundtrip()
        picture = stage.image()
        x, y = popup_at
        orange = (255, 128, 0)
        assert picture.getpixel((x, y)) == orange and picture.getpixel((x + 79, y + 39)) == orange
        assert picture.getpixel((x - 1, y)) != orange and picture.getpixel((x, y - 1)) != orange
        said = method.take("candidates")[-1].args
        assert said == (window_at[0] + rectangle[0] - x, window_at[1] + rectangle[1] - y, *rectangle[2:])
        field.disable()
        field.commit()
        client.roundtrip()
        assert stage.image().getpixel((x, y)) != orange


def test_an_input_method_may_die_in_the_middle(stage: InProcess) -> None:
    with SeatClient(stage) as client:
        window = client.window(0, 0)
        field = text_input(client)
        for _ in range(2):
            method = Method(stage)
            enable(field, client)
            surface = method.bound["wl_compositor"].create_surface()
            method.method.get_input_popup_surface(surface)
            buffer = method.buffer(80, 40, 0xFF8000)
            surface.attach(buffer, 0, 0)
            surface.commit()
            grab = method.method.grab_keyboard()
            grab.dispatcher["keymap"] = lambda _, format, fd, size: os.close(fd)
            method.roundtrip()
            stage.compositor.seat.inject.key(30, True)
            method.close()
            stage.wait_for(lambda: client.take("field.leave"), "the field to be left")
            stage.compositor.seat.inject.key(30, False)
        window.toplevel.destroy()
        window.xdg_surface.destroy()
        client.roundtrip()
