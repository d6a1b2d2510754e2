"""Layer-shell surfaces: panels, backgrounds, lock screens, on-screen keyboards, and how they share an output.

`arrange` is the rule of wlr-layer-shell-unstable-v1 as a pure function: each surface gets the box that its anchors,
margins and size ask for, and those with an exclusive zone take it from the area that is left for windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from minicomp.compositor.geometry import Box
from minicomp.compositor.windows import done, text_of

if TYPE_CHECKING:
    from minicomp.compositor.outputs import Output
    from minicomp.compositor.server import Compositor

BACKGROUND, BOTTOM, TOP, OVERLAY = range(4)
ANCHOR_TOP, ANCHOR_BOTTOM, ANCHOR_LEFT, ANCHOR_RIGHT = 1, 2, 4, 8
_ACROSS, _DOWN = ANCHOR_LEFT | ANCHOR_RIGHT, ANCHOR_TOP | ANCHOR_BOTTOM
KEYBOARD_NONE, KEYBOARD_EXCLUSIVE, KEYBOARD_ON_DEMAND = range(3)
IGNORE_ZONES = -1
_LIST_MAX = 1024


class Wish(NamedTuple):
    """What a layer surface asks for; numbers as in the protocol, sizes in layout units."""

    layer: int = TOP
    anchor: int = 0
    width: int = 0  # 0: as wide as left and right anchors are apart
    height: int = 0
    exclusive_zone: int = 0
    margin_top: int = 0
    margin_right: int = 0
    margin_bottom: int = 0
    margin_left: int = 0
    keyboard: int = KEYBOARD_NONE


def _axis(start: int, length: int, wanted: int, before: bool, after: bool, margins: tuple[int, int]) -> tuple[int, int]:
    """Position and length along one axis; `before` and `after`: anchored at its start, its end."""
    if wanted == 0:
        return start + margins[0], max(1, length - margins[0] - margins[1])
    if before == after:
        return start + (length - wanted) // 2, wanted
    if before:
        return start + margins[0], wanted
    return start + length - wanted - margins[1], wanted


def _box_for(wish: Wish, area: Box) -> Box:
    anchor = wish.anchor
    x, width = _axis(
        area.x, area.width, wish.width,
        bool(anchor & ANCHOR_LEFT), bool(anchor & ANCHOR_RIGHT), (wish.margin_left, wish.margin_right),
    )  # fmt: skip
    y, height = _axis(
        area.y, area.height, wish.height,
        bool(anchor & ANCHOR_TOP), bool(anchor & ANCHOR_BOTTOM), (wish.margin_top, wish.margin_bottom),
    )  # fmt: skip
    return Box(x, y, width, height)


def _less_zone(wish: Wish, area: Box) -> Box:
    """The area without the surface's exclusive zone, which counts at the one edge that it is attached to."""
    zone, x, y, width, height = wish.exclusive_zone, *area
    if wish.anchor in (ANCHOR_TOP, ANCHOR_TOP | _ACROSS):
        taken = max(0, min(height, zone + wish.margin_top))
        y, height = y + taken, height - taken
    elif wish.anchor in (ANCHOR_BOTTOM, ANCHOR_BOTTOM | _ACROSS):
        height -= max(0, min(height, zone + wish.margin_bottom))
    elif wish.anchor in (ANCHOR_LEFT, ANCHOR_LEFT | _DOWN):
        taken = max(0, min(width, zone + wish.margin_left))
        x, width = x + taken, width - taken
    elif wish.anchor in (ANCHOR_RIGHT, ANCHOR_RIGHT | _DOWN):
        width -= max(0, min(width, zone + wish.margin_right))
    return Box(x, y, width, height)


def arrange(output: Box, wishes: Sequence[tuple[Wish, bool]]) -> tuple[list[Box], Box]:
    """Boxes for the surfaces of one output, in the order given, and the area left for windows.

    wishes: what each asks for and whether it is mapped; only mapped ones take their zone. Zones are given from the
    overlay layer down, within a layer in the order given; surfaces without a zone come last, so that they keep clear of
    all zones.
    """
    boxes = [output] * len(wishes)
    usable = output
    order = sorted(range(len(wishes)), key=lambda index: -wishes[index][0].layer)
    for zoned in (True, False):
        for index in order:
            wish, mapped = wishes[index]
            if (wish.exclusive_zone > 0) is not zoned:
                continue
            boxes[index] = _box_for(wish, output if wish.exclusive_zone == IGNORE_ZONES else usable)
            if zoned and mapped:
                usable = _less_zone(wish, usable)
    return boxes, usable


