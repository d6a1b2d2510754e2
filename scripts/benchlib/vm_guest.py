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
NEIGHBOUR_ID = "minicomp.neighbour"
CROWD_PERIOD_US = 133_333
CROWD_START_S = 5
TWO_OUTPUTS = "400x300"
START_LIMIT_S = 30
# So that what the guest's kernel does once after booting falls into nobody's frames. Idle time costs nothing.
SETTLE_S = 40
REAL_TIME_SETTLE_S = 10
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
    client: tuple[str, ...] = ()  # further arguments of the measured client
    neighbours: tuple[str, ...] = ()  # shell commands that connect before it and run all the while


@dataclass(frozen=True)
class Scene:
    """What the client and its neighbours do, and for how many frames."""

    name: str
    what: str
    contenders: tuple[str, ...]
    client: tuple[str, ...] = ()
    hogs: int = 0
    pairs: tuple[tuple[str, str], ...] = ()  # contenders that should not differ: the quiet one first ...
    alike: tuple[str, ...] = ("p50", "p99")  # ... in these, and in misses


def minicomp(
    program: str,
    name: str,
    *settings: str,
    backend: str = "drm",
    client: tuple[str, ...] = (),
    neighbours: Sequence[str] = (),
) -> Contender:
    command = [program, "run", "--backend", backend, "--socket", SOCKET, "--trace", "{results}/run.mct"]
    for setting in ("policy.name=stacking", "log.level=warning", *settings):
        command += ["--set", setting]
    return Contender(name, tuple(command), traced=True, client=client, neighbours=tuple(neighbours))


def sway(name: str, output_ms: int = 0, app_ms: int = 0) -> Contender:
    """sway with its `max_render_time` of output and application in ms; 0: its default, off."""
    lines = ["xwayland disable", "default_border none", "default_floating_border none"]
    lines.append(f'for_window [app_id="{APP_ID}"] floating enable')
    if output_ms:
        lines.append(f"output * max_render_time {output_ms}")
    if app_ms:
        lines.append(f'for_window [app_id="{APP_ID}"] max_render_time {app_ms}')
    return Contender(name, ("sway", "--config", "/run/session/sway.config"), "\n".join(lines) + "\n")


def _crowd(pulse: str, count: int) -> list[str]:
    """Clients that each draw a few pixels 7.5 times a second, spread evenly over that time.

    On frame callbacks a hundred of them would need more than a refresh in emulation, whoever composes.
    """
    step_us = CROWD_PERIOD_US // count
    return [
        f"{pulse} --mode period --period-us {CROWD_PERIOD_US} --phase-us {number * step_us} --size 64x64 "
        f"--damage 16x16 --no-feedback --quiet --app-id crowd"
        for number in range(count)
    ]


def _on_two_outputs(program: str, name: str, own_hz: int, other_hz: int, neighbour: str) -> Contender:
    """The modelled display with two outputs; the measured client on the one, perhaps another on the other."""
    return minicomp(
        program,
        name,
        f'headless.outputs=["{TWO_OUTPUTS}@{own_hz}","{TWO_OUTPUTS}@{other_hz}"]',
        "policy.name=kiosk",
        f'policy.options.outputs={{"{APP_ID}"="HEADLESS-1","{NEIGHBOUR_ID}"="HEADLESS-2"}}',
        backend="headless",
        neighbours=[f"{neighbour} --no-feedback --quiet --app-id {NEIGHBOUR_ID}"] if neighbour else (),
    )


