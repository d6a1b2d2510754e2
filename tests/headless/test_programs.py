"""Programs from Debian, as they are: each maps, draws, takes keys and clicks, and ends; no error is logged."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from minicomp.shell.policy import Policy
from minicomp.testing.client import Client, Window
from minicomp.testing.instance import InProcess, configure
from tests.headless.programs import (
    BACKGROUND,
    colours,
    end,
    output_of,
    picture_with,
    rgb,
    share,
    shown_window,
    start,
)

PAPER = 0x203050
GTK_CSS = """
window, window.background { background: #40a060; }
* { transition: none; animation: none; }
"""


@pytest.fixture
def kiosk() -> Iterator[InProcess]:
    with InProcess(configure(headless__outputs=["800x600@60"])) as instance:
        yield instance


@pytest.fixture
def stacking() -> Iterator[InProcess]:
    with InProcess(configure(headless__outputs=["800x600@60"], policy__name="stacking")) as instance:
        yield instance


@pytest.fixture
def gtk(tmp_path: Path) -> dict[str, str]:
    """The environment of a GTK program whose windows have one known colour."""
    folder = tmp_path / "gtk-3.0"
    folder.mkdir()
    (folder / "gtk.css").write_text(GTK_CSS)
    return {"XDG_CONFIG_HOME": str(tmp_path), "GDK_BACKEND": "wayland", "NO_AT_BRIDGE": "1"}


def start_foot(instance: InProcess, *command: str | Path) -> subprocess.Popen[str]:
    """A terminal on PAPER that runs a command, or a plain shell."""
    process = start(
        instance, "foot", "--config=/dev/null", f"--override=colors.background={PAPER:06x}",
        "--override=pad=0x0", *(command or ("sh",)), PS1="$ ", ENV="",
    )  # fmt: skip
    shown_window(instance, "")
    picture_with(instance, lambda image: share(image, rgb(PAPER)) > 0.8, "the terminal's background")
    return process


# ---- terminals ----


def test_foot_fills_the_kiosk_and_draws_text(kiosk: InProcess) -> None:
    foot = start_foot(kiosk, "sh", "-c", "echo hello; sleep 60")
    image = picture_with(kiosk, lambda image: len(colours(image, (0, 0, 60, 20))) > 3, "text in the first line")
    assert share(image, BACKGROUND) == 0  # edge to edge
    window = shown_window(kiosk)
    assert window.geometry == (0, 0, 800, 600) and window.fullscreen and window.activated
    end(kiosk, foot, expected=(0, 230, -15))  # foot 1.13 reports its shell's death by SIGHUP as 230


def test_typed_by_wtype_a_shell_command_runs(kiosk: InProcess, tmp_path: Path) -> None:
    """wtype brings a keymap of its own over the virtual keyboard."""
    made = tmp_path / "made"
    start_foot(kiosk)
    output_of(kiosk, ["wtype", f"echo 'Größe & $((6*7))' > {made}", "-k", "Return"])
    kiosk.wait_for(lambda: made.exists() and made.read_text(), "the shell to write the file")
    assert made.read_text() == "Größe & $((6*7))\n"
    foot = shown_window(kiosk)
    output_of(kiosk, ["wtype", "exit", "-k", "Return"])
    kiosk.wait_for(lambda: not list(kiosk.dispatcher.windows), "the terminal to close")
    assert not foot.refresh()


def test_typed_by_injection_a_shell_command_runs(kiosk: InProcess, tmp_path: Path) -> None:
    made = tmp_path / "made"
    foot = start_foot(kiosk)
    inject = kiosk.compositor.seat.inject
    inject.type_text(f'echo "{{[(~|^<>)]}}" > {made}\n')
    kiosk.wait_for(lambda: made.exists() and made.read_text(), "the shell to write the file")
    assert made.read_text() == "{[(~|^<>)]}\n"
    inject.press("Ctrl+d")
    kiosk.wait_for(lambda: foot.poll() is not None, "the terminal to end with its shell")
    assert foot.returncode == 0


def test_weston_terminal_runs_a_command(stacking: InProcess, tmp_path: Path) -> None:
    made = tmp_path / "made"
    terminal = start(stacking, "weston-terminal", "--shell=/bin/sh")
    window = shown_window(stacking, "Wayland Terminal")
    stacking.wait_for(lambda: window.refresh() and window.activated, "focus")
    stacking.compositor.seat.inject.type_text(f"echo typed > {made}\n")
    stacking.wait_for(lambda: made.exists() and made.read_text(), "the shell to write the file")
    image = stacking.image()
    inside = window.geometry
    assert share(image, (0, 0, 0), (10, 60, inside.width - 10, inside.height - 10)) > 0.8  # a black terminal
    assert share(image, BACKGROUND, (inside.width + 40, 0, 800, 600)) == 1
    end(stacking, terminal)


# ---- toolkits ----


def test_gtk_typed_text_and_clicks_reach_the_clipboard(kiosk: InProcess, gtk: dict[str, str]) -> None:
    """gtk3-demo's clipboard example: type into an entry, click "Copy"; another program pastes it."""
    demo = start(kiosk, "gtk3-demo", "--run=clipboard", **gtk)
    window = shown_window(kiosk, "Clipboard")
    assert window.app_id == "gtk3-demo"
    kiosk.wait_for(lambda: window.refresh() and window.activated, "focus")
    image = picture_with(kiosk, lambda image: share(image, rgb(0x40A060)) > 0.5, "the window's own colour")
    assert share(image, BACKGROUND) == 0
    inject = kiosk.compositor.seat.inject
    inject.type_text("Grace Hopper")
    inject.click(748, 69)  # "Copy"
    texts: list[str] = []

    def pasted() -> bool:
        _, text = kiosk.run(["wl-paste", "--no-newline"])
        texts.append(text)
        return text == "Grace Hopper"

    kiosk.wait_for(pasted, f"the clipboard; it had {texts}")
    end(kiosk, demo)


def test_gtk_widget_factory_answers_a_click(stacking: InProcess, gtk: dict[str, str]) -> None:
    css = Path(gtk["XDG_CONFIG_HOME"], "gtk-3.0", "gtk.css")
    css.write_text(GTK_CSS + "button.toggle:checked { background: #ff0000; }\n")
    factory = start(stacking, "gtk3-widget-factory", **gtk)
    shown_window(stacking, "gtk3-widget-factory")
    button = (396, 62, 546, 86)  # the first toggle button's inside
    picture_with(stacking, lambda image: share(image, rgb(0x40A060)) > 0.3, "the window's own colour")
    assert share(stacking.image(), (255, 0, 0), button) == 0
    stacking.compositor.seat.inject.click(420, 74)
    stacking.compositor.seat.inject.move(700, 580)  # or it would look hovered
    picture_with(stacking, lambda image: share(image, (255, 0, 0), button) > 0.5, "the button to look pressed")
    end(stacking, factory)


def test_gtk_menu_is_a_popup_over_the_window(stacking: InProcess, gtk: dict[str, str]) -> None:
    """A combo box opens where it was clicked, takes a choice, and is dismissed by Escape."""
    css = Path(gtk["XDG_CONFIG_HOME"], "gtk-3.0", "gtk.css")
    css.write_text(GTK_CSS + "menu, .menu { background: #0000ff; }\n")
    factory = start(stacking, "gtk3-widget-factory", **gtk)
    shown_window(stacking, "gtk3-widget-factory")
    picture_with(stacking, lambda image: share(image, rgb(0x40A060)) > 0.3, "the window")
    inject = stacking.compositor.seat.inject
    inject.click(470, 250)  # the combo box "Andrea"
    opened = picture_with(stacking, lambda image: share(image, (0, 0, 255)) > 0.01, "the menu")
    assert share(opened, (0, 0, 255), (394, 220, 549, 300)) > 0.3  # over its button
    inject.press("Escape")
    picture_with(stacking, lambda image: share(image, (0, 0, 255)) == 0, "the menu to go")
    end(stacking, factory)


QT_PROGRAM = """
import sys
from PyQt5.QtWidgets import QApplication, QLineEdit, QPushButton, QVBoxLayout, QWidget
application = QApplication(sys.argv)
window = QWidget()
window.setWindowTitle("qt")
window.setStyleSheet("QWidget { background: #8040c0; }")
layout = QVBoxLayout(window)
entry, button = QLineEdit(), QPushButton("done")
layout.addWidget(entry)
layout.addWidget(button)
def done():
    print("entry:", entry.text(), flush=True)
    application.exit(4)
button.clicked.connect(done)
window.show()
print("button:", button.x() + 20, button.y() + 5, flush=True)
sys.exit(application.exec_())
"""


def test_qt_takes_text_and_clicks(kiosk: InProcess, tmp_path: Path) -> None:
    """Debian's Python with PyQt5 and the Wayland platform plugin; it ends with 4 when its button is pressed."""
    program = tmp_path / "qt.py"
    program.write_text(QT_PROGRAM)
    written = tmp_path / "written"
    with written.open("w") as file:
        qt = kiosk.launch(
            ["/usr/bin/python3", str(program)],
            env={"QT_QPA_PLATFORM": "wayland", "PYTHONPATH": "", "VIRTUAL_ENV": ""},
            stdout=file, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    window = shown_window(kiosk, "qt")
    kiosk.wait_for(lambda: window.refresh() and window.activated, "focus")
    image = picture_with(kiosk, lambda image: share(image, rgb(0x8040C0)) > 0.5, "the window's own colour")
    assert share(image, BACKGROUND) == 0
    inject = kiosk.compositor.seat.inject
    inject.type_text("Katherine Johnson")
    for key in ("Tab", "space"):  # the button, without knowing where it is
        inject.press(key)
    kiosk.wait_for(lambda: qt.poll() is not None, "the program to end")
    assert qt.returncode == 4
    assert "entry: Katherine Johnson\n" in written.read_text()


# ---- Weston's clients ----


@pytest.mark.parametrize(
    ("program", "title", "least_colours"),
    [
        (("weston-flower",), "Flower", 20),
        (("weston-simple-shm",), "simple-shm", 100),
        (("weston-simple-damage",), "simple-damage", 3),
        (("weston-simple-damage", "--use-viewport"), "simple-damage", 3),
        (("weston-simple-egl",), "simple-egl", 50),
        (("weston-subsurfaces",), "Sub-surface", 50),
        (("weston-scaler", "-b"), "Scaler", 3),
        (("weston-smoke",), "smoke", 2),
        (("weston-stacking",), "Stacking", 20),
        (("weston-eventdemo",), "EventDemo", 20),
        (("weston-dnd",), "Drag and Drop", 100),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_weston_clients_draw(stacking: InProcess, program: tuple[str, ...], title: str, least_colours: int) -> None:
    process = start(stacking, *program)
    window = shown_window(stacking, title)
    image = picture_with(stacking, lambda image: len(colours(image)) >= least_colours, "the program's picture")
    box = window.geometry
    inside = (max(0, box.x), max(0, box.y), box.x + box.width, box.y + box.height)
    assert colours(image, inside) != {BACKGROUND}
    beyond = (min(800, inside[2] + 64), 0, 800, 600)  # 64: shadows
    if beyond[0] < 800:
        assert colours(image, beyond) == {BACKGROUND}
    assert process.poll() is None
    end(stacking, process)


def test_animations_go_on(stacking: InProcess) -> None:
    """A program that draws from frame callbacks gets them: two pictures a while apart differ."""
    process = start(stacking, "weston-simple-shm")
    shown_window(stacking, "simple-shm")
    first = stacking.image().tobytes()
    picture_with(stacking, lambda image: image.tobytes() != first, "another picture")
    end(stacking, process)


def test_drag_and_drop_in_weston_dnd(stacking: InProcess) -> None:
    """A shape dragged elsewhere is gone from its old place, and the drag's icon was under the pointer meanwhile."""
    process = start(stacking, "weston-dnd")
    shown_window(stacking, "Drag and Drop")
    before = picture_with(stacking, lambda image: len(colours(image)) > 100, "the shapes")
    cells = [(x, y) for y in (75, 155, 235, 315) for x in (54, 134, 214, 294)]

    def filled(image: object, cell: tuple[int, int]) -> bool:
        x, y = cell
        return len(colours(image, (x - 25, y - 25, x + 25, y + 25))) > 4  # type: ignore[arg-type]

    source = next(cell for cell in cells if filled(before, cell))
    target = next(cell for cell in cells if not filled(before, cell))
    inject = stacking.compositor.seat.inject
    inject.move(source[0], source[1])
    stacking.pump(0.1)
    with inject.holding_button():
        stacking.pump(0.2)  # the client starts the drag
        for step in range(1, 6):
            inject.move(source[0] + (target[0] - source[0]) * step / 5, source[1] + (target[1] - source[1]) * step / 5)
            stacking.pump(0.03)
        picture_with(stacking, lambda image: filled(image, target), "the icon of the drag at the pointer")
    inject.move(700, 500)
    picture_with(stacking, lambda image: filled(image, target) and not filled(image, source), "the shape to be moved")
    end(stacking, process)


@pytest.mark.parametrize("refresh_hz", [60, 75, 144])
def test_presentation_figures_agree_with_the_display(refresh_hz: int, tmp_path: Path) -> None:
    """weston-presentation-shm's own figures: the time from one presentation to the next is the modelled refresh."""
    written = tmp_path / "written"
    pattern = re.compile(r"p2p\s+(\d+) us, t2p\s+-?\d+ us, \[(.{4})\] seq (\d+)")
    with InProcess(configure(headless__outputs=[f"640x480@{refresh_hz}"])) as instance:
        with written.open("w") as file:
            program = instance.launch(["stdbuf", "-oL", "weston-presentation-shm", "-p"], stdout=file)
        instance.wait_for(lambda: len(pattern.findall(written.read_text())) > 40, "some figures")
        end(instance, program)
    rows = [(int(between_us), flags, int(seq)) for between_us, flags, seq in pattern.findall(written.read_text())]
    period_us = 1_000_000 / refresh_hz
    steps = []
    for (_, _, before), (between_us, flags, seq) in pairwise(rows):
        # In whole refreshes each time, as many as vblanks were counted; a busy machine may miss some.
        steps.append(seq - before)
        assert abs(between_us - steps[-1] * period_us) <= 1.01
        assert flags == "s___"  # vsync; no hardware clock or completion is claimed
    assert statistics.mode(steps) == 1


class Slow(Policy):
    """Takes its time to answer a new window."""

    answer_ms = 0
    answered = False

    def on_window_new(self, window: Any) -> None:
        time.sleep(self.answer_ms / 1000)
        type(self).answered = True
        window.configure()


@pytest.mark.parametrize(("answer_ms", "in_time"), [(5, True), (300, True), (1500, False)])
def test_a_round_trip_brings_the_first_configure(answer_ms: int, in_time: bool) -> None:
    """As weston-presentation-shm relies on: a client may draw after one round trip, also when the policy takes longer
    than it may and the answer is not its own."""
    policy = type("Late", (Slow,), {"answer_ms": answer_ms, "answered": False})
    with InProcess(policy=policy) as instance, Client(instance.compositor.socket) as client:
        window = Window(client)
        window.surface.commit()
        client.roundtrip()
        assert policy.answered == in_time
        assert window.configures
        instance.wait_for(lambda: policy.answered, "the policy")


# ---- tools ----


@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("800x600@60", {}),
        ("640x480@60", {"scale": 2.0}),
        ("641x479@60", {}),
    ],
)
def test_grim_takes_the_same_picture_as_we_do(mode: str, settings: dict[str, float], tmp_path: Path) -> None:
    from PIL import Image

    from minicomp.testing.image import compare

    config = configure(headless__outputs=[mode], policy__name="stacking", output=[{"name": "*", **settings}])
    with InProcess(config) as instance:
        foot = start_foot_small(instance)
        ours = instance.image()
        path = tmp_path / "grim.png"
        output_of(instance, ["grim", path])
        with Image.open(path) as theirs:
            assert not compare(theirs, ours)
        assert len(colours(ours)) > 10
        end(instance, foot, expected=(0, 230, -15))


def start_foot_small(instance: InProcess) -> subprocess.Popen[str]:
    process = start(
        instance, "foot", "--config=/dev/null", "--window-size-pixels=300x200", "--override=cursor.blink=no",
        "sh", "-c", "echo some text; sleep 60",
    )  # fmt: skip
    shown_window(instance)
    picture_with(instance, lambda image: len(colours(image)) > 10, "text in the terminal")
    instance.pump(0.3)  # client-side decorations follow the focus
    return process


def test_grim_takes_a_part_of_the_screen(stacking: InProcess, tmp_path: Path) -> None:
    from PIL import Image

    from minicomp.testing.image import compare

    start_foot_small(stacking)
    path = tmp_path / "part.png"
    output_of(stacking, ["grim", "-g", "10,20 200x100", path])
    with Image.open(path) as part:
        assert not compare(part, stacking.image().crop((10, 20, 210, 120)))


def test_slurp_selects_a_box_with_the_pointer(stacking: InProcess) -> None:
    """slurp covers the screen with a layer surface and prints what was dragged over."""
    process = stacking.launch(["slurp"], stdout=subprocess.PIPE)
    picture_with(stacking, lambda image: colours(image) != {BACKGROUND}, "slurp's veil")
    stacking.compositor.seat.inject.drag((100, 120), (300, 220))
    stacking.wait_for(lambda: process.poll() is not None, "slurp to end")
    assert process.returncode == 0
    assert process.stdout is not None
    found = re.fullmatch(r"(\d+),(\d+) (\d+)x(\d+)\n", process.stdout.read())
    assert found is not None
    x, y, width, height = map(int, found.groups())
    assert (x, y) == (100, 120) and abs(width - 200) <= 1 and abs(height - 100) <= 1


@pytest.mark.parametrize("selection", [(), ("--primary",)], ids=["clipboard", "primary"])
@pytest.mark.parametrize("size", [20, 3_000_000])
def test_copied_is_pasted(kiosk: InProcess, tmp_path: Path, selection: tuple[str, ...], size: int) -> None:
    """Also more than a pipe holds. wl-copy stays behind to serve the data and ends with the compositor."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(size))
    kind = ("--type", "application/octet-stream")
    output_of(kiosk, ["sh", "-c", f"wl-copy {' '.join((*selection, *kind))} < {source} > {os.devnull}"])
    output_of(kiosk, ["sh", "-c", f"wl-paste --no-newline {' '.join((*selection, *kind))} > {target}"])
    assert target.read_bytes() == source.read_bytes()


def test_wayland_info_lists_what_sway_offers(kiosk: InProcess) -> None:
    """Every global of sway 1.7 headless with pixman that a client may miss, except those that hardware must bring."""
    text = output_of(kiosk, ["wayland-info"])
    versions = dict(re.findall(r"interface: '(\w+)',\s+version:\s+(\d+)", text))
    wanted = {
        "wl_shm": 1, "wl_compositor": 4, "wl_subcompositor": 1, "wl_data_device_manager": 3, "wl_seat": 7,
        "wl_output": 4, "xdg_wm_base": 2, "zxdg_output_manager_v1": 3, "wp_presentation": 1, "wp_viewporter": 1,
        "zwlr_layer_shell_v1": 4, "zwlr_screencopy_manager_v1": 3, "zwlr_export_dmabuf_manager_v1": 1,
        "zwlr_data_control_manager_v1": 2, "zwlr_gamma_control_manager_v1": 1, "zwlr_output_manager_v1": 2,
        "zwlr_output_power_manager_v1": 1, "zwlr_foreign_toplevel_manager_v1": 3, "zwlr_virtual_pointer_manager_v1": 2,
        "zwp_virtual_keyboard_manager_v1": 1, "zwp_input_method_manager_v2": 1, "zwp_text_input_manager_v3": 1,
        "zwp_primary_selection_device_manager_v1": 1, "zwp_relative_pointer_manager_v1": 1,
        "zwp_pointer_constraints_v1": 1, "zwp_pointer_gestures_v1": 3, "zwp_idle_inhibit_manager_v1": 1,
        "zwp_keyboard_shortcuts_inhibit_manager_v1": 1, "zxdg_decoration_manager_v1": 1, "xdg_activation_v1": 1,
        "org_kde_kwin_server_decoration_manager": 1, "org_kde_kwin_idle": 1,
    }  # fmt: skip
    short = {name: versions.get(name) for name, version in wanted.items() if int(versions.get(name, 0)) < version}
    assert not short
    seat = text.split("interface: 'wl_seat'")[1].split("interface:")[0]
    assert all(capability in seat for capability in ("pointer", "keyboard", "touch"))
    output = text.split("interface: 'wl_output'")[1].split("interface:")[0]
    assert "width: 800 px, height: 600 px, refresh: 60.000 Hz" in output
