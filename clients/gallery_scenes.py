"""The scenes of `gallery`: each builds elements on a Shell and returns when all of them were shown.

COLOURS is the contract with tests: no two elements share a colour, and nothing is drawn in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pywayland.protocol.wayland import WlSeat, WlSubsurface
from pywayland.protocol.xdg_decoration_unstable_v1 import ZxdgToplevelDecorationV1
from pywayland.protocol.xdg_shell import XdgPositioner

from gallery_protocols import load_layer_shell
from gallery_shell import Element, Shell

COLOURS = {
    "toplevel": 0x3366CC,
    "dialog": 0xCC6633,
    "popup": 0x33CC66,
    "nested-popup": 0xCCCC33,
    "subsurface-lower": 0xCC3333,  # above the window
    "subsurface-upper": 0x33CCCC,  # above subsurface-lower, which it overlaps
    "subsurface-below": 0x9933CC,  # below the window, sticks out at its upper left
    "layer-top": 0x666699,
    "layer-overlay": 0xFF3399,
    "cursor": 0xFF00FF,
    "viewport-scaled": 0x0099FF,
    "viewport-cropped": 0x99FF00,  # the right half of its buffer; the left half must not be seen:
    "viewport-hidden": 0xFF9900,
    "decorated": 0x336666,
    "fullscreen": 0x202060,
}
WIDTH, HEIGHT = 320, 240


def toplevel(
    shell: Shell, name: str = "toplevel", width: int = WIDTH, height: int = HEIGHT, parent: Element | None = None
) -> Element:
    """A window of 320x240, or the size that the compositor sends; with a parent, a dialog of fixed size."""
    element = Element(shell, name, COLOURS[name], width, height)
    xdg_surface = shell.wm_base.get_xdg_surface(element.surface)
    role = xdg_surface.get_toplevel()
    element.proxies += [xdg_surface, role]
    asked = {"size": (0, 0)}

    def on_toplevel_configure(_: Any, wanted_width: int, wanted_height: int, states: Any) -> None:
        asked["size"] = (wanted_width, wanted_height)

    def on_configure(surface: Any, serial: int) -> None:
        surface.ack_configure(serial)
        element.width = asked["size"][0] or width
        element.height = asked["size"][1] or height
        element.paint()

    shell.listen(role, "configure", on_toplevel_configure)
    shell.listen(xdg_surface, "configure", on_configure)
    role.set_title(f"gallery {name}")
    role.set_app_id("minicomp.gallery")
    if parent is not None:
        element.parent = parent.name
        role.set_parent(parent.proxies[1])
        role.set_min_size(width, height)
        role.set_max_size(width, height)
    if name == "fullscreen":
        role.set_fullscreen(None)
    if name == "decorated":
        _decorate(shell, element, role)
    element.surface.commit()
    shell.wait_until_shown()
    return element


def _decorate(shell: Shell, element: Element, role: Any) -> None:
    """Asks for the compositor's decoration; what it granted is `decoration` in the ready record."""
    decoration = shell.bind_decoration_manager().get_toplevel_decoration(role)
    element.proxies.append(decoration)

    def on_mode(_: Any, mode: int) -> None:
        element.extra["decoration"] = ZxdgToplevelDecorationV1.mode(mode).name

    shell.listen(decoration, "configure", on_mode)
    decoration.set_mode(ZxdgToplevelDecorationV1.mode.server_side.value)


def dialog(shell: Shell, parent: Element) -> Element:
    """A child window (xdg_toplevel.set_parent) of 160x100."""
    return toplevel(shell, "dialog", 160, 100, parent)


def popup(shell: Shell, parent: Element, name: str = "popup", width: int = 100, height: int = 80) -> Element:
    """Below the parent's rectangle (20,20 50x30), at its left edge; slides or flips where there is no room."""
    element = Element(shell, name, COLOURS[name], width, height)
    element.parent = parent.name
    positioner = shell.wm_base.create_positioner()
    positioner.set_size(width, height)
    positioner.set_anchor_rect(20, 20, 50, 30)
    positioner.set_anchor(XdgPositioner.anchor.bottom_left.value)
    positioner.set_gravity(XdgPositioner.gravity.bottom_right.value)
    adjustment = XdgPositioner.constraint_adjustment
    positioner.set_constraint_adjustment(
        adjustment.slide_x.value | adjustment.slide_y.value | adjustment.flip_x.value | adjustment.flip_y.value
    )
    xdg_surface = shell.wm_base.get_xdg_surface(element.surface)
    role = xdg_surface.get_popup(parent.proxies[0], positioner)
    positioner.destroy()
    element.proxies += [xdg_surface, role]

    def on_popup_configure(_: Any, x: int, y: int, given_width: int, given_height: int) -> None:
        element.x, element.y = x, y
        element.width, element.height = given_width, given_height

    def on_configure(surface: Any, serial: int) -> None:
        surface.ack_configure(serial)
        element.paint()

    shell.listen(role, "configure", on_popup_configure)
    shell.listen(xdg_surface, "configure", on_configure)
    element.surface.commit()
    shell.wait_until_shown()
    return element


def subsurfaces(shell: Shell, parent: Element) -> None:
    """Two overlapping above the window, one below it that sticks out by 20 px at the upper left."""
    subcompositor = shell.bind_subcompositor()

    def add(name: str, x: int, y: int) -> tuple[Element, WlSubsurface]:
        element = Element(shell, name, COLOURS[name], 80, 60)
        element.parent, element.x, element.y = parent.name, x, y
        role = subcompositor.get_subsurface(element.surface, parent.surface)
        role.set_position(x, y)
        element.proxies.append(role)
        element.paint()
        return element, role

    lower, _ = add("subsurface-lower", 120, 20)
    _, upper_role = add("subsurface-upper", 160, 50)
    _, below_role = add("subsurface-below", -20, -20)
    upper_role.place_above(lower.surface)
    below_role.place_below(parent.surface)
    # Synchronized: stacking, positions and contents take effect with this commit.
    parent.surface.commit()
    shell.wait_until_shown()


