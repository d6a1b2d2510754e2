"""Processes for one question: what a call answers in a process of its own, and giving up root."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from minicomp.lab.knobs.syscalls import prctl

NOBODY = 65534
PR_SET_DUMPABLE = 4


def drop_root() -> None:
    """Root becomes nobody, for good; others stay who they are."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        prctl(PR_SET_DUMPABLE, 1)  # else /proc/self belongs to root


def answer_of(call: Callable[[], object]) -> tuple[int, str]:
    """call() in a forked process: 0 and its text, or the errno that it met and that one's text."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code, text = 0, ""
        try:
            text = str(call())
        except OSError as error:
            code, text = error.errno or errno.EIO, str(error)
        except BaseException as error:
            code, text = errno.EPROTO, repr(error)
        os.write(writing, text.encode()[:4000])
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said
