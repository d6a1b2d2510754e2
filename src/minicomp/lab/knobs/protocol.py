"""What compositor and helper say to each other: one JSON object a line over a stream socket.

helper      {"hello": 1, "left": [...]}            it runs; what it restored of journals that killed helpers left
compositor  {"id": 1, "knob": "...", "do": {"kind": ..., ...}}      an operation (operations.to_wire)
compositor  {"id": 2, "undo": "..."}                                what was done for that knob
helper      {"id": 1, "ok": true, "failed": [...]}                  failed: what an undo could not undo, in words
helper      {"id": 1, "errno": 13, "file": "..."}                   the kernel refused
helper      {"id": 1, "forbidden": "..."}                           the helper refused
helper      {"bye": [...]}                         the compositor has shut its end; all is undone but what is listed
"""

from __future__ import annotations

import json
from typing import Any

LONGEST_LINE_BYTES = 8192
SOCKET = "/run/minicomp-helper.socket"
"""Where systemd listens for the helper (configs/systemd/minicomp-helper.socket)."""


class BadLine(Exception):
    """What came is not the protocol."""


class Lines:
    """Takes a byte stream apart into JSON objects."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The whole messages so far. Raises BadLine."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE_BYTES or any(len(line) > LONGEST_LINE_BYTES for line in lines):
            raise BadLine(f"a line is longer than {LONGEST_LINE_BYTES} bytes")
        return [self._message(line) for line in lines]

    @staticmethod
    def _message(line: bytes) -> dict[str, Any]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadLine(f"not JSON: {error}") from None
        if not isinstance(value, dict):
            raise BadLine("not an object")
        return value


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
