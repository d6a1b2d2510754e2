"""dma-bufs on real KMS: what clients drew is what the screen shows, whoever gave the memory and whoever composes.

With pixman every buffer is read by the CPU; with GLES2 on llvmpipe EGL imports dumb buffers and refuses udmabuf and
dma-heap, which are then read by the CPU too.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from vmlab import Guest
from vmlab.process import GuestProcess

from minicomp.testing.image import Difference, compare

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

START_TIMEOUT_S = 90
STEP_TIMEOUT_S = 30
RENDERERS = {
    "pixman": {"WLR_RENDERER": "pixman"},
    # A flip does not wait for llvmpipe's threads: without them pictures are whole.
    "gles2": {"WLR_RENDERER": "gles2", "LP_NUM_THREADS": "0", "WLR_RENDERER_ALLOW_SOFTWARE": "1"},
}
SOCKET = {"WAYLAND_DISPLAY": "wayland-dmabuf"}
ALLOCATORS = ("udmabuf", "heap", "dumb")
FORMATS = ("XRGB8888", "ARGB8888", "XBGR8888", "ABGR8888", "RGB565")
INVALID = (1 << 56) - 1
CLIENTS = Path(__file__).resolve().parents[2] / "build/clients"


@dataclass
class Running:
    """The compositor under test."""

    renderer: str
    guest: Guest
    process: GuestProcess
    pid: int
    vgem: str  # a card that exists for the sake of its dma-bufs' fences

    def client(self, *options: str) -> GuestProcess:
        return self.guest.spawn(["build/clients/dmabuf", *options], env=SOCKET)

    def fds(self) -> list[dict[str, Any]]:
        """The compositor's descriptors as `minicomp inspect` sees them."""
        command = [".venv/bin/python", "-m", "minicomp", "inspect", str(self.pid), "--json"]
        answer = json.loads(self.guest.run(command, env=python_path(self.guest)).check().out)
        fds: list[dict[str, Any]] = answer["fds"]
        return fds

    def dmabufs(self) -> set[int]:
        """The dma-bufs it has open, by inode. llvmpipe has some of its own."""
        return {fd["inode"] for fd in self.fds() if fd["kind"] == "dmabuf"}

    def fd_count(self) -> int:
        return int(self.guest.run(f"ls /proc/{self.pid}/fd | wc -l").check().out)


def python_path(guest: Guest) -> dict[str, str]:
    return {"PYTHONPATH": str(guest.tree / "src")}


@pytest.fixture(scope="module", params=list(RENDERERS))
def running(request: pytest.FixtureRequest, guest: Guest) -> Iterator[Running]:
    """minicomp on the guest's display, with a card of vgem's beside it."""
    environment = RENDERERS[request.param] | python_path(guest)
    cards = guest.run("modprobe vgem && udevadm settle && basename -a /sys/devices/faux/vgem/drm/card*").check()
    command = "echo pid=$$; exec .venv/bin/python -m minicomp run --backend drm --socket wayland-dmabuf"
    process = guest.spawn(command, env=environment)
    try:
        output = process.wait_for("ready:", START_TIMEOUT_S)
        match = re.search(r"pid=(\d+)", output)
        assert match
        yield Running(request.param, guest, process, int(match.group(1)), f"/dev/dri/{cards.out.strip()}")
        assert process.running, process.output()
        logged = [line for line in process.output().splitlines() if " ERROR " in line and "eglInitialize" not in line]
        assert not logged, "\n".join(logged)
    finally:
        process.stop(grace_s=10)
        guest.run("modprobe -r vgem")


