"""Boxes in layout coordinates. Pure arithmetic; integers, layout units."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle: top-left corner and size. An output's `box` and `usable` are such tuples too: `Box(*output.box)`."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column to the right of it."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.y + self.height

    @property
    def empty(self) -> bool:
        return self.width <= 0 or self.height <= 0

    def contains(self, other: Box) -> bool:
        return self.x <= other.x and self.y <= other.y and other.right <= self.right and other.bottom <= self.bottom

    def overlap(self, other: Box) -> int:
        """The area they share."""
        width = min(self.right, other.right) - max(self.x, other.x)
        height = min(self.bottom, other.bottom) - max(self.y, other.y)
        return width * height if width > 0 and height > 0 else 0

    def centred(self, width: int, height: int) -> Box:
        """A box of that size with the same centre."""
        return Box(self.x + (self.width - width) // 2, self.y + (self.height - height) // 2, width, height)

    def clamp(self, other: Box) -> Box:
        """`other` moved inside; what is too large keeps its top-left corner in view."""
        x = max(self.x, min(other.x, self.right - other.width))
        y = max(self.y, min(other.y, self.bottom - other.height))
        return Box(x, y, other.width, other.height)