class Layer:
    """One layer surface. Verbs return False when it is gone, as those of Window."""

    def __init__(self, compositor: Compositor, handle: int) -> None:
        self.handle = handle
        self._compositor = compositor
        self.namespace = ""  # what the client calls it: "panel", "wallpaper", ...
        self.pid = 0
        self.output_handle = 0
        self.wish = Wish()
        self.waiting = False
        self.mapped = False
        self.box = Box(0, 0, 0, 0)

    def __repr__(self) -> str:
        return f"<Layer {self.handle:#x} {self.namespace!r}>"

    @property
    def wants_keyboard(self) -> bool:
        """It may take the keyboard from windows at any time: a lock screen, a launcher."""
        return self.mapped and self.wish.keyboard == KEYBOARD_EXCLUSIVE and self.wish.layer >= TOP

    def refresh(self) -> bool:
        compositor = self._compositor
        info = compositor.ffi.new("struct mc_layer_info *")
        if not done(compositor.lib.mc_layer_get_info(compositor.server, self.handle, info)):
            return False
        self.namespace = text_of(compositor.ffi, info.name_space)
        self.pid = info.pid
        self.output_handle = info.output
        self.waiting = info.waiting
        self.mapped = info.mapped
        self.box = Box(info.x, info.y, info.width, info.height)
        self.wish = Wish(
            layer=info.layer,
            anchor=info.anchor,
            width=info.desired_width,
            height=info.desired_height,
            exclusive_zone=info.exclusive_zone,
            margin_top=info.margin_top,
            margin_right=info.margin_right,
            margin_bottom=info.margin_bottom,
            margin_left=info.margin_left,
            keyboard=info.keyboard_interactivity,
        )
        return True

    def configure(self, box: Box) -> bool:
        """Tells the client its size and puts the surface there."""
        lib, server = self._compositor.lib, self._compositor.server
        self.box = box
        placed = done(lib.mc_layer_place_at(server, self.handle, box.x, box.y))
        return placed and done(lib.mc_layer_configure(server, self.handle, box.width, box.height))

    def focus(self) -> bool:
        return done(self._compositor.lib.mc_seat_focus_layer(self._compositor.server, self.handle))

    def close(self) -> bool:
        return done(self._compositor.lib.mc_layer_close(self._compositor.server, self.handle))


class Layers:
    """The layer surfaces that the policy knows, oldest first, and their arrangement."""

    def __init__(self, compositor: Compositor) -> None:
        self._compositor = compositor
        self._layers: dict[int, Layer] = {}

    def get(self, handle: int) -> Layer | None:
        return self._layers.get(handle)

    def __iter__(self) -> Iterator[Layer]:
        return iter(list(self._layers.values()))

    def add(self, handle: int) -> Layer:
        layer = self._layers.get(handle)
        if layer is None:
            layer = self._layers[handle] = Layer(self._compositor, handle)
        return layer

    def remove(self, handle: int) -> Layer | None:
        return self._layers.pop(handle, None)

    def native_handles(self) -> list[int]:
        handles = self._compositor.ffi.new("uint64_t[]", _LIST_MAX)
        count = self._compositor.lib.mc_layers_list(self._compositor.server, handles, _LIST_MAX)
        return list(handles[0 : min(count, _LIST_MAX)])

    def with_keyboard(self) -> Layer | None:
        """The layer surface that must have the keyboard: of those that demand it, the topmost and newest."""
        return max((layer for layer in reversed(list(self)) if layer.wants_keyboard),
                   key=lambda layer: layer.wish.layer, default=None)  # fmt: skip

    def arrange_on(self, output: Output) -> bool:
        """Sizes and places the output's layer surfaces. True when the area left for windows changed."""
        here = [layer for layer in self if layer.output_handle == output.handle]
        boxes, usable = arrange(Box(*output.box), [(layer.wish, layer.mapped) for layer in here])
        for layer, box in zip(here, boxes, strict=True):
            layer.configure(box)
        if usable == output.usable:
            return False
        lib = self._compositor.lib
        return done(lib.mc_output_set_usable(self._compositor.server, output.handle, *usable))
