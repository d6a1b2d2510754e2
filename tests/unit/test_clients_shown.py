"""The test clients on a running compositor: what they log, what is to be seen of them, how they end."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

REPO = Path(__file__).resolve().parents[2]
BUILT = REPO / "build/clients"
GALLERY = [sys.executable, str(REPO / "clients/gallery.py")]
WIDTH, HEIGHT = 800, 600


@dataclass
class Desk:
    """A compositor in a process of its own, with one output of 800x600."""

    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes]

    def run(self, *command: str, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)

    def pulse(self, *arguments: str) -> list[dict[str, Any]]:
        """The log of a pulse that ended well."""
        log = self.folder / "pulse.jsonl"
        answer = self.run(str(BUILT / "pulse"), "--quiet", "--log", str(log), *arguments)
        assert answer.returncode == 0, answer.stderr
        return records(log)

    def screenshot(self) -> Image.Image:
        path = self.folder / "shot.png"
        answer = self.run("grim", str(path))
        assert answer.returncode == 0, answer.stderr
        with Image.open(path) as image:
            return image.convert("RGB")


@pytest.fixture()
def desk(tmp_path: Path) -> Iterator[Desk]:
    tmp_path.chmod(0o700)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYLAND")}
    environment |= {"XDG_RUNTIME_DIR": str(tmp_path), "WAYLAND_DISPLAY": "desk"}
    command = [sys.executable, "-m", "minicomp", "run", "--backend", "headless", "--socket", "desk"]
    command += ["--set", f'headless.outputs=["{WIDTH}x{HEIGHT}@60"]']
    with (tmp_path / "compositor.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stderr=log)
    desk = Desk(tmp_path, environment, process)
    try:
        answer = desk.run(str(BUILT / "pulse"), "--first-roundtrip", "--wait-s", "15")
        assert answer.returncode == 0, (tmp_path / "compositor.log").read_text()
        yield desk
    finally:
        process.terminate()
        process.wait(timeout=20)


def records(log: Path) -> list[dict[str, Any]]:
    """Whole lines only: the client may be writing."""
    text = log.read_text() if log.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def frames_of(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in log if record["type"] == "frame"]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    give_up_s = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < give_up_s, f"waited in vain for {what}"
        time.sleep(0.02)


def bounds(image: Image.Image, colour: str) -> tuple[int, int, int, int] | None:
    """The box (left, top, right, bottom; exclusive) around all pixels of one colour."""
    wanted = tuple(bytes.fromhex(colour))
    width, height = image.size
    data = image.tobytes()
    mask = bytes(255 if tuple(data[i : i + 3]) == wanted else 0 for i in range(0, width * height * 3, 3))
    return Image.frombytes("L", (width, height), mask).getbbox()


# ---- pulse ----


def test_pulse_logs_each_commit_with_its_presentation(desk: Desk) -> None:
    log = desk.pulse("--frames", "30")
    assert [record["type"] for record in (log[0], log[-1])] == ["start", "end"]
    frames = frames_of(log)
    assert sorted(frame["seq"] for frame in frames) == list(range(1, 31))
    assert all(frame["presented_ns"] > frame["commit_ns"] for frame in frames if not frame["discarded"])
    assert all(frame["commit_ns"] >= frame["callback_ns"] > 0 for frame in frames[1:])
    assert (log[-1]["commits"], log[-1]["reason"], log[-1]["unanswered"]) == (30, "frames", 0)
    assert log[-1]["presented"] + log[-1]["discarded"] == 30


def test_period_mode_works_at_multiples_of_the_period_after_the_phase(desk: Desk) -> None:
    log = desk.pulse("--frames", "20", "--mode", "period", "--period-us", "5000", "--phase-us", "1234")
    frames = frames_of(log)
    assert all((frame["due_ns"] - 1_234_000) % 5_000_000 == 0 for frame in frames)
    assert all(frame["commit_ns"] >= frame["due_ns"] and frame["callback_ns"] == 0 for frame in frames)
    assert log[-1]["callbacks"] == 0


def work_of(desk: Desk, distribution: str, seed: int, frames: int = 40) -> list[int]:
    arguments = ["--frames", str(frames), "--work-dist", distribution, "--seed", str(seed)]
    log = desk.pulse(*arguments, "--mode", "period", "--period-us", "2000", "--damage", "none", "--no-feedback")
    return [frame["work_us"] for frame in frames_of(log)]


def test_work_is_drawn_from_the_distribution_and_repeats_with_the_seed(desk: Desk) -> None:
    normal = work_of(desk, "normal:500,50", 7, 200)
    assert work_of(desk, "normal:500,50", 7, 200) == normal != work_of(desk, "normal:500,50", 8, 200)
    # The draws depend on the seed only, so these bounds (4 sigma of the estimates) never flicker.
    assert statistics.mean(normal) == pytest.approx(500, abs=14)
    assert statistics.stdev(normal) == pytest.approx(50, abs=10)
    bimodal = work_of(desk, "bimodal:100,900,0.3", 1, 200)
    assert set(bimodal) == {100, 900}
    assert 34 <= bimodal.count(900) <= 86
    pareto = work_of(desk, "pareto:200,1.5", 1, 200)
    assert min(pareto) >= 200
    assert statistics.median(pareto) == pytest.approx(200 * 2 ** (1 / 1.5), rel=0.2)


def test_work_uses_the_cpu_time_that_was_asked_for(desk: Desk) -> None:
    log = desk.pulse("--frames", "50", "--work-us", "3000")
    assert log[-1]["cpu_us"] >= 50 * 3000


def test_each_surface_has_its_own_frames(desk: Desk) -> None:
    log = desk.pulse("--frames", "5", "--surfaces", "3", "--mode", "period", "--subsurfaces", "2")
    seen = [(frame["surface"], frame["seq"]) for frame in frames_of(log)]
    assert sorted(seen) == [(surface, seq) for surface in range(3) for seq in range(1, 6)]


def test_a_screenshot_tells_the_frame(desk: Desk) -> None:
    """The tag's colour is the frame's number; with subsurfaces, these show the same frame as the window."""
    log = desk.folder / "pulse.jsonl"
    client = desk.start(str(BUILT / "pulse"), "--quiet", "--subsurfaces", "1", "--log", str(log))
    wait_until(lambda: bool(frames_of(records(log))), "a frame to be shown")
    image = desk.screenshot()
    client.send_signal(signal.SIGTERM)
    assert client.wait(timeout=10) == 0
    red, green, blue = image.getpixel((4, 4))
    commits = records(log)[-1]["commits"]
    assert 1 <= red << 16 | green << 8 | blue <= commits
    bar = (255, 255, 255)
    window = next(image.getpixel((x, HEIGHT - 1)) for x in (300, 400) if image.getpixel((x, HEIGHT - 1)) != bar)
    assert image.getpixel((WIDTH // 8, HEIGHT // 8)) == tuple(255 - channel for channel in window)
    assert records(log)[-1]["reason"] == "signal"


def test_pulse_ends_with_3_when_the_compositor_is_gone(desk: Desk) -> None:
    log = desk.folder / "pulse.jsonl"
    client = desk.start(str(BUILT / "pulse"), "--quiet", "--log", str(log))
    wait_until(lambda: bool(frames_of(records(log))), "a frame to be shown")
    desk.process.kill()
    assert client.wait(timeout=10) == 3
    assert records(log)[-1]["reason"] == "disconnect"


def test_a_log_that_cannot_be_written_is_reported(desk: Desk) -> None:
    answer = desk.run(str(BUILT / "pulse"), "--quiet", "--frames", "3", "--log", "/dev/full")
    assert answer.returncode == 4
    assert "No space left" in answer.stderr


# ---- echo ----


def test_echo_answers_keys_with_its_documented_colours(desk: Desk) -> None:
    log = desk.folder / "echo.jsonl"
    client = desk.start(str(BUILT / "echo"), "--quiet", "--log", str(log))

    def kinds() -> list[str]:
        return [record["type"] for record in records(log)]

    wait_until(lambda: "focus" in kinds() and "ready" in kinds(), "the window to have the keyboard")
    assert desk.screenshot().getpixel((400, 300)) == (0x20, 0x20, 0x20)
    assert desk.run("wtype", "-s", "100", "aB-").returncode == 0
    wait_until(lambda: kinds().count("input") >= 3, "three keys to be shown")
    shown = desk.screenshot().getpixel((400, 300))
    client.send_signal(signal.SIGTERM)
    assert client.wait(timeout=10) == 0
    inputs = [record for record in records(log) if record["type"] == "input" and record["sym"] != "Shift_L"]
    assert [record["sym"] for record in inputs] == ["a", "B", "minus"]
    assert shown == tuple(bytes.fromhex(inputs[-1]["color"])) == (0xFF, 0xE1, 0x19)
    assert all(record["presented_ns"] > record["commit_ns"] > record["received_ns"] for record in inputs)
    assert records(log)[-1]["events"] == records(log)[-1]["shown"]


# ---- gallery ----


@dataclass
class Shown:
    image: Image.Image
    elements: dict[str, dict[str, Any]]

    def box(self, name: str) -> tuple[int, int, int, int] | None:
        return bounds(self.image, self.elements[name]["color"])


def show(desk: Desk, scene: str) -> Shown:
    client = desk.start(*GALLERY, "--scene", scene)
    assert client.stdout is not None
    ready = json.loads(client.stdout.readline())
    time.sleep(0.1)  # "ready" is the frame callback; the frame after it is certainly on the screen
    image = desk.screenshot()
    client.send_signal(signal.SIGTERM)
    assert client.wait(timeout=10) == 0
    client.stdout.close()
    return Shown(image, {element["name"]: element for element in ready["elements"]})


def test_gallery_windows_fill_the_kiosk(desk: Desk) -> None:
    for scene, name in (("toplevel", "toplevel"), ("fullscreen", "fullscreen"), ("decorations", "decorated")):
        shown = show(desk, scene)
        assert shown.box(name) == (0, 0, WIDTH, HEIGHT)
        assert (shown.elements[name]["width"], shown.elements[name]["height"]) == (WIDTH, HEIGHT)


def test_gallery_dialog_is_centred_over_its_parent(desk: Desk) -> None:
    assert show(desk, "dialog").box("dialog") == (320, 250, 480, 350)


def test_gallery_popups_hang_below_their_anchor(desk: Desk) -> None:
    shown = show(desk, "nested-popup")
    assert shown.box("popup") == (20, 50, 120, 130)
    assert shown.box("nested-popup") == (40, 100, 100, 140)


def test_gallery_subsurfaces_are_stacked_as_asked(desk: Desk) -> None:
    shown = show(desk, "subsurfaces")
    window_x, window_y = 20, 20  # the subsurface below sticks out, and is part of the window's extent
    lower, upper = shown.box("subsurface-lower"), shown.box("subsurface-upper")
    assert upper == (window_x + 160, window_y + 50, window_x + 240, window_y + 110)
    assert lower == (window_x + 120, window_y + 20, window_x + 200, window_y + 80)
    assert shown.box("subsurface-below") == (0, 0, 80, 60)
    # Where they overlap the upper one is seen, and the window hides the one below it.
    assert shown.image.getpixel((window_x + 170, window_y + 60)) == (0x33, 0xCC, 0xCC)
    assert shown.image.getpixel((window_x + 10, window_y + 10)) == (0x33, 0x66, 0xCC)


def test_gallery_layers_keep_their_edges(desk: Desk) -> None:
    shown = show(desk, "layer-top")
    assert shown.box("layer-top") == (0, 0, WIDTH, 32)
    assert shown.box("toplevel") == (0, 32, WIDTH, HEIGHT)
    assert show(desk, "layer-overlay").box("layer-overlay") == (300, 500, 500, 600)


def test_gallery_scaled_viewport_has_its_destination_size(desk: Desk) -> None:
    assert show(desk, "viewporter").box("viewport-scaled") == (20, 160, 100, 220)
