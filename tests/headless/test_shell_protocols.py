"""Window-side protocols, seen by clients: popups, layer surfaces, taskbars, decorations, activation, idle, resizing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pywayland import ffi
from pywayland.protocol.idle_inhibit_unstable_v1 import ZwpIdleInhibitManagerV1
from pywayland.protocol.xdg_activation_v1 import XdgActivationV1
from pywayland.protocol.xdg_decoration_unstable_v1 import ZxdgDecorationManagerV1
from pywayland.protocol_core.argument import ArgumentType
from pywayland.protocol_core.message import Message

from minicomp.shell.stacking import Stacking
from minicomp.testing.client import Client, Window
from minicomp.testing.instance import InProcess, configure
from tests.headless.seat_client import load_protocol
from tests.headless.test_policies import ACTIVATED, FULLSCREEN, GREEN, MAXIMIZED, STACKING, Stage, stage, under

__all__ = ["stage"]  # the fixture

TOP, BOTTOM, LEFT, RIGHT = 1, 2, 4, 8
TOP_LAYER, OVERLAY = 2, 3


@pytest.fixture(autouse=True, scope="module")
def first_token(log_ring: None) -> None:
    """wlroots opens /dev/urandom for its first activation token and keeps it: done before fds are counted."""
    with InProcess() as instance:
        compositor = instance.compositor
        compositor.lib.mc_activation_token(compositor.server, compositor.ffi.new("char[64]"), 64)


class Layer:
    """A layer surface that obeys its configures."""

    def __init__(self, owner: Stage, layer: int, output: Any = None, **wishes: Any) -> None:
        self.owner = owner
        shell_module = load_protocol("wlr-layer-shell-unstable-v1")
        self.shell = owner.client.bind(shell_module.ZwlrLayerShellV1)
        self.surface = owner.client.bound["wl_compositor"].create_surface()
        self.layer_surface = self.shell.get_layer_surface(self.surface, output, layer, "test")
        self.layer_surface.dispatcher["configure"] = self._on_configure
        self.layer_surface.dispatcher["closed"] = self._on_closed
        self.size: tuple[int, int] | None = None
        self.closed = False
        self.wish(**wishes)

    def _on_configure(self, surface: Any, serial: int, width: int, height: int) -> None:
        surface.ack_configure(serial)
        self.size = (width, height)

    def _on_closed(self, surface: Any) -> None:
        self.closed = True

    def wish(self, *, size: tuple[int, int] | None = None, anchor: int | None = None, zone: int | None = None,
             keyboard: int | None = None) -> None:  # fmt: skip
        if size is not None:
            self.layer_surface.set_size(*size)
        if anchor is not None:
            self.layer_surface.set_anchor(anchor)
        if zone is not None:
            self.layer_surface.set_exclusive_zone(zone)
        if keyboard is not None:
            self.layer_surface.set_keyboard_interactivity(keyboard)
        self.surface.commit()

    def map(self, colour: int = GREEN) -> None:
        self.owner.settle()
        assert self.size is not None, "no configure came"
        self.surface.attach(self.owner.client.buffer(*self.size, colour), 0, 0)
        self.surface.damage_buffer(0, 0, *self.size)
        self.surface.commit()
        self.owner.settle()


# ---- popups ----


class Popup:
    """A popup of a window, anchored at a point of it and growing to the lower right, allowed to flip and slide."""

    def __init__(self, owner: Stage, parent: Any, at: tuple[int, int], size: tuple[int, int]) -> None:
        client = owner.client
        shell = client.bound["xdg_wm_base"]
        positioner = shell.create_positioner()
        positioner.set_size(*size)
        positioner.set_anchor_rect(*at, 1, 1)
        positioner.set_anchor(8)  # bottom_right
        positioner.set_gravity(8)
        positioner.set_constraint_adjustment(1 | 2 | 4 | 8)  # slide and flip, both ways
        self.surface = client.bound["wl_compositor"].create_surface()
        self.xdg_surface = shell.get_xdg_surface(self.surface)
        self.xdg_surface.dispatcher["configure"] = lambda surface, serial: surface.ack_configure(serial)
        self.popup = self.xdg_surface.get_popup(parent, positioner)
        self.popup.dispatcher["configure"] = self._on_configure
        self.popup.dispatcher["popup_done"] = self._on_done
        self.box: tuple[int, int, int, int] | None = None
        self.done = False
        self.size = size
        self.owner = owner

    def _on_configure(self, popup: Any, x: int, y: int, width: int, height: int) -> None:
        self.box = (x, y, width, height)

    def _on_done(self, popup: Any) -> None:
        self.done = True

    def map(self, colour: int = GREEN) -> None:
        self.surface.commit()
        self.owner.settle()
        assert self.box is not None, "no configure came"
        self.surface.attach(self.owner.client.buffer(*self.size, colour), 0, 0)
        self.surface.commit()
        self.owner.settle()


@STACKING
def test_a_popup_is_kept_on_the_screen(stage: Stage) -> None:
    window = stage.open(size=(780, 580))
    popup = Popup(stage, window.xdg_surface, (770, 570), (100, 50))
    popup.map()
    assert popup.box == (670, 520, 100, 50)  # flipped both ways at the corner of an 800x600 output
    assert stage.instance.image().getpixel((700, 550)) == (0x20, 0xC0, 0x20)
    inner = Popup(stage, popup.xdg_surface, (10, 5), (100, 50))
    inner.map(0x0000FF)
    assert inner.box == (11, 6, 100, 50)  # there is room for this one
    assert stage.instance.image().getpixel((770, 560)) == (0, 0, 0xFF)


@STACKING
def test_popups_keep_clear_of_panels(stage: Stage) -> None:
    panel = Layer(stage, TOP_LAYER, size=(0, 40), anchor=BOTTOM | LEFT | RIGHT, zone=40)
    panel.map()
    window = stage.open(size=(400, 560))
    popup = Popup(stage, window.xdg_surface, (0, 550), (50, 100))
    popup.map()
    assert popup.box == (1, 450, 50, 100)
    menu = Popup(stage, None, (0, 0), (50, 100))  # the panel's own may cover it
    panel.layer_surface.get_popup(menu.popup)
    menu.map()
    assert menu.box == (1, -100, 50, 100)
    assert stage.instance.image().getpixel((10, 500)) == (0x20, 0xC0, 0x20)


@STACKING
def test_popups_go_with_their_window(stage: Stage) -> None:
    window = stage.open()
    popup = Popup(stage, window.xdg_surface, (5, 5), (50, 50))
    popup.map()
    window.surface.attach(None, 0, 0)
    window.surface.commit()
    stage.settle()
    assert popup.done


@STACKING
def test_a_popup_without_parent_that_is_shown_is_dismissed(stage: Stage) -> None:
    window = Window(stage.client)  # never committed: nothing to open a popup on
    popup = Popup(stage, window.xdg_surface, (5, 5), (50, 50))
    popup.surface.commit()
    stage.settle()
    assert popup.done


# ---- layer surfaces ----


@STACKING
def test_a_panel_takes_its_zone_from_windows(stage: Stage) -> None:
    window = stage.open()
    window.toplevel.set_maximized()
    stage.obey(window)
    assert stage.known(window).geometry == (0, 0, 800, 600)
    panel = Layer(stage, TOP_LAYER, size=(0, 30), anchor=TOP | LEFT | RIGHT, zone=30)
    panel.map()
    assert panel.size == (800, 30)
    stage.obey(window)
    assert stage.known(window).geometry == (0, 30, 800, 570)
    panel.wish(size=(0, 50), zone=50)
    panel.map()
    stage.obey(window)
    assert stage.known(window).geometry == (0, 50, 800, 550)
    window.toplevel.set_fullscreen(None)
    stage.obey(window)
    assert stage.known(window).geometry == (0, 0, 800, 600)
    assert stage.instance.image().getpixel((400, 10)) == (0xC0, 0x20, 0x20)  # over the panel
    panel.surface.attach(None, 0, 0)
    panel.surface.commit()
    window.toplevel.unset_fullscreen()
    stage.obey(window)
    assert stage.known(window).geometry == (0, 0, 800, 600)
    panel.size = None
    panel.surface.commit()  # "an initial commit" again
    panel.map()
    assert panel.size == (800, 50)


@under(policy__name="kiosk")
def test_a_kiosk_app_makes_room_for_an_on_screen_keyboard(stage: Stage) -> None:
    window = stage.open()
    Layer(stage, TOP_LAYER, size=(0, 200), anchor=BOTTOM | LEFT | RIGHT, zone=200).map()
    stage.obey(window)
    assert stage.known(window).geometry == (0, 0, 800, 400)


@STACKING
def test_a_lock_screen_takes_the_keyboard_and_gives_it_back(stage: Stage) -> None:
    stage.open("app")
    assert stage.focused() == "app"
    lock = Layer(stage, OVERLAY, size=(0, 0), anchor=15, zone=-1, keyboard=1)
    lock.map()
    assert stage.focused() == ""
    assert stage.instance.compositor.seat.focused == next(iter(stage.instance.dispatcher.layers)).handle
    stage.open("later")
    assert stage.focused() == ""  # a new window does not take it
    lock.layer_surface.destroy()
    assert stage.focused() == "later"


@pytest.mark.parametrize(
    ("anchor", "size"), [(0, (0, 0)), (LEFT, (0, 10)), (TOP | BOTTOM, (0, 10)), (LEFT | RIGHT, (0, 0))]
)
@STACKING
def test_a_size_of_0_needs_opposite_anchors(stage: Stage, anchor: int, size: tuple[int, int]) -> None:
    Layer(stage, TOP_LAYER, size=size, anchor=anchor)
    with pytest.raises(RuntimeError, match="disconnected"):
        stage.settle()


@under(policy__name="stacking", headless__outputs=["800x600@60", "640x480@60"])
def test_layer_surfaces_go_with_their_output(stage: Stage) -> None:
    by_pointer = Layer(stage, TOP_LAYER, size=(100, 100))
    stage.settle()
    assert len(stage.client.outputs) == 2
    second = next(o for o in stage.instance.compositor.outputs if o.name == "HEADLESS-2")
    stage.inject.move(second.x + 10, 10)
    on_second = Layer(stage, TOP_LAYER, size=(100, 100))
    stage.settle()
    layers = list(stage.instance.dispatcher.layers)
    assert [layer.output_handle == second.handle for layer in layers] == [False, True]
    stage.instance.compositor.unplug(2)
    stage.settle()
    assert on_second.closed and not by_pointer.closed
    stage.instance.compositor.unplug(1)
    stage.settle()
    assert by_pointer.closed
    nowhere = Layer(stage, TOP_LAYER, size=(100, 100))
    stage.settle()
    assert nowhere.closed


@STACKING
def test_a_layer_surface_cannot_adopt_a_popup_twice(stage: Stage) -> None:
    panel = Layer(stage, TOP_LAYER, size=(100, 30))
    panel.map()
    window = stage.open()
    popup = Popup(stage, window.xdg_surface, (5, 5), (50, 50))
    panel.layer_surface.get_popup(popup.popup)
    with pytest.raises(RuntimeError, match="disconnected"):
        stage.settle()


# ---- taskbars ----


class Taskbar:
    """What a foreign-toplevel client knows: title, app_id and states by handle."""

    def __init__(self, owner: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        usual = Message.c_to_arguments

        def with_new_ids(message: Any, arguments: Any) -> list[Any]:
            """pywayland 0.4.15 has no support for objects that the compositor creates."""
            if [argument.argument_type for argument in message.arguments] == [ArgumentType.NewId]:
                pointer = ffi.cast("struct wl_proxy *", arguments[0].o)
                return [message.arguments[0].interface.proxy_class(pointer, owner.client.display)]
            return list(usual(message, arguments))

        monkeypatch.setattr(Message, "c_to_arguments", with_new_ids)
        self.module = load_protocol("wlr-foreign-toplevel-management-unstable-v1")
        self.toplevels: list[Any] = []
        self.known: dict[int, dict[str, Any]] = {}
        manager = owner.client.globals[self.module.ZwlrForeignToplevelManagerV1.name]
        self.manager = owner.client.registry.bind(manager[0], self.module.ZwlrForeignToplevelManagerV1, manager[1])
        self.manager.dispatcher["toplevel"] = self._on_toplevel
        owner.settle()

    def _on_toplevel(self, manager: Any, toplevel: Any) -> None:
        index = len(self.toplevels)
        self.toplevels.append(toplevel)
        known = self.known[index] = {"states": [], "outputs": 0, "closed": False}
        toplevel.dispatcher["title"] = lambda _, title: known.update(title=title)
        toplevel.dispatcher["app_id"] = lambda _, app_id: known.update(app_id=app_id)
        toplevel.dispatcher["state"] = lambda _, states: known.update(states=sorted(bytes(states)[::4]))
        toplevel.dispatcher["output_enter"] = lambda _, output: known.update(outputs=known["outputs"] + 1)
        toplevel.dispatcher["output_leave"] = lambda _, output: known.update(outputs=known["outputs"] - 1)
        toplevel.dispatcher["closed"] = lambda _: known.update(closed=True)


@STACKING
def test_a_taskbar_sees_and_steers_windows(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    taskbar = Taskbar(stage, monkeypatch)
    window = stage.open("one")
    one = taskbar.known[0]
    assert (one["title"], one["app_id"], one["outputs"]) == ("one", "one", 1)
    assert one["states"] == [2]  # activated
    window.toplevel.set_title("renamed")
    stage.settle()
    assert one["title"] == "renamed"
    handle = taskbar.toplevels[0]
    handle.set_minimized()
    stage.settle()
    assert one["states"] == [1] and one["outputs"] == 0
    assert not stage.known(window).shown
    handle.activate(stage.client.bound["wl_seat"])
    stage.settle()
    assert one["states"] == [2] and one["outputs"] == 1
    handle.set_maximized()
    stage.settle()
    assert one["states"] == [0, 2]
    assert stage.states(window) == [MAXIMIZED, ACTIVATED]
    handle.set_fullscreen(None)
    assert stage.states(window) == [MAXIMIZED, FULLSCREEN, ACTIVATED]
    stage.settle()
    assert one["states"] == [0, 2, 3]
    handle.close()
    stage.settle()
    assert window.closed
    window.toplevel.destroy()
    stage.settle()
    assert one["closed"]


# ---- decorations, activation, idle ----


def decoration_modes(owner: Stage) -> list[int]:
    """What a client is told that wants to draw its own decorations: 1 client side, 2 server side."""
    modes: list[int] = []
    manager = owner.client.bind(ZxdgDecorationManagerV1)

    def decorate(window: Window) -> None:
        decoration = manager.get_toplevel_decoration(window.toplevel)
        decoration.dispatcher["configure"] = lambda _, mode: modes.append(mode)
        decoration.set_mode(1)
        window.decoration = decoration  # type: ignore[attr-defined] # kept alive

    owner.open(before=decorate)
    return modes


@under(policy__name="kiosk")
def test_the_kiosk_has_no_decorations(stage: Stage) -> None:
    assert decoration_modes(stage) == [2]


@STACKING
def test_stacking_lets_clients_decorate(stage: Stage) -> None:
    assert decoration_modes(stage) == [1]


def activate(owner: Stage, window: Window, token: str) -> None:
    owner.client.bind(XdgActivationV1).activate(token, window.surface)
    owner.settle()


@STACKING
def test_activation_needs_a_token_that_proves_something(stage: Stage) -> None:
    first = stage.open("first")
    second = stage.open("second")
    manager = stage.client.bind(XdgActivationV1)
    tokens: list[str] = []
    request = manager.get_activation_token()  # no seat, no serial: anybody can have such a token
    request.dispatcher["done"] = lambda _, token: tokens.append(token)
    request.commit()
    stage.settle()
    activate(stage, first, tokens[0])
    activate(stage, first, "invented")
    assert stage.focused() == "second"
    compositor = stage.instance.compositor
    buffer = compositor.ffi.new("char[64]")
    assert compositor.lib.mc_activation_token(compositor.server, buffer, 64) == 0
    ours = compositor.ffi.string(buffer).decode()
    activate(stage, first, ours)
    assert stage.focused() == "first"
    activate(stage, second, ours)  # good for one activation
    assert stage.focused() == "first"


class Inhibited(Stacking):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.counts: list[int] = []

    def on_inhibitors(self, count: int) -> None:
        self.counts.append(count)


@pytest.fixture
def inhibited() -> Iterator[Stage]:
    with InProcess(configure(), policy=Inhibited) as instance:
        own = Stage(instance)
        yield own
        own.client.close()


def test_only_visible_surfaces_keep_the_screen_awake(inhibited: Stage) -> None:
    window = Window(inhibited.client)
    inhibitor = inhibited.client.bind(ZwpIdleInhibitManagerV1).create_inhibitor(window.surface)
    inhibited.settle()
    counts = inhibited.instance.policy.counts
    assert counts == []
    inhibited.map(window)
    assert counts == [1]
    known = inhibited.known(window)
    inhibited.instance.thread.call(known.hide)
    inhibited.settle()
    assert counts == [1, 0]
    inhibited.instance.thread.call(known.show)
    inhibited.settle()
    inhibitor.destroy()
    inhibited.settle()
    assert counts == [1, 0, 1, 0]


# ---- a client that does not behave is nobody else's problem ----


@STACKING
def test_a_parent_that_is_not_mapped_is_no_parent(stage: Stage) -> None:
    """wlroots 0.15 would keep using the parent's memory after it is gone (native/wlr/guard.c)."""
    unmapped = Window(stage.client)
    child = stage.open("child", before=lambda window: window.toplevel.set_parent(unmapped.toplevel))
    assert stage.known(child).parent is None
    unmapped.toplevel.destroy()
    unmapped.xdg_surface.destroy()
    unmapped.surface.destroy()
    stage.settle()
    child.toplevel.destroy()
    stage.settle()


@STACKING
def test_circles_of_parents_hang_nobody(stage: Stage) -> None:
    first, second = stage.open("first"), stage.open("second")
    first.toplevel.set_parent(second.toplevel)
    second.toplevel.set_parent(first.toplevel)
    stage.inject.click(5, 5)
    assert stage.focused() in ("first", "second")
    for window in (first, second):
        window.toplevel.destroy()
    stage.settle()


@STACKING
def test_an_ack_that_crosses_an_unmap_is_no_error(stage: Stage) -> None:
    """A client that hides a window while a configure is under way answers it afterwards."""
    window = stage.open()
    serials: list[int] = []
    window.xdg_surface.dispatcher["configure"] = lambda surface, serial: serials.append(serial)
    window.toplevel.set_maximized()
    stage.settle()
    assert serials
    window.surface.attach(None, 0, 0)
    window.surface.commit()
    stage.settle()
    window.xdg_surface.ack_configure(serials[0])
    stage.settle()
    other = Client(stage.instance.compositor.socket)
    other.roundtrip()
    other.close()
