"""The input.* methods: keys, pointer and touch through the modelled devices, so by the path of real ones."""

from __future__ import annotations

from typing import Any

from minicomp.compositor.control.context import Context
from minicomp.compositor.control.jsonrpc import RpcError
from minicomp.compositor.keys import BUTTONS
from minicomp.errors import MinicompError
from minicomp.msg.interface import INVALID_PARAMS, MAX_TYPED_CHARACTERS

_KEY_MAX = 0x2FF  # linux/input-event-codes.h
_MOST_STEPS = 1000
_MOST_CLICKS = 100
_MOST_FINGERS = 32

Point = list[float]
Answer = dict[str, Any]


class Injecting:
    """Each call returns when its events are routed; clients have them queued."""

    def __init__(self, context: Context) -> None:
        self._seat = context.compositor.seat
        self._inject = self._seat.inject

    # ---- keyboard ----

    def input_press(self, keys: str) -> Answer:
        try:
            self._inject.press(keys)
        except MinicompError as error:
            raise RpcError(INVALID_PARAMS, str(error)) from None
        return {"keys": keys}

    def input_type(self, text: str) -> Answer:
        if len(text) > MAX_TYPED_CHARACTERS:
            raise RpcError(INVALID_PARAMS, f"input.type: at most {MAX_TYPED_CHARACTERS} characters at once")
        try:
            self._inject.type_text(text)
        except MinicompError as error:
            raise RpcError(INVALID_PARAMS, f"{error}; nothing was typed") from None
        return {"characters": len(text)}

    def input_key(self, code: int, pressed: bool) -> Answer:
        _within("code", code, 1, _KEY_MAX)
        self._inject.key(code, pressed)
        return {"code": code, "pressed": pressed}

    # ---- pointer ----

    def input_move(self, x: float, y: float) -> Answer:
        self._inject.move(x, y)
        return self._pointer()

    def input_move_by(self, dx: float, dy: float) -> Answer:
        self._inject.move_by(dx, dy)
        return self._pointer()

    def input_button(self, button: str, pressed: bool) -> Answer:
        self._inject.button(BUTTONS[button], pressed)
        return self._pointer()

    def input_click(self, x: float, y: float, button: str, times: int) -> Answer:
        _within("times", times, 1, _MOST_CLICKS)
        self._inject.click(x, y, BUTTONS[button], times)
        return self._pointer()

    def input_drag(self, from_: Point, to: Point, steps: int) -> Answer:
        _within("steps", steps, 1, _MOST_STEPS)
        self._inject.drag((from_[0], from_[1]), (to[0], to[1]), steps)
        return self._pointer()

    def input_scroll(self, clicks: int, horizontal: bool) -> Answer:
        _within("clicks", clicks, -_MOST_CLICKS, _MOST_CLICKS)
        self._inject.scroll(clicks, horizontal)
        return self._pointer()

    def _pointer(self) -> Answer:
        pointer = self._seat.pointer
        return {"x": pointer.x, "y": pointer.y, "buttons_held": pointer.buttons}

    # ---- touch ----

    def input_tap(self, x: float, y: float, id: int) -> Answer:
        self._inject.tap(x, y, _finger(id))
        return {"x": x, "y": y}

    def input_swipe(self, from_: Point, to: Point, steps: int, id: int) -> Answer:
        _within("steps", steps, 1, _MOST_STEPS)
        self._inject.swipe((from_[0], from_[1]), (to[0], to[1]), steps, _finger(id))
        return {"x": to[0], "y": to[1]}

    def input_touch_down(self, x: float, y: float, id: int) -> Answer:
        self._inject.touch_down(x, y, _finger(id))
        return {"x": x, "y": y}

    def input_touch_move(self, x: float, y: float, id: int) -> Answer:
        self._inject.touch_move(x, y, _finger(id))
        return {"x": x, "y": y}

    def input_touch_up(self, id: int) -> Answer:
        self._inject.touch_up(_finger(id))
        return {"id": id}

    def input_touch_cancel(self, id: int) -> Answer:
        self._inject.touch_cancel(_finger(id))
        return {"id": id}


def _finger(number: int) -> int:
    _within("id", number, 0, _MOST_FINGERS - 1)
    return number


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise RpcError(INVALID_PARAMS, f"{name} must be {least} to {most}")
