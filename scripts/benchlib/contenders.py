"""Who is compared, and how each is started so that all do the same work.

Every contender gets one headless output of 1280x720 at 62.5 Hz, the pixman renderer and no input devices. 62.5 Hz
because wlroots' headless output counts whole milliseconds (16 for "60 Hz"); minicomp's modelled display takes the rate
that it is told. No Xwayland, no wallpaper, no bar, no window borders.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WIDTH, HEIGHT = 1280, 720
REFRESH_HZ = 62.5

WLROOTS_ENVIRONMENT = {
    "WLR_BACKENDS": "headless",
    "WLR_RENDERER": "pixman",
    "WLR_LIBINPUT_NO_DEVICES": "1",
}

# Floating: windows keep the size they ask for, as on minicomp's stacking policy and on tinywl.
SWAY_CONFIG = """\
xwayland disable
default_border none
default_floating_border none
for_window [app_id=".*"] floating enable
"""


@dataclass(frozen=True)
class Contender:
    """How to start one compositor. `{private}` in the command is the session's private folder."""

    name: str
    what: str  # with version, for the report
    command: tuple[str, ...]
    display: str  # the socket's name
    start_command: tuple[str, ...] = ()  # for start-up times; empty: the same
    traced: bool = False
    answers_feedback: bool = False  # sends wp_presentation feedback on this backend
    # False: every window is made as large as the output. Such a window is not composed: its buffer is handed to the
    # display, which the headless output, having none, accepts. Many of them are another load than many small ones.
    keeps_window_size: bool = True


def minicomp(program: Path, version: str, also: Sequence[str] = ()) -> list[Contender]:
    """minicomp with its trace on (what the targets are about), without, and with each of the settings `also`."""
    start = (str(program), "run", "--backend", "headless", "--socket", "wayland-0")
    # At start-up the display has its own 60 Hz: a list on the command line would import a TOML parser.
    command = (
        *start,
        *("--set", f'headless.outputs=["{WIDTH}x{HEIGHT}@{REFRESH_HZ}"]'),
        *("--set", "backend.renderer=pixman", "--set", "policy.name=stacking", "--set", "log.level=warning"),
    )
    trace = ("--trace", "{private}/run.mct")

    def variant(name: str, what: str, *more: str, traced: bool) -> Contender:
        return Contender(
            name,
            f"minicomp {version}, {what}",
            (*command, *more),
            "wayland-0",
            start_command=(*start, *more),
            traced=traced,
            answers_feedback=True,
        )

    return [
        variant("minicomp", "trace on", *trace, traced=True),
        variant("minicomp-notrace", "trace off", traced=False),
        *(
            variant(f"+{setting}", f"trace on, --set {setting}", *trace, "--set", setting, traced=True)
            for setting in also
        ),
    ]


def sway(program: str) -> Contender:
    # sway never takes wayland-0.
    command = (program, "--config", "{private}/sway.config")
    return Contender("sway", f"sway {debian_version('sway')}", command, "wayland-1")


def cage(program: str) -> Contender:
    # cage ends with its program, so it gets one that does nothing.
    command = (program, "--", "sleep", "infinity")
    what = f"cage {debian_version('cage')}"
    return Contender("cage", what, command, "wayland-0", keeps_window_size=False)


def tinywl(program: Path, version: str) -> Contender:
    return Contender("tinywl", f"tinywl of wlroots {version}", (str(program),), "wayland-0")


def debian_version(package: str) -> str:
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False
    )
    return asked.stdout or "(version unknown)"
