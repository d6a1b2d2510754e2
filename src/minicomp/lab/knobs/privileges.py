"""Gives up every capability of this process, for good, once the helper has what needs them (knobs.drop_privileges).

capabilities(7): an empty effective, permitted and inheritable set, an empty bounding and ambient set, and
SECBIT_NOROOT, locked, so that neither we nor a program we start regains any by execve as uid 0. Capabilities are per
thread and inherited: this must happen while there is one thread.
"""

from __future__ import annotations

import errno
import os

from minicomp.lab.knobs import proc
from minicomp.lab.knobs.knob import KnobRefused
from minicomp.lab.knobs.operations import read_file
from minicomp.lab.knobs.syscalls import capset_none, prctl

NAME = "knobs.drop_privileges"
_PR_CAPBSET_DROP, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 28, 47, 4
_NOROOT_LOCKED = 0x3  # SECBIT_NOROOT | SECBIT_NOROOT_LOCKED


def drop_all() -> None:
    """Raises KnobRefused. Harmless without privileges."""
    if len(os.listdir("/proc/self/task")) != 1:
        raise KnobRefused(NAME, True, errno.EBUSY, "threads are running already", "this is a bug: it must come first")
    held = int(proc.status_line("self", "CapPrm") or "0", 16)
    if not held:
        return
    try:
        prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        if held >> proc.CAP_SETPCAP & 1:
            prctl(_PR_SET_SECUREBITS, _NOROOT_LOCKED)
            for number in range(_last_capability() + 1):
                prctl(_PR_CAPBSET_DROP, number)
        capset_none()
    except OSError as error:
        reason = f"capabilities could not be dropped: {error.strerror}"
        raise KnobRefused(NAME, True, error.errno or 0, reason, "set knobs.drop_privileges = false") from None


def _last_capability() -> int:
    return int(read_file("/proc/sys/kernel/cap_last_cap"))