def layer(shell: Shell, name: str) -> Element:
    """layer-top: a bar of 32 px along the top edge with an exclusive zone; layer-overlay: 200x100 at the
    middle of the bottom edge."""
    protocol = load_layer_shell()
    top = name == "layer-top"
    width, height = (0, 32) if top else (200, 100)
    element = Element(shell, name, COLOURS[name], width, height)
    layers = protocol.ZwlrLayerShellV1.layer
    role = shell.bind_layer_shell().get_layer_surface(
        element.surface, None, (layers.top if top else layers.overlay).value, f"gallery-{name}"
    )
    element.proxies.append(role)
    role.set_size(width, height)
    anchor = protocol.ZwlrLayerSurfaceV1.anchor
    if top:
        role.set_anchor(anchor.top.value | anchor.left.value | anchor.right.value)
        role.set_exclusive_zone(height)
    else:
        role.set_anchor(anchor.bottom.value)

    def on_configure(surface: Any, serial: int, given_width: int, given_height: int) -> None:
        surface.ack_configure(serial)
        element.width, element.height = given_width or element.width, given_height or element.height
        element.paint()

    shell.listen(role, "configure", on_configure)
    element.surface.commit()
    shell.wait_until_shown()
    return element


def cursor(shell: Shell) -> None:
    """A square cursor of 16x16, hotspot at its upper left, set whenever the pointer enters one of our surfaces.

    It is not an element: nothing is to be seen until there is a pointer over the window.
    """
    seat = shell.bind_seat()
    surface = shell.compositor.create_surface()
    buffer = shell.create_buffer(16, 16, lambda x: COLOURS["cursor"])
    shell.keep += [surface, buffer]

    def on_enter(pointer: Any, serial: int, *rest: Any) -> None:
        pointer.set_cursor(serial, surface, 0, 0)
        surface.attach(buffer, 0, 0)
        surface.damage_buffer(0, 0, 16, 16)
        surface.commit()

    def on_capabilities(_: Any, capabilities: int) -> None:
        if capabilities & WlSeat.capability.pointer.value:
            pointer = seat.get_pointer()
            shell.keep.append(pointer)
            shell.listen(pointer, "enter", on_enter)

    shell.listen(seat, "capabilities", on_capabilities)
    shell.roundtrip()


def viewporter(shell: Shell, parent: Element) -> None:
    """Two subsurfaces: a 4x4 buffer scaled to 80x60, and the right half of a 40x30 buffer scaled to 80x60."""
    manager = shell.bind_viewporter()
    subcompositor = shell.bind_subcompositor()

    def add(name: str, x: int, y: int, buffer: Any, size: tuple[int, int], source: tuple[int, ...] | None) -> None:
        element = Element(shell, name, COLOURS[name], 80, 60)
        element.parent, element.x, element.y = parent.name, x, y
        role = subcompositor.get_subsurface(element.surface, parent.surface)
        role.set_position(x, y)
        viewport = manager.get_viewport(element.surface)
        viewport.set_destination(80, 60)
        if source is not None:
            viewport.set_source(*source)
        element.proxies += [role, viewport]
        element.attach(buffer, *size)

    flat = shell.create_buffer(4, 4, lambda x: COLOURS["viewport-scaled"])
    halves = shell.create_buffer(40, 30, lambda x: COLOURS["viewport-hidden" if x < 20 else "viewport-cropped"])
    add("viewport-scaled", 20, 160, flat, (4, 4), None)
    # One pixel inside the half, so that a filter that reads neighbours mixes nothing in.
    add("viewport-cropped", 120, 160, halves, (40, 30), (21, 1, 18, 28))
    parent.surface.commit()
    shell.wait_until_shown()


def _nested_popup(shell: Shell) -> None:
    popup(shell, popup(shell, toplevel(shell)), "nested-popup", 60, 40)


def _layer(name: str) -> Callable[[Shell], None]:
    def scene(shell: Shell) -> None:
        layer(shell, name)
        toplevel(shell)

    return scene


def _cursor(shell: Shell) -> None:
    cursor(shell)
    toplevel(shell)


def _all(shell: Shell) -> None:
    layer(shell, "layer-top")
    cursor(shell)
    window = toplevel(shell)
    subsurfaces(shell, window)
    viewporter(shell, window)
    toplevel(shell, "decorated", 160, 120)
    dialog(shell, window)
    popup(shell, popup(shell, window), "nested-popup", 60, 40)
    layer(shell, "layer-overlay")


SCENES: dict[str, Callable[[Shell], object]] = {
    "toplevel": toplevel,
    "dialog": lambda shell: dialog(shell, toplevel(shell)),
    "popup": lambda shell: popup(shell, toplevel(shell)),
    "nested-popup": _nested_popup,
    "subsurfaces": lambda shell: subsurfaces(shell, toplevel(shell)),
    "layer-top": _layer("layer-top"),
    "layer-overlay": _layer("layer-overlay"),
    "cursor": _cursor,
    "viewporter": lambda shell: viewporter(shell, toplevel(shell)),
    "decorations": lambda shell: toplevel(shell, "decorated"),
    "fullscreen": lambda shell: toplevel(shell, "fullscreen"),
    "all": _all,
}