def picture(width: int, height: int, seq: int, pixel_format: str, below: tuple[int, int, int]) -> Image.Image:
    """What clients/dmabuf_picture.c draws, as it looks on the screen over the colour `below`."""
    image = Image.new("RGB", (width, height))
    pixels = image.load()
    assert pixels is not None
    for y in range(height):
        for x in range(width):
            cx, cy = x // 8, y // 8
            colour = ((40 * cx + 24 * seq) & 0xF8, (36 * cy) & 0xFC, (56 * (cx + cy)) & 0xF8)
            if x in (0, width - 1) or y in (0, height - 1):
                colour = (255, 255, 255)
            if pixel_format == "RGB565":
                red, green, blue = colour
                colour = (red & 0xF8 | red >> 5, green & 0xFC | green >> 6, blue & 0xF8 | blue >> 5)
            if pixel_format.startswith("A") and x >= width // 2 and y >= height // 2:
                red, green, blue = (
                    own * 128 // 255 + round(other * 127 / 255) for own, other in zip(colour, below, strict=True)
                )
                colour = (red, green, blue)
            pixels[x, y] = colour
    return image


def screen(guest: Guest, path: Path) -> Image.Image:
    with Image.open(guest.screenshot(path)) as image:
        return image.convert("RGB")


def differs(
    running: Running, path: Path, size: tuple[int, int], seq: int, pixel_format: str, timeout_s: float = 10
) -> Difference:
    """How the middle of the screen, where a kiosk's smaller window is, differs from frame `seq` at the best."""
    width, height = size
    deadline_s = time.monotonic() + timeout_s
    while True:
        shot = screen(running.guest, path)
        left, top = (shot.width - width) // 2, (shot.height - height) // 2
        below = shot.getpixel((5, 5))
        assert isinstance(below, tuple)
        expected = picture(width, height, seq, pixel_format, below)
        # Blending rounds; everything that is opaque is exact.
        blended = pixel_format.startswith("A")
        difference = compare(shot.crop((left, top, left + width, top + height)), expected, tolerance=int(blended))
        if not difference or time.monotonic() > deadline_s:
            return difference
        time.sleep(0.3)


def records(process: GuestProcess, kind: str) -> list[dict[str, Any]]:
    lines = [line for line in process.output().splitlines() if line.startswith("{") and line.endswith("}")]
    return [record for record in map(json.loads, lines) if record["type"] == kind]


# ---- pictures ----


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize("allocator", ALLOCATORS)
def test_screen_shows_what_was_drawn(running: Running, tmp_path: Path, allocator: str, pixel_format: str) -> None:
    """An odd size, rows that are longer than the picture, a start within a page; poisoned as soon as released."""
    options = ["--stride-extra", "60" if pixel_format != "RGB565" else "62", "--offset", "4100", "--size", "333x111"]
    client = running.client(
        "--allocator", allocator, "--format", pixel_format, *options, "--frames", "4", "--poison", "--log", "-"
    )
    try:
        client.wait_for('"type":"presented","seq":4', STEP_TIMEOUT_S)
        difference = differs(running, tmp_path / "screen.png", (333, 111), 4, pixel_format)
        assert not difference, f"{difference}; see {tmp_path / 'screen.png'}"
    finally:
        client.stop()
    assert records(client, "end")[0]["exit_code"] == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--immed"],
        ["--version", "3"],
        ["--modifier", "invalid", "--allocator", "dumb"],
        ["--buffers", "2"],
        ["--offset", "8", "--stride-extra", "4"],
    ],
    ids=lambda options: "-".join(options).strip("-"),
)
def test_other_ways_to_say_the_same(running: Running, tmp_path: Path, options: list[str]) -> None:
    client = running.client("--size", "301x77", "--frames", "3", "--log", "-", *options)
    try:
        client.wait_for('"type":"presented","seq":3', STEP_TIMEOUT_S)
        assert not differs(running, tmp_path / "screen.png", (301, 77), 3, "XRGB8888")
    finally:
        client.stop()


def test_full_screen(running: Running, tmp_path: Path) -> None:
    client = running.client("--frames", "2", "--log", "-")
    try:
        client.wait_for('"type":"presented","seq":2', STEP_TIMEOUT_S)
        assert not differs(running, tmp_path / "screen.png", (1280, 800), 2, "XRGB8888")
    finally:
        client.stop()


