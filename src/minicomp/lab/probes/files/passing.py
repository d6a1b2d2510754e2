"""SCM_RIGHTS: whose fd it is, when, and what the limits are."""

from __future__ import annotations

import array
import errno
import mmap
import os
import resource
import socket
from contextlib import ExitStack

from minicomp.lab.probes.files.open_file import hung_up, kcmp, same
from minicomp.lab.probes.probe import Budget, Number, Probe, Result, holds
from minicomp.lab.probes.processes import drop_root
from minicomp.lab.probes.requirements import path

SCM_MAX_FD = 253  # include/net/scm.h


def send(sender: socket.socket, fds: list[int]) -> None:
    sender.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def receive(receiver: socket.socket, places: int = SCM_MAX_FD) -> tuple[list[int], bool]:
    """The fds, and whether the kernel says that some were left out (MSG_CTRUNC)."""
    _, control, flags, _ = receiver.recvmsg(1, socket.CMSG_SPACE(places * 4))
    fds = array.array("i")
    for _, kind, data in control:
        if kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds), bool(flags & socket.MSG_CTRUNC)


def sockets(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    first, second = socket.socketpair()
    return stack.enter_context(first), stack.enter_context(second)


def _opened() -> list[str]:
    return os.listdir("/proc/self/fd")


def measure_same(budget: Budget) -> Result:
    with ExitStack() as stack:
        sender, receiver = sockets(stack)
        talk, theirs_to_talk = sockets(stack)
        fd = os.memfd_create("minicomp-probe")
        os.ftruncate(fd, mmap.PAGESIZE)
        send(sender, [fd])
        pid = os.fork()
        if pid == 0:  # the receiver: another process, which has closed what it inherited
            os.close(fd)
            (received,), _ = receive(receiver)
            mmap.mmap(received, mmap.PAGESIZE)[:5] = b"frame"
            os.lseek(received, 42, os.SEEK_SET)
            theirs_to_talk.send(received.to_bytes(4, "little"))
            theirs_to_talk.recv(1)  # until we have looked
            os._exit(0)
        theirs = int.from_bytes(talk.recv(4), "little")
        one, at, bytes_seen = same(fd, theirs, pid), os.lseek(fd, 0, os.SEEK_CUR), mmap.mmap(fd, mmap.PAGESIZE)[:5]
        talk.send(b"x")
        os.waitpid(pid, 0)
        seen = f"kcmp says {'one struct file' if one else 'two'}; the receiver moved its position to 42, the sender's "
        seen += f"is {at}; what the receiver wrote to the memory reads {bytes_seen.decode()!r} here"
        return holds(seen, when=one and at == 42 and bytes_seen == b"frame")


def measure_when(budget: Budget) -> Result:
    with ExitStack() as stack:
        sender, receiver = sockets(stack)
        reading, writing = os.pipe()
        stack.callback(os.close, reading)
        before = len(_opened())
        send(sender, [writing])
        after_sending = len(_opened()) - before
        os.close(writing)
        held = not hung_up(reading)
        fds, _ = receive(receiver)
        after_receiving = len(_opened()) - (before - 1)
        for fd in fds:
            os.close(fd)
        seen = f"sendmsg made {after_sending} fds, recvmsg {after_receiving}; in between the file is "
        seen += f"{'held by the message alone' if held else 'gone'}: f_count goes up when it is sent, the fd comes when it is received"
        return holds(seen, when=after_sending == 1)


def measure_sender_closes(budget: Budget) -> Result:
    with ExitStack() as stack:
        sender, receiver = sockets(stack)
        reading, writing = os.pipe()
        stack.callback(os.close, reading)
        send(sender, [writing])
        os.close(writing)
        sender.close()
        (received,), _ = receive(receiver)
        os.write(received, b"still here")
        text = os.read(reading, 100)
        os.close(received)
        return holds(
            f"closed by the sender before it was received, along with the socket: {text.decode()!r} came through it",
            when=text == b"still here" and hung_up(reading),
        )


def measure_number(budget: Budget) -> Result:
    with ExitStack() as stack:
        sender, receiver = sockets(stack)
        fd = os.dup(0)
        high = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1
        os.dup2(fd, high)
        send(sender, [high])
        (received,), _ = receive(receiver)
        os.close(fd)
        os.dup2(received, fd)
        lowest = os.dup(0)
        seen = f"sent as {high}, received as {received}: the lowest that is free"
        return holds(seen, when=received != high and received < lowest)


def measure_unread(budget: Budget) -> Result:
    with ExitStack() as stack:
        sender, receiver = sockets(stack)
        reading, writing = os.pipe()
        stack.callback(os.close, reading)
        send(sender, [writing])
        os.close(writing)
        in_flight = not hung_up(reading)
        receiver.close()
        seen = f"in flight it is {'held' if in_flight else 'gone'}; closing the receiving socket "
        seen += "releases it" if hung_up(reading) else "does not release it"
        return holds(seen, when=in_flight and hung_up(reading))


def measure_scm_max(budget: Budget) -> Result:
    with ExitStack() as stack:
        sender, receiver = sockets(stack)
        send(sender, [0] * SCM_MAX_FD)
        fds, cut = receive(receiver)
        said = ""
        try:
            send(sender, [0] * (SCM_MAX_FD + 1))
        except OSError as error:
            said = errno.errorcode[error.errno or 0]
        return holds(
            f"{len(fds)} fds arrive in one message; {SCM_MAX_FD + 1} are refused: {said or 'not refused'}",
            Number.exact("fds in one message", len(fds)),
            when=len(fds) == SCM_MAX_FD and not cut and said == "EINVAL",
        )


def measure_receiver_full(budget: Budget) -> Result:
    with ExitStack() as stack:
        sender, receiver = sockets(stack)
        reading, writing = os.pipe()
        stack.callback(os.close, reading)
        listing = os.open("/proc/self/fd", os.O_RDONLY)
        send(sender, [writing] * 8)
        os.close(writing)
        highest = max(int(name) for name in os.listdir(listing))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 4, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        while True:  # no holes below: only those above `highest` are free
            fd = os.dup(0)
            if fd > highest:
                os.close(fd)
                break
        said = ""
        fds, cut = receive(receiver)
        try:
            while True:
                os.dup(0)
        except OSError as error:
            said = errno.errorcode[error.errno or 0]
        for fd in fds:
            os.close(fd)
        seen = f"of 8 fds {len(fds)} fit and arrived, MSG_CTRUNC is {'set' if cut else 'not set'}, the others are "
        seen += f"{'closed' if hung_up(reading) else 'still held'}, recvmsg succeeds; dup then says {said}"
        return holds(seen, Number.exact("of 8, arrived", len(fds)), when=0 < len(fds) < 8 and cut and hung_up(reading))


def measure_in_flight(budget: Budget) -> Result:
    """As a user without privileges: root is exempt."""
    with ExitStack() as stack:
        sender, _receiver = sockets(stack)
        limit, per_message = 300, 100
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        drop_root()
        sent, said = 0, ""
        try:
            while sent < 20 * limit:
                send(sender, [0] * per_message)
                sent += per_message
        except OSError as error:
            said = errno.errorcode[error.errno or 0]
        return holds(
            f"with RLIMIT_NOFILE = {limit}, {sent} fds are in flight ({per_message} a message), then: {said or 'no refusal'}",
            Number.exact("fds in flight", sent),
            when=said == "ETOOMANYREFS" and sent <= limit + per_message,
        )


_WAYLAND = "libwayland passes up to 28 fds in a message (src/connection.c, MAX_FDS_OUT), far from the limit."
_DMABUF = "linux-dmabuf, wl_shm, keymaps and the clipboard come this way, received by libwayland."

PROBES = (
    Probe(
        name="scm-same-file",
        section=3,
        statement="Both processes share the same kernel object. This is why fd-passing is efficient: no data is copied.",
        method="A memfd is passed to another process, which writes into its memory and moves its position; kcmp(2), the "
        "memory and the position are looked at here.",
        used_by=_DMABUF,
        requires=(kcmp,),
        measure=measure_same,
    ),
    Probe(
        name="scm-when",
        section=3,
        statement="What happens in the kernel: sendmsg() ... creates a new fd in the receiver's fd table pointing to the same "
        "struct file. f_count is incremented",
        method="fds in /proc/self/fd are counted before sendmsg, between sendmsg and recvmsg, and after. Holds: it is there after sendmsg.",
        used_by="A client that sends fds and never lets the compositor read costs itself, not the compositor, its fds.",
        requires=(path("/proc/self/fd", "procfs"),),
        measure=measure_when,
    ),
    Probe(
        name="scm-number",
        section=3,
        statement="The receiver gets a new integer fd (possibly with a different number).",
        method="The highest number there may be is passed; the number received is the lowest that was free.",
        used_by=_DMABUF,
        measure=measure_number,
    ),
    Probe(
        name="scm-sender-closes",
        section=3,
        statement="Closing the fd in the sender does not affect the receiver (reference counted).",
        method="A pipe's end is sent and closed, and the sending socket too, before it is received and written to.",
        used_by="The gallery and the bench's clients close a pool's fd as soon as it is sent.",
        measure=measure_sender_closes,
    ),
    Probe(
        name="scm-in-flight",
        section=3,
        statement="f_count is incremented (now both processes hold a reference).",
        method="A pipe's writing end is sent and closed; whether the pipe hangs up then, and once the receiving socket, with the "
        "message unread in it, is closed.",
        used_by="minicomp inspect shows fds that lie in a socket unread (SCM_RIGHTS).",
        measure=measure_unread,
    ),
    Probe(
        name="scm-max-fd",
        section=3,
        statement="(unix(7)) SCM_MAX_FD: at most 253 fds in one message; more fail with EINVAL",
        method="253 fds are sent and counted on arrival; then 254.",
        used_by=_WAYLAND,
        measure=measure_scm_max,
    ),
    Probe(
        name="scm-receiver-full",
        section=3,
        statement="(unix(7)) If the number of fds received would exceed RLIMIT_NOFILE, the excess fds are closed and MSG_CTRUNC is set",
        method="8 fds are received by a process that has place for three.",
        used_by="The compositor raises its RLIMIT_NOFILE and gives programs theirs back (compositor/open_files.py); a client whose "
        "fds were lost is disconnected by libwayland.",
        requires=(path("/proc/self/fd", "procfs"),),
        measure=measure_receiver_full,
    ),
    Probe(
        name="scm-in-flight-limit",
        section=3,
        statement="(unix(7)) ETOOMANYREFS: a user without privileges has more fds in flight than RLIMIT_NOFILE",
        method="Messages of 100 fds are sent, and not received, until one is refused; as nobody when run as root, who is exempt.",
        used_by="Bounds what hostile clients can pile up (clients/hostile.c).",
        measure=measure_in_flight,
    ),
)
