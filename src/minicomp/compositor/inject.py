"""Typing, clicking and touching without hands: for tests, the control socket and experiments.

Events go through the modelled display's devices (or devices of minicomp's own on other backends), so that everything
after the device is the real path. Each call returns once its events are routed; clients have them queued.
Coordinates are layout coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minicomp.compositor.keys import BUTTONS, parse_keys
from minicomp.errors import MinicompError
from minicomp.native.wlr import ffi, lib

_MODIFIER_KEYS = {1: 42, 4: 29, 8: 56, 64: 125}  # Shift, Ctrl, Alt, Super: left ones, linux/input-event-codes.h
_LEVEL3 = 128  # Mod5
_CHARACTERS = {"\n": b"Return", "\t": b"Tab", "\b": b"BackSpace", "\x1b": b"Escape"}
WHEEL_CLICK = 15.0  # wl_pointer.axis units a wheel click, as libinput's 15 degrees


class Injector:
    """Everything is released again by the call that pressed it, unless its name says otherwise."""

    def __init__(self, server: Any) -> None:
        self._server = server

    # ---- keyboard ----

    def key(self, keycode: int, pressed: bool) -> None:
        """Presses or releases one key, by its evdev code."""
        _check(lib.mc_inject_key(self._server, keycode, pressed))

    def press(self, keys: str) -> None:
        """Presses and releases a combination such as "Ctrl+Alt+t" or "Super+BTN_LEFT"."""
        with self.holding(keys):
            pass

    @contextmanager
    def holding(self, keys: str) -> Iterator[None]:
        """Holds a combination down meanwhile."""
        combination = parse_keys(keys)
        if combination.button:
            with self._modifiers(combination.modifiers), self.holding_button(combination.button):
                yield
            return
        keycode, modifiers = self._find(combination.keysym, keys)
        with self._modifiers(modifiers | combination.modifiers):
            self.key(keycode, True)
            try:
                yield
            finally:
                self.key(keycode, False)

    def type_text(self, text: str) -> None:
        """Types text with the first layout of the keymap; newlines are Return.

        Raises MinicompError, before anything is typed, when there is no key for a character.
        """
        for keycode, modifiers in [self._find_character(character) for character in text]:
            with self._modifiers(modifiers):
                self.key(keycode, True)
                self.key(keycode, False)

    def _find_character(self, character: str) -> tuple[int, int]:
        name = _CHARACTERS.get(character)
        keysym = lib.mc_keysym_from_name(name) if name else lib.mc_keysym_from_char(ord(character))
        return self._find(keysym, repr(character))

    def _find(self, keysym: int, what: str) -> tuple[int, int]:
        keycode, modifiers = ffi.new("uint32_t *"), ffi.new("uint32_t *")
        if keysym == 0 or lib.mc_inject_find_key(self._server, keysym, keycode, modifiers) != 0:
            raise MinicompError(f"the keymap has no key for {what}", todo="keyboard.layout chooses the keymap")
        return keycode[0], modifiers[0]

    @contextmanager
    def _modifiers(self, modifiers: int) -> Iterator[None]:
        keycodes = [keycode for bit, keycode in _MODIFIER_KEYS.items() if modifiers & bit]
        if modifiers & _LEVEL3:
            keycodes.append(self._find(lib.mc_keysym_from_name(b"ISO_Level3_Shift"), "AltGr")[0])
        for keycode in keycodes:
            self.key(keycode, True)
        try:
            yield
        finally:
            for keycode in reversed(keycodes):
                self.key(keycode, False)

    # ---- pointer ----

    def move(self, x: float, y: float) -> None:
        """Moves the pointer to a point."""
        _check(lib.mc_inject_motion(self._server, x, y))

    def move_by(self, dx: float, dy: float) -> None:
        """Moves the pointer as a mouse does; what a locked pointer gets too."""
        _check(lib.mc_inject_motion_relative(self._server, dx, dy))

    def button(self, button: int, pressed: bool) -> None:
        """Presses or releases a button, by its evdev code (keys.BUTTONS)."""
        _check(lib.mc_inject_button(self._server, button, pressed))

    @contextmanager
    def holding_button(self, button: int = BUTTONS["BTN_LEFT"]) -> Iterator[None]:
        """Holds a button down meanwhile."""
        self.button(button, True)
        try:
            yield
        finally:
            self.button(button, False)

    def click(self, x: float, y: float, button: int = BUTTONS["BTN_LEFT"], times: int = 1) -> None:
        """Moves there and clicks."""
        self.move(x, y)
        for _ in range(times):
            with self.holding_button(button):
                pass

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 10) -> None:
        """Presses the left button at one point, moves to another in steps, and lets go."""
        self.move(*start)
        with self.holding_button():
            for point in _line(start, end, steps):
                self.move(*point)

    def scroll(self, clicks: int, horizontal: bool = False) -> None:
        """Turns the wheel; positive is down or right."""
        _check(lib.mc_inject_axis(self._server, int(horizontal), clicks * WHEEL_CLICK, clicks))

    def swipe_gesture(self, fingers: int, steps: list[tuple[float, float]], cancelled: bool = False) -> None:
        """A touch-pad swipe; each step is a relative motion."""
        _check(lib.mc_inject_swipe(self._server, lib.MC_GESTURE_BEGIN, fingers, 0, 0))
        for dx, dy in steps:
            _check(lib.mc_inject_swipe(self._server, lib.MC_GESTURE_UPDATE, fingers, dx, dy))
        _check(lib.mc_inject_swipe(self._server, _gesture_end(cancelled), fingers, 0, 0))

    def pinch_gesture(self, fingers: int, scales: list[float], cancelled: bool = False) -> None:
        """A touch-pad pinch; each step is the scale compared to the beginning."""
        _check(lib.mc_inject_pinch(self._server, lib.MC_GESTURE_BEGIN, fingers, 0, 0, 1, 0))
        for scale in scales:
            _check(lib.mc_inject_pinch(self._server, lib.MC_GESTURE_UPDATE, fingers, 0, 0, scale, 0))
        _check(lib.mc_inject_pinch(self._server, _gesture_end(cancelled), fingers, 0, 0, 1, 0))

    def hold_gesture(self, fingers: int, cancelled: bool = False) -> None:
        """Fingers rest on the touch-pad and are lifted."""
        _check(lib.mc_inject_hold(self._server, lib.MC_GESTURE_BEGIN, fingers))
        _check(lib.mc_inject_hold(self._server, _gesture_end(cancelled), fingers))

    # ---- touch ----

    def touch_down(self, x: float, y: float, touch_id: int = 0) -> None:
        """Puts a finger down, and leaves it there."""
        _check(lib.mc_inject_touch_down(self._server, touch_id, x, y))

    def touch_move(self, x: float, y: float, touch_id: int = 0) -> None:
        _check(lib.mc_inject_touch_motion(self._server, touch_id, x, y))

    def touch_up(self, touch_id: int = 0) -> None:
        _check(lib.mc_inject_touch_up(self._server, touch_id))

    def touch_cancel(self, touch_id: int = 0) -> None:
        """The device takes the finger back: it was a palm."""
        _check(lib.mc_inject_touch_cancel(self._server, touch_id))

    def tap(self, x: float, y: float, touch_id: int = 0) -> None:
        self.touch_down(x, y, touch_id)
        self.touch_up(touch_id)

    def swipe(self, start: tuple[float, float], end: tuple[float, float], steps: int = 10, touch_id: int = 0) -> None:
        """Drags a finger from one point to another."""
        self.touch_down(*start, touch_id)
        for point in _line(start, end, steps):
            self.touch_move(*point, touch_id)
        self.touch_up(touch_id)


def _line(start: tuple[float, float], end: tuple[float, float], steps: int) -> Iterator[tuple[float, float]]:
    for step in range(1, steps + 1):
        part = step / steps
        yield start[0] + (end[0] - start[0]) * part, start[1] + (end[1] - start[1]) * part


def _gesture_end(cancelled: bool) -> int:
    return int(lib.MC_GESTURE_CANCEL if cancelled else lib.MC_GESTURE_END)


def _check(result: int) -> None:
    if result != 0:
        raise MinicompError("there is no device to inject input with", todo="out of memory?")
