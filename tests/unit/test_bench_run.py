"""scripts/bench's machinery on real compositors: sessions, windows of time, frames, CPU."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from benchlib import cli, contenders

ROOT = Path(__file__).resolve().parents[2]

_MEASURE_ONE = """
import json, sys, time
from dataclasses import asdict
from pathlib import Path
from benchlib import frames
from benchlib.contenders import Contender
from benchlib.cpu_clock import descendants
from benchlib.session import Session

contender, pulse = Contender(**json.loads(sys.argv[1])), Path(sys.argv[2])
with Session(contender, pulse) as session:
    slot = frames.measure(session, frames.FEEDBACK if contender.answers_feedback else frames.SMALL_DAMAGE, 0, 0.4, 0.5)
    private, children = session.private, descendants(session.pid)
    print(json.dumps(asdict(slot) | {"rate_hz": slot.rate_hz, "roundtrip_ms": session.first_roundtrip_ms,
        "peak_kib": session.memory().peak_rss_kib, "private": str(private)}))
assert not private.exists()
time.sleep(0.1)  # init reaps what was killed
assert not [pid for pid in children if Path(f"/proc/{pid}").exists()], "left behind"
assert session.process.returncode is not None
"""


def available() -> list[contenders.Contender]:
    found = contenders.minicomp(ROOT / ".venv/bin/minicomp", "")
    found += [
        make(path)
        for name, make in (("sway", contenders.sway), ("cage", contenders.cage))
        if (path := shutil.which(name))
    ]
    return found


@pytest.mark.parametrize("contender", available(), ids=lambda contender: contender.name)
def test_a_contender_starts_delivers_and_is_charged(contender: contenders.Contender, tmp_path: Path) -> None:
    prefix = cli._as_unprivileged(tmp_path) if os.geteuid() == 0 else []
    command = [
        *prefix,
        sys.executable,
        "-c",
        _MEASURE_ONE,
        json.dumps(asdict(contender)),
        str(ROOT / "build/clients/pulse"),
    ]
    done = subprocess.run(
        command, env=dict(os.environ, PYTHONPATH=str(ROOT / "scripts")), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["frames"] >= 3  # of about 31: the machine may be busy
    assert 0 < measured["cpu_ns"] < measured["span_ns"]
    assert measured["roundtrip_ms"] > 1 and measured["peak_kib"] > 1000
    assert sum(measured["threads_ns"].values()) > 0
    assert not contender.answers_feedback or measured["presented"] >= 3


def test_a_contender_that_fails_says_why(tmp_path: Path) -> None:
    broken = contenders.Contender("broken", "", ("sh", "-c", "echo no such luck >&2; exit 3"), "wayland-0")
    prefix = cli._as_unprivileged(tmp_path) if os.geteuid() == 0 else []
    command = [
        *prefix,
        sys.executable,
        "-c",
        _MEASURE_ONE,
        json.dumps(asdict(broken)),
        str(ROOT / "build/clients/pulse"),
    ]
    done = subprocess.run(
        command, env=dict(os.environ, PYTHONPATH=str(ROOT / "scripts")), capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "broken ended by itself with 3: no such luck" in done.stderr
