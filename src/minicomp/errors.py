"""The one error that reaches a user, and what every exit code of `minicomp` means.

A user's mistake, or a missing precondition, is a `MinicompError`: one line that says what is wrong, where, and what
to do. `minicomp.cli` turns it into that line on stderr and into its exit code; any other exception is a bug in minicomp
and ends with `ExitCode.INTERNAL` and a traceback. Imports the standard library only, and little of it: this module is
on the start-up path.

The codes follow three customs, so that scripts and supervisors need no special case: env(1)/timeout(1) for programs
that run another program (125, 126, 127, 128+n), argparse for usage errors (2), sysexits.h for the rest (69, 70, 75).
"""

import os
from enum import IntEnum


class ExitCode(IntEnum):
    """What `minicomp` exits with. With `run -- COMMAND`, any other code is COMMAND's own."""

    OK = 0
    USAGE = 2  # wrong command line or configuration
    UNAVAILABLE = 69  # EX_UNAVAILABLE: a precondition is missing (no seat, no /dev/dri rights, mixed libraries)
    INTERNAL = 70  # EX_SOFTWARE: a bug in minicomp
    DEVICE_LOST = 75  # EX_TEMPFAIL: the DRM device or GPU is gone; a supervisor should start minicomp again
    COMPOSITOR_FAILED = 125  # the compositor failed while COMMAND ran: the code says nothing about COMMAND
    CANNOT_EXECUTE = 126  # COMMAND was found but cannot be executed
    NOT_FOUND = 127  # COMMAND was not found
    SIGNAL_BASE = 128  # plus n: COMMAND was ended by signal n


EXIT_CODE_HELP: tuple[tuple[str, str], ...] = (
    ("0", "success, or COMMAND exited with 0"),
    ("1-124", "COMMAND's own exit code (`run -- COMMAND`), except as below"),
    ("2", "usage or configuration error (nothing was started)"),
    ("69", "a precondition is missing: see `minicomp doctor` (nothing was started)"),
    ("70", "internal error: a bug in minicomp"),
    ("75", "the DRM device or GPU was lost: start minicomp again"),
    ("125", "the compositor itself failed while COMMAND ran"),
    ("126", "COMMAND cannot be executed"),
    ("127", "COMMAND was not found"),
    ("128+n", "COMMAND was ended by signal n"),
)
"""The table that `minicomp --help` and the documentation print: (code, meaning)."""


class MinicompError(Exception):
    """Something the user can put right.

    `what` says what is wrong, `where` (a file and line, an option, a path; may be empty) where, and `todo` (may be
    empty) what to do about it. `str(error)` is the one line shown: `WHERE: WHAT (TODO)`.
    """

    def __init__(
        self, what: str, *, where: str = "", todo: str = "", exit_code: ExitCode = ExitCode.COMPOSITOR_FAILED
    ) -> None:
        self.what = what
        self.where = where
        self.todo = todo
        self.exit_code = exit_code
        line = f"{where}: {what}" if where else what
        super().__init__(f"{line} ({todo})" if todo else line)


class ConfigError(MinicompError):
    """A configuration file, `--set` or command line that cannot be used; nothing has been started."""

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        super().__init__(what, where=where, todo=todo, exit_code=ExitCode.USAGE)


class PreconditionError(MinicompError):
    """The machine lacks something (a seat, rights, a directory); nothing was started. `minicomp doctor` says more."""

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        super().__init__(what, where=where, todo=todo, exit_code=ExitCode.UNAVAILABLE)


def exit_code_of_child(si_code: int, si_status: int) -> int:
    """The exit code for a child's end as waitid(2) reports it: its own code, or 128+n when signal n ended it."""
    return si_status if si_code == os.CLD_EXITED else ExitCode.SIGNAL_BASE + si_status
