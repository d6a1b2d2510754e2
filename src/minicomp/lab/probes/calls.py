"""Calls of the native probes that answer -errno."""

from __future__ import annotations

import os


def check(what: str, result: int) -> int:
    """The result; OSError when it says that `what` failed."""
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")
    return result
