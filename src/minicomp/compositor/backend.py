"""Chooses and creates the wlroots backend: KMS, the modelled display, or a window on a developer's desktop.

pywlroots' `lib` is used directly, not its wrapper classes: those import 70 ms worth of modules and carry destructors
that run in an order of their own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from minicomp.errors import PreconditionError
from minicomp.native.wlr import lib

if TYPE_CHECKING:
    from minicomp.config import Config

from wlroots import lib as wlr

log = logging.getLogger("minicomp.server")

Kind = Literal["drm", "headless", "nested"]


def has_display_card() -> bool:
    """Whether the kernel shows a display device."""
    try:
        return any(name.startswith("card") for name in os.listdir("/dev/dri"))
    except FileNotFoundError:
        return False


def _cards() -> list[str]:
    return sorted(f"/dev/dri/{name}" for name in os.listdir("/dev/dri") if name.startswith("card"))


def choose_kind(configured: str) -> Kind:
    """Resolves `auto`: drm where there is a display card, headless where there is none.

    A card without a usable seat is not silently replaced by headless: starting the drm backend then fails with what is
    missing.
    """
    if configured == "auto":
        return "drm" if has_display_card() else "headless"
    assert configured in ("drm", "headless", "nested")
    return configured  # type: ignore[return-value]


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """Sets variables that wlroots reads only while something is created, so that clients do not inherit them; None
    takes one away."""
    before = {name: os.environ.get(name) for name in values}
    _set_variables(values)
    try:
        yield
    finally:
        _set_variables(before)


def _set_variables(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def create_backend(server: Any, display: Any, kind: Kind, gpu: str = "") -> Any:
    """A `struct wlr_backend *`, not started. Raises PreconditionError that says what is missing."""
    if kind == "headless":
        backend = lib.mc_vdisplay_create(server, display)
        if not backend:
            raise MemoryError("modelled display")
        return backend
    if kind == "nested":
        # wlroots looks for the two by itself; asked for one in WLR_BACKENDS, it aborts when that cannot be reached.
        variables: dict[str, str | None] = {"WLR_BACKENDS": None}
        if not os.environ.get("WAYLAND_DISPLAY"):
            variables |= {"WAYLAND_DISPLAY": None, "WAYLAND_SOCKET": None}
        if "WAYLAND_DISPLAY" in variables and not os.environ.get("DISPLAY"):
            raise PreconditionError(
                "the nested backend needs a desktop to open a window on",
                where="backend.kind",
                todo="set WAYLAND_DISPLAY or DISPLAY, or use --backend headless",
            )
    else:
        if not has_display_card():
            raise PreconditionError(
                "there is no display card (/dev/dri/card*)",
                where="backend.kind",
                todo="load the graphics driver, or use --backend headless",
            )
        variables = {"WLR_BACKENDS": "libinput,drm", **({"WLR_DRM_DEVICES": gpu} if gpu else {})}
        for device in gpu.split(":") if gpu else ():
            if not os.path.exists(device):
                raise PreconditionError(
                    f"there is no {device}", where="backend.gpu", todo=f"there are: {', '.join(_cards())}"
                )
        if os.geteuid() == 0:
            log.warning("running as root: seatd and logind give a user of its own what a screen needs (docs/kiosk.md)")
    with environment(**variables):
        backend = wlr.wlr_backend_autocreate(display)
    if not backend:
        raise PreconditionError(
            f"wlroots could not open the {kind} backend (its messages are above)",
            where="backend.kind",
            todo="a seat is needed: run from a TTY with seatd or logind; `minicomp doctor --for kiosk` says more"
            if kind == "drm"
            else "is the desktop's socket reachable?",
        )
    return backend


def renderer_name(config: Config, kind: Kind) -> str:
    """What the config names; `auto` is pixman on the modelled display, else left to wlroots."""
    name = config.backend.renderer
    return "pixman" if name == "auto" and kind == "headless" else name


def create_renderer(backend: Any, name: str, kind: Kind) -> Any:
    """A `struct wlr_renderer *` of the kind `renderer_name` gave. Raises PreconditionError."""
    if name == "pixman":
        renderer = lib.mc_pixman_renderer_create()
    else:
        with environment(**({} if name == "auto" else {"WLR_RENDERER": name})):
            renderer = wlr.wlr_renderer_autocreate(backend)
    if not renderer:
        raise PreconditionError(
            f"no {name} renderer can be made for the {kind} backend (wlroots' messages are above)",
            where="backend.renderer",
            todo="use --set backend.renderer=pixman, which needs no GPU",
        )
    return renderer