def test_destroyed_buffer_stays_on_the_screen(running: Running, tmp_path: Path) -> None:
    """The client destroys the wl_buffer and frees its memory; painted anew, it is still there."""
    before = running.dmabufs()
    client = running.client("--size", "301x77", "--frames", "2", "--after", "destroy", "--log", "-")
    try:
        client.wait_for('"type":"destroyed"', STEP_TIMEOUT_S)
        assert not differs(running, tmp_path / "screen.png", (301, 77), 2, "XRGB8888")
        # Another window comes and goes: everything is painted anew.
        other = running.client("--size", "640x400", "--hold-s", "0.5")
        assert other.wait(STEP_TIMEOUT_S).code == 0, other.output()
        assert not differs(running, tmp_path / "again.png", (301, 77), 2, "XRGB8888")
    finally:
        client.stop()
    assert until(lambda: running.dmabufs() <= before)


# ---- release ----


def test_release_comes_with_the_next_buffer_and_not_before(running: Running) -> None:
    """Where the compositor reads from the buffer itself, it has it until the surface has another one; where GLES2 has
    made a copy, it gives it back at once. Either way each is released once for each commit.
    """
    client = running.client(
        "--allocator", "udmabuf", "--size", "200x100", "--frames", "6", "--hold-s", "1", "--log", "-"
    )
    done = client.wait(STEP_TIMEOUT_S)
    assert done.code == 0, done.err
    commits = {record["seq"]: record["commit_ns"] for record in records(client, "frame")}
    releases = {record["seq"]: record["release_ns"] for record in records(client, "release")}
    assert len(records(client, "release")) == len(releases)
    if running.renderer == "gles2":
        assert set(releases) == set(commits)
        return
    assert set(releases) == set(range(1, 6))  # the last one is shown to the end
    for seq, release_ns in releases.items():
        assert release_ns > commits[seq + 1]


def test_reading_is_synchronised_once_a_frame(guest: Guest) -> None:
    """DMA_BUF_IOCTL_SYNC starts and ends once for a frame in which the buffer is read in several places."""
    command = [".venv/bin/python", "tests/vm/dmabuf_in_guest.py"]
    result = json.loads(guest.run(command, timeout_s=90).check().out)
    assert result["mapped_bytes"] == 640 * 480 * 4
    assert result["held_fds"] == 1
    assert result["frames"] >= 20
    assert result["syncs"] == result["frames"]
    assert result["reads"] >= 2 * result["frames"]
    assert result["held_after"] == 0


# ---- what must not be taken ----


