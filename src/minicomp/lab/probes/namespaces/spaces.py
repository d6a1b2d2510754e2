"""unshare(2) and setns(2) of the probes' own process (Python 3.11 has neither)."""

from __future__ import annotations

import ctypes
import errno
import os

from minicomp.lab.probes.probe import Missing

FLAGS = {
    "pid": 0x20000000,
    "mnt": 0x00020000,
    "net": 0x40000000,
    "user": 0x10000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "cgroup": 0x02000000,
    "time": 0x00000080,
}
"""CLONE_NEW*, by the name in /proc/PID/ns."""
NOBODY = 65534


def unshare(*kinds: str) -> None:
    flags = 0
    for kind in kinds:
        flags |= FLAGS[kind]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare {' '.join(kinds)}: {os.strerror(number)}")


def drop_root() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: else /proc/self belongs to root


def answer_of(call: object) -> tuple[int, str]:
    """call() in a forked process: 0 and its text, or the errno that it met and that one's text."""
    assert callable(call)
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


def allowed(*kinds: str) -> Missing | None:
    code, said = answer_of(lambda: unshare(*kinds))
    return Missing(said, "CAP_SYS_ADMIN, and a kernel with these namespaces") if code else None


def user_allowed() -> Missing | None:
    """User namespaces for users without privileges."""

    def try_it() -> None:
        drop_root()
        unshare("user")

    code, said = answer_of(try_it)
    needed = "CONFIG_USER_NS; not 0: user.max_user_namespaces, kernel.unprivileged_userns_clone; "
    needed += "0: kernel.apparmor_restrict_unprivileged_userns"
    return Missing(said, needed) if code else None
