"""Copying an output's next composed frame: for pictures that code in this process wants (wait_for_frame), and for those
that a control connection asked for, which must not hold up the others (next_frame)."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from minicomp.errors import MinicompError
from minicomp.native.wlr import ffi, lib

if TYPE_CHECKING:
    from minicomp.compositor.outputs import Output

LOOK_AGAIN_MS = 2.0

Frame = tuple[int, int, bytes]
"""Width and height in pixels, XRGB8888 rows from the top, in buffer orientation (before the output's transform)."""


def next_frame(server: Any, output: Output, timeout_s: float) -> Generator[float, None, Frame]:
    """Yields milliseconds to wait before it goes on, returns the frame. One at a time of each output.

    Raises OSError: EINVAL when the output is switched off, ENOENT when it is gone, EAGAIN when no frame is composed in
    time, EIO when it cannot be read.
    """
    deadline = time.monotonic() + timeout_s
    result = lib.mc_output_capture(server, output.handle)
    pixels = bytearray(output.mode_width * output.mode_height * 4)
    width, height = ffi.new("int32_t *"), ffi.new("int32_t *")
    while result == 0:
        result = lib.mc_output_capture_take(
            server, output.handle, ffi.from_buffer("uint8_t[]", pixels), len(pixels), width, height
        )
        size = width[0] * height[0] * 4
        if result == 0:
            return width[0], height[0], bytes(memoryview(pixels)[:size])
        if result == -errno.ENOSPC:  # its mode changed meanwhile
            pixels, result = bytearray(size), 0
        elif result == -errno.EAGAIN and time.monotonic() < deadline:
            yield LOOK_AGAIN_MS
            result = 0
    raise OSError(-result, os.strerror(-result))


def wait_for_frame(server: Any, output: Output, timeout_s: float) -> Frame:
    """Raises MinicompError when there is none in time."""
    steps = next_frame(server, output, timeout_s)
    while True:
        try:
            time.sleep(next(steps) / 1000)
        except StopIteration as stop:
            frame: Frame = stop.value
            return frame
        except OSError as error:
            raise MinicompError(f"output {output.name}: no frame was captured: {error.strerror}") from None
