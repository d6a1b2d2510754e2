"""The kiosk with Python kept busy beside it: does any frame wait for the interpreter? (docs/lab.md, gc-and-gil)

Option `busy`: "gil" computes without end on a Python thread, which gives the interpreter lock away every 5 ms only
(sys.getswitchinterval); "gc" also makes garbage in circles and collects all of it, which keeps the lock for tens of
milliseconds; "none" (default) is the plain kiosk. For experiments; nothing else wants it.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from minicomp.errors import ConfigError
from minicomp.shell.kiosk import Kiosk

if TYPE_CHECKING:
    from minicomp.compositor.server import Compositor

CIRCLES = 20_000
"""A full collection of them takes about 10 ms."""


class BusyKiosk(Kiosk):
    OPTIONS: ClassVar[Mapping[str, type]] = {**Kiosk.OPTIONS, "busy": str}

    def __init__(self, compositor: Compositor, options: Mapping[str, Any]) -> None:
        super().__init__(compositor, options)
        kinds = {"none": None, "gil": _compute, "gc": _make_garbage}
        name = options.get("busy", "none")
        if name not in kinds:
            raise ConfigError(f"must be one of {', '.join(kinds)}", where="policy.options.busy")
        self._work = kinds[name]

    def on_start(self) -> None:
        super().on_start()
        if self._work is not None:
            threading.Thread(target=self._work, name="busy", daemon=True).start()


def _compute() -> None:
    number = 1
    while True:
        number = number * 1103515245 + 12345 & 0x7FFFFFFF


def _make_garbage() -> None:
    while True:
        circles: list[list[Any]] = []
        for _ in range(CIRCLES):
            circle: list[Any] = []
            circle.append(circle)
            circles.append(circle)
        circles.clear()
        gc.collect()
