"""A person's actions at the guest, as words: what --keys and --pointer take, and `vmhost input`.

wait:1.5        sleep that many seconds
until:TEXT      wait until the command's output contains TEXT (spaces as in the argument)
type:TEXT       type TEXT on a US keyboard
ctrl-alt-f2     a key or chord by QEMU's key names, pressed and released
down:shift up:shift   a key held and let go
move:640,400    pointer to that pixel of the first screen
by:10,-5        a mouse's relative motion (needs the `mouse` device)
click:left press:left release:left    a button
touch:100,200   a finger's tap (needs the `touch` device)
shot:FILE       screenshot of the first screen; shot:1:FILE of the second
plug:1:1024x768 unplug:1              an output
"""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import LabError
from .qmp import BUTTONS

if TYPE_CHECKING:
    from .guest import Guest
    from .process import GuestProcess

UNTIL_TIMEOUT_S = 120
# Faster than this, QEMU's input queue drops events (its own limit is 1024) and clients see presses of no length.
KEY_HOLD_S = 0.02
SHIFTED = dict(zip('~!@#$%^&*()_+{}|:"<>?', "`1234567890-=[]\\;',./", strict=True))
KEY_NAMES = {
    " ": "spc", "\n": "ret", "\t": "tab", "`": "grave_accent", "-": "minus", "=": "equal", "[": "bracket_left",
    "]": "bracket_right", "\\": "backslash", ";": "semicolon", "'": "apostrophe", ",": "comma", ".": "dot",
    "/": "slash",
}  # fmt: skip
# Spellings people use, besides QEMU's own.
ALIASES = {"enter": "ret", "return": "ret", "space": "spc", "super": "meta_l", "escape": "esc", "del": "delete"}


def parse(text: str) -> list[str]:
    """The words of a script; quotes as in a shell. LabError names the first word that is no step."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise LabError(f"{text!r}: {error}") from None
    for word in words:
        verb, colon, rest = word.partition(":")
        if colon and (verb not in _VERBS or not re.fullmatch(_VERBS[verb], rest, re.DOTALL)):
            raise LabError(f"{word!r} is no step: see `scripts/vm --help-steps`")
    return words


def perform(guest: Guest, words: list[str], process: GuestProcess | None = None) -> None:
    """Do the steps, in order. `process`: whose output `until:` looks at."""
    for word in words:
        verb, colon, rest = word.partition(":")
        if not colon:
            press(guest, word)
        elif verb == "until":
            if process is None:
                raise LabError("until: there is no command whose output could be waited for")
            process.wait_for(rest, UNTIL_TIMEOUT_S)
        elif verb == "wait":
            time.sleep(float(rest))
        else:
            _act(guest, verb, rest)


def type_text(guest: Guest, text: str) -> None:
    for character in text:
        shifted = character.isupper() or character in SHIFTED
        base = SHIFTED.get(character, character.lower())
        name = KEY_NAMES.get(base, base)
        press(guest, f"shift-{name}" if shifted else name)


def press(guest: Guest, chord: str) -> None:
    """Press the keys of "ctrl-alt-f2" in order and release them in reverse."""
    names = [ALIASES.get(name, name) for name in chord.split("-")]
    for name in names:
        guest.qmp.key(name, down=True)
    time.sleep(KEY_HOLD_S)
    for name in reversed(names):
        guest.qmp.key(name, down=False)


def move(guest: Guest, x_px: int, y_px: int) -> None:
    """Pointer to a pixel of the first screen at the size it was booted with."""
    width, height = guest.machine.screen
    # The middle of the pixel: rounding on the way must not land on its neighbour.
    guest.qmp.move_to((x_px + 0.5) / width, (y_px + 0.5) / height)


def click(guest: Guest, button: str = "left") -> None:
    guest.qmp.button(button, down=True)
    time.sleep(KEY_HOLD_S)
    guest.qmp.button(button, down=False)


_PLACE = r"(-?\d+),(-?\d+)"
_BUTTON = "|".join(sorted(BUTTONS))
_VERBS = {
    "wait": r"\d+(\.\d+)?", "until": r".+", "type": r".*", "down": r"\w+", "up": r"\w+", "move": _PLACE,
    "by": _PLACE, "click": _BUTTON, "press": _BUTTON, "release": _BUTTON, "touch": _PLACE,
    "shot": r"(\d+:)?.+", "plug": r"\d+:\d+x\d+", "unplug": r"\d+",
}  # fmt: skip


def _act(guest: Guest, verb: str, rest: str) -> None:
    if verb == "type":
        type_text(guest, rest)
    elif verb in ("down", "up"):
        guest.qmp.key(ALIASES.get(rest, rest), down=verb == "down")
    elif verb == "move":
        move(guest, *_integers(rest))
    elif verb == "by":
        guest.qmp.move_by(*_integers(rest))
    elif verb == "click":
        click(guest, rest)
    elif verb in ("press", "release"):
        guest.qmp.button(rest, down=verb == "press")
    elif verb == "touch":
        _tap(guest, *_integers(rest))
    elif verb == "shot":
        head, file = re.fullmatch(r"(?:(\d+):)?(.+)", rest).groups()  # type: ignore[union-attr]
        guest.screenshot(Path(file), int(head or 0))
    elif verb == "plug":
        guest.plug_output(*_integers(rest.replace(":", ",").replace("x", ",")))
    elif verb == "unplug":
        guest.unplug_output(int(rest))


def _tap(guest: Guest, x_px: int, y_px: int) -> None:
    width, height = guest.machine.screen
    place = ((x_px + 0.5) / width, (y_px + 0.5) / height)
    guest.qmp.touch(0, "begin", *place, tracking_id=1)
    time.sleep(KEY_HOLD_S)
    guest.qmp.touch(0, "end", tracking_id=1)


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]
