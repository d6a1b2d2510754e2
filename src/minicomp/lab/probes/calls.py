"""Calls of the native probes that answer -errno."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from minicomp.native.probes import ffi

_NUMBERS = 512
"""System call numbers below this are counted."""


def check(what: str, result: int) -> int:
    """The result; OSError when it says that `what` failed."""
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")
    return result


def counted(what: str, count: Callable[[Any, int], int]) -> dict[int, int]:
    """System calls by number, of a native call that gets room for them and its size; those that were made."""
    counts = ffi.new("uint32_t[]", _NUMBERS)
    check(what, count(counts, _NUMBERS))
    return {number: count for number, count in enumerate(counts) if count}
