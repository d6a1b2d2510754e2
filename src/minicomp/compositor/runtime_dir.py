"""XDG_RUNTIME_DIR: where the socket lives. Ours and private, or refused.

The XDG base directory specification wants it owned by the user with mode 0700. Headless makes one of its own when there
is none, and removes it at the end.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack

from minicomp.errors import PreconditionError


def ensure_runtime_dir(cleanup: ExitStack, *, may_create: bool) -> None:
    """Checks XDG_RUNTIME_DIR or, where allowed, makes a private one for this process and its children.

    Raises PreconditionError. What was made is removed, and the environment restored, when `cleanup` closes.
    """
    path = os.environ.get("XDG_RUNTIME_DIR", "")
    if path:
        _check(path)
        return
    if not may_create:
        raise PreconditionError(
            "XDG_RUNTIME_DIR is not set",
            todo=f"log in through logind, or: export XDG_RUNTIME_DIR=/run/user/{os.getuid()}",
        )
    import shutil
    import tempfile  # 3 ms of every start, for those who need it only

    path = tempfile.mkdtemp(prefix="minicomp-")  # mode 0700
    os.environ["XDG_RUNTIME_DIR"] = path

    def remove() -> None:
        os.environ.pop("XDG_RUNTIME_DIR", None)
        shutil.rmtree(path, ignore_errors=True)

    cleanup.callback(remove)


def _check(path: str) -> None:
    try:
        status = os.stat(path)
    except OSError as error:
        raise PreconditionError(
            f"it cannot be used: {error.strerror}",
            where=f"XDG_RUNTIME_DIR={path}",
            todo="create it with mode 0700, or unset the variable to let headless make one",
        ) from None
    if not stat.S_ISDIR(status.st_mode):
        raise PreconditionError("it is not a directory", where=f"XDG_RUNTIME_DIR={path}")
    if status.st_uid != os.getuid():
        raise PreconditionError(
            f"it belongs to uid {status.st_uid}, not to you (uid {os.getuid()})",
            where=f"XDG_RUNTIME_DIR={path}",
            todo="sudo keeps the variable of the user: unset it or set your own",
        )
    if status.st_mode & 0o077:
        import logging

        logging.getLogger("minicomp.run").warning(
            "XDG_RUNTIME_DIR=%s is open to other users (mode %o, should be 0700)", path, status.st_mode & 0o777
        )
