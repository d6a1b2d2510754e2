"""Display modes as text: `1920x1080@60`, `1280x720@59.94`, and `1280x720` where any refresh will do.

Refresh is kept in millihertz, as the Wayland protocol and wlroots do, so that 59.94 Hz is exact.
"""

from typing import NamedTuple

MODE_PATTERN = r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}@[1-9][0-9]{0,3}(\.[0-9]{1,3})?$"
"""WIDTHxHEIGHT@HZ, in pixels and hertz (up to three decimals)."""

OUTPUT_MODE_PATTERN = r"^(preferred|highest-refresh|[1-9][0-9]{0,4}x[1-9][0-9]{0,4}(@[1-9][0-9]{0,3}(\.[0-9]{1,3})?)?)$"


class Mode(NamedTuple):
    """A display mode; `refresh_mhz` is 0 where the text named none."""

    width: int
    height: int
    refresh_mhz: int

    def __str__(self) -> str:
        size = f"{self.width}x{self.height}"
        return f"{size}@{self.refresh_mhz / 1000:g}" if self.refresh_mhz else size


def parse_mode(text: str) -> Mode:
    """The mode that `text` names. Raises ValueError for anything but WIDTHxHEIGHT[@HZ], also for `preferred`."""
    size, _, refresh_hz = text.partition("@")
    width, by, height = size.partition("x")
    if not by:
        raise ValueError(f"{text!r} is not WIDTHxHEIGHT@HZ")
    return Mode(int(width), int(height), round(float(refresh_hz) * 1000) if refresh_hz else 0)
