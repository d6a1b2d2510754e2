"""Sockets by their inode: type, state, path, what is queued, and who is at the other end.

Unix sockets come from sock_diag(7) (the peer and the queue are only there), else from /proc/PID/net/unix, which any
network namespace can be asked for. Other families: the tables under /proc/PID/net.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SHOW_NAME, _SHOW_PEER, _SHOW_RQLEN = 1, 4, 16
_ATTRIBUTE_NAME, _ATTRIBUTE_PEER, _ATTRIBUTE_RQLEN = 0, 2, 4
_TYPES = {1: "stream", 2: "dgram", 5: "seqpacket"}
_ESTABLISHED, _LISTEN = 1, 10
_STATES = {_ESTABLISHED: "connected", 7: "unconnected", _LISTEN: "listening"}
_ACCEPTING = 0x10000  # __SO_ACCEPTCON in /proc/net/unix's flags


@dataclass
class Socket:
    """One socket. `received` and `sent` are bytes not yet read by it, and by its peer; None where unknown.

    Of a listening socket, `received` is how many connections wait to be accepted.
    """

    inode: int
    family: str
    type: str = ""
    state: str = ""
    path: str = ""
    peer: int | None = None  # inode
    received: int | None = None
    sent: int | None = None


def read_sockets(pid: int) -> dict[int, Socket]:
    """Every socket of the process's network namespace by inode."""
    sockets = {found.inode: found for found in _other_sockets(pid)}
    sockets.update((found.inode, found) for found in _unix_table(pid))
    if _same_network(pid):
        sockets.update((found.inode, found) for found in _unix_diag())
    for found in sockets.values():
        if found.peer in sockets:
            found.sent = sockets[found.peer].received
    return sockets


def find_holders(inodes: Iterable[int]) -> dict[int, list[tuple[int, int]]]:
    """Who has sockets with these inodes open: (pid, fd) for each, as far as we may look."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    holders: dict[int, list[tuple[int, int]]] = {inode: [] for inode in wanted.values()}
    for pid in filter(str.isdigit, os.listdir("/proc")) if wanted else ():
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue  # gone, or not ours to see
        for number in numbers:
            try:
                inode = wanted.get(os.readlink(f"/proc/{pid}/fd/{number}"))
            except OSError:
                continue
            if inode is not None:
                holders[inode].append((int(pid), int(number)))
    return holders


def _same_network(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
    except OSError:
        return False


def _table(pid: int, name: str) -> Iterator[list[str]]:
    """The rows of a table under /proc/PID/net, without its heading; nothing where the kernel has no such table."""
    try:
        with open(f"/proc/{pid}/net/{name}", encoding="utf-8", errors="replace") as file:
            next(file, None)
            yield from (line.split() for line in file)
    except OSError:
        return


def _unix_table(pid: int) -> Iterator[Socket]:
    for words in _table(pid, "unix"):
        flags, kind, state, inode = int(words[3], 16), int(words[4], 16), int(words[5], 16), int(words[6])
        known = "listening" if flags & _ACCEPTING else {1: "unconnected", 3: "connected"}.get(state, "")
        yield Socket(inode, "unix", _TYPES.get(kind, str(kind)), known, words[7] if len(words) > 7 else "")


def _other_sockets(pid: int) -> Iterator[Socket]:
    for name, kind in (("tcp", "stream"), ("tcp6", "stream"), ("udp", "dgram"), ("udp6", "dgram"), ("raw", "raw")):
        for words in _table(pid, name):
            sent, received = (int(part, 16) for part in words[4].split(":"))
            state = "listening" if kind == "stream" and int(words[3], 16) == _LISTEN else ""
            family = "inet6" if name.endswith("6") else "inet"
            yield Socket(int(words[9]), family, kind, state, received=received, sent=sent)
    for words in _table(pid, "netlink"):
        # sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
        yield Socket(int(words[9]), "netlink", "raw", received=int(words[4]), sent=int(words[5]))
    for words in _table(pid, "packet"):
        yield Socket(int(words[8]), "packet", "raw", received=int(words[6]))


def _unix_diag() -> Iterator[Socket]:
    """NETLINK_SOCK_DIAG's dump of all unix sockets; nothing when the kernel or a sandbox does not let us."""
    request = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, _SHOW_NAME | _SHOW_PEER | _SHOW_RQLEN, 0, 0)
    header = struct.pack("=IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_DUMP, 1, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as diag:
            diag.settimeout(2.0)
            diag.send(header + request)
            while True:
                data = diag.recv(1 << 17)
                for kind, body in _messages(data):
                    if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                        return
                    yield parse_unix_diag(body)
    except OSError:
        return


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        if length < 16:
            return
        yield kind, data[at + 16 : at + length]
        at += (length + 3) & ~3


def parse_unix_diag(body: bytes) -> Socket:
    """One struct unix_diag_msg with its attributes (linux/unix_diag.h)."""
    _, kind, state, _, inode = struct.unpack_from("=BBBBI", body)
    found = Socket(inode, "unix", _TYPES.get(kind, str(kind)), _STATES.get(state, str(state)))
    at = 16
    while at + 4 <= len(body):
        length, attribute = struct.unpack_from("=HH", body, at)
        if length < 4:
            break
        value = body[at + 4 : at + length]
        if attribute == _ATTRIBUTE_NAME:
            # A path ends with a zero byte; an abstract name begins with one, written as @.
            name = b"@" + value[1:] if value.startswith(b"\0") else value.rstrip(b"\0")
            found.path = name.decode(errors="replace")
        elif attribute == _ATTRIBUTE_PEER:
            (found.peer,) = struct.unpack_from("=I", value)
        elif attribute == _ATTRIBUTE_RQLEN:
            (found.received,) = struct.unpack_from("=I", value)  # what follows counts buffers, not bytes
        at += (length + 3) & ~3
    return found
