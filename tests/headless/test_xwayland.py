"""X11 programs through Xwayland: windows like any other, menus that place themselves, and nothing left afterwards."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minicomp.testing.instance import InProcess, configure
from tests.headless.programs import BACKGROUND, colours, end, output_of, picture_with, rgb, share, shown_window, start

PAPER, INK = 0x104020, 0xFFE000
XTERM = ("xterm", "-bg", f"#{PAPER:06x}", "-fg", f"#{INK:06x}", "-xrm", "*utmpInhibit: true", "-geometry", "40x12")


def x11(policy: str) -> InProcess:
    return InProcess(configure(headless__outputs=["800x600@60"], policy__name=policy, backend__xwayland=True))


@pytest.fixture(autouse=True, scope="module")
def socket_folder() -> None:
    """As the system's boot makes it; else the first X server, whoever's it is, makes one that others cannot use."""
    if os.getuid() == 0:
        folder = Path("/tmp/.X11-unix")
        folder.mkdir(exist_ok=True)
        os.chown(folder, 0, 0)
        folder.chmod(0o1777)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Afterwards: no Xwayland, not even a zombie of ours, and no socket or lock file of its display."""
    before = x11_traces()
    yield
    deadline = time.monotonic() + 5
    while (after := x11_traces()) - before and time.monotonic() < deadline:
        time.sleep(0.05)  # it ends when it notices that its connections are gone
    assert not after - before


def x11_traces() -> set[str]:
    files = [*Path("/tmp").glob(".X*-lock"), *Path("/tmp/.X11-unix").glob("X*")]
    return {str(path) for path in files if path.stat().st_uid == os.getuid()} | set(servers())


