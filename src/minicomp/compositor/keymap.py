"""What is wrong with the keyboard's settings when xkbcommon refuses them.

xkbcommon itself says no more than that compiling failed; trying the names one by one, and the list that comes with the
keyboard data (evdev.lst), tell which one it was. Imported only when there is something to say. (What xkbcommon ignores,
such as unknown options, it says in the log.)
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from minicomp.errors import ConfigError
from minicomp.native.wlr import ffi, lib

if TYPE_CHECKING:
    from minicomp.config.schema import KeyboardSettings

log = logging.getLogger("minicomp.input")


def explain(settings: KeyboardSettings) -> ConfigError:
    """The error for settings that xkbcommon made no keymap of."""
    names = _Names.read()
    layouts = settings.layout.split(",") if settings.layout else []
    variants = settings.variant.split(",") if settings.variant else []
    for layout in layouts:
        if not _compiles(layout=layout):
            return _unknown("layout", layout, names.layouts, "keyboard.layout")
    for layout, variant in zip(layouts or ["us"], variants, strict=False):
        if variant and not _compiles(layout=layout, variant=variant):
            known = {name for name, of in names.variants if of == layout}
            return _unknown("variant", f"{variant} of layout {layout}", known, "keyboard.variant", variant)
    if settings.rules and not _compiles(rules=settings.rules):
        return _unknown("rules", settings.rules, {"evdev", "base"}, "keyboard.rules")
    return ConfigError(
        "xkb refuses this combination of rules, model, layout, variant and options",
        where="keyboard",
        todo="its reasons are in the log with log.level=debug",
    )


def _compiles(rules: str = "", layout: str = "", variant: str = "") -> bool:
    names = (rules, "", layout, variant, "")
    return bool(lib.mc_keymap_compiles(*(name.encode() or ffi.NULL for name in names)))


def _unknown(what: str, name: str, known: set[str], where: str, word: str | None = None) -> ConfigError:
    near = get_close_matches(word or name, sorted(known), n=3, cutoff=0.5)
    todo = f"did you mean {' or '.join(near)}?" if near else "evdev.lst in xkb's rules lists the names"
    return ConfigError(f'xkb knows no {what} "{name}"', where=where, todo=todo)


@dataclass
class _Names:
    """What evdev.lst lists. Empty when there is no such file."""

    layouts: set[str] = field(default_factory=set)
    variants: set[tuple[str, str]] = field(default_factory=set)  # (variant, its layout)

    @classmethod
    def read(cls) -> _Names:
        names = cls()
        path = Path(os.environ.get("XKB_CONFIG_ROOT", "/usr/share/X11/xkb"), "rules", "evdev.lst")
        try:
            text = path.read_text()
        except OSError as error:
            log.debug("%s cannot be read: %s", path, error.strerror)
            return names
        section = ""
        for line in text.splitlines():
            words = line.split()
            if line.startswith("! "):
                section = words[1]
            elif words and section == "layout":
                names.layouts.add(words[0])
            elif len(words) > 1 and section == "variant":
                names.variants.add((words[0], words[1].rstrip(":")))
        return names
