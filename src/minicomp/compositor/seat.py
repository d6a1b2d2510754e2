"""The seat from Python: configuration, bindings, focus and devices. Routing itself is native (native/wlr/input.c).

Verbs on an object that has gone return False, they do not raise: the policy hears of the end soon anyway.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from minicomp.compositor.keys import parse_keys
from minicomp.errors import MinicompError
from minicomp.native.wlr import ffi, lib

if TYPE_CHECKING:
    from minicomp.compositor.inject import Injector
    from minicomp.config import Config
    from minicomp.config.schema import KeyboardSettings

_DEVICE_TYPES = ("keyboard", "pointer", "touch", "tablet", "tablet-pad", "switch")
_MAX_DEVICES = 256

EDGE_TOP, EDGE_BOTTOM, EDGE_LEFT, EDGE_RIGHT = 1, 2, 4, 8


class Device(NamedTuple):
    """An input device as it was when asked."""

    handle: int
    type: str
    name: str
    is_virtual: bool
    output_name: str  # the output that the hardware says it belongs to, or ""
    is_libinput: bool
    is_touchpad: bool
    id: str  # "vendor:product" in hexadecimal

    @property
    def kind(self) -> str:
        """Its type as [[input]] names it."""
        return "touchpad" if self.is_touchpad else self.type


class Pointer(NamedTuple):
    """Where the pointer is (layout coordinates); `under` is the window or layer surface there, or 0."""

    x: float
    y: float
    active: bool
    under: int
    surface_id: int
    buttons: int


class Seat:
    """One per compositor, made after the native seat exists and before the loop thread starts."""

    def __init__(self, server: Any, config: Config) -> None:
        self._server = server
        self._bindings: list[tuple[str, str]] = []
        self.set_keymap(config.keyboard)
        lib.mc_seat_set_vt_switching(server, config.backend.vt_switching)
        self.set_cursor_theme(config.cursor.theme, config.cursor.size)
        self.hide_cursor(config.cursor.hide_after_ms or None)
        for binding in config.binding:  # their numbers are their positions
            self.bind(binding.keys, binding.action, "binding")

    @cached_property
    def inject(self) -> Injector:
        """Makes input events: for tests and remote control."""
        from minicomp.compositor.inject import Injector

        return Injector(self._server)

    # ---- keyboards ----

    def set_keymap(self, settings: KeyboardSettings) -> None:
        """Keymap and key repeat of all keyboards that bring no keymap of their own.

        Raises ConfigError that names what xkb does not know; the old keymap stays then.
        """
        names = (settings.rules, settings.model, settings.layout, settings.variant, settings.options)
        if lib.mc_seat_set_xkb_names(self._server, *(name.encode() or ffi.NULL for name in names)) != 0:
            from minicomp.compositor.keymap import explain

            raise explain(settings)
        lib.mc_seat_set_repeat(self._server, settings.repeat_rate_hz, settings.repeat_delay_ms)

    # ---- bindings ----

    def bind(self, keys: str, action: str, where: str = "") -> None:
        """Takes a key combination (or button: "Super+BTN_LEFT") for the policy. Raises ConfigError for a wrong one.

        Of two bindings of the same combination the later one counts.
        """
        combination = parse_keys(keys, where)
        number = len(self._bindings)
        self._bindings.append((keys, action))
        if combination.button:
            result = lib.mc_seat_bind_button(self._server, combination.modifiers, combination.button, number)
        else:
            result = lib.mc_seat_bind(self._server, combination.modifiers, combination.keysym, number)
        if result != 0:
            raise MemoryError("binding")

    def clear_bindings(self) -> None:
        """Gives all keys back to clients. Events already queued for old bindings still find their actions."""
        lib.mc_seat_clear_bindings(self._server)

    def binding(self, number: int) -> tuple[str, str]:
        """The keys and action of an MC_EVENT_BINDING's number."""
        return self._bindings[number]

    # ---- focus ----

    def focus_window(self, handle: int) -> bool:
        """Keyboard focus to a window; False when it is gone or has no surface now."""
        return bool(lib.mc_seat_focus_window(self._server, handle) == 0)

    def focus_layer(self, handle: int) -> bool:
        """Keyboard focus to a layer surface; False when it is gone or has no surface now."""
        return bool(lib.mc_seat_focus_layer(self._server, handle) == 0)

    def focus_none(self) -> None:
        lib.mc_seat_focus_none(self._server)

    @property
    def focused(self) -> int:
        """The window or layer surface with keyboard focus, or 0."""
        return int(lib.mc_seat_focused(self._server))

    # ---- the pointer ----

    @property
    def pointer(self) -> Pointer:
        info = ffi.new("struct mc_pointer_info *")
        lib.mc_seat_get_pointer(self._server, info)
        return Pointer(info.lx, info.ly, bool(info.active), info.under, info.surface, info.buttons)

    def at(self, x: float, y: float) -> int:
        """The window or layer surface at a point, or 0."""
        return int(lib.mc_seat_at(self._server, x, y))

    def warp(self, x: float, y: float) -> None:
        """Puts the pointer at a point, or the nearest one on an output."""
        lib.mc_seat_warp(self._server, x, y)

    def set_cursor_theme(self, theme: str, size: int) -> None:
        """An empty theme is the system's default. Read from disk when a picture is first needed."""
        result = lib.mc_seat_set_cursor_theme(self._server, theme.encode() or ffi.NULL, size)
        if result != 0:
            raise MinicompError(f"cursor size {size}: {os.strerror(-result)}", where="cursor.size")

    def load_cursor_theme(self) -> None:
        """Reads the theme now, without holding up frames, so that the first pointer motion need not."""
        lib.mc_seat_load_cursor_theme(self._server)

    def hide_cursor(self, after_ms: int | None) -> None:
        """Hides the pointer's picture when it has rested that long; 0 hides it always, None never."""
        lib.mc_seat_hide_cursor(self._server, -1 if after_ms is None else after_ms)

    # ---- interactive grabs ----

    def begin_move(self, window: int) -> bool:
        """The window follows the pointer or finger until it is let go; False when nothing is held any more."""
        return bool(lib.mc_seat_begin_move(self._server, window) == 0)

    def begin_resize(self, window: int, edges: int) -> bool:
        """The window's edges (EDGE_* bits) follow it; False when nothing is held any more."""
        return bool(lib.mc_seat_begin_resize(self._server, window, edges) == 0)

    def end_grab(self) -> None:
        """Ends an interactive move or resize, if there is one."""
        lib.mc_seat_end_grab(self._server)

    # ---- devices ----

    @property
    def devices(self) -> Iterator[Device]:
        handles = ffi.new("uint64_t[]", _MAX_DEVICES)
        count = lib.mc_devices_list(self._server, handles, _MAX_DEVICES)
        for handle in handles[0 : min(count, _MAX_DEVICES)]:
            device = self.device(handle)
            if device is not None:
                yield device

    def device(self, handle: int) -> Device | None:
        """None when it is gone."""
        info = ffi.new("struct mc_device_info *")
        if lib.mc_device_get_info(self._server, handle, info) != 0:
            return None
        return Device(
            info.handle,
            _DEVICE_TYPES[info.type],
            ffi.string(info.name).decode("utf-8", "replace"),
            bool(info.is_virtual),
            ffi.string(info.output_name).decode("utf-8", "replace"),
            bool(info.is_libinput),
            bool(info.is_touchpad),
            f"{info.vendor:04x}:{info.product:04x}",
        )

    def map_to_output(self, device: int, output: int) -> bool:
        """A touch screen or pointer acts on that output only, and turns with it; output 0: on all of them."""
        return bool(lib.mc_device_map_to_output(self._server, device, output) == 0)

    def change_vt(self, vt: int) -> bool:
        """Switches to another virtual terminal; False where there are none."""
        return bool(lib.mc_seat_change_vt(self._server, vt) == 0)
