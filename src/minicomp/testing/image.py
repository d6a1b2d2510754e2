"""Pictures of outputs: saving, loading and comparing them.

Pixels are XRGB8888 rows from the top, as `Compositor.capture` returns them: 4 bytes a pixel, blue, green, red, unused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def to_image(width: int, height: int, pixels: bytes) -> Image:
    """A Pillow RGB image of XRGB8888 pixels."""
    from PIL import Image

    return Image.frombytes("RGB", (width, height), pixels, "raw", "BGRX")


def save_png(path: Path | str, width: int, height: int, pixels: bytes) -> None:
    to_image(width, height, pixels).save(path)


@dataclass(frozen=True)
class Difference:
    """How two pictures differ. `share` is the share of pixels (0 to 1) off by more than the tolerance."""

    share: float
    worst: int  # the largest difference of one colour channel, 0 to 255
    box: tuple[int, int, int, int] | None  # left, top, right, bottom around what differs

    def __bool__(self) -> bool:
        return self.share > 0


def compare(actual: Image, expected: Image, *, tolerance: int = 0) -> Difference:
    """Compares two pictures channel by channel; a pixel within `tolerance` (0 to 255) in each counts as equal.

    Raises ValueError when the sizes differ: that is never a fuzzy match.
    """
    from PIL import ImageChops

    if actual.size != expected.size:
        raise ValueError(f"sizes differ: {actual.size} and {expected.size}")
    difference = ImageChops.difference(actual.convert("RGB"), expected.convert("RGB"))
    bands = [band.point(lambda value: 255 if value > tolerance else 0) for band in difference.split()]
    off = ImageChops.lighter(ImageChops.lighter(bands[0], bands[1]), bands[2])
    count = off.histogram()[255]
    worst = max(high for _, high in difference.getextrema())  # type: ignore[misc]
    return Difference(count / (off.width * off.height), int(worst), off.getbbox())
