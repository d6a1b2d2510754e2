"""`minicomp inspect` against fds that the test itself opens, in this process and in children; the kernel is real.

What needs a dma-buf is in tests/vm/test_dmabuf_inspect.py; here its fdinfo is a recorded one.
"""

from __future__ import annotations

import array
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from minicomp.errors import ConfigError, ExitCode
from minicomp.inspect import command, descriptors, report, sharing, sockets
from minicomp.inspect.descriptors import Descriptor, kind_of, parse_fdinfo, read_descriptors


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def opened(stack: ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


def look(*others: int) -> dict[int, Descriptor]:
    """This process's descriptors, as inspect shows them."""
    return {descriptor.fd: descriptor for descriptor in report.inspect_process(os.getpid(), list(others)).descriptors}


def send_fds(over: socket.socket, data: bytes, *fds: int) -> None:
    over.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def test_kinds_and_modes(stack: ExitStack, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    readable, writable = os.pipe()
    fds = {
        "file": opened(stack, os.open(tmp_path / "file", os.O_RDONLY)),
        "memfd": opened(stack, os.memfd_create("picture")),
        "eventfd": opened(stack, os.eventfd(7, os.EFD_NONBLOCK | os.EFD_CLOEXEC)),
        "device": opened(stack, os.open("/dev/zero", os.O_RDWR)),
        "pidfd": opened(stack, os.pidfd_open(os.getpid())),
        "namespace": opened(stack, os.open("/proc/self/ns/net", os.O_RDONLY)),
        "pipe": opened(stack, readable),
    }
    opened(stack, writable)
    os.ftruncate(fds["memfd"], 8192)
    os.pwrite(fds["memfd"], b"x", 0)
    found = look()
    assert {name: found[fd].kind for name, fd in fds.items()} == {name: name for name in fds}
    assert found[fds["file"]].access == "r" and found[fds["device"]].access == "rw"
    assert found[readable].access == "r" and found[writable].access == "w"
    assert found[fds["file"]].details == {"size": 5, "allocated": found[fds["file"]].details["allocated"]}
    assert found[fds["memfd"]].details == {"name": "picture", "size": 8192, "allocated": 4096}
    assert found[fds["eventfd"]].details == {"count": 7}
    assert "nonblock" in found[fds["eventfd"]].flags and "cloexec" in found[fds["eventfd"]].flags
    assert found[fds["pidfd"]].details == {"pid": os.getpid()}


def test_epoll_targets_and_those_left_behind(stack: ExitStack) -> None:
    """A closed fd stays watched while a duplicate of its file lives; only epoll's own table shows it."""
    epoll = stack.enter_context(select.epoll())
    kept = opened(stack, os.eventfd(0))
    left = os.eventfd(0)
    epoll.register(kept, select.EPOLLIN)
    epoll.register(left, select.EPOLLIN | select.EPOLLET)
    opened(stack, os.dup(left))
    os.close(left)
    whole = report.inspect_process(os.getpid(), [])
    found = next(descriptor for descriptor in whole.descriptors if descriptor.fd == epoll.fileno())
    assert {target["fd"] for target in found.details["targets"]} == {kept, left}
    text = report.describe(found, whole)
    assert f"{kept} eventfd (in)" in text
    assert f"{left} closed (in+edge)" in text


def test_timer(stack: ExitStack) -> None:
    ticking = subprocess.Popen([sys.executable, "-c", TIMER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stack.callback(ticking.wait)
    assert ticking.stdin is not None and ticking.stdout is not None
    stack.callback(ticking.stdin.close)
    stack.callback(ticking.stdout.close)
    fd = int(ticking.stdout.readline())
    found = {descriptor.fd: descriptor for descriptor in read_descriptors(ticking.pid)}[fd]
    assert found.kind == "timerfd"
    assert found.details["clock"] == time.CLOCK_MONOTONIC
    assert found.details["interval_ns"] == 250_000_000
    assert 3500e9 < found.details["expires_in_ns"] <= 3600e9


TIMER = """
import ctypes, sys
libc = ctypes.CDLL(None)
fd = libc.timerfd_create(1, 0)
libc.timerfd_settime(fd, 0, (ctypes.c_long * 4)(0, 250_000_000, 3600, 0), None)
print(fd, flush=True)
sys.stdin.read()
"""


def test_socket_pair_with_queued_bytes_and_fds(stack: ExitStack) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send_fds(theirs, b"hello", 0, 1, 2)
        send_fds(theirs, b"again", 0)
        found = look()
        mine, other = found[ours.fileno()].details, found[theirs.fileno()].details
        assert (mine["family"], mine["type"], mine["state"]) == ("unix", "stream", "connected")
        assert mine["queued_fds"] == 4
        assert mine["peers"] == [{"pid": os.getpid(), "fd": theirs.fileno()}]
        assert mine["received"] == other["sent"] == len(b"helloagain")
        assert other["received"] == 0 and other["queued_fds"] == 0
        ours.recvmsg(64, socket.CMSG_SPACE(64))
        text = report.as_table(report.inspect_process(os.getpid(), []))
        line = next(line for line in text.splitlines() if line.startswith(f"{ours.fileno()} "))
        assert f"to own fd {theirs.fileno()}" in line
        assert "1 fds queued" in line


def test_listening_socket_and_its_waiting_connections(stack: ExitStack, tmp_path: Path) -> None:
    listener = stack.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(str(tmp_path / "s"))
    listener.listen(5)
    client = stack.enter_context(socket.socket(socket.AF_UNIX))
    client.connect(str(tmp_path / "s"))
    details = look()[listener.fileno()].details
    assert details["state"] == "listening" and details["path"] == str(tmp_path / "s")
    assert details["waiting_connections"] == 1
    assert "received" not in details


def test_inet_and_netlink_sockets(stack: ExitStack) -> None:
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    netlink = stack.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
    netlink.bind((0, 0))
    found = look()
    assert found[server.fileno()].details["family"] == "inet"
    assert found[server.fileno()].details["state"] == "listening"
    assert found[netlink.fileno()].details["family"] == "netlink"


def test_shared_struct_files_in_one_process(stack: ExitStack) -> None:
    one = opened(stack, os.open("/dev/null", os.O_RDONLY))
    same = opened(stack, os.dup(one))
    another = opened(stack, os.open("/dev/null", os.O_RDONLY))
    found = look()
    assert found[one].group == found[same].group != 0
    assert found[another].group != found[one].group


def test_struct_file_shared_by_fork_and_by_scm_rights(stack: ExitStack) -> None:
    """What a client does with a dma-buf: the same open file in two processes, under different numbers."""
    ours, theirs = socket.socketpair()
    with ours:
        child = subprocess.Popen(
            [sys.executable, "-c", RECEIVER, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        theirs.close()
        assert child.stdout is not None
        stack.callback(child.stdout.close)
        stack.callback(child.wait)
        stack.callback(ours.close)
        memory = opened(stack, os.memfd_create("sent"))
        send_fds(ours, b"x", memory)
        number = int(child.stdout.readline())
        whole = report.inspect_process(os.getpid(), [child.pid])
        mine = next(descriptor for descriptor in whole.descriptors if descriptor.fd == memory)
        both = sorted([(os.getpid(), memory), (child.pid, number)])
        assert both == whole.groups[mine.group - 1]
        # Seen from the other side, this process is the one that inspects.
        other = report.inspect_process(child.pid, [])
        assert both in other.groups
        assert any(f"this inspect's fd {memory}" in line for line in report.as_table(other).splitlines())


RECEIVER = """
import array, socket, sys
over = socket.socket(fileno=int(sys.argv[1]))
data, control, _, _ = over.recvmsg(1, socket.CMSG_SPACE(4))
print(array.array("i", control[0][2])[0], flush=True)
over.recv(1)
"""


def test_groups_of_many_files_are_found_by_sorting(stack: ExitStack) -> None:
    fds = [opened(stack, os.eventfd(0)) for _ in range(60)]
    doubles = [opened(stack, os.dup(fd)) for fd in fds[::3]]
    me = os.getpid()
    groups = sharing.same_files([(me, fd) for fd in [*fds, *doubles]])
    assert sorted(groups) == sorted([(me, fd), (me, double)] for fd, double in zip(fds[::3], doubles, strict=True))


def test_a_descriptor_closed_meanwhile_is_left_out(stack: ExitStack) -> None:
    fd = opened(stack, os.eventfd(0))
    closed = os.dup(fd)
    os.close(closed)
    me = os.getpid()
    assert sharing.same_files([(me, fd), (me, closed)]) == []


def test_dmabuf_as_the_kernel_writes_it() -> None:
    """fdinfo of a udmabuf that weston named, from Linux 7.3."""
    lines = ("pos:\t0", "flags:\t02100002", "mnt_id:\t14", "ino:\t1031", "size:\t1024000", "count:\t3")
    text = "\n".join([*lines, "exp_name:\tudmabuf", "name:\tpicture", ""])
    info = parse_fdinfo(text)
    assert kind_of("/dmabuf:picture", info) == "dmabuf"
    details = descriptors._details("", "dmabuf", "/dmabuf:picture", info)
    assert details == {"size": 1024000, "exporter": "udmabuf", "references": 3, "name": "picture"}
    shown = report.describe(Descriptor(9, "dmabuf", "", 1031, "rw", [], details), report.Report(1, "", None, []))
    assert shown == '1000 KiB from udmabuf "picture", 3 references'


def test_json_is_complete_and_only_json(stack: ExitStack, capsys: pytest.CaptureFixture[str]) -> None:
    fd = opened(stack, os.memfd_create("seen"))
    assert command.main(["self", "--json"]) == ExitCode.OK
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert answer["pid"] == os.getpid()
    assert answer["command"] == descriptors.command_of(os.getpid())
    entry = next(entry for entry in answer["fds"] if entry["fd"] == fd)
    assert entry["kind"] == "memfd" and entry["details"]["name"] == "seen"


def test_table_of_another_process(capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen(["sleep", "30"], stdin=subprocess.DEVNULL) as sleeper:
        try:
            deadline_s = time.monotonic() + 10
            while descriptors.command_of(sleeper.pid) != "sleep 30" and time.monotonic() < deadline_s:
                time.sleep(0.001)
            assert command.main([str(sleeper.pid)]) == ExitCode.OK
        finally:
            sleeper.kill()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"sleep 30 (pid {sleeper.pid}): ")
    null = next(line.split() for line in lines if line.startswith("0 "))
    assert null[1] == "device" and null[-1] == "/dev/null"


def test_no_such_process() -> None:
    with pytest.raises(ConfigError, match="there is no such process"):
        command.main(["4194304"])  # above the largest pid_max


@pytest.mark.parametrize("word", ["0", "-1", "me", "1.5", ""])
def test_what_is_no_pid(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--", word])
    assert ended.value.code == ExitCode.USAGE
    assert "give a number or self" in capsys.readouterr().err


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else to be refused")
def test_somebody_elses_process_is_refused_with_a_reason() -> None:
    code = (
        "import os, sys\n"
        "from minicomp.errors import MinicompError\n"
        "from minicomp.inspect.descriptors import read_descriptors\n"
        "import pwd\n"  # before the interpreter's own files are out of reach
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n    read_descriptors(1)\n"
        "except MinicompError as error:\n    print(error); sys.exit(error.exit_code)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=30)
    assert done.returncode == ExitCode.UNAVAILABLE, done.stderr
    assert "inspect 1: its file descriptors may not be seen (it belongs to root: " in done.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root has capabilities to give up")
def test_root_without_ptrace_is_refused_and_not_shown_an_empty_table() -> None:
    """The folder can be listed then, and no link in it read."""
    program = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", sys.executable, "-m", "minicomp"]
    done = subprocess.run([*program, "inspect", str(os.getpid())], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (ExitCode.UNAVAILABLE, "")
    assert f"inspect {os.getpid()}: its file descriptors may not be seen" in done.stderr


def test_a_gone_process_between_listing_and_reading() -> None:
    with pytest.raises(ConfigError):
        read_descriptors(4194304)
    assert sockets.read_sockets(4194304) == {}
    assert descriptors.command_of(4194304) == ""
