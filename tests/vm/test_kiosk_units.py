"""The units of configs/systemd, installed by the steps of docs/kiosk.md and started by systemd as process 1.

A guest of its own: the agent hands process 1 to systemd, which then boots as it does on a machine (udev, D-Bus,
logind, getty). The logind unit is started by that boot, the seatd unit afterwards by hand: one boot for both.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.vm.started import eventually
from vmlab import Guest
from vmlab.qemu import Machine

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

START_TIMEOUT_S = 300  # systemd's own start has been seen to take four minutes on a busy host
WAIT_S = 60
PAUSE_S = 1  # asking systemd costs the emulated machine more than other questions
WATCHDOG_PERIOD_S = 20  # WatchdogSec= of the units
LOGIND, SEATD = "minicomp-kiosk", "minicomp-kiosk-seatd"
# Services of the host's that have nothing to do with a kiosk would only cost time.
NOT_NEEDED = "postgresql systemd-timesyncd e2scrub_reap"


def install(unit: str, tree: Path) -> str:
    """docs/kiosk.md, "Install", for one unit; by a drop-in pixman, because llvmpipe takes half a minute here, and the
    tree's own place, where the venv's scripts look for their interpreter: it may lie in the /tmp that the unit hides.
    """
    return (
        f"cp /opt/minicomp/configs/systemd/{unit}.service /etc/systemd/system/; "
        f"mkdir -p /etc/systemd/system/{unit}.service.d; "
        f"printf '[Service]\\nEnvironment=WLR_RENDERER=pixman\\nBindReadOnlyPaths={tree}\\n' "
        f">/etc/systemd/system/{unit}.service.d/lab.conf"
    )


def checked(guest: Guest, script: str, timeout_s: float = WAIT_S) -> str:
    done = guest.run(f"set -e; {script}", timeout_s=timeout_s)
    assert done.code == 0, f"{script}\n{done.out}{done.err}"
    return str(done.out)


@pytest.fixture(scope="module")
def booted() -> Iterator[Guest]:
    """A machine with the kiosk installed whose process 1 is systemd."""
    interpreter = Path(sys.executable).resolve()
    with Guest(Machine(), seatd=False) as guest:
        guest.write_file("/root/app.toml", b'command = ["/usr/bin/weston-simple-shm"]\n')
        # A developer's Python may lie in a home that others cannot enter; the kiosk's user must be able to run it.
        for folder in interpreter.parents:
            checked(guest, f"chmod o+x '{folder}'")
        checked(
            guest,
            f"mkdir -p /opt/minicomp; mount --bind '{guest.tree}' /opt/minicomp; rm -f /.dockerenv; "
            "useradd --create-home --groups video,render kiosk; "
            "install -D -m 644 /opt/minicomp/configs/kiosk.toml /etc/minicomp/kiosk.toml; "
            "sed -i '/^\\[app\\]/r /root/app.toml' /etc/minicomp/kiosk.toml; "
            f"{install(LOGIND, guest.tree)}; {install(SEATD, guest.tree)}; systemctl disable seatd; systemctl enable {LOGIND}; "
            "systemctl set-default multi-user.target; "
            # What the host has in /tmp is seen here, and tmpfiles.d would delete it file by file, for minutes.
            "mkdir -p /etc/tmpfiles.d; ln -sf /dev/null /etc/tmpfiles.d/tmp.conf; "
            f"for unit in {NOT_NEEDED}; do ln -sf /dev/null /etc/systemd/system/$unit.service; done; "
            "pkill -x systemd-udevd || pkill -f /systemd-udevd",
        )
        guest.agent.ask(do="init", argv=["/lib/systemd/systemd"])
        yield guest


def shown(guest: Guest, unit: str) -> dict[str, str]:
    """The unit's properties; empty while systemd does not answer yet."""
    names = "ActiveState,SubState,Type,MainPID,NRestarts,Result,WatchdogTimestampMonotonic"
    out = guest.run(f"systemctl show {unit} -p {names}", timeout_s=WAIT_S).out
    return dict(line.split("=", 1) for line in out.splitlines())


