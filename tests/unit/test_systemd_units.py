"""The units under configs/systemd: systemd understands them, and they fit what minicomp does."""

from __future__ import annotations

import configparser
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from minicomp.doctor.knobs import HELPER_SOCKET
from minicomp.errors import ExitCode
from minicomp.lab.knobs.protocol import SOCKET

FOLDER = Path(__file__).parents[2] / "configs/systemd"
UNITS = sorted(FOLDER.glob("minicomp-kiosk*.service"))
HELPER = (FOLDER / "minicomp-helper.socket", FOLDER / "minicomp-helper@.service")


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd is not installed here: no systemd-analyze to verify the units",
)


def verified(*units: Path) -> subprocess.CompletedProcess[str]:
    """What systemd says of copies of units that lie in one folder, beside stand-ins for others' units."""
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *map(str, units)],
        capture_output=True,
        text=True,
        env={"SYSTEMD_UNIT_PATH": f"{units[0].parent}:", "PATH": "/usr/bin:/bin"},
        timeout=60,
    )


def sections(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return parser


def test_there_are_two() -> None:
    assert [unit.name for unit in UNITS] == ["minicomp-kiosk-seatd.service", "minicomp-kiosk.service"]


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_it(unit: Path, tmp_path: Path) -> None:
    # The program is wherever the user installs it, and the others' units need not be installed here.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/minicomp/.venv/bin/minicomp", "/bin/true"))
    (tmp_path / "seatd.service").write_text("[Service]\nExecStart=/bin/true\n")
    done = verified(copy)
    complaints = [line for line in done.stderr.splitlines() if unit.stem in line]
    assert complaints == [], done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_it_restarts_on_what_a_restart_can_mend(unit: Path) -> None:
    service = sections(unit)["Service"]
    assert service["Type"] == "notify"  # readiness.py
    # 143: it was asked to end by SIGTERM. By systemd that is success; by anybody else a reason to start again.
    asked_to_end = 128 + signal.SIGTERM
    assert {int(code) for code in service["RestartForceExitStatus"].split()} == {ExitCode.DEVICE_LOST, asked_to_end}
    assert int(service["SuccessExitStatus"]) == asked_to_end
    assert int(service["RestartPreventExitStatus"]) == ExitCode.USAGE
    assert int(service["WatchdogSec"]) >= 10  # watchdog.py feeds three times in that


@needs_systemd
def test_systemd_understands_the_helpers_units(tmp_path: Path) -> None:
    for unit in HELPER:
        text = unit.read_text().replace("/opt/minicomp/.venv/bin/python", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    done = verified(*(tmp_path / unit.name for unit in HELPER))
    assert [line for line in done.stderr.splitlines() if "minicomp-helper" in line] == [], done.stderr
    assert done.returncode == 0, done.stderr


def test_the_helpers_socket_is_where_minicomp_looks_for_it() -> None:
    settings = sections(HELPER[0])["Socket"]
    assert settings["ListenStream"] == SOCKET == HELPER_SOCKET
    assert settings["SocketMode"] == "0660", "its group, and nobody else"
