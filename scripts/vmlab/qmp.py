"""QEMU's monitor protocol, and what a person does at the machine in its terms: look, type, point, plug.

One command at a time; events are passed over unless someone waits for one (`wait_event`). Protocol:
https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
"""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

from .errors import GuestDied, LabError

# A tablet's and a touch screen's axes run from 0 to this, whatever the screen's size.
ABSOLUTE_MAX = 0x7FFF
ANSWER_TIMEOUT_S = 30
BUTTONS = {"left", "middle", "right", "wheel-up", "wheel-down", "wheel-left", "wheel-right", "side", "extra"}


class Qmp:
    def __init__(self, path: Path, timeout_s: float) -> None:
        self._socket = connect(path, timeout_s)
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        self._input = b""
        self._events: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._read_message()  # the greeting
        self.execute("qmp_capabilities")

    def close(self) -> None:
        self._socket.close()

    def execute(self, command: str, **arguments: Any) -> Any:
        """The command's return value; LabError with QEMU's own text when it refuses. Safe from any thread."""
        message = {"execute": command, "arguments": arguments}
        with self._lock:
            try:
                self._socket.sendall(json.dumps(message).encode() + b"\n")
                while True:
                    answer = self._read_message()
                    if "error" in answer:
                        raise LabError(f"QEMU refused {command}: {answer['error']['desc']}")
                    if "return" in answer:
                        return answer["return"]
                    self._events.append(answer)
            except OSError as error:
                raise GuestDied(f"QEMU does not answer {command}: {error}") from None

    def wait_event(self, name: str, timeout_s: float, **data: Any) -> dict[str, Any]:
        """The next event called `name` whose data has the given items; events already received count."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            self.execute("query-status")  # collects what has arrived
            for index, event in enumerate(self._events):
                if event.get("event") == name and data.items() <= event.get("data", {}).items():
                    return self._events.pop(index)
            if time.monotonic() > deadline_s:
                raise LabError(f"QEMU sent no {name} within {timeout_s:g} s")
            time.sleep(0.05)

    def screendump(self, target: Path, head: int = 0) -> None:
        """What the head shows now, as a PNG file."""
        self.execute("screendump", filename=str(target), format="png", device="vga0", head=head)

    def key(self, name: str, down: bool) -> None:
        """One key by its QKeyCode ("a", "ret", "ctrl", "f2") pressed or released."""
        key = {"type": "qcode", "data": name}
        self._input_events([{"type": "key", "data": {"key": key, "down": down}}])

    def button(self, name: str, down: bool) -> None:
        self._input_events([_button(name, down)])

    def move_to(self, x: float, y: float, head: int = 0) -> None:
        """Pointer (tablet) to a place on the screen: 0.0 is left or top, 1.0 right or bottom."""
        self._input_events([_axis("x", x), _axis("y", y)], head)

    def move_by(self, dx: int, dy: int) -> None:
        """Pointer (mouse) by counts."""
        steps = (("x", dx), ("y", dy))
        self._input_events([{"type": "rel", "data": {"axis": axis, "value": value}} for axis, value in steps])

    def touch(self, slot: int, kind: str, x: float = 0.0, y: float = 0.0, tracking_id: int = 0) -> None:
        """One finger: kind "begin", "update" or "end"; place as in `move_to`."""
        if kind == "end":
            # As QEMU's own touch input does it: the slot's finger becomes none.
            return self._input_events([_touch(slot, kind, -1), _button("touch", False)])
        places = (("x", x), ("y", y))
        moved = [_touch(slot, "data", tracking_id, axis, round(v * ABSOLUTE_MAX)) for axis, v in places]
        return self._input_events([_touch(slot, kind, tracking_id), _button("touch", True), *moved])

    def _input_events(self, events: list[dict[str, Any]], head: int = 0) -> None:
        self.execute("input-send-event", events=events, **({"device": "vga0", "head": head} if head else {}))

    def _read_message(self) -> dict[str, Any]:
        while b"\n" not in self._input:
            data = self._socket.recv(65536)
            if not data:
                raise GuestDied("QEMU closed its monitor")
            self._input += data
        line, _, self._input = self._input.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


def connect(path: Path, timeout_s: float) -> socket.socket:
    """A connection to a socket that another process is about to make."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
            return connection
        except OSError as error:
            connection.close()
            if time.monotonic() > deadline_s:
                raise GuestDied(f"QEMU did not open {path.name} within {timeout_s:g} s: {error}") from None
            time.sleep(0.02)


def _button(name: str, down: bool) -> dict[str, Any]:
    return {"type": "btn", "data": {"button": name, "down": down}}


def _axis(axis: str, place: float) -> dict[str, Any]:
    return {"type": "abs", "data": {"axis": axis, "value": round(place * ABSOLUTE_MAX)}}


def _touch(slot: int, kind: str, tracking_id: int, axis: str = "x", value: int = 0) -> dict[str, Any]:
    data = {"type": kind, "slot": slot, "tracking-id": tracking_id, "axis": axis, "value": value}
    return {"type": "mtt", "data": data}
