"""`minicomp lab restore`: undoes what a killed helper has left changed."""

from __future__ import annotations

import argparse
import os

from minicomp.errors import ExitCode, PreconditionError
from minicomp.lab.helper.journal import directory, prepared_directory, restore_left


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Undo what the root helper changed, when it was itself killed and could not. Otherwise there is nothing to do: "
        "the helper undoes everything when its compositor ends, however it ends. Changes do not survive a reboot."
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """0, or 1 when something could not be undone. Raises PreconditionError."""
    if os.geteuid() != 0 and not os.access(directory(), os.R_OK | os.X_OK):
        if not directory().exists():
            print("nothing to restore")
            return ExitCode.OK
        raise PreconditionError("its journals are root's", where=str(directory()), todo="sudo minicomp lab restore")
    try:
        done, failed = restore_left(prepared_directory())
    except OSError as error:
        raise PreconditionError(str(error.strerror), where=str(error.filename or directory())) from None
    for line in done:
        print(f"restored  {line}")
    for line in failed:
        print(f"failed    {line}")
    if not done and not failed:
        print("nothing to restore")
    return 1 if failed else ExitCode.OK
