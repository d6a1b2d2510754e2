"""How many files may be open: all that the hard limit allows for the compositor, because its clients' connections and
buffers are files; for the programs it starts what it found, because some (select(2)) cannot deal with more."""

from __future__ import annotations

import resource

_soft_before: int | None = None


def raise_limit() -> None:
    """Raises the soft limit of this process to its hard one, which needs no privilege."""
    global _soft_before
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        _soft_before = soft


def limit_of_programs() -> int:
    """The soft limit for programs that are started; 0 when it is this process's own."""
    return _soft_before or 0
