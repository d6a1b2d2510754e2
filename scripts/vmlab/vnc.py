"""Plugging a head of the virtual display, by the one request that QEMU offers for it: VNC's SetDesktopSize.

Each head has a VNC server on a socket of its own. A client that asks for a size plugs a monitor of that size in
(real hot-plug event, real EDID), one that asks for 0x0 pulls it out. Protocol: RFC 6143, and the extended desktop
size extension of the community's rfbproto (message 251).
"""

from __future__ import annotations

import struct
from pathlib import Path

from .errors import LabError
from .qmp import connect

ENCODING_EXTENDED_DESKTOP_SIZE = -308
SECURITY_NONE = 1


class VncHead:
    """A VNC connection to one head. It must stay open: QEMU unplugs nothing when it closes."""

    def __init__(self, path: Path, timeout_s: float = 10) -> None:
        self._socket = connect(path, timeout_s)
        self._socket.settimeout(timeout_s)
        self._handshake()

    def set_size(self, width: int, height: int) -> None:
        screen = struct.pack(">IHHHHI", 0, 0, 0, width, height, 0)
        self._socket.sendall(struct.pack(">BxHHBx", 251, width, height, 1) + screen)

    def close(self) -> None:
        self._socket.close()

    def _handshake(self) -> None:
        version = self._read(12)
        if not version.startswith(b"RFB 003"):
            raise LabError(f"the head's VNC server answered {version!r}")
        self._socket.sendall(b"RFB 003.008\n")
        kinds = self._read(self._read(1)[0])
        if SECURITY_NONE not in kinds:
            raise LabError("the head's VNC server wants a password")
        self._socket.sendall(bytes([SECURITY_NONE]))
        self._read(4)
        self._socket.sendall(b"\1")  # shared
        *_, name_length = struct.unpack(">HH16xI", self._read(24))
        self._read(name_length)
        self._socket.sendall(struct.pack(">BxHi", 2, 1, ENCODING_EXTENDED_DESKTOP_SIZE))

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise LabError("the head's VNC server closed the connection")
            data += more
        return data
