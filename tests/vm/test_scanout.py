"""Direct scan-out on real KMS: a full-screen client's own buffer on the screen, when it may be, and not freed before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from test_dmabuf import picture, records, screen, until
from vmlab import Guest
from vmlab.process import GuestProcess

from minicomp.testing.image import compare

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

START_TIMEOUT_S = 90
STEP_TIMEOUT_S = 60
SOCKET = {"WAYLAND_DISPLAY": "wayland-scanout"}
SIZE = (1280, 800)
RENDERERS = {
    "pixman": {"WLR_RENDERER": "pixman"},
    "gles2": {"WLR_RENDERER": "gles2", "LP_NUM_THREADS": "0", "WLR_RENDERER_ALLOW_SOFTWARE": "1"},
}


@dataclass
class Running:
    guest: Guest
    process: GuestProcess
    trace: str

    def client(self, *options: str) -> GuestProcess:
        return self.guest.spawn(["build/clients/dmabuf", "--allocator", "dumb", "--log", "-", *options], env=SOCKET)

    def end(self) -> dict[str, Any]:
        """Stops it; the output's line of `trace summary`."""
        assert self.process.running, self.process.output()
        self.process.stop(grace_s=10)
        command = [".venv/bin/python", "-m", "minicomp", "trace", "summary", "--json", self.trace]
        answer = json.loads(self.guest.run(command, env=path_of(self.guest), timeout_s=120).check().out)
        line: dict[str, Any] = answer["outputs"][0]
        return line


def path_of(guest: Guest) -> dict[str, str]:
    return {"PYTHONPATH": str(guest.tree / "src")}


@pytest.fixture(params=list(RENDERERS))
def running(request: pytest.FixtureRequest, guest: Guest) -> Iterator[Running]:
    trace = f"/run/scanout-{request.param}.mct"
    command = (
        f"exec .venv/bin/python -m minicomp run --backend drm --socket wayland-scanout --trace {trace} --set control.spy=yes "
        "--set log.level=debug"
    )
    process = guest.spawn(command, env=RENDERERS[request.param] | path_of(guest))
    try:
        process.wait_for("ready:", START_TIMEOUT_S)
        yield Running(guest, process, trace)
    finally:
        process.stop(grace_s=10)


def test_a_full_screen_buffer_is_scanned_out(running: Running, tmp_path: Path) -> None:
    """Poisoned as soon as it is released: a release while the display still reads it would be seen, and logged."""
    client = running.client("--frames", "40", "--buffers", "2", "--poison")
    try:
        client.wait_for('"type":"presented","seq":40', STEP_TIMEOUT_S)
        shown = screen(running.guest, tmp_path / "screen.png")
        assert not compare(shown, picture(*SIZE, 40, "XRGB8888", (0, 0, 0)))
    finally:
        client.stop()
    presented = {record["seq"]: record["presented_ns"] for record in records(client, "presented")}
    releases = {record["seq"]: record["release_ns"] for record in records(client, "release")}
    assert len(releases) >= 38
    early = {
        seq: presented[seq + 1] - ns for seq, ns in releases.items() if seq + 1 in presented and ns < presented[seq + 1]
    }
    line = running.end()
    assert line["scanned_out"] >= 35, running.process.output()[-3000:]
    assert not early, f"released before the flip that took them off (ns too early): {early}"


def test_composed_again_when_something_is_above(running: Running, tmp_path: Path) -> None:
    client = running.client("--frames", "10", "--app-id", "below")
    try:
        client.wait_for('"type":"presented","seq":10', STEP_TIMEOUT_S)
        running.process.wait_for("scans out a client's buffer", STEP_TIMEOUT_S)
        above = running.client("--size", "301x77", "--frames", "3", "--app-id", "above")
        above.wait_for('"type":"presented","seq":3', STEP_TIMEOUT_S)
        running.process.wait_for("composed again", STEP_TIMEOUT_S)
        shown = screen(running.guest, tmp_path / "above.png")
        left, top = (SIZE[0] - 301) // 2, (SIZE[1] - 77) // 2
        assert not compare(shown.crop((left, top, left + 301, top + 77)), picture(301, 77, 3, "XRGB8888", (0, 0, 0)))
        above.stop()

        def whole() -> bool:
            return not compare(screen(running.guest, tmp_path / "below.png"), picture(*SIZE, 10, "XRGB8888", (0, 0, 0)))

        assert until(whole), f"see {tmp_path / 'below.png'}"
    finally:
        client.stop()


def test_a_screenshot_is_composed(running: Running, tmp_path: Path) -> None:
    """What grim sees is what the screen shows, also while a client's buffer is scanned out."""
    client = running.client("--frames", "10")
    try:
        client.wait_for('"type":"presented","seq":10', STEP_TIMEOUT_S)
        command = [".venv/bin/python", "-m", "minicomp", "msg", "screenshot", "path=/run/scanout.png"]
        environment = path_of(running.guest) | {"MINICOMP_SOCKET": "/run/user/0/minicomp-wayland-scanout.sock"}
        running.guest.run(command, env=environment).check()
    finally:
        client.stop()