def scenarios() -> list[str]:
    listing = subprocess.run([CLIENTS / "dmabuf", "--list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listing.splitlines()[1:]]


@pytest.fixture(scope="module")
def pulse(running: Running) -> Iterator[GuestProcess]:
    """Another client, which must not notice."""
    process = running.guest.spawn(["build/clients/pulse", "--log", "-", "--quiet", "--damage", "32x32"], env=SOCKET)
    process.wait_for('"type":"frame"', STEP_TIMEOUT_S)
    yield process
    process.stop()


def shown(pulse: GuestProcess) -> int:
    return pulse.output().count('"type":"frame"')


@pytest.mark.parametrize("scenario", scenarios())
def test_bad_input_is_refused_and_nobody_else_notices(running: Running, pulse: GuestProcess, scenario: str) -> None:
    """The protocol's error or `failed`, no fd kept, no crash, and the other client's frames go on."""
    # EGL imports dumb memory, and wl_drm is for what it imports.
    own = running.vgem if scenario.startswith("fence") else "/dev/dri/card0"
    memory = ["--allocator", "dumb", "--device", own] if scenario.startswith(("fence", "drm")) else []
    assert running.client("--bad", "not-a-dmabuf").wait(STEP_TIMEOUT_S).code == 0
    before, frames = running.fd_count(), shown(pulse)
    client = running.client("--bad", scenario, *memory)
    done = client.wait(STEP_TIMEOUT_S)
    if scenario.startswith("drm") and running.renderer == "pixman":
        assert json.loads(done.out)["undone"] == "the compositor does not offer wl_drm"
    else:
        assert done.code == 0, f"{done.out} {done.err}"
    assert until(lambda: running.fd_count() <= before), [fd for fd in running.fds() if fd["kind"] == "dmabuf"]
    assert until(lambda: shown(pulse) >= frames + 10), "the other client's frames stopped"
    assert pulse.running and running.process.running


def test_commit_waits_for_its_fence_alone(running: Running, pulse: GuestProcess) -> None:
    """A buffer that is still written when it is committed: shown when it is done, while others go on."""
    client = running.client(
        "--allocator",
        "dumb",
        "--device",
        running.vgem,
        "--fence-ms",
        "1500",
        "--frames",
        "2",
        "--size",
        "200x100",
        "--log",
        "-",
    )
    try:
        client.wait_for('"type":"frame","seq":1', STEP_TIMEOUT_S)
        frames = shown(pulse)
        client.wait_for('"type":"presented","seq":2', STEP_TIMEOUT_S)
        assert shown(pulse) >= frames + 20
    finally:
        client.stop()
    commits = {record["seq"]: record["commit_ns"] for record in records(client, "frame")}
    presented = {record["seq"]: record["presented_ns"] for record in records(client, "presented")}
    for seq, commit_ns in commits.items():
        assert presented[seq] >= commit_ns + 1_500_000_000


def until(condition: Callable[[], bool], timeout_s: float = 15) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.1)
    return True


# ---- what is offered, and what is held ----


def test_offer(running: Running) -> None:
    """Version 4: the display card (GLES2: the renderer's) as main device, and every pair once."""
    done = running.client("--pairs").wait(STEP_TIMEOUT_S)
    first, *pairs = [json.loads(line) for line in done.out.splitlines()]
    card = int(running.guest.run("stat -c %Hr:%Lr /dev/dri/renderD128 /dev/dri/card0").check().out.split(":")[0])
    assert first["version"] == 4
    assert first["main_device"] >> 8 & 0xFFF == card == 226
    offered = [(pair["fourcc"], pair["modifier"]) for pair in pairs]
    assert len(set(offered)) == len(offered)
    rgb = {(fourcc, 0) for fourcc in ("XR24", "AR24", "XB24", "AB24", "RG16")}
    assert rgb <= set(offered)
    if running.renderer == "pixman":
        assert {fourcc for fourcc, _ in offered} == {fourcc for fourcc, _ in rgb}
    else:
        assert ("NV12", INVALID) in offered


def test_inspect_shows_what_client_and_compositor_share(running: Running) -> None:
    """One dma-buf, one struct file, two processes: sent by SCM_RIGHTS, seen by kcmp and by the kernel's count."""
    before = running.dmabufs()
    client = running.client("--allocator", "udmabuf", "--size", "200x100", "--log", "-")
    try:
        client.wait_for('"type":"presented","seq":1', STEP_TIMEOUT_S)
        pid = records(client, "start")[0]["pid"]
        command = [".venv/bin/python", "-m", "minicomp", "inspect", str(running.pid), "--with", str(pid)]
        environment = python_path(running.guest)
        text = running.guest.run(command, env=environment).check().out
        answer = json.loads(running.guest.run([*command, "--json"], env=environment).check().out)
    finally:
        client.stop()
    buffers = [fd for fd in answer["fds"] if fd["kind"] == "dmabuf" and fd["inode"] not in before]
    assert len(buffers) == 1
    (buffer,) = buffers
    assert buffer["details"]["size"] == 81920  # 200 * 100 * 4 bytes, in whole pages
    # The client's fd, its mapping, our fd, our mapping.
    assert buffer["details"]["references"] == 4
    owners = answer["shared_files"][buffer["group"] - 1]
    assert {owner["pid"] for owner in owners} == {running.pid, pid}
    assert re.search(rf"^{buffer['fd']} +dmabuf +rw +#\d+ +80 KiB from udmabuf, 4 references$", text, re.MULTILINE), (
        text
    )
    assert re.search(rf"fd {buffer['fd']} = dmabuf \(pid {pid}\) fd \d+", text), text
