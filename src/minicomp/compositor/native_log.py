"""What native threads, wlroots and libwayland log, handed to Python's logging: by the supervisor while the compositor
runs, and by a start that fails, since nobody else would say why."""

from __future__ import annotations

import logging
from typing import Any

from minicomp.native.wlr import ffi, lib

_LOGGERS = {0: "minicomp.native", 1: "minicomp.wlroots", 2: "minicomp.libwayland"}
_LEVELS = {1: logging.ERROR, 2: logging.INFO, 3: logging.DEBUG, 4: logging.WARNING}


def log_native(ring: Any) -> None:
    """Logs what is waiting in the ring. For the main thread."""
    message = ffi.new("struct mc_log_message *")
    lost = ffi.new("uint64_t *")
    while lib.mc_logring_take(ring, message, lost):
        if lost[0]:
            logging.getLogger("minicomp.log").warning("%d native messages were lost", lost[0])
        text = ffi.string(message.text).decode("utf-8", "replace")
        logging.getLogger(_LOGGERS[message.origin]).log(_LEVELS[message.level], "%s", text)
