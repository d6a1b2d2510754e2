"""Files that a report is written to: one that cannot be written is the user's to put right, not a bug."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minicomp.errors import ExitCode, MinicompError


@contextmanager
def written(out_path: str | Path) -> Iterator[Path]:
    """The path; what the system refuses while the block writes to it is raised as MinicompError that names it."""
    try:
        yield Path(out_path)
    except OSError as error:
        raise MinicompError(
            error.strerror or str(error), where=str(out_path), exit_code=ExitCode.UNAVAILABLE
        ) from error