def is_running(guest: Guest, unit: str) -> bool:
    now = shown(guest, unit)
    return (now.get("ActiveState"), now.get("SubState")) == ("active", "running")


def journal(guest: Guest, unit: str) -> str:
    return str(guest.run(f"systemctl status -n0 {unit}; journalctl -b --no-pager -n40 -t minicomp -t systemd").out)


def has_window(guest: Guest, path: Path) -> bool:
    """weston-simple-shm's white rim in the middle of the screen."""
    with Image.open(guest.screenshot(path)) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    return image.getpixel((width // 2 - 120, height // 2)) == (255, 255, 255)


def check_lives(guest: Guest, unit: str, folder: Path, end: str) -> None:
    """Ready, on the screen, watched, hardened; and there again after the compositor was ended by a signal."""
    eventually(lambda: is_running(guest, unit), lambda: journal(guest, unit), START_TIMEOUT_S, PAUSE_S)
    first = shown(guest, unit)
    # Type=notify: "active" came from READY=1.
    assert (first["Type"], first["NRestarts"]) == ("notify", "0"), journal(guest, unit)
    eventually(lambda: has_window(guest, folder / "first.png"), lambda: journal(guest, unit), WAIT_S, PAUSE_S)

    def keeps_alive() -> bool:
        return int(shown(guest, unit)["WatchdogTimestampMonotonic"]) > int(first["WatchdogTimestampMonotonic"])

    eventually(keeps_alive, lambda: "no WATCHDOG=1", WATCHDOG_PERIOD_S, PAUSE_S)
    # With logind the session's scope takes the processes out of the unit's control group, but not out of these.
    inside = f"nsenter --mount --target {first['MainPID']} touch /usr/kiosk-was-here"
    assert "Read-only file system" in guest.run(inside).err
    assert "NoNewPrivs:\t1" in checked(guest, f"cat /proc/{first['MainPID']}/status")
    checked(guest, f"kill -{end} {first['MainPID']}")
    eventually(lambda: shown(guest, unit)["NRestarts"] == "1", lambda: journal(guest, unit), WAIT_S, PAUSE_S)
    eventually(lambda: is_running(guest, unit), lambda: journal(guest, unit), WAIT_S, PAUSE_S)
    assert shown(guest, unit)["MainPID"] != first["MainPID"]
    eventually(lambda: has_window(guest, folder / "again.png"), lambda: journal(guest, unit), WAIT_S, PAUSE_S)


def test_the_boot_brings_the_application_with_logind(booted: Guest, tmp_path: Path) -> None:
    check_lives(booted, LOGIND, tmp_path, "KILL")
    assert checked(booted, "cat /proc/1/comm") == "systemd\n"
    sessions = checked(booted, "loginctl --no-legend list-sessions").splitlines()
    assert [line.split()[2:] for line in sessions if "kiosk" in line][-1] == ["kiosk", "seat0", "tty1"], sessions
    # What docs/kiosk.md says to look at: the session's scope is not the unit's, so -u would not have it.
    assert "ready:" in checked(booted, "journalctl -b -t minicomp")
    checked(booted, f"systemctl disable --now {LOGIND}")
    assert shown(booted, LOGIND)["Result"] == "success", journal(booted, LOGIND)


def test_seatd_brings_it_as_well(booted: Guest, tmp_path: Path) -> None:
    checked(booted, f"systemctl stop {LOGIND} getty@tty1; systemctl enable seatd")
    checked(booted, f"systemctl enable --now --no-block {SEATD}")
    check_lives(booted, SEATD, tmp_path, "TERM")
    assert "minicomp" in checked(
        booted, f"cat /sys/fs/cgroup/system.slice/{SEATD}.service/cgroup.procs | xargs -I PID cat /proc/PID/comm"
    )
    checked(booted, f"systemctl disable --now {SEATD}")
    assert shown(booted, SEATD)["Result"] == "success", journal(booted, SEATD)
