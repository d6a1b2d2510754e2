"""What the programs started here get of the compositor: their environment; the app also its grants, or a connection."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from minicomp.compositor.globals import grants_of
from minicomp.errors import MinicompError
from minicomp.native.wlr import lib

if TYPE_CHECKING:
    import socket

    from minicomp.compositor.server import Compositor

_NOT_FOR_PROGRAMS = (
    "WAYLAND_SOCKET",
    "DISPLAY",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "MINICOMP_SOCKET",
    "MINICOMP_POOL",
)
"""Variables that are meant for the compositor, or were given to it as a program of another one."""


def client_environment(compositor: Compositor) -> dict[str, str]:
    """What a client needs to find this compositor, over the current environment."""
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_PROGRAMS}
    environment["WAYLAND_DISPLAY"] = compositor.socket
    environment["XDG_SESSION_TYPE"] = "wayland"
    if compositor.x11_display:
        environment["DISPLAY"] = compositor.x11_display
    if compositor.control_path:
        environment["MINICOMP_SOCKET"] = compositor.control_path
    pool = compositor.config.knobs.memory.hugetlb_pool
    if pool in ("2M", "1G") and _took_effect(compositor, "knobs.memory.hugetlb_pool"):
        environment["MINICOMP_POOL"] = f"hugetlb-{pool}"  # for clients that can use them, as clients/pulse does
    return environment


def _took_effect(compositor: Compositor, knob: str) -> bool:
    effects = compositor.knobs.session.effects() if compositor.knobs is not None else []
    return any(effect.name == knob and effect.took_effect for effect in effects)


def app_connection(compositor: Compositor) -> socket.socket | None:
    """The app's own connection, or None when it is to use the socket; see config.AppSettings.own_connection.

    The returned end is inheritable and the caller's: pass it on in WAYLAND_SOCKET, then close it.
    """
    app = compositor.config.app
    if not app.own_connection:
        return None
    import socket

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    if not lib.mc_client_create(compositor.server, ours.detach(), grants_of(app.globals)):
        theirs.close()
        raise MinicompError("the app's connection could not be made", todo="out of file descriptors?")
    theirs.set_inheritable(True)
    return theirs


def trust_app(compositor: Compositor, pid: int) -> None:
    """Gives the app and what it starts the grants of app.globals. Inside locked(), as it is started."""
    lib.mc_clients_set_app(compositor.server, pid, grants_of(compositor.config.app.globals))
