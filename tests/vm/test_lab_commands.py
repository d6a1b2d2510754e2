"""The VM lab runs commands: exit codes, output as it comes, time limits, files, and a host that stays as it was."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from vmlab import CommandTimeout, Guest, LabError

pytestmark = pytest.mark.vm


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 7", 7), ("true", 0), ("kill -SEGV $$", 128 + 11), (["/no/such/program"], 127), (["/etc/passwd"], 126)],
)
def test_exit_code_is_the_commands_own(guest: Guest, command: str | list[str], code: int) -> None:
    assert guest.run(command).code == code


def test_output_comes_while_the_command_runs(guest: Guest) -> None:
    process = guest.spawn("echo first; echo problem >&2; sleep 30")
    try:
        process.wait_for("first", timeout_s=10)
        process.wait_for("problem", timeout_s=10)
        assert process.running
    finally:
        process.stop()
    assert not process.running


def test_output_and_errors_are_kept_apart_and_whole(guest: Guest) -> None:
    done = guest.run("seq 1 40000; echo trouble >&2")
    assert done.out.split() == [str(number) for number in range(1, 40001)]
    assert done.err == "trouble\n"


def test_time_limit_ends_the_whole_group(guest: Guest) -> None:
    with pytest.raises(CommandTimeout, match="time limit of 1 s") as caught:
        guest.run("echo begun; sleep 4321 & sleep 4321; wait", timeout_s=1)
    assert caught.value.output == b"begun\n"
    assert guest.run("pgrep -f 'sleep [4]321'").code == 1


def test_a_command_that_ignores_sigterm_is_killed(guest: Guest) -> None:
    with pytest.raises(CommandTimeout):
        guest.run("trap '' TERM; sleep 8765 & wait; wait; while :; do sleep 1; done", timeout_s=1)
    assert guest.run("pgrep -f 'sleep [8]765'").code == 1


def test_end_is_by_the_command_itself_not_its_grandchildren(guest: Guest) -> None:
    begin_s = time.monotonic()
    done = guest.run("sleep 60 & echo $!")
    assert time.monotonic() - begin_s < 30
    guest.run(f"kill {done.out}").check()


def test_files_go_in_and_out(guest: Guest) -> None:
    data = bytes(range(256)) * 100
    guest.write_file("/opt/vm-tests/some/file", data)
    assert guest.read_file("/opt/vm-tests/some/file") == data
    with pytest.raises(LabError, match="No such file"):
        guest.read_file("/no/such/file")


def test_guest_is_root_on_this_tree_with_a_seat(guest: Guest) -> None:
    done = guest.run("id -u; pwd; cat /sys/class/drm/card0-Virtual-1/status; ls /run/seatd.sock")
    assert done.out.splitlines() == ["0", str(guest.tree), "connected", "/run/seatd.sock"]
    assert guest.run(["test", "-f", __file__]).code == 0
    assert guest.run("test -d $XDG_RUNTIME_DIR && test $(stat -c %a $XDG_RUNTIME_DIR) = 700").code == 0


def test_what_the_guest_changes_outside_of_the_tree_is_not_the_hosts(guest: Guest) -> None:
    guest.run("touch /usr/vm-test-file /etc/vm-test-file && rm /etc/hostname").check()
    assert not Path("/usr/vm-test-file").exists()
    assert not Path("/etc/vm-test-file").exists()
    assert Path("/etc/hostname").exists()
