"""Key combinations as text ("Super+Shift+Return"), for bindings and for injection.

The last part is an xkb key name (letters without regard to case: Super+Q is the plain q with Super) or a pointer button
(BTN_LEFT, ...); the parts before it are modifiers.
"""

from __future__ import annotations

from typing import NamedTuple

from minicomp.errors import ConfigError
from minicomp.native.wlr import lib

MODIFIERS: dict[str, int] = {
    "Shift": 1,
    "Ctrl": 4,
    "Alt": 8,
    "Mod2": 16,
    "Mod3": 32,
    "Super": 64,
    "Mod4": 64,
    "Mod5": 128,
}
"""Modifier name -> enum wlr_keyboard_modifier bit. Locks (Caps Lock, Num Lock) never count."""

BUTTONS: dict[str, int] = {
    "BTN_LEFT": 0x110,
    "BTN_RIGHT": 0x111,
    "BTN_MIDDLE": 0x112,
    "BTN_SIDE": 0x113,
    "BTN_EXTRA": 0x114,
}
"""Button name -> code, as in linux/input-event-codes.h."""


class Combination(NamedTuple):
    """Modifiers (enum wlr_keyboard_modifier bits) and a keysym, or a pointer button's code."""

    modifiers: int
    keysym: int = 0
    button: int = 0


def parse_keys(text: str, where: str = "") -> Combination:
    """A combination from its text. Raises ConfigError that names the part which is wrong."""
    *modifier_names, key = text.split("+")
    modifiers = 0
    for name in modifier_names:
        if name not in MODIFIERS:
            raise ConfigError(
                f'"{name}" in "{text}" is no modifier', where=where, todo="modifiers are " + ", ".join(MODIFIERS)
            )
        modifiers |= MODIFIERS[name]
    if key in BUTTONS:
        return Combination(modifiers, button=BUTTONS[key])
    keysym = int(lib.mc_keysym_from_name(key.encode()))
    if keysym == 0:
        raise ConfigError(
            f'"{key}" in "{text}" is no key',
            where=where,
            todo="xkb's key names are meant (Return, space, F1, XF86AudioMute, q, exclam), or " + ", ".join(BUTTONS),
        )
    return Combination(modifiers, keysym=keysym)
