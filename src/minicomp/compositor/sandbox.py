"""[app] sandbox: the program inside bubblewrap, in namespaces of its own (user, mount, pid, ipc, uts, cgroup; network).

It sees /usr read-only, what drawing and fonts need of /etc and /sys, the Wayland socket (or only its own connection),
the render nodes, and an empty /tmp and home that end with it. It stays a descendant of ours, so its grants are as ever.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from minicomp.config.schema import AppSettings
from minicomp.errors import ExitCode, MinicompError, PreconditionError

_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Links into /usr on a merged system, folders elsewhere."""
_ETC = ("alternatives", "fonts", "group", "gtk-3.0", "ld.so.cache", "localtime", "nsswitch.conf", "passwd", "xdg")
_ETC_NETWORK = ("hosts", "resolv.conf", "ssl", "ca-certificates")
_ADDRESSES = ("DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "MINICOMP_SOCKET", "PULSE_SERVER")
"""Variables that name sockets which are not in there."""
_TRIAL_S = 10
_REFUSED = (
    "are user namespaces allowed (user.max_user_namespaces, kernel.unprivileged_userns_clone)? or sandbox = false"
)
_HIDDEN_PROC = (
    "in a systemd unit: ProtectKernelTunables=no and ProtectKernelLogs=no (docs/kiosk.md); or sandbox = false"
)


def sandboxed(app: AppSettings, command: list[str], environment: dict[str, str]) -> list[str]:
    """The command inside bubblewrap; drops from `environment` what leads to sockets outside.

    Raises PreconditionError when there is no bubblewrap or it is refused, MinicompError (127, 126) for a program that
    does not exist or would not be inside.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise PreconditionError(
            "bubblewrap is not installed",
            where="app.sandbox",
            todo="install the package bubblewrap, or sandbox = false",
        )
    _check_program(app, command[0], environment)
    for name in _ADDRESSES:
        environment.pop(name, None)
    arguments = [bwrap, *_arguments(app, environment), "--"]
    _try(arguments, environment)
    return [*arguments, *command]


def _check_program(app: AppSettings, name: str, environment: dict[str, str]) -> None:
    """bwrap ends with 1 when it cannot find the program, which may be the program's own code."""
    found = shutil.which(name, path=environment.get("PATH"))
    if found is None:
        raise MinicompError(
            f"{name}: command not found", exit_code=ExitCode.NOT_FOUND, todo="is it installed and in PATH?"
        )
    inside = [Path("/usr"), *(Path("/", folder) for folder in _MERGED), *map(Path, app.sandbox_read_only)]
    if not any(Path(found).is_relative_to(folder) for folder in inside):
        raise MinicompError(
            f"{found}: not in the sandbox",
            exit_code=ExitCode.CANNOT_EXECUTE,
            where="app.sandbox",
            todo=f'app.sandbox_read_only = ["{Path(found).parent}"]',
        )


def _arguments(app: AppSettings, environment: dict[str, str]) -> Iterator[str]:
    yield from ("--unshare-user", "--disable-userns", "--unshare-pid", "--unshare-ipc", "--unshare-uts")
    yield from ("--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL")
    if not app.sandbox_network:
        yield "--unshare-net"
    yield from ("--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--dir", "/var")
    for folder in _MERGED:
        path = Path("/", folder)
        if path.is_symlink():
            yield from ("--symlink", os.readlink(path), str(path))
        else:
            yield from ("--ro-bind-try", str(path), str(path))
    for name in (*_ETC, *(_ETC_NETWORK if app.sandbox_network else ())):
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    render_nodes = glob.glob("/dev/dri/renderD*")
    for node in render_nodes:
        yield from ("--dev-bind", node, node)
    if render_nodes:  # libdrm looks there what the node's device is
        for path_of_sys in ("/sys/dev/char", "/sys/devices"):
            yield from ("--ro-bind-try", path_of_sys, path_of_sys)
    home = environment.get("HOME", "/")
    if home != "/":
        yield from ("--tmpfs", home, "--chdir", home)
    runtime_dir = environment["XDG_RUNTIME_DIR"]
    yield from ("--perms", "0700", "--tmpfs", runtime_dir)
    if not app.own_connection:
        socket = os.path.join(runtime_dir, environment["WAYLAND_DISPLAY"])
        yield from ("--ro-bind", socket, socket)
    for path_of_user in app.sandbox_read_only:
        yield from ("--ro-bind", path_of_user, path_of_user)


def _try(arguments: list[str], environment: dict[str, str]) -> None:
    """The same sandbox around a program that does nothing: what bwrap cannot do, it says now."""
    trial = subprocess.run(
        [*arguments, "/usr/bin/true"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TRIAL_S,
        check=False,
    )
    if trial.returncode != 0:
        said = trial.stderr.strip().removeprefix("bwrap: ") or f"it ended with {trial.returncode}"
        raise PreconditionError(
            f"bubblewrap cannot make the sandbox: {said}",
            where="app.sandbox",
            todo=_HIDDEN_PROC if "mount proc" in said else _REFUSED,
        )


def app_inside(bwrap_pid: int) -> int | None:
    """The program, as its number out here: bwrap's child is process 1 inside, and that one's first child the program.
    None while it has not begun, or once it is over.
    """
    pid = bwrap_pid
    for _ in range(2):
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        if not children:
            return None
        pid = int(children[0])
    return pid
