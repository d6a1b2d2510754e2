"""The root helper, spoken to directly: what it takes, what it refuses, what its journal says. As root or not."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minicomp.lab.helper.journal import Journal, boot_id, prepared_directory, restore_left
from minicomp.lab.knobs import proc, syscalls
from minicomp.lab.knobs.operations import Forbidden, Owner, WriteFile, chosen, from_wire
from minicomp.lab.knobs.protocol import LONGEST_LINE_BYTES, SOCKET, BadLine, Lines, encode
from minicomp.lab.knobs.registry import operation_from_wire
from minicomp.lab.knobs.thread_operations import SetScheduling, SetTimerSlack

RT_RUNTIME = "/proc/sys/kernel/sched_rt_runtime_us"
ME = Owner(os.getpid(), os.getuid())


class Conversation:
    """A helper of our own, and the socket to it."""

    def __init__(self, folder: Path) -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        self.socket.settimeout(60)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-m", "minicomp.lab.helper"],
            stdin=theirs,
            stderr=subprocess.PIPE,
            env={**os.environ, "MINICOMP_JOURNAL_DIR": str(folder)},
        )
        theirs.close()
        self._lines = Lines()
        self._messages: list[dict[str, Any]] = []
        assert self.receive()["hello"] == 1

    def receive(self) -> dict[str, Any]:
        while not self._messages:
            data = self.socket.recv(4096)
            if not data:
                raise EOFError(self.process.communicate()[1])
            self._messages += self._lines.feed(data)
        return self._messages.pop(0)

    def ask(self, **message: Any) -> dict[str, Any]:
        self.socket.sendall(encode({"id": 1, **message}))
        return self.receive()

    def end(self) -> int:
        self.socket.close()
        code = self.process.wait(60)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journals"


@pytest.fixture
def helper(folder: Path) -> Iterator[Conversation]:
    conversation = Conversation(folder)
    yield conversation
    if conversation.process.poll() is None:
        conversation.end()
    if conversation.process.stderr is not None:
        conversation.process.stderr.close()
    conversation.socket.close()


@pytest.fixture
def sleeper() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


def scheduling(tid: int, **changes: Any) -> dict[str, Any]:
    return {**SetScheduling(tid, proc.started(tid), syscalls.SCHED_OTHER, 0, nice=5).to_wire(), **changes}


def test_a_thread_is_given_a_nice_value_and_loses_it_at_the_end(helper: Conversation, sleeper: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("taking a nice value back needs CAP_SYS_NICE")
    assert helper.ask(knob="knobs.render", do=scheduling(sleeper)) == {"id": 1, "ok": True}
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == 5
    assert helper.ask(undo="knobs.loop") == {"id": 1, "ok": True, "failed": []}
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == 5, "another knob's undoing is none of its business"
    assert helper.ask(undo="knobs.render") == {"id": 1, "ok": True, "failed": []}
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == 0
    helper.ask(knob="knobs.render", do=scheduling(sleeper))
    assert helper.end() == 0
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == 0


def test_changes_are_undone_last_first(helper: Conversation, sleeper: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("taking a nice value back needs CAP_SYS_NICE")
    for nice in (3, 7, 4):
        assert helper.ask(knob="knobs.render", do=scheduling(sleeper, nice=nice))["ok"]
    assert helper.end() == 0
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == 0


def test_the_client_is_told_when_all_is_undone(helper: Conversation, folder: Path) -> None:
    helper.socket.shutdown(socket.SHUT_WR)
    assert helper.receive() == {"bye": []}
    assert helper.process.wait(60) == 0
    assert not list(folder.glob("*.journal"))


def test_sigterm_ends_it_properly(helper: Conversation, folder: Path) -> None:
    helper.process.send_signal(signal.SIGTERM)
    assert helper.process.wait(60) == 0
    assert not list(folder.glob("*.journal"))


@pytest.mark.parametrize(
    "request_",
    [
        {"knob": "knobs.x", "do": {"kind": "write-file", "path": "/etc/passwd", "value": "x"}},
        {"knob": "knobs.x", "do": {"kind": "write-file", "path": RT_RUNTIME, "value": "1; reboot"}},
        {"knob": "knobs.x", "do": {"kind": "write-file", "path": f"/proc/../{RT_RUNTIME}", "value": "1"}},
        {"knob": "knobs.x", "do": {"kind": "write-file", "path": f"{RT_RUNTIME}\n", "value": "1"}},
        {"knob": "knobs.x", "do": {"kind": "write-file", "path": RT_RUNTIME, "value": 1}},
        {"knob": "knobs.x", "do": {"kind": "write-file", "path": RT_RUNTIME}},
        {"knob": "knobs.x", "do": {"kind": "write-file", "path": RT_RUNTIME, "value": "1", "mode": "a"}},
        {"knob": "knobs.x", "do": {"kind": "os.system", "command": "id"}},
        {"knob": "knobs.x", "do": {"kind": ["write-file"]}},
        {"knob": "knobs.x", "do": None},
        {"knob": "render", "do": {"kind": "hold-cpu-latency", "latency_us": 0}},
        {"knob": "knobs." + "x" * 200, "do": {"kind": "hold-cpu-latency", "latency_us": 0}},
        {"knob": 7, "do": {"kind": "hold-cpu-latency", "latency_us": 0}},
        {"knob": "knobs.x", "do": {"kind": "hold-cpu-latency", "latency_us": -5}},
        {"knob": "knobs.x", "do": {"kind": "hold-cpu-latency", "latency_us": True}},
        {"knob": "knobs.x", "do": {"kind": "set-timer-slack", "tid": 0, "started": 0, "slack_ns": 1}},
        {"knob": "knobs.x", "do": {"kind": "set-timer-slack", "tid": -1, "started": 0, "slack_ns": 1}},
        {"undo": None},
    ],
    ids=lambda request_: json.dumps(request_)[:90],
)
def test_what_no_knob_asks_for_is_refused(helper: Conversation, request_: dict[str, Any]) -> None:
    answer = helper.ask(**request_)
    assert answer["id"] == 1
    assert answer["forbidden"]
    assert helper.ask(undo="knobs.x")["ok"], "it goes on serving"


@pytest.mark.parametrize(
    "line",
    [b"not json\n", b"[]\n", b"{}\n", b'{"id": "1", "undo": "knobs.x"}\n', b'{"id": 1, "shell": "id"}\n', b"[" * 9000],
)
def test_nonsense_ends_it_with_everything_undone(helper: Conversation, sleeper: int, folder: Path, line: bytes) -> None:
    if os.geteuid() == 0:
        helper.ask(knob="knobs.render", do=scheduling(sleeper))
    helper.socket.sendall(line)
    assert helper.process.wait(60) == 0
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == 0
    assert not list(folder.glob("*.journal"))


def test_the_kernels_refusal_comes_back_as_its_number(helper: Conversation, sleeper: int) -> None:
    bad = scheduling(sleeper, policy=syscalls.SCHED_FIFO, priority=0, nice=0)
    assert helper.ask(knob="knobs.render", do=bad)["errno"] == 22  # EINVAL
    gone = scheduling(sleeper, started=1)
    assert helper.ask(knob="knobs.render", do=gone)["errno"] == 3, "another thread may have the id by now: ESRCH"


def test_another_users_threads_are_refused() -> None:
    stranger = Owner(ME.pid, ME.uid + 1)
    with pytest.raises(Forbidden, match="belongs to another user"):
        SetScheduling(os.getpid(), proc.started(os.getpid()), 0, 0).permit(stranger)
    with pytest.raises(Forbidden, match="belongs to another user"):
        SetTimerSlack(os.getpid(), proc.started(os.getpid()), 1).permit(stranger)
    SetTimerSlack(os.getpid(), proc.started(os.getpid()), 1).permit(ME)


def test_init_belongs_to_root_alone() -> None:
    with pytest.raises(Forbidden):
        SetScheduling(1, proc.started(1), 0, 0).permit(Owner(os.getpid(), 1234))


def test_started_without_a_socket_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "minicomp.lab.helper"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "stdin is not the compositor's socket" in done.stderr


# ---- operations on the wire ----


def test_every_operation_survives_the_wire() -> None:
    for operation in (
        SetScheduling(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
        SetTimerSlack(1, 2, 3),
        WriteFile(RT_RUNTIME, "950000"),
    ):
        assert operation_from_wire(json.loads(json.dumps(operation.to_wire()))) == operation


def test_a_bool_is_no_number() -> None:
    with pytest.raises(Forbidden, match="wrong type"):
        from_wire({**SetTimerSlack(1, 2, 3).to_wire(), "tid": True})


def test_the_choice_in_force() -> None:
    assert chosen("always [madvise] never") == "madvise"
    assert chosen("950000") == "950000"


def test_lines_come_whole_however_they_are_cut() -> None:
    lines = Lines()
    assert lines.feed(b'{"a"') == []
    assert lines.feed(b': 1}\n{"b": 2}\n{') == [{"a": 1}, {"b": 2}]
    with pytest.raises(BadLine):
        Lines().feed(b"x" * (LONGEST_LINE_BYTES + 1))


# ---- the journal ----


def test_a_journal_is_not_for_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINICOMP_JOURNAL_DIR", str(folder))
    journal = Journal(prepared_directory(), 1, 2)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert journal.path.stat().st_mode & 0o777 == 0o600
    journal.close()
    folder.chmod(0o777)
    with pytest.raises(PermissionError):
        prepared_directory()


def test_a_living_helpers_journal_is_left_alone(folder: Path, sleeper: int) -> None:
    folder.mkdir(mode=0o700)
    journal = Journal(folder, 1, 2)
    journal.note("knobs.render", SetScheduling(sleeper, proc.started(sleeper), 0, 0, nice=9))
    assert restore_left(folder) == ([], [])
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == 0
    journal.close()


def left_journal(folder: Path, *entries: dict[str, Any], boot: str | None = None) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "helper-1-1.journal"
    header = {"journal": 1, "boot": boot or boot_id(), "owner_pid": 1, "owner_uid": 0}
    path.write_text("".join(json.dumps(entry) + "\n" for entry in (header, *entries)))
    return path


def nice(tid: int, value: int) -> dict[str, Any]:
    return SetScheduling(tid, proc.started(tid), 0, 0, nice=value).to_wire()


def test_a_dead_helpers_journal_is_played_back(folder: Path, sleeper: int) -> None:
    path = left_journal(
        folder,
        {"number": 0, "knob": "knobs.loop", "undo": nice(sleeper, 2)},
        {"number": 1, "knob": "knobs.loop", "undo": nice(sleeper, 1)},
        {"number": 2, "knob": "knobs.render", "undo": nice(sleeper, 19)},
        {"undone": 2},
    )
    with path.open("a") as file:
        file.write('{"number": 3, "knob": "knobs.render", "un')  # killed while writing: then it was not done either
    done, failed = restore_left(folder)
    assert failed == []
    assert len(done) == 2
    assert "nice=1" in done[0], "last first"
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == 2
    assert not path.exists()


def test_a_journal_from_before_a_reboot_is_only_removed(folder: Path, sleeper: int) -> None:
    path = left_journal(folder, {"number": 0, "knob": "knobs.loop", "undo": nice(sleeper, 2)}, boot="another")
    assert restore_left(folder) == ([], [])
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == 0
    assert not path.exists()


def test_what_cannot_be_undone_is_said_and_kept(folder: Path, tmp_path: Path) -> None:
    path = left_journal(
        folder,
        {"number": 0, "knob": "knobs.thp", "undo": WriteFile(str(tmp_path), "x").to_wire()},  # a directory: EISDIR
        {"number": 1, "knob": "knobs.thp", "undo": WriteFile(str(tmp_path / "gone"), "x").to_wire()},
        {"number": 2, "knob": "knobs.thp", "undo": {"kind": "os.system"}},
    )
    done, failed = restore_left(folder)
    assert len(done) == 1, "a file that is gone needs no undoing"
    assert len(failed) == 2
    assert "unreadable" in failed[0]
    assert "Is a directory" in failed[1]
    assert path.exists()


def test_two_who_restore_do_not_meet(folder: Path, sleeper: int) -> None:
    left_journal(folder, {"number": 0, "knob": "knobs.loop", "undo": nice(sleeper, 2)})
    results: list[tuple[list[str], list[str]]] = []
    threads = [threading.Thread(target=lambda: results.append(restore_left(folder))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(threads), "a journal that somebody else has just removed is no error"
    assert sum(len(done) for done, _ in results) == 1
    assert all(failed == [] for _, failed in results)


# ---- an ordinary user's compositor ----

ORDINARY_USER = """
import os, sys
from minicomp.config.knobs import KnobSettings
from minicomp.lab.knobs import proc, syscalls
from minicomp.lab.knobs.apply import KnobSession
from minicomp.lab.knobs.knob import KnobRefused, Subject
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
tid = os.getpid()
session = KnobSession(KnobSettings(), lambda: Subject(tid, loop_tid=tid))
try:
    effect = session.change("knobs.loop", {"class": "fifo", "priority": 3})
    print(effect.took_effect, syscalls.sched_getattr(tid).policy, syscalls.sched_getattr(tid).priority)
    session.close()
    print(syscalls.sched_getattr(tid).policy)