def servers(display: str = "") -> list[str]:
    """Xwayland processes (of one display) of this user; dead ones that we should have reaped count too."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid != os.getuid() or (process / "comm").read_text() != "Xwayland\n":
                continue
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (process / "cmdline").read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        if state == "Z" and int(parent) != os.getpid():
            continue  # init reaps it in its own time
        if not display or display in command:
            found.append(f"Xwayland {process.name}")
    return found


def start_xterm(instance: InProcess, *command: str | Path) -> tuple[subprocess.Popen[str], Any]:
    process = start(instance, *XTERM, "-e", *(command or ("sh",)), PS1="$ ", ENV="")
    window = shown_window(instance)
    assert window.is_x11 and window.app_id == "XTerm"
    picture_with(instance, lambda image: share(image, rgb(PAPER)) > 0.05, "the terminal's background")
    return process, window


def test_xterm_fills_the_kiosk_and_takes_text(tmp_path: Path) -> None:
    made = tmp_path / "made"
    with x11("kiosk") as instance:
        assert instance.environment()["DISPLAY"] == instance.compositor.x11_display
        process, window = start_xterm(instance)
        instance.wait_for(lambda: window.refresh() and window.activated, "focus")
        image = picture_with(instance, lambda image: share(image, BACKGROUND) == 0, "xterm to fill the screen")
        assert share(image, rgb(PAPER)) > 0.8
        instance.compositor.seat.inject.type_text(f"echo 'x11 & {{}}' > {made}\n")
        instance.wait_for(lambda: made.exists() and made.read_text(), "the shell to write the file")
        assert made.read_text() == "x11 & {}\n"
        picture_with(instance, lambda image: share(image, rgb(INK)) > 0.0005, "xterm to echo what was typed")
        instance.compositor.seat.inject.type_text("exit\n")
        instance.wait_for(lambda: process.poll() is not None, "xterm to end with its shell")
        assert process.returncode == 0
        instance.wait_for(lambda: not list(instance.dispatcher.windows), "its window to go")


def test_wtype_reaches_xterm(tmp_path: Path) -> None:
    made = tmp_path / "made"
    with x11("kiosk") as instance:
        process, window = start_xterm(instance)
        instance.wait_for(lambda: window.refresh() and window.activated, "focus")
        output_of(instance, ["wtype", f"echo wtype > {made}", "-k", "Return"])
        instance.wait_for(lambda: made.exists() and made.read_text() == "wtype\n", "the shell to write the file")
        end(instance, process, expected=(0, 1, 15, -15, 143))


def test_the_menu_of_xterm_places_itself() -> None:
    """Ctrl and a click opens an override-redirect menu at the pointer, also beyond its window; then it goes."""
    with x11("stacking") as instance:
        process, window = start_xterm(instance)
        inject = instance.compositor.seat.inject
        windows = len(instance.dispatcher.windows)
        box = window.geometry
        below = (box.x, box.y + box.height, box.x + box.width, 600)
        assert colours(instance.image(), below) == {BACKGROUND}
        inject.move(box.x + 60, box.y + 60)
        instance.pump(0.1)
        with inject.holding("Control_L"), inject.holding_button():
            picture_with(
                instance,
                lambda image: share(image, rgb(PAPER), below) > 0.3 and share(image, rgb(INK), below) > 0.01,
                "the menu and its text",
            )
            assert len(instance.dispatcher.windows) == windows  # nobody's business but its own
        picture_with(instance, lambda image: colours(image, below) == {BACKGROUND}, "the menu to go")
        end(instance, process, expected=(0, 1, 15, -15, 143))


def test_xeyes_follow_the_pointer() -> None:
    with x11("stacking") as instance:
        process = start(instance, "xeyes", "-geometry", "200x200", "-fg", "blue", "-center", "yellow", "+shape")
        window = shown_window(instance, "xeyes")
        inject = instance.compositor.seat.inject
        inject.move(window.geometry.x + 5, window.geometry.y + 5)
        left = picture_with(instance, lambda image: share(image, (0, 0, 255)) > 0.001, "the pupils")
        inject.move(window.geometry.x + 195, window.geometry.y + 195)
        picture_with(instance, lambda image: image.tobytes() != left.tobytes(), "the eyes to move")
        end(instance, process)
        instance.wait_for(lambda: not list(instance.dispatcher.windows), "its window to go")


def test_x11_windows_are_stacked_and_focused_by_a_click() -> None:
    with x11("stacking") as instance:
        first, window = start_xterm(instance, "sh", "-c", "sleep 60")
        second = start(instance, "xeyes", "-geometry", "300x300")
        eyes = shown_window(instance, "xeyes")
        inject = instance.compositor.seat.inject
        instance.wait_for(lambda: eyes.refresh() and eyes.activated, "the new window to have the keyboard")
        corner = window.geometry
        inject.click(corner.x + 3, corner.y + 3)
        instance.wait_for(lambda: window.refresh() and window.activated, "the clicked one to have it")
        assert instance.compositor.seat.focused == window.handle
        end(instance, second)
        end(instance, first, expected=(0, 1, 15, -15, 143))


def test_copied_in_x11_is_pasted_in_wayland_and_back() -> None:
    with x11("kiosk") as instance:
        process, window = start_xterm(instance, "sh", "-c", "printf 'needle '; sleep 60")
        instance.wait_for(lambda: window.refresh() and window.activated, "focus")
        picture_with(instance, lambda image: share(image, rgb(INK), (0, 0, 100, 30)) > 0.01, "the word")
        inject = instance.compositor.seat.inject
        inject.click(20, 8, times=2)  # selects the word
        texts: list[str] = []

        def pasted() -> bool:
            texts.append(instance.run(["wl-paste", "--primary", "--no-newline"])[1])
            return texts[-1] == "needle"

        instance.wait_for(pasted, "the word in the primary selection")
        end(instance, process, expected=(0, 1, 15, -15, 143))


def test_xwayland_starts_with_its_first_client_and_ends_with_the_compositor(tmp_path: Path) -> None:
    """Also when an X11 program is still running then: it loses its display and ends."""
    with x11("kiosk") as instance:
        display = instance.compositor.x11_display
        assert Path(f"/tmp/.X11-unix/X{display[1:]}").exists()
        process = subprocess.Popen(
            ["xeyes"], env={**os.environ, "DISPLAY": display}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        shown_window(instance, "xeyes")
        assert len(servers(display)) == 1
    assert process.wait(10) != 0
    assert not servers(display)
    assert not Path(f"/tmp/.X11-unix/X{display[1:]}").exists()


def test_run_passes_display_to_the_program(tmp_path: Path) -> None:
    import sys

    result = subprocess.run(
        [sys.executable, "-m", "minicomp", "run", "--backend", "headless", "--xwayland", "--", "sh", "-c",
         "xdpyinfo >/dev/null 2>&1 || xprop -root >/dev/null; echo $? $DISPLAY"],
        env={k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")},
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("0 :"), result.stdout + result.stderr
