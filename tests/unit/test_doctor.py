"""The doctor: its verdicts and exit codes, checks on made-up machines, and one run on the real one."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicomp.doctor import command, kernel, scheduling, screen, session
from minicomp.doctor.command import as_json, as_table, diagnose
from minicomp.doctor.finding import ALL, Finding, Purpose, Status, bracketed
from minicomp.doctor.libraries import duplicate_libraries
from minicomp.doctor.syscalls import SCHED_OTHER, SchedAttr
from minicomp.errors import ExitCode

MAPS = """\
7f00-7f01 r--p 00000000 fe:00 1 /usr/lib/x86_64-linux-gnu/libwayland-server.so.0.21.0
7f01-7f02 r-xp 00001000 fe:00 1 /usr/lib/x86_64-linux-gnu/libwayland-server.so.0.21.0
7f02-7f03 r--p 00000000 fe:00 2 /usr/lib/x86_64-linux-gnu/libpixman-1.so.0.42.2
7f04-7f05 r--p 00000000 00:00 0 [heap]
"""
WHEEL_MAPS = """\
7f06-7f07 r--p 00000000 fe:00 3 /venv/site packages/pywlroots.libs/libwayland-server-1a2b3c4d.so.0.22.0
7f08-7f09 r--p 00000000 fe:00 4 /usr/lib/libwayland-client.so.0.21.0 (deleted)
"""


def test_one_copy_of_each_library_is_no_duplicate() -> None:
    assert duplicate_libraries(MAPS) == []


def test_a_wheels_own_copy_is_found_under_its_hashed_name() -> None:
    assert duplicate_libraries(MAPS + WHEEL_MAPS) == [
        (
            "libwayland-server",
            [
                "/usr/lib/x86_64-linux-gnu/libwayland-server.so.0.21.0",
                "/venv/site packages/pywlroots.libs/libwayland-server-1a2b3c4d.so.0.22.0",
            ],
        )
    ]


def test_start_up_refuses_a_second_copy_that_really_is_loaded(tmp_path: Path) -> None:
    maps = subprocess.run(
        [
            sys.executable,
            "-c",
            "import ctypes; ctypes.CDLL('libxkbcommon.so.0'); print(open('/proc/self/maps').read())",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    original = next(line[line.index("/") :] for line in maps.splitlines() if "libxkbcommon" in line)
    copy = shutil.copy(original, tmp_path / "libxkbcommon-0a1b2c3d.so.0")
    script = (
        "import ctypes, sys\n"
        "from minicomp.doctor.libraries import refuse_duplicate_libraries\n"
        "ctypes.CDLL('libxkbcommon.so.0')\n"
        "refuse_duplicate_libraries()\n"
        "ctypes.CDLL(sys.argv[1])\n"
        "try:\n    refuse_duplicate_libraries()\n"
        "except Exception as error:\n    print(int(error.exit_code), error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(copy)], capture_output=True, text=True, check=True, timeout=30
    )
    assert result.stdout.startswith(
        f"{ExitCode.UNAVAILABLE} two copies of libxkbcommon in one process would crash it: "
    )
    assert str(copy) in result.stdout
    assert original in result.stdout


def test_the_same_finding_fails_or_warns_by_purpose() -> None:
    missing = Finding("seat", False, "none", "get one", (Purpose.KIOSK,))
    assert missing.status_for(Purpose.KIOSK) is Status.FAIL
    assert missing.status_for(Purpose.HEADLESS) is Status.WARN
    assert missing._replace(good=True).status_for(Purpose.KIOSK) is Status.PASS


def good_check() -> Iterator[Finding]:
    yield Finding("a thing", True, "there", "never shown")


def bad_check() -> Iterator[Finding]:
    yield Finding("before", False, "was missing", "add it", ALL)
    raise RuntimeError("unforeseen")


def test_a_failing_check_is_reported_and_the_others_go_on() -> None:
    diagnoses = list(diagnose((("one", bad_check), ("two", good_check)), Purpose.HEADLESS))
    assert [(d.topic, d.status) for d in diagnoses] == [
        ("one", Status.FAIL),
        ("one", Status.WARN),
        ("two", Status.PASS),
    ]
    assert diagnoses[1].finding.why == "the check itself failed: RuntimeError: unforeseen"


def test_table_and_json_say_what_to_do_only_where_something_is_missing() -> None:
    diagnoses = list(diagnose((("one", bad_check), ("two", good_check)), Purpose.LAB))
    table = as_table(diagnoses, Purpose.LAB, width=80, colour=False)
    assert "FAIL  before" in table
    assert "-> add it" in table
    assert "never shown" not in table
    assert table.endswith("not ready for lab use: 1 pass, 1 warn, 1 fail")
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "\033[31mFAIL" in as_table(diagnoses, Purpose.LAB, width=80, colour=True)
    report = json.loads(as_json(diagnoses, Purpose.LAB))
    assert (report["purpose"], report["ok"]) == ("lab", False)
    assert report["checks"][0] == {
        "topic": "one",
        "name": "before",
        "status": "fail",
        "why": "was missing",
        "todo": "add it",
    }
    assert report["checks"][2]["todo"] == ""


def test_the_exit_code_is_the_verdict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "TOPICS", (("two", good_check),))
    assert command.main([]) == ExitCode.OK
    capsys.readouterr()
    monkeypatch.setattr(command, "TOPICS", (("one", bad_check),))
    assert command.main(["--json", "--for", "kiosk"]) == ExitCode.UNAVAILABLE
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_runtime_dir(tmp_path: Path) -> None:
    uid = os.getuid()
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    assert session.runtime_dir(str(folder), uid).good
    folder.chmod(0o755)
    assert session.runtime_dir(str(folder), uid).why == f"{folder}, mode 0755"
    assert not session.runtime_dir(str(folder), uid).good
    assert "belongs to uid" in session.runtime_dir(str(folder), uid + 1).why
    assert session.runtime_dir(str(folder / "missing"), uid).needed_for == ALL
    assert not session.runtime_dir(None, uid).good
    file = tmp_path / "file"
    file.touch()
    assert session.runtime_dir(str(file), uid).why.endswith("is no folder")


def test_x11_socket_folder(tmp_path: Path) -> None:
    folder = tmp_path / ".X11-unix"
    assert session.x11_sockets(folder, os.getuid()).good  # XWayland makes it
    folder.mkdir()
    folder.chmod(0o1777)
    assert session.x11_sockets(folder, os.getuid()).good
    folder.chmod(0o755)
    assert not session.x11_sockets(folder, os.getuid()).good


def test_a_seat_is_a_seatd_that_answers(tmp_path: Path) -> None:
    path = tmp_path / "seatd.sock"
    environment = {"SEATD_SOCK": str(path)}
    assert "No such file" in screen.seat(environment).why
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        assert screen.seat(environment).good
    assert "refused" in screen.seat(environment).why  # a socket file that a dead seatd left behind


@pytest.mark.parametrize(
    ("mounts", "version", "cpuset"),
    [
        ("", "none mounted", "no cpuset controller"),
        ("cgroup /sys/fs/cgroup/cpuset cgroup rw,nosuid,cpuset 0 0", "v1", "v1 at /sys/fs/cgroup/cpuset"),
        ("none /dev/cpuset cpuset rw 0 0", "v1", "v1 at /dev/cpuset"),
        ("none {tmp} cgroup2 rw 0 0", "v2", "v2 at {tmp}, writable"),
        ("none {tmp} cgroup2 rw 0 0\ncgroup /c cgroup rw,cpu 0 0", "v1 and v2", "v2 at {tmp}, writable"),
    ],
)
def test_cgroup_versions(mounts: str, version: str, cpuset: str, tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu cpuset io\n")
    (tmp_path / "cgroup.subtree_control").touch()
    findings = list(kernel.cgroups(mounts.format(tmp=tmp_path)))
    assert findings[0].why == version
    assert findings[1].why.startswith(cpuset.format(tmp=tmp_path))


def test_kernel_texts() -> None:
    assert kernel.kernel_version("6.1.0-28-amd64") == (6, 1)
    assert kernel.kernel_version("6.18-rc3") == (6, 18)
    assert bracketed("always [madvise] never") == "madvise"
    assert bracketed("odd") == "odd"


def test_a_class_is_tried_in_a_child_and_never_in_this_process() -> None:
    before = os.sched_getscheduler(0), os.nice(0)
    assert scheduling.in_child(lambda: scheduling.applied_and_read_back(SchedAttr(policy=SCHED_OTHER, nice=5))) == 0
    assert (os.sched_getscheduler(0), os.nice(0)) == before
    assert scheduling.in_child(lambda: False) == 255
    impossible = SchedAttr(policy=99)
    assert scheduling.in_child(lambda: scheduling.applied_and_read_back(impossible)) == errno.EINVAL


def test_the_doctor_on_this_machine() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "minicomp", "doctor", "--json"], capture_output=True, text=True, timeout=60, check=False
    )
    report = json.loads(result.stdout)
    assert result.stderr == ""
    assert {check["topic"] for check in report["checks"]} == {topic for topic, _ in command.TOPICS}
    assert not [check for check in report["checks"] if "the check itself failed" in check["why"]]
    # scripts/setup has run: what headless needs is there.
    assert [check for check in report["checks"] if check["status"] == "fail"] == []
    assert result.returncode == ExitCode.OK
