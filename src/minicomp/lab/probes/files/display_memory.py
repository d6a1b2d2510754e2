"""A dma-buf of a display's driver, passed to another process: the same memory for both."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from contextlib import ExitStack

from minicomp.lab.probes.files.passing import receive, send, sockets
from minicomp.lab.probes.probe import Budget, Probe, Result, cannot_test, holds
from minicomp.lab.probes.requirements import cards, has_card

CREATE_DUMB, PRIME_HANDLE_TO_FD = 0xC02064B2, 0xC00C642D
"""DRM_IOCTL_MODE_CREATE_DUMB and DRM_IOCTL_PRIME_HANDLE_TO_FD (include/uapi/drm)."""
SIDE, BITS = 64, 32


def dumb_buffer(card: int) -> tuple[int, int]:
    """A dma-buf's descriptor, and its bytes. OSError when the driver makes none."""
    created = fcntl.ioctl(card, CREATE_DUMB, struct.pack("IIIIIIQ", SIDE, SIDE, BITS, 0, 0, 0, 0))
    _, _, _, _, handle, _, size = struct.unpack("IIIIIIQ", created)
    exported = fcntl.ioctl(card, PRIME_HANDLE_TO_FD, struct.pack("IIi", handle, os.O_CLOEXEC | os.O_RDWR, -1))
    return struct.unpack("IIi", exported)[2], size


def measure(budget: Budget) -> Result:
    with ExitStack() as stack:
        card = os.open(cards()[0], os.O_RDWR | os.O_CLOEXEC)
        stack.callback(os.close, card)
        try:
            fd, size = dumb_buffer(card)
            ours = mmap.mmap(fd, size)
        except OSError as error:
            return cannot_test(
                f"{cards()[0]}: {error.strerror}", "a driver whose dumb buffers can be exported and mapped"
            )
        sender, receiver = sockets(stack)
        send(sender, [fd])
        kind = os.readlink(f"/proc/self/fd/{fd}")
        os.close(fd)
        pid = os.fork()
        if pid == 0:  # the receiver: another process, which has closed what it inherited
            ours.close()
            os.close(card)
            (received,), _ = receive(receiver)
            mmap.mmap(received, size)[:6] = b"pixels"
            os._exit(0)
        os.waitpid(pid, 0)
        read = ours[:6]
    seen = f"a buffer of {cards()[0].name} with {size} bytes ({kind}): what the receiver wrote reads {read!r} in the sender's mapping"
    return holds(seen, when=read == b"pixels")


PROBES = (
    Probe(
        name="scm-dma-buf",
        section=3,
        statement="for dma-bufs, the same GPU memory",
        method="A dumb buffer of the first display is exported as a dma-buf, mapped, passed to another process and closed; that "
        "one maps and writes it. (Buffers that a GPU draws into, sampled by another process: tests/vm/test_dmabuf.py.)",
        used_by="linux-dmabuf, imported by wlroots as an EGL image, and scanned out directly where the screen allows.",
        requires=(has_card,),
        measure=measure,
    ),
)
