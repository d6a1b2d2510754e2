"""Keyboard, pointer and touch, from an injected device event to what clients are sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from minicomp.errors import ConfigError, MinicompError
from minicomp.testing.instance import InProcess, configure
from tests.headless.seat_client import Placed, SeatClient

KEY_A, KEY_LEFTSHIFT, KEY_TAB = 30, 42, 15
BTN_LEFT, BTN_RIGHT = 0x110, 0x111


@pytest.fixture
def stage() -> Iterator[InProcess]:
    with InProcess(configure(headless__outputs=["800x600@60"]), policy=Placed) as instance:
        yield instance


def names(events: list[Any]) -> list[str]:
    return [event.name for event in events]


# ---- what is there from the first moment ----


def test_a_headless_seat_has_all_capabilities_at_once(stage: InProcess) -> None:
    """The first wl_seat.capabilities event says pointer, keyboard and touch: glfw and Chromium look once."""
    with SeatClient(stage) as client:
        assert client.capabilities == 7
        keymap = next(event for event in client.take("keyboard.keymap"))
        assert keymap.args[0] == 1 and keymap.args[2] > 1000
    assert {device.type for device in stage.compositor.seat.devices} == {"keyboard", "pointer", "touch"}
    stage.settle()
    assert sorted(stage.policy.devices) == [(0, False), (1, False), (2, False)]


def test_no_pointer_focus_and_no_picture_before_the_first_motion(stage: InProcess) -> None:
    with SeatClient(stage) as client:
        client.window(50, 50, 300, 200)
        assert client.take("pointer") == []
        before = stage.image()
        assert before.getpixel((100, 100)) == (0x30, 0x50, 0xA0)  # wlr_cursor starts at 100, 100
        stage.compositor.seat.inject.move(100, 100)
        assert names(client.take("pointer"))[0] == "pointer.enter"


def test_the_theme_arrow_is_shown_over_nothing(stage: InProcess) -> None:
    """Once a thread has read the theme; nobody waits for that."""
    nothing = stage.image()
    stage.compositor.seat.inject.move(400, 300)
    stage.wait_for(lambda: stage.image().tobytes() != nothing.tobytes(), "the arrow")
    arrow = stage.image()
    changed = [(x, y) for x in range(800) for y in range(600) if arrow.getpixel((x, y)) != nothing.getpixel((x, y))]
    assert 50 < len(changed) < 24 * 24
    assert all(395 <= x <= 430 and 295 <= y <= 330 for x, y in changed)


def test_the_compositor_may_end_while_the_theme_is_read() -> None:
    for size in (24, 25):
        with InProcess(configure(cursor__size=size), policy=Placed) as stage:
            stage.compositor.seat.inject.move(10, 10)


def test_a_resting_cursor_is_hidden() -> None:
    config = configure(headless__outputs=["320x240@60"], cursor__hide_after_ms=500, backend__clock="step")
    with InProcess(config, policy=Placed) as stage:
        seat, compositor = stage.compositor.seat, stage.compositor

        def picture() -> bytes:
            """What the next vblank shows."""
            output = next(iter(compositor.outputs))
            assert compositor.lib.mc_output_capture(compositor.server, output.handle) == 0
            pixels = bytearray(320 * 240 * 4)
            size = compositor.ffi.new("int32_t[2]")
            view = compositor.ffi.from_buffer("uint8_t[]", pixels)

            def taken() -> bool:
                compositor.advance_ns(1_000_000)
                return bool(
                    compositor.lib.mc_output_capture_take(
                        compositor.server, output.handle, view, len(pixels), size, size + 1
                    )
                    == 0
                )

            stage.wait_for(taken, "a frame")
            return bytes(pixels)

        empty = picture()
        seat.inject.move(100, 100)
        assert picture() != empty
        compositor.advance_ns(400_000_000)
        seat.inject.move_by(1, 0)
        compositor.advance_ns(400_000_000)
        assert picture() != empty, "it moved 400 ms ago"
        compositor.advance_ns(200_000_000)
        assert picture() == empty, "it rested for 600 ms"
        seat.inject.move_by(1, 0)
        assert picture() != empty, "it moved again"


# ---- keyboard ----


def test_keys_go_to_the_focused_window(stage: InProcess) -> None:
    with SeatClient(stage) as client:
        window = client.window(0, 0)
        entered = client.take("keyboard.enter", "keyboard.modifiers")
        assert names(entered) == ["keyboard.enter", "keyboard.modifiers"]
        assert entered[0].args[1] is window.surface
        stage.compositor.seat.inject.type_text("A")
        events = client.take("keyboard")
        keys = [(e.args[2], e.args[3]) for e in events if e.name == "keyboard.key"]
        assert keys == [(KEY_LEFTSHIFT, 1), (KEY_A, 1), (KEY_A, 0), (KEY_LEFTSHIFT, 0)]
        assert [e.args[1] for e in events if e.name == "keyboard.modifiers"] == [1, 0]


def test_a_key_held_over_a_focus_change_is_not_stuck(stage: InProcess) -> None:
    """The new window is told in its enter event that the key is down, and gets the release; the old one a leave."""
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as first, SeatClient(stage) as second:
        a = first.window(0, 0)
        first.take(), second.take()
        inject.key(KEY_A, True)
        assert names(first.take("keyboard")) == ["keyboard.key"]
        second.window(300, 0)
        assert names(first.take("keyboard")) == ["keyboard.leave"]
        enter = next(e for e in second.take("keyboard.enter"))
        assert bytes(enter.args[2]) == KEY_A.to_bytes(4, "little")
        inject.key(KEY_A, False)
        released = second.take("keyboard.key")
        assert [e.args[2:] for e in released] == [(KEY_A, 0)]
        assert first.take("keyboard") == []
        assert stage.compositor.seat.focus_window(a.handle)
        enter = next(e for e in first.take("keyboard.enter"))
        assert bytes(enter.args[2]) == b""


def test_activated_follows_the_focus(stage: InProcess) -> None:
    with SeatClient(stage) as client:
        a, b = client.window(0, 0), client.window(300, 0)
        assert 4 not in a.configures[-1][2] and 4 in b.configures[-1][2]
        stage.compositor.seat.focus_window(a.handle)
        stage.wait_for(lambda: client.roundtrip() or 4 in a.configures[-1][2], "a to be activated")
        assert 4 not in b.configures[-1][2]


def test_focus_is_dropped_with_the_window(stage: InProcess) -> None:
    seat = stage.compositor.seat
    with SeatClient(stage) as client:
        window = client.window(0, 0)
        assert seat.focused == window.handle
        client.take()
        window.toplevel.destroy()
        window.xdg_surface.destroy()
        client.roundtrip()
        assert seat.focused == 0
        assert names(client.take("keyboard")) == ["keyboard.leave"]
        seat.inject.type_text("x")  # into the void
        assert client.take("keyboard.key") == []
        assert not seat.focus_window(window.handle)


def test_a_binding_is_eaten_with_its_release() -> None:
    config = configure(binding=[{"keys": "Super+Tab", "action": "next"}])
    with InProcess(config, policy=Placed) as stage, SeatClient(stage) as client:
        seat = stage.compositor.seat
        client.window(0, 0)
        client.take()
        seat.inject.press("Super+Tab")
        keys = [e.args[2:] for e in client.take("keyboard.key")]
        assert keys == [(125, 1), (125, 0)]  # Super itself is the client's
        stage.settle()
        assert stage.policy.bindings == ["next"]
        seat.clear_bindings()
        seat.inject.press("Super+Tab")
        assert [e.args[2:] for e in client.take("keyboard.key")] == [(125, 1), (KEY_TAB, 1), (KEY_TAB, 0), (125, 0)]


@pytest.mark.parametrize(
    ("layout", "bound", "pressed", "fires"),
    [
        ("us", "Super+Shift+1", "Super+Shift+1", True),  # by the plain symbol
        ("us", "Super+exclam", "Super+Shift+1", True),  # by the translated one
        ("us", "Super+1", "Super+Shift+1", False),
        ("us", "Super+Q", "Super+q", True),
        ("us", "Ctrl+Alt+Delete", "Ctrl+Alt+Delete", True),
        ("us", "Ctrl+Alt+Delete", "Ctrl+Delete", False),
        ("de", "Ctrl+z", "Ctrl+z", True),
    ],
)
def test_bindings_match_as_in_sway(layout: str, bound: str, pressed: str, fires: bool) -> None:
    config = configure(keyboard__layout=layout, binding=[{"keys": bound, "action": "hit"}])
    with InProcess(config, policy=Placed) as stage:
        stage.compositor.seat.inject.press(pressed)
        stage.settle()
        assert stage.policy.bindings == (["hit"] if fires else [])


@pytest.mark.parametrize(
    ("keys", "says"),
    [("Hyper+q", '"Hyper" in "Hyper+q" is no modifier'), ("Super+nokey", '"nokey" in "Super+nokey" is no key')],
)
def test_a_wrong_binding_says_what_is_wrong(stage: InProcess, keys: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        stage.compositor.seat.bind(keys, "close", "[[binding]]")
    assert str(error.value).startswith(f"[[binding]]: {says}")


def test_a_button_may_be_bound(stage: InProcess) -> None:
    """Super and a press on a window: eaten, and good for beginning an interactive move."""
    seat = stage.compositor.seat
    with SeatClient(stage) as client:
        window = client.window(100, 100)
        seat.inject.move(150, 120)
        client.take()
        seat.bind("Super+BTN_LEFT", "move")
        seat.inject.key(125, True)
        stage.dispatcher.policy.on_binding = lambda action: seat.begin_move(window.handle)
        stage.compositor.config = configure(binding=[{"keys": "Super+BTN_LEFT", "action": "move"}])
        seat.inject.button(BTN_LEFT, True)
        stage.settle()
        seat.inject.move(170, 150)
        seat.inject.button(BTN_LEFT, False)
        seat.inject.key(125, False)
        assert client.take("pointer.button") == []
        known = stage.dispatcher.windows.get(window.handle)
        assert known is not None and known.refresh()
        assert known.geometry[:2] == (120, 130)


def test_bindings_work_while_another_layout_is_active() -> None:
    config = configure(
        keyboard__layout="us,ru",
        keyboard__options="grp:alt_shift_toggle",
        binding=[{"keys": "Super+q", "action": "hit"}],
    )
    with InProcess(config, policy=Placed) as stage:
        inject = stage.compositor.seat.inject
        with SeatClient(stage) as client:
            client.window(0, 0)
            client.take()
            for key, pressed in ((56, True), (KEY_LEFTSHIFT, True), (KEY_LEFTSHIFT, False), (56, False)):
                inject.key(key, pressed)
            assert client.take("keyboard.modifiers")[-1].args[4] == 1, "the second layout is active"
            inject.press("Super+q")
        stage.settle()
        assert stage.policy.bindings == ["hit"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"layout": "dee"}, ["keyboard.layout", '"dee"', "did you mean", " de?"]),
        ({"layout": "de", "variant": "nodeadkey"}, ["keyboard.variant", "nodeadkey of layout de", "nodeadkeys"]),
        ({"rules": "nonsense"}, ["keyboard.rules", '"nonsense"', "evdev"]),
    ],
)
def test_a_refused_keymap_says_which_name_is_wrong(stage: InProcess, settings: dict[str, str], says: list[str]) -> None:
    with SeatClient(stage) as client:
        client.take()
        wrong = configure(**{f"keyboard__{key}": value for key, value in settings.items()}).keyboard
        with pytest.raises(ConfigError) as error:
            stage.compositor.seat.set_keymap(wrong)
        for part in says:
            assert part in str(error.value)
        assert client.take("keyboard.keymap") == [], "the old keymap stays"


def test_an_unknown_xkb_option_is_warned_about() -> None:
    with InProcess(configure(keyboard__options="compose:ralt,no:such"), policy=Placed) as stage:
        stage.pump(0.01)
        assert any('"no:such" was ignored' in message for message in stage.log.messages())
        assert not any("compose:ralt" in message for message in stage.log.messages())


def test_repeat_and_layout_reach_clients() -> None:
    config = configure(keyboard__layout="de", keyboard__repeat_rate_hz=40, keyboard__repeat_delay_ms=300)
    with InProcess(config, policy=Placed) as stage, SeatClient(stage) as client:
        events = client.take("keyboard.repeat_info")
        assert events[-1].args == (40, 300)
        client.window(0, 0)
        client.take()
        stage.compositor.seat.inject.type_text("y")  # where us has z
        assert [e.args[2:] for e in client.take("keyboard.key")] == [(44, 1), (44, 0)]


def test_text_without_a_key_is_refused_before_anything_is_typed(stage: InProcess) -> None:
    with SeatClient(stage) as client:
        client.window(0, 0)
        client.take()
        with pytest.raises(MinicompError, match="no key for '語'"):
            stage.compositor.seat.inject.type_text("5語")
        assert client.take("keyboard.key") == []


# ---- pointer ----


def test_enter_motion_leave(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as client:
        window = client.window(100, 50)
        inject.move(110, 60)
        enter = client.take("pointer")
        assert enter[0].name == "pointer.enter" and enter[0].args[1] is window.surface
        assert enter[0].args[2:] == (10.0, 10.0)
        inject.move(120.5, 70.25)
        motion = client.take("pointer")
        assert names(motion) == ["pointer.motion", "pointer.frame"]
        assert motion[0].args[1:] == (20.5, 20.25)
        inject.move(10, 10)
        assert names(client.take("pointer.leave")) == ["pointer.leave"]


def test_the_implicit_grab_keeps_events_with_the_pressed_surface(stage: InProcess) -> None:
    """With a button held, the surface gets motion relative to itself, outside of it and over another window too."""
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as client:
        left, right = client.window(0, 0), client.window(300, 0)
        inject.move(100, 50)
        client.take()
        inject.button(BTN_LEFT, True)
        inject.move(400, 50)
        inject.button(BTN_RIGHT, True)
        inject.move(400, 300)
        inject.button(BTN_LEFT, False)
        inject.move(350, 50)
        events = client.take("pointer.motion", "pointer.enter", "pointer.leave", "pointer.button")
        assert names(events) == [f"pointer.{n}" for n in ("button", "motion", "button", "motion", "button", "motion")]
        assert [e.args[1:] for e in events if e.name == "pointer.motion"] == [(400, 50), (400, 300), (350, 50)]
        inject.button(BTN_RIGHT, False)
        events = client.take("pointer.enter", "pointer.leave", "pointer.button")
        assert names(events) == ["pointer.button", "pointer.leave", "pointer.enter"]
        assert events[1].args[1] is left.surface and events[2].args[1] is right.surface
        assert events[2].args[2:] == (50.0, 50.0)


def test_a_press_is_told_to_the_policy_once(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as client:
        window = client.window(0, 0)
        inject.click(10, 10)
        inject.click(700, 500)  # nobody
        inject.tap(10, 10)
        stage.settle()
        assert stage.policy.pressed == [window.handle, window.handle]


def test_focus_is_looked_up_again_when_the_tree_changes(stage: InProcess) -> None:
    """A window that appears, moves or goes under a resting pointer: enter and leave without any motion."""
    inject = stage.compositor.seat.inject
    inject.move(150, 80)
    with SeatClient(stage) as client:
        window = client.window(100, 50)
        assert names(client.take("pointer"))[0] == "pointer.enter"
        known = stage.dispatcher.windows.get(window.handle)
        assert known is not None
        known.place(90, 50)
        motion = client.take("pointer")
        assert names(motion) == ["pointer.motion", "pointer.frame"] and motion[0].args[1:] == (60.0, 30.0)
        known.place(400, 400)
        assert "pointer.leave" in names(client.take("pointer"))
        known.place(100, 50)
        assert "pointer.enter" in names(client.take("pointer"))
        window.surface.attach(None, 0, 0)
        window.surface.commit()
        assert "pointer.leave" in names(client.take("pointer"))


def test_an_input_region_lets_the_pointer_through(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as client:
        below, above = client.window(0, 0), client.window(0, 0, colour=0xFFFFFF)
        region = client.bound["wl_compositor"].create_region()
        region.add(0, 0, 50, 100)
        above.surface.set_input_region(region)
        above.surface.commit()
        client.roundtrip()
        inject.move(25, 25)
        assert client.take("pointer.enter")[-1].args[1] is above.surface
        inject.move(75, 25)
        assert client.take("pointer.enter")[-1].args[1] is below.surface


def test_scrolling(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as client:
        client.window(0, 0)
        inject.move(10, 10)
        client.take()
        inject.scroll(-2)
        events = client.take("pointer")
        assert names(events) == ["pointer.axis_source", "pointer.axis_discrete", "pointer.axis", "pointer.frame"]
        assert events[1].args == (0, -2) and events[2].args[1:] == (0, -30.0)


def test_only_the_client_under_the_pointer_sets_the_picture(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as owner, SeatClient(stage) as other:
        owner.window(0, 0, 400, 400)

        def cursor(client: SeatClient, serial: int, colour: int) -> Any:
            surface = client.bound["wl_compositor"].create_surface()
            client.pointer.set_cursor(serial, surface, 0, 0)
            surface.attach(client.buffer(16, 16, colour), 0, 0)
            surface.damage(0, 0, 16, 16)
            surface.commit()
            client.roundtrip()
            return surface

        inject.move(100, 100)
        serial = owner.take("pointer.enter")[-1].args[0]
        kept = cursor(owner, serial, 0xFF0000)
        assert stage.image().getpixel((105, 105)) == (255, 0, 0)
        stolen = cursor(other, serial, 0x00FF00)
        assert stage.image().getpixel((105, 105)) == (255, 0, 0)
        owner.pointer.set_cursor(serial, None, 0, 0)
        owner.roundtrip()
        assert stage.image().getpixel((105, 105)) == (0x30, 0x50, 0xA0)
        kept.destroy(), stolen.destroy()


# ---- touch ----


def test_a_finger_stays_with_its_surface(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as client:
        left = client.window(0, 0)
        client.window(300, 0)
        client.take()
        inject.touch_down(20, 30, touch_id=4)
        inject.touch_move(350, 60, touch_id=4)
        inject.touch_up(touch_id=4)
        events = client.take("touch.down", "touch.motion", "touch.up")
        assert names(events) == ["touch.down", "touch.motion", "touch.up"]
        assert events[0].args[2] is left.surface and events[0].args[3:] == (4, 20.0, 30.0)
        assert events[1].args[1:] == (4, 350.0, 60.0)


def test_two_fingers_on_two_windows(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as a, SeatClient(stage) as b:
        a.window(0, 0), b.window(300, 0)
        inject.touch_down(10, 10, touch_id=0)
        inject.touch_down(310, 10, touch_id=1)
        assert [e.args[3] for e in a.take("touch.down")] == [0]
        assert [e.args[3] for e in b.take("touch.down")] == [1]
        inject.touch_cancel(touch_id=0)
        assert names(a.take("touch")) == ["touch.cancel"]
        inject.touch_up(touch_id=1)
        assert names(b.take("touch")) == ["touch.up", "touch.frame"]


def test_the_finger_goes_up_when_its_surface_dies(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as client:
        window = client.window(0, 0)
        inject.touch_down(10, 10)
        client.take()
        window.toplevel.destroy()
        window.xdg_surface.destroy()
        assert names(client.take("touch")) == ["touch.up", "touch.frame"]
        inject.touch_move(20, 20)
        inject.touch_up()
        inject.tap(10, 10)
        assert client.take("touch") == []


def test_the_finger_goes_up_when_its_subsurface_dies(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as client:
        window = client.window(0, 0)
        surface = client.bound["wl_compositor"].create_surface()
        sub = client.bound["wl_subcompositor"].get_subsurface(surface, window.surface)
        sub.set_position(20, 20)
        buffer = client.buffer(50, 50, 0x00FF00)
        surface.attach(buffer, 0, 0)
        surface.commit()
        window.surface.commit()
        client.roundtrip()
        inject.touch_down(30, 30)
        down = client.take("touch.down")
        assert down[0].args[2] is surface and down[0].args[4:] == (10.0, 10.0)
        sub.destroy()
        surface.destroy()
        assert names(client.take("touch")) == ["touch.up", "touch.frame"]
        inject.touch_up()
        assert client.take("touch") == []
        inject.tap(30, 30)
        assert client.take("touch.down")[0].args[2] is window.surface


def test_a_finger_plays_a_pointer_for_clients_without_touch(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    with SeatClient(stage, touch=False) as client:
        client.window(0, 0)
        client.take()
        inject.touch_down(20, 30)
        inject.touch_move(40, 30)
        inject.touch_up()
        events = client.take("pointer.enter", "pointer.motion", "pointer.button")
        assert names(events) == ["pointer.enter", "pointer.button", "pointer.motion", "pointer.button"]
        assert [e.args[2:] for e in events if e.name == "pointer.button"] == [(BTN_LEFT, 1), (BTN_LEFT, 0)]


@pytest.mark.parametrize("transform", ["normal", "90", "180", "270", "flipped", "flipped-90", "flipped-270"])
def test_a_touch_screen_belongs_to_its_output_and_turns_with_it(transform: str) -> None:
    """Mapped to the second output, all of the touch screen is that output; unplugging it maps it to all again."""
    config = configure(
        headless__outputs=["400x300@60", "640x480@60"],
        output=[{"name": "HEADLESS-2", "transform": transform, "position": [1000, 0]}],
    )
    with InProcess(config, policy=Placed) as stage, SeatClient(stage) as client:
        seat = stage.compositor.seat
        touch = next(device for device in seat.devices if device.type == "touch")
        output = stage.wait_for(lambda: stage.compositor.outputs.by_name("HEADLESS-2"), "the output")
        stage.wait_for(lambda: stage.compositor.outputs.by_name("HEADLESS-2").enabled, "the output to be on")
        client.window(1000, 0, 300, 200)
        client.take()
        assert seat.map_to_output(touch.handle, output.handle)
        seat.inject.touch_down(1010, 20)
        down = client.take("touch.down")[0]
        assert down.args[4:] == (10.0, 20.0)
        seat.inject.touch_move(1200, 150)
        assert client.take("touch.motion")[0].args[2:] == (200.0, 150.0)
        seat.inject.touch_up()
        stage.compositor.unplug(2)
        stage.settle()
        client.take()
        client.window(10, 10)
        client.take()
        seat.inject.tap(20, 30)
        assert client.take("touch.down")[0].args[4:] == (10.0, 20.0)
        assert not seat.map_to_output(touch.handle, output.handle), "it is gone"


# ---- interactive grabs ----


def test_a_window_is_moved_with_the_pointer(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as client:
        window = client.window(100, 100)
        inject.move(150, 120)
        client.take()
        inject.button(BTN_LEFT, True)
        serial = client.take("pointer.button")[-1].args[0]
        window.toplevel.move(client.seat, serial)
        stage.wait_for(lambda: client.take("pointer.leave"), "the grab to begin")
        inject.move(250, 320)
        known = stage.dispatcher.windows.get(window.handle)
        assert known is not None and known.refresh()
        assert known.geometry[:2] == (200, 300)
        assert client.take("pointer.motion") == []
        inject.button(BTN_LEFT, False)
        stage.wait_for(lambda: stage.policy.grab_ends == [window.handle], "the grab to end")
        assert names(client.take("pointer.enter", "pointer.button")) == ["pointer.enter"]
        inject.move(10, 10)
        known.refresh()
        assert known.geometry[:2] == (200, 300)


def test_a_window_is_moved_with_a_finger(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as client:
        window = client.window(100, 100)
        inject.touch_down(150, 120)
        serial = client.take("touch.down")[-1].args[0]
        window.toplevel.move(client.seat, serial)
        stage.wait_for(lambda: client.take("touch.cancel"), "the grab to begin")
        inject.touch_move(170, 130)
        inject.touch_up()
        stage.wait_for(lambda: stage.policy.grab_ends == [window.handle], "the grab to end")
        known = stage.dispatcher.windows.get(window.handle)
        assert known is not None and known.refresh()
        assert known.geometry[:2] == (120, 110)


def test_a_window_is_resized_by_its_corner(stage: InProcess) -> None:
    """Dragging the top-left corner: the client draws the size it is asked for, the bottom-right corner stays."""
    inject = stage.compositor.seat.inject
    with SeatClient(stage) as client:
        window = client.window(100, 100, 200, 100)
        inject.move(101, 101)
        client.take()
        inject.button(BTN_LEFT, True)
        window.toplevel.resize(client.seat, client.take("pointer.button")[-1].args[0], 5)
        stage.wait_for(lambda: client.take("pointer.leave"), "the grab to begin")
        inject.move(81, 71)
        stage.wait_for(
            lambda: client.roundtrip() or window.configures[-1][:2] == (220, 130), "the new size to be asked for"
        )
        window.commit(220, 130, 0xFFFFFF)
        inject.button(BTN_LEFT, False)
        stage.wait_for(lambda: stage.policy.grab_ends == [window.handle], "the grab to end")
        client.roundtrip()
        known = stage.dispatcher.windows.get(window.handle)
        assert known is not None and known.refresh()
        assert known.geometry == (80, 70, 220, 130)


def test_a_grab_ends_with_its_window(stage: InProcess) -> None:
    seat = stage.compositor.seat
    with SeatClient(stage) as client:
        window = client.window(100, 100)
        seat.inject.move(150, 120)
        seat.inject.button(BTN_LEFT, True)
        assert seat.begin_move(window.handle)
        assert not seat.begin_move(window.handle), "one grab at a time"
        window.toplevel.destroy()
        window.xdg_surface.destroy()
        client.roundtrip()
        seat.inject.move(300, 300)
        seat.inject.button(BTN_LEFT, False)
        other = client.window(400, 400)
        assert not seat.begin_move(other.handle), "nothing is held"
        client.take()
        seat.inject.click(410, 410)
        assert names(client.take("pointer.button")) == ["pointer.button", "pointer.button"]


# ---- ends ----


def test_clients_may_leave_in_the_middle_of_everything(stage: InProcess) -> None:
    inject = stage.compositor.seat.inject
    for _ in range(3):
        client = SeatClient(stage)
        client.window(0, 0)
        inject.move(10, 10)
        inject.button(BTN_LEFT, True)
        inject.key(KEY_A, True)
        inject.touch_down(20, 20)
        client.close()
        inject.move(30, 30)
        inject.touch_move(30, 30)
        inject.touch_up()
        inject.button(BTN_LEFT, False)
        inject.key(KEY_A, False)
    with SeatClient(stage) as client:
        client.window(0, 0)
        client.take()
        inject.click(5, 5)
        inject.type_text("a")
        assert names(client.take("pointer.button", "keyboard.key")) == ["pointer.button"] * 2 + ["keyboard.key"] * 2
    assert stage.compositor.seat.pointer.buttons == 0


def test_the_compositor_may_end_in_the_middle_of_everything() -> None:
    with InProcess(configure(headless__outputs=["800x600@60"]), policy=Placed) as stage:
        inject = stage.compositor.seat.inject
        client = SeatClient(stage)
        window = client.window(0, 0)
        inject.move(10, 10)
        inject.button(BTN_LEFT, True)
        stage.compositor.seat.begin_move(window.handle)
        inject.key(KEY_A, True)
        inject.touch_down(20, 20)
    client.close()
