"""Which fds are one struct file: by open, dup and fork, and when it is released."""

from __future__ import annotations

import os
import select
import tempfile
from contextlib import ExitStack
from pathlib import Path

from minicomp.lab.probes.bpf.structures import compare, has_btf
from minicomp.lab.probes.calls import check
from minicomp.lab.probes.probe import Budget, Missing, Number, Probe, Result, holds
from minicomp.native.probes import lib


def kcmp() -> Missing | None:
    result = lib.mc_probe_same_file(os.getpid(), 0, os.getpid(), 0)
    if result >= 0:
        return None
    return Missing(f"kcmp is refused: {os.strerror(-result)}", "CONFIG_KCMP, and a seccomp profile that allows kcmp")


def same(first: int, second: int, other: int | None = None) -> bool:
    """Whether our fd and one of ours, or of process `other`, are one struct file."""
    return bool(check("kcmp", lib.mc_probe_same_file(os.getpid(), first, other or os.getpid(), second)))


def opened(stack: ExitStack) -> tuple[int, str]:
    """A file of 100 bytes, and its name."""
    name = str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "file")
    Path(name).write_bytes(bytes(100))
    fd = os.open(name, os.O_RDONLY)
    stack.callback(os.close, fd)
    return fd, name


def position(fd: int) -> int:
    return os.lseek(fd, 0, os.SEEK_CUR)


def measure_open(budget: Budget) -> Result:
    with ExitStack() as stack:
        first, name = opened(stack)
        second = os.open(name, os.O_RDONLY)
        stack.callback(os.close, second)
        os.read(first, 10)
        os.set_blocking(first, False)
        own = not same(first, second) and position(second) == 0 and os.get_blocking(second)
        seen = f"after reading 10 bytes of one: positions {position(first)} and {position(second)}; "
        seen += "flags of their own" if os.get_blocking(second) else "flags in common"
        return holds(seen + ("; two struct files" if own else "; one struct file"), when=own)


def measure_dup(budget: Budget) -> Result:
    with ExitStack() as stack:
        first, _ = opened(stack)
        second = os.dup(first)
        stack.callback(os.close, second)
        os.read(first, 10)
        os.set_blocking(first, False)
        os.set_inheritable(second, True)
        shared = same(first, second) and position(second) == 10 and not os.get_blocking(second)
        own = not os.get_inheritable(first)
        seen = f"read 10 bytes by one, the other is at {position(second)}; O_NONBLOCK is "
        seen += f"{'common' if not os.get_blocking(second) else 'its own'}, FD_CLOEXEC (of the fd table's entry) "
        return holds(seen + f"{'its own' if own else 'common'}", when=shared and own)


def measure_fork(budget: Budget) -> Result:
    with ExitStack() as stack:
        fd, _ = opened(stack)
        go_on, end = os.pipe()
        told, tells = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(end)
            os.read(fd, 10)
            os.write(tells, b"x")
            os.read(go_on, 1)  # until we have been compared
            os._exit(0)
        os.read(told, 1)
        one = same(fd, fd, pid)
        at = position(fd)
        os.close(end)
        os.waitpid(pid, 0)
        for left in (go_on, told, tells):
            os.close(left)
        seen = f"the child read 10 bytes, the parent is at {at}; kcmp says {'one struct file' if one else 'two'}"
        return holds(seen, when=one and at == 10)


def hung_up(fd: int) -> bool:
    """Whether the last writing end of a pipe is gone: its struct file was released."""
    poller = select.poll()
    poller.register(fd, 0)
    return bool(poller.poll(0))


def measure_close(budget: Budget) -> Result:
    reading, writing = os.pipe()
    copies = [os.dup(writing) for _ in range(2)]
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        for fd in (writing, *copies):
            os.close(fd)  # the child's three references
        os._exit(0)
    os.waitpid(pid, 0)
    after = []
    for fd in (*copies, writing):
        after.append(hung_up(reading))
        os.close(fd)
    released = hung_up(reading)
    os.close(reading)
    return holds(
        f"of three fds (six with a forked child's): {sum(after)} releases before the last close, "
        f"{'released' if released else 'not released'} by it",
        Number.exact("references before the last close", len(after)),
        when=released and not any(after),
    )


_INSPECT = (
    "minicomp inspect lists which fds of the compositor and its clients are one struct file (inspect/sharing.py)."
)

PROBES = (
    Probe(
        name="file-open",
        section=3,
        statement="Every open file descriptor points to a struct file in the kernel: f_pos, current file position; f_flags",
        method="One file is opened twice and read by one fd; positions, O_NONBLOCK and kcmp(2) are compared.",
        used_by=_INSPECT,
        requires=(kcmp,),
        measure=measure_open,
    ),
    Probe(
        name="file-dup",
        section=3,
        statement="dup() creates a new fd pointing to the same struct file (increments f_count).",
        method="A file is read, and O_NONBLOCK set, by one fd; position, flags and kcmp(2) of its duplicate are looked at. "
        "FD_CLOEXEC belongs to the fd, not to the struct file.",
        used_by=_INSPECT + " libwayland duplicates an fd with F_DUPFD_CLOEXEC when it queues it for a client.",
        requires=(kcmp,),
        measure=measure_dup,
    ),
    Probe(
        name="file-fork",
        section=3,
        statement="fork() copies the fd table, incrementing f_count for each entry.",
        method="A forked child reads 10 bytes; the parent's position is looked at and the two fds compared by kcmp(2).",
        used_by="The compositor's fds are close-on-exec: a program that it starts inherits none of them (native/wlr/spawn.c).",
        requires=(kcmp,),
        measure=measure_fork,
    ),
    Probe(
        name="file-close",
        section=3,
        statement="close() decrements f_count; when it reaches 0, the file is released.",
        method="A pipe's writing end, twice duplicated and inherited by a child: when the reading end sees POLLHUP.",
        used_by="A client may close a pool's or dma-buf's fd, or end, while the compositor still has its own: the memory stays "
        "until both have let go.",
        measure=measure_close,
    ),
    Probe(
        name="file-structure",
        section=3,
        statement="struct file { f_path, f_op, f_count, f_flags, f_mode, f_pos, private_data }",
        method="The structure's fields by name, in the running kernel's BTF.",
        used_by="minicomp inspect asks kcmp(2) whether two fds are one struct file (inspect/sharing.py).",
        requires=(has_btf,),
        measure=compare(
            "file",
            ("f_path", "f_op", "f_count", "f_flags", "f_mode", "f_pos", "private_data"),
            {"f_count": "f_ref"},
        ),
    ),
)