def contenders(program: str, pulse: str, hostile: str) -> dict[str, Contender]:
    frozen = f"{hostile} callback-never-commit --hold-s 10000"
    flood = f"while {hostile} flood-commits >/dev/null; do :; done"
    found = (
        minicomp(program, "100 clients", neighbours=_crowd(pulse, 99)),
        minicomp(program, "one never answers", neighbours=[*_crowd(pulse, 98), frozen]),
        minicomp(program, "one floods", neighbours=[*_crowd(pulse, 98), flood]),
        _on_two_outputs(program, "60 Hz alone", 60, 144, ""),
        _on_two_outputs(program, "60 beside 144", 60, 144, pulse),
        _on_two_outputs(program, "144 Hz alone", 144, 60, ""),
        _on_two_outputs(program, "144 beside 60", 144, 60, pulse),
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
        Scene(
            "outputs",
            "two modelled outputs, 60 and 144 Hz, a client on each or on one alone",
            ("60 Hz alone", "60 beside 144", "144 Hz alone", "144 beside 60"),
            pairs=(("60 Hz alone", "60 beside 144"), ("144 Hz alone", "144 beside 60")),
            alike=("p50",),  # where both vblanks coincide, one frame waits for the other: p99 says how long
        ),
        Scene(
            "crowd",
            "beside 99 clients that draw 7.5 times a second; one of them asks for 10,000 callbacks and never answers, "
            "or floods the compositor with commits",
            ("100 clients", "one never answers", "one floods"),
            pairs=(("100 clients", "one never answers"), ("100 clients", "one floods")),
        ),
    )
}


def folder(index: int) -> str:
    """The guest folder of a scene's contender."""
    return f"{RESULTS}/{index}"


def settle_s(real_time: bool) -> int:
    return REAL_TIME_SETTLE_S if real_time else SETTLE_S


def script(scene: Scene, taking_part: Sequence[Contender], pulse: str, frames: int, *, real_time: bool = False) -> str:
    """The guest's program. A contender that fails leaves its exit code and its log, and the next one starts."""
    lines = ["chmod 666 /run/seatd.sock", f"mkdir -p {RESULTS}", "unset WAYLAND_DISPLAY"]
    lines.append(f"sleep {settle_s(real_time)}")
    lines += [f"export {name}={shlex.quote(value)}" for name, value in ENVIRONMENT.items()]
    for index, contender in enumerate(taking_part):
        lines += _one(scene, contender, folder(index), pulse, frames, real_time)
    return "\n".join(lines) + "\n"


def _one(scene: Scene, contender: Contender, results: str, pulse: str, frames: int, real_time: bool) -> list[str]:
    compositor = shlex.join(word.replace("{results}", results) for word in contender.command)
    client = [pulse, "--wait-s", str(START_LIMIT_S), "--frames", str(frames), "--size", WINDOW, "--app-id", APP_ID]
    client += ["--require-presentation", "--quiet", "--log", f"{results}/pulse.jsonl", *scene.client]
    client += contender.client
    neighbours = [
        f'WAYLAND_DISPLAY={SOCKET} {AS_USER} /bin/sh -c {shlex.quote(command)} >/dev/null 2>&1 & hogs="$hogs $!"'
        for command in contender.neighbours
    ]
    if neighbours:
        wait = f"until [ -S /run/session/{SOCKET} ]; do sleep 0.1; done"
        neighbours = [wait, *neighbours, f"sleep {CROWD_START_S}"]
    # What the host took of the guest's CPUs meanwhile: nothing, in virtual time.
    before, after = [[f"head -n 1 /proc/stat >{results}/cpu-{name}"] * real_time for name in ("before", "after")]
    hog = "sh -c 'while :; do :; done' & hogs=\"$hogs $!\""
    return [
        f"mkdir -p {results} && rm -rf /run/session && mkdir -m 700 /run/session",
        f"printf %s {shlex.quote(contender.sway_config)} >/run/session/sway.config",
        f"chown -R 1:1 /run/session {results}",
        f"{AS_USER} {compositor} >{results}/log 2>&1 & compositor=$!",
        "hogs=",
        *[hog] * scene.hogs,
        *neighbours,
        *before,
        f"WAYLAND_DISPLAY={SOCKET} {AS_USER} {shlex.join(client)} 2>{results}/client.log",
        f"echo $? >{results}/code",
        *after,
        '[ -n "$hogs" ] && kill $hogs',
        "kill $compositor; wait",
        f"gzip {results}/pulse.jsonl",
        *([f"gzip {results}/run.mct"] if contender.traced else []),
    ]
