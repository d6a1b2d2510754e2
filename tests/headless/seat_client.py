"""What the input tests share: a policy that puts windows where the test wants them, and a client that keeps every
event of its seat.

Protocols that pywayland does not ship are generated from the XML in protocols/ (wlroots 0.15.1's).
"""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pywayland.protocol
from pywayland.scanner import Protocol

from minicomp.shell.policy import Policy
from minicomp.testing.client import Client, Window
from minicomp.testing.instance import InProcess

SHIPPED = {
    "xdg_popup": "xdg_shell",
    "wl_output": "wayland",
    "wl_seat": "wayland",
    "wl_surface": "wayland",
    "wl_pointer": "wayland",
}
_generated: tempfile.TemporaryDirectory[str] | None = None


def load_protocol(name: str) -> ModuleType:
    """The module of protocols/<name>.xml."""
    global _generated
    if _generated is None:
        _generated = tempfile.TemporaryDirectory(prefix="minicomp-test-protocols-")
        pywayland.protocol.__path__.append(_generated.name)
    xml = Path(__file__).parent / "protocols" / f"{name}.xml"
    protocol = Protocol.parse_file(str(xml))
    if not Path(_generated.name, protocol.name).exists():
        protocol.output(_generated.name, SHIPPED | {i.name: protocol.name for i in protocol.interface})
    return importlib.import_module(f"pywayland.protocol.{protocol.name}")


class Placed(Policy):
    """A window goes where its app_id says ("100,50"), gets the keyboard, and whatever it asks for."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pressed: list[int] = []
        self.bindings: list[str] = []
        self.grab_ends: list[int] = []
        self.devices: list[tuple[int, bool]] = []
        self.focus_on_map = True

    def on_window_map(self, window: Any) -> None:
        x, y = (int(part) for part in window.app_id.split(","))
        window.place(x, y)
        window.show()
        if self.focus_on_map:
            window.focus()

    def on_window_pressed(self, window: Any) -> None:
        self.pressed.append(window.handle)

    def on_window_request_move(self, window: Any) -> None:
        window.begin_move()

    def on_window_request_resize(self, window: Any, edges: int) -> None:
        window.begin_resize(edges)

    def on_grab_end(self, window: Any) -> None:
        self.grab_ends.append(window.handle)

    def on_binding(self, action: str) -> None:
        self.bindings.append(action)

    def on_device_new(self, handle: int, kind: int, virtual: bool) -> None:
        self.devices.append((kind, virtual))

    def on_device_gone(self, handle: int) -> None:
        self.devices.append((-1, False))


class Event(NamedTuple):
    """An event of a seat's object: "pointer.motion" and its arguments; objects are given as they are."""

    name: str
    args: tuple[Any, ...]


_EVENTS = {
    "pointer": "enter leave motion button axis frame axis_source axis_stop axis_discrete",
    "keyboard": "keymap enter leave key modifiers repeat_info",
    "touch": "down up motion frame cancel",
}


class SeatClient(Client):
    """A connection with a pointer, a keyboard and a touch object whose events are kept in `events`."""

    def __init__(self, instance: InProcess, touch: bool = True) -> None:
        super().__init__(instance.compositor.socket)
        self.instance = instance
        self.events: list[Event] = []
        self.windows: list[PlacedWindow] = []  # pywayland drops events of objects that were collected
        self.watched: list[Any] = []
        self.seat = self.bound["wl_seat"]
        self.pointer = self.seat.get_pointer()
        self.keyboard = self.seat.get_keyboard()
        self.watch(self.pointer, "pointer", _EVENTS["pointer"])
        self.watch(self.keyboard, "keyboard", _EVENTS["keyboard"])
        if touch:
            self.touch = self.seat.get_touch()
            self.watch(self.touch, "touch", _EVENTS["touch"])
        self.roundtrip()

    def watch(self, proxy: Any, label: str, names: str) -> Any:
        """Keeps these events of an object."""

        def keeper(name: str) -> Any:
            def keep(_: Any, *args: Any) -> None:
                if name == "keymap":
                    os.close(args[1])
                self.events.append(Event(f"{label}.{name}", args))

            return keep

        for name in names.split():
            proxy.dispatcher[name] = keeper(name)
        self.watched.append(proxy)
        return proxy

    def take(self, *labels: str) -> list[Event]:
        """The events since the last take, of these objects or names only ("pointer", "touch.up"); all if none."""
        self.roundtrip()
        events, self.events[:] = list(self.events), []
        if not labels:
            return events
        return [event for event in events if event.name in labels or event.name.split(".")[0] in labels]

    def window(self, x: int, y: int, width: int = 200, height: int = 100, colour: int = 0x3050A0) -> PlacedWindow:
        """A window with its top-left corner there, on the screen."""
        window = PlacedWindow(self, app_id=f"{x},{y}")
        self.windows.append(window)
        window.initial_commit(self.instance.wait_for)
        window.commit(width, height, colour)
        seat = self.instance.compositor.seat

        def shown() -> bool:
            self.roundtrip()
            handle = seat.at(x + 1, y + 1)
            known = self.instance.dispatcher.windows.get(handle)
            return known is not None and known.app_id == window.app_id

        self.instance.wait_for(shown, "the window to be shown")
        self.instance.settle()
        self.roundtrip()
        window.handle = seat.at(x + 1, y + 1)
        return window


class PlacedWindow(Window):
    """A window whose handle is known."""

    handle = 0
