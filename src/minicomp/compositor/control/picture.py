"""The method screenshot: copies an output's next frame, turns it upright, and makes a PNG of it.

Written with zlib alone, so that minicomp needs no image library at run time. PNG: https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import base64
import errno
import os
import stat
import struct
import time
import zlib
from array import array
from typing import Any

from minicomp.compositor.capture import LOOK_AGAIN_MS, next_frame
from minicomp.compositor.control.context import Context
from minicomp.compositor.control.jsonrpc import RpcError, Waiting
from minicomp.compositor.outputs import Output
from minicomp.msg.interface import INVALID_PARAMS, NOT_FOUND, REFUSED, TIMED_OUT

CAPTURE_WAIT_S = 5.0
_FASTEST = 1  # zlib level: a screenshot is looked at once, usually
_COLOUR_TYPE_RGB = 2


class Picturing:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._server = context.compositor.server
        self._busy: set[int] = set()  # outputs of which a copy was asked for: there is one at a time

    def screenshot(self, output: str, path: str) -> Waiting:
        if path and not path.startswith("/"):
            raise RpcError(INVALID_PARAMS, "screenshot: path must be absolute")
        found = self._context.output(output) if output else self._context.first_output_on()
        width, height, pixels = yield from self._capture(found)
        width, height, upright = turn_upright(width, height, pixels, found.transform)
        data = png(width, height, upright)
        answer: dict[str, Any] = {"output": found.name, "width": width, "height": height, "bytes": len(data)}
        if path:
            _write(path, data)
            return {**answer, "path": path}
        return {**answer, "png": base64.b64encode(data).decode("ascii")}

    def _capture(self, output: Output) -> Waiting:
        """The next frame that is composed. Raises RpcError."""
        deadline = time.monotonic() + CAPTURE_WAIT_S
        while output.handle in self._busy:  # for another connection
            yield LOOK_AGAIN_MS
        self._busy.add(output.handle)
        try:
            return (yield from next_frame(self._server, output, deadline - time.monotonic()))
        except OSError as error:
            raise _refusal(output.name, error) from None
        finally:
            self._busy.discard(output.handle)


def _refusal(name: str, error: OSError) -> RpcError:
    if error.errno == errno.EINVAL:
        return RpcError(REFUSED, f"output {name} is switched off")
    if error.errno == errno.ENOENT:
        return RpcError(NOT_FOUND, f"output {name} was unplugged meanwhile")
    if error.errno == errno.EAGAIN:
        return RpcError(
            TIMED_OUT,
            f"output {name} composed no frame within {CAPTURE_WAIT_S:g} s",
            {"todo": "with the step clock, advance it from another connection meanwhile"},
        )
    return RpcError(REFUSED, f"output {name}: {error.strerror}")


def turn_upright(width: int, height: int, pixels: bytes | bytearray, transform: str) -> tuple[int, int, bytes]:
    """Undoes an output's transform: frames are kept as the turned screen shows them.

    wl_output.transform turns counter-clockwise, after mirroring left and right where it is "flipped".
    """
    flipped, _, degrees = transform.rpartition("-") if "-" in transform else ("", "", transform)
    if transform == "flipped":
        flipped, degrees = "flipped", "normal"
    grid = array("I", bytes(pixels))
    rows = [grid[start : start + width] for start in range(0, width * height, width)]
    if degrees == "180":
        rows = [row[::-1] for row in reversed(rows)]
    elif degrees in ("90", "270"):
        columns = [grid[x::width] for x in range(width)]
        rows = columns[::-1] if degrees == "270" else [column[::-1] for column in columns]
        width, height = height, width
    if flipped:
        rows = [row[::-1] for row in rows]
    return width, height, b"".join(row.tobytes() for row in rows)


def png(width: int, height: int, pixels: bytes) -> bytes:
    """An RGB PNG file of XRGB8888 pixels."""
    rgb = bytearray(width * height * 3)
    for channel, offset in enumerate((2, 1, 0)):  # blue, green, red, unused in memory
        rgb[channel::3] = pixels[offset::4]
    stride = width * 3
    unfiltered = b"".join(b"\0" + rgb[start : start + stride] for start in range(0, stride * height, stride))
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE_RGB, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(unfiltered, _FASTEST)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _write(path: str, data: bytes) -> None:
    """Raises RpcError. Regular files only: opening a pipe would wait for its reader."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, 0o644)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise RpcError(REFUSED, f"{path}: not a regular file")
            os.ftruncate(fd, 0)
            with open(fd, "wb", closefd=False) as file:
                file.write(data)
        finally:
            os.close(fd)
    except OSError as error:
        raise RpcError(REFUSED, f"{path}: {error.strerror}") from None