except KnobRefused as error:
    print(error, "|", error.remedy)
"""


def as_ordinary_user(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def no_socket_here() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    if Path(SOCKET).exists():
        pytest.skip(f"{SOCKET} exists: this machine has a helper of its own")


def test_without_a_helper_an_ordinary_user_is_told_what_to_do(no_socket_here: None) -> None:
    text = as_ordinary_user(ORDINARY_USER)
    assert text.startswith("knobs.loop = ")
    assert "EPERM" in text
    assert "minicomp-helper.socket" in text


def test_an_ordinary_user_is_served_through_systemds_socket(no_socket_here: None, folder: Path) -> None:
    """With us in systemd's part: Accept=yes hands the connection over as stdin."""
    listener = socket.socket(socket.AF_UNIX)
    listener.settimeout(30)
    listener.bind(SOCKET)
    try:
        os.chmod(SOCKET, 0o666)
        listener.listen()
        codes: list[int] = []

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                command = [sys.executable, "-I", "-m", "minicomp.lab.helper"]
                environment = {**os.environ, "MINICOMP_JOURNAL_DIR": str(folder)}
                codes.append(subprocess.run(command, stdin=connection, env=environment, timeout=30).returncode)

        thread = threading.Thread(target=serve)
        thread.start()
        assert as_ordinary_user(ORDINARY_USER) == "True 1 3\n0\n"
        thread.join()
        assert codes == [0]
    finally:
        listener.close()
        os.unlink(SOCKET)
