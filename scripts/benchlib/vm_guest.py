"""Who is compared on real KMS, and the shell program that runs them one after another in the guest.

Everyone runs as the same ordinary user (sway refuses root), through seatd, with the pixman renderer and no input
devices, and shows one window of the size that the client asks for: a window that fills the screen takes 4 ms to draw
in emulation, which would be measured instead of the compositor. Nobody gets a real-time priority.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

SOCKET = "wayland-1"  # sway never takes wayland-0
RESULTS = "/run/bench"
WINDOW = "400x300"
HOGS = 2
APP_ID = "minicomp.pulse"
START_LIMIT_S = 30
# So that what the guest's kernel does once after booting falls into nobody's frames. Idle time costs nothing.
SETTLE_S = 40
AS_USER = "/usr/bin/setpriv --reuid=1 --regid=1 --clear-groups"  # by its path: busybox has a lesser one
ENVIRONMENT = {
    "HOME": "/run/session",
    "LANG": "C.UTF-8",
    "LIBSEAT_BACKEND": "seatd",
    "WLR_LIBINPUT_NO_DEVICES": "1",
    "WLR_RENDERER": "pixman",
    "XDG_RUNTIME_DIR": "/run/session",
}
PROGRAMS = ("setpriv", "sway")


@dataclass(frozen=True)
class Contender:
    """One compositor with its settings. `{results}` in the command is its folder of results."""

    name: str
    command: tuple[str, ...]
    sway_config: str = ""
    traced: bool = False


@dataclass(frozen=True)
class Scene:
    """What the client and its neighbours do, and for how many frames."""

    name: str
    what: str
    contenders: tuple[str, ...]
    client: tuple[str, ...] = ()
    hogs: int = 0


def minicomp(program: str, name: str, *settings: str) -> Contender:
    command = [program, "run", "--backend", "drm", "--socket", SOCKET, "--trace", "{results}/run.mct"]
    for setting in ("policy.name=stacking", "log.level=warning", *settings):
        command += ["--set", setting]
    return Contender(name, tuple(command), traced=True)


def sway(name: str, output_ms: int = 0, app_ms: int = 0) -> Contender:
    """sway with its `max_render_time` of output and application in ms; 0: its default, off."""
    lines = ["xwayland disable", "default_border none", "default_floating_border none"]
    lines.append(f'for_window [app_id="{APP_ID}"] floating enable')
    if output_ms:
        lines.append(f"output * max_render_time {output_ms}")
    if app_ms:
        lines.append(f'for_window [app_id="{APP_ID}"] max_render_time {app_ms}')
    return Contender(name, ("sway", "--config", "/run/session/sway.config"), "\n".join(lines) + "\n")


def contenders(program: str) -> dict[str, Contender]:
    found = (
        minicomp(program, "minicomp"),
        minicomp(program, "asap", "pacing.mode=asap"),
        minicomp(program, "no thread", "render.thread=false"),
        sway("sway"),
        sway("sway 4/4", 4, 4),
        sway("sway 2/2", 2, 2),
        sway("sway 2/1", 2, 1),
    )
    return {contender.name: contender for contender in found}


EVERYONE = ("minicomp", "asap", "no thread", "sway", "sway 4/4", "sway 2/2", "sway 2/1")
RIVALS = ("minicomp", "sway", "sway 4/4", "sway 2/2", "sway 2/1")
SCENES = {
    scene.name: scene
    for scene in (
        Scene("plain", "one client that only draws", EVERYONE),
        Scene("hogs", f"{HOGS} processes that never sleep", RIVALS, hogs=HOGS),
        Scene("normal", "client works 2 +- 0.5 ms", RIVALS, ("--work-dist", "normal:2000,500")),
        Scene("bimodal", "client works 1 ms, 8 ms in 10 %", RIVALS, ("--work-dist", "bimodal:1000,8000,0.1")),
        Scene("pareto", "client works 0.5 ms or more, heavy tail", RIVALS, ("--work-dist", "pareto:500,2")),
    )
}


def folder(index: int) -> str:
    """The guest folder of a scene's contender."""
    return f"{RESULTS}/{index}"


def script(scene: Scene, taking_part: Sequence[Contender], pulse: str, frames: int) -> str:
    """The guest's program. A contender that fails leaves its exit code and its log, and the next one starts."""
    lines = ["chmod 666 /run/seatd.sock", f"mkdir -p {RESULTS}", "unset WAYLAND_DISPLAY", f"sleep {SETTLE_S}"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in ENVIRONMENT.items()]
    for index, contender in enumerate(taking_part):
        lines += _one(scene, contender, folder(index), pulse, frames)
    return "\n".join(lines) + "\n"


def _one(scene: Scene, contender: Contender, results: str, pulse: str, frames: int) -> list[str]:
    compositor = shlex.join(word.replace("{results}", results) for word in contender.command)
    client = [pulse, "--wait-s", str(START_LIMIT_S), "--frames", str(frames), "--size", WINDOW, "--app-id", APP_ID]
    client += ["--require-presentation", "--quiet", "--log", f"{results}/pulse.jsonl", *scene.client]
    hog = "sh -c 'while :; do :; done' & hogs=\"$hogs $!\""
    return [
        f"mkdir -p {results} && rm -rf /run/session && mkdir -m 700 /run/session",
        f"printf %s {shlex.quote(contender.sway_config)} >/run/session/sway.config",
        f"chown -R 1:1 /run/session {results}",
        f"{AS_USER} {compositor} >{results}/log 2>&1 & compositor=$!",
        "hogs=",
        *[hog] * scene.hogs,
        f"WAYLAND_DISPLAY={SOCKET} {AS_USER} {shlex.join(client)} 2>{results}/client.log",
        f"echo $? >{results}/code",
        '[ -n "$hogs" ] && kill $hogs',
        "kill $compositor; wait",
        f"gzip {results}/pulse.jsonl",
        *([f"gzip {results}/run.mct"] if contender.traced else []),
    ]
