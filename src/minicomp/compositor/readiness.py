"""Telling others that clients can connect: a ready fd and systemd's notification socket.

Protocols: `--ready-fd` as in s6 (https://skarnet.org/software/s6/notifywhenup.html) and gamescope, a whole line;
sd_notify(3), a datagram to the socket in NOTIFY_SOCKET.
"""

from __future__ import annotations

import os
from contextlib import suppress


def keep_private(ready_fd: int | None) -> None:
    """Keeps the fd of --ready-fd from clients: a reader sees its end only when we close it."""
    if ready_fd is not None:
        os.set_inheritable(ready_fd, False)


def announce(ready_fd: int | None, socket: str, x11_display: str) -> None:
    """Writes "WAYLAND_DISPLAY=... [DISPLAY=...]" to the ready fd and closes it, and READY=1 to systemd."""
    if ready_fd is not None:
        line = f"WAYLAND_DISPLAY={socket}" + (f" DISPLAY={x11_display}" if x11_display else "") + "\n"
        with suppress(BrokenPipeError):  # whoever asked has stopped waiting
            os.write(ready_fd, line.encode())
        os.close(ready_fd)
    notify("READY=1")


def notify(state: str) -> None:
    """One sd_notify message; nothing when no NOTIFY_SOCKET is set."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    import socket

    if address[0] == "@":
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(state.encode(), address)
        except OSError as error:
            import logging

            logging.getLogger("minicomp.run").warning("systemd was not notified: %s", error)
