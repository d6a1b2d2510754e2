"""Processes for one question: what a call answers in one of its own, giving up root, how long to wait for it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from minicomp.lab.knobs.syscalls import prctl

NOBODY = 65534
PR_SET_DUMPABLE = 4
USUAL_S, SLOW, SLOWEST = 0.02, 4.0, 12.0
"""CPU time of `slowness`'s loop on a usual machine; from when on the limits grow; by how much at most."""


@cache
def slowness() -> float:
    """1 on a usual machine, more where code is emulated (a VM without KVM): by so much the limits are longer there."""
    began, number = time.process_time(), 0
    for i in range(300_000):
        number += i
    times = (time.process_time() - began) / USUAL_S
    return 1.0 if times < SLOW else min(times, SLOWEST)


@cache
def is_emulated() -> bool:
    """Whether QEMU translates this machine's code instead of a CPU running it."""
    return "TCG CPU" in Path("/proc/cpuinfo").read_text()


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
            code, text = error.errno or errno.EIO, error.strerror or str(error)
        except BaseException as error:
            code, text = errno.EPROTO, repr(error)
        os.write(writing, text.encode()[:4000])
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said
