"""Logging to stderr, one line a message, tagged with the subsystem: `minicomp[loop] WARNING ...`.

The subsystem is what follows `minicomp.` in the logger's name: `logging.getLogger("minicomp.loop")`. Colour only on a
terminal. Set up once by `minicomp.cli`; modules only get loggers.
"""

import logging
import sys
from typing import TextIO

_COLOURS = {logging.WARNING: "\033[33m", logging.ERROR: "\033[31m", logging.CRITICAL: "\033[31m"}
_RESET = "\033[0m"


class SubsystemFormatter(logging.Formatter):
    """`minicomp[SUBSYSTEM] LEVEL message`, with the traceback of an exception on the lines after it."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def formatMessage(self, record: logging.LogRecord) -> str:
        program, _, subsystem = record.name.partition(".")
        tag = f"{program}[{subsystem}]" if subsystem else program
        line = f"{tag} {record.levelname} {record.message}"
        colour = _COLOURS.get(record.levelno, "") if self._colour else ""
        return f"{colour}{line}{_RESET}" if colour else line


def set_up(level: str, stream: TextIO | None = None) -> None:
    """Sends the `minicomp` loggers' messages of `level` ("debug" to "error") and above to `stream` (stderr)."""
    stream = stream if stream is not None else sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(SubsystemFormatter(colour=stream.isatty()))
    logger = logging.getLogger("minicomp")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
