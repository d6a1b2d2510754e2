"""What the io_uring probes share: whether the kernel gives us a ring."""

from __future__ import annotations

import os

from minicomp.lab.probes.probe import Missing
from minicomp.native.probes import lib

NEEDED = "Linux 5.11, sysctl kernel.io_uring_disabled=0 and a seccomp profile that allows io_uring_setup"


def allowed() -> Missing | None:
    """io_uring, with SQPOLL: refused by many containers."""
    result = lib.mc_probe_sqpoll_after_idle(1)
    return Missing(f"io_uring is refused: {os.strerror(-result)}", NEEDED) if result < 0 else None
