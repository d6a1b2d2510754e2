"""The process's surroundings: runtime folder, X11 socket folder, limits on file descriptors."""

import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

from minicomp.doctor.finding import Finding, Purpose

X11_SOCKETS = Path("/tmp/.X11-unix")
WANTED_FDS = 4096


def check() -> Iterator[Finding]:
    """Everything that belongs to the user's session rather than to the machine."""
    yield runtime_dir(os.environ.get("XDG_RUNTIME_DIR"), os.getuid())
    yield x11_sockets(X11_SOCKETS, os.getuid())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The soft limit can be raised up to the hard one without any privilege.
    yield Finding(
        "open files (RLIMIT_NOFILE)",
        hard == resource.RLIM_INFINITY or hard >= WANTED_FDS,
        f"soft {soft}, hard {hard}",
        f"raise the hard limit to {WANTED_FDS} (systemd: LimitNOFILE=): buffers are file descriptors",
    )


def runtime_dir(folder: str | None, uid: int) -> Finding:
    """XDG_RUNTIME_DIR holds the Wayland socket; the XDG base directory specification wants it ours and 0700."""
    name = "XDG_RUNTIME_DIR"
    needed = (Purpose.KIOSK,)
    if not folder:
        todo = "log in through logind, or make a folder with mode 0700 and export XDG_RUNTIME_DIR"
        return Finding(name, False, "not set; headless makes a private one for the run", todo, needed)
    try:
        status = os.stat(folder)
    except OSError as error:
        return Finding(name, False, f"{folder}: {error.strerror}", f"mkdir -m 0700 {folder}", tuple(Purpose))
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISDIR(status.st_mode):
        return Finding(name, False, f"{folder} is no folder", "export one that is", tuple(Purpose))
    if status.st_uid != uid:
        why = f"{folder} belongs to uid {status.st_uid}, minicomp runs as {uid}"
        return Finding(name, False, why, "export a folder of your own", tuple(Purpose))
    return Finding(name, mode == 0o700, f"{folder}, mode {mode:04o}", f"chmod 0700 {folder}", needed)


def x11_sockets(folder: Path, uid: int) -> Finding:
    """Xwayland refuses (and wlroots gives up) where the X11 socket folder belongs to another user than root or us."""
    name = "X11 socket folder"
    try:
        status = folder.stat()
    except FileNotFoundError:
        return Finding(name, True, f"{folder} is not there; XWayland makes it")
    mode = stat.S_IMODE(status.st_mode)
    good = status.st_uid in (0, uid) and mode & 0o1777 == 0o1777
    why = f"{folder}, owner uid {status.st_uid}, mode {mode:04o}"
    return Finding(name, good, why, f"as root: chown root {folder}; chmod 1777 {folder} (only XWayland needs it)")
