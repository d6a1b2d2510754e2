"""`scripts/bench --vm`: commit -> presented on real KMS, in virtual time (docs/performance.md, docs/vm.md).

One boot a scene; in it every contender runs after the other on the same guest. Scenes boot side by side where the host
has the CPUs: that changes how long it takes and no figure, since the guest's clock counts instructions. With
`--real-time` the same images run on the host's clock, one after the other.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vmlab.errors import LabError
from vmlab.virtual_time import RealTime, VirtualRun, VirtualTime, kvm_boots

from .checkout import CHECKOUT, CLIENTS, PROGRAM, check_built, obtain
from .contenders import debian_version
from .errors import BenchError
from .vm_frames import measure, own_count, stolen_share
from .vm_guest import PROGRAMS, RESULTS, SCENES, WINDOW, Contender, Scene, contenders, folder, script, settle_s
from .vm_report import render

DISPLAY = "bochs-display"
MEMORY = "2G"
MEMORY_A_BOOT_KIB = 2_500_000
REAL_TIME_CPUS = 2  # so that hogs, client and compositor run at once, as on a real machine
SLOWEST_HZ = 30  # a guest's time limit: every contender at less than half the display's rate


@dataclass(frozen=True)
class Plan:
    """Frames of warm-up and measured, of the first scene and of the others; which scenes.

    A guest that is never idle runs slower than real time, so the scene with hogs measures two thirds as many.
    """

    name: str
    warm_up: int
    frames: int
    other_warm_up: int
    other_frames: int
    scenes: tuple[str, ...]

    def counts(self, scene: Scene) -> tuple[int, int]:
        if scene.name == "plain":
            return self.warm_up, self.frames
        return self.other_warm_up, self.other_frames * 2 // 3 if scene.hogs else self.other_frames


FULL = Plan("full", 1000, 3000, 1000, 3000, tuple(SCENES))
# minicomp against itself is a matter of virtual time: what tells the two apart is less than a host's noise.
REAL_TIME = replace(FULL, scenes=tuple(name for name, scene in SCENES.items() if not scene.pairs))
QUICK = Plan("quick", 200, 500, 200, 300, ("plain", "bimodal"))


def run(options: argparse.Namespace) -> int:
    """The `--vm` part of the bench: measures or reads `--show`, prints; exit codes as benchlib.cli has them."""
    plan = QUICK if options.quick else REAL_TIME if options.real_time else FULL
    result = obtain(
        options,
        lambda: measure_all(plan, options.scene, options.keep, twice=options.twice, real_time=options.real_time),
        LabError,
    )
    if isinstance(result, int):
        return result
    print(render(result))
    return 0 if any(scene["measured"] for scene in result["scenes"]) else 1


def measure_all(
    plan: Plan,
    names: Sequence[str] = (),
    keep: Path | None = None,
    *,
    twice: bool = False,
    real_time: bool = False,
) -> dict[str, Any]:
    """All scenes of the plan, or those named. `keep`: a folder for the clients' logs and the run files."""
    pulse, hostile = CLIENTS / "pulse", CLIENTS / "hostile"
    check_built(pulse, hostile, PROGRAM)
    everyone = contenders(str(PROGRAM), str(pulse), str(hostile))
    if shutil.which("sway") is None:
        raise BenchError("sway is not installed (Debian: apt-get install sway)")
    begin_s, tree = time.monotonic(), _tree()
    clock = _real_time() if real_time else None
    scenes = [SCENES[name] for name in names or plan.scenes]
    with ExitStack() as images, ThreadPoolExecutor(1 if clock else _boots_at_once()) as pool:
        # All before the first boot, so that an edit to the tree meanwhile is in none of them.
        prepared = [
            images.enter_context(_image(scene, plan, everyone, str(pulse), str(hostile), clock)) for scene in scenes
        ]
        jobs = [
            pool.submit(_scene, image, scene, plan, everyone, keep, twice)
            for image, scene in zip(prepared, scenes, strict=True)
        ]
        done = [job.result() for job in jobs]
    return {
        "plan": plan.name,
        "real_time": str(clock) if clock else None,
        "display": DISPLAY,
        "window": WINDOW,
        "sway": debian_version("sway"),
        "tree": tree,
        "host_s": time.monotonic() - begin_s,
        "scenes": done,
    }


def _real_time() -> RealTime:
    return RealTime(min(REAL_TIME_CPUS, len(os.sched_getaffinity(0))), kvm_boots())


def _tree() -> str:
    """The commit that was measured, and whether its sources had been edited."""
    git = ["git", "-C", str(CHECKOUT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode != 0:
        return "without git"
    edits = subprocess.run([*git, "status", "--porcelain", "src", "clients"], capture_output=True, check=False).stdout
    return head.stdout.strip() + (" with edits" if edits else "")


def _boots_at_once() -> int:
    """As many as the host has CPUs and memory for."""
    memory = Path("/proc/meminfo").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in memory if line.startswith("MemAvailable:"))
    return max(1, min(len(os.sched_getaffinity(0)), kib // MEMORY_A_BOOT_KIB))


def _image(
    scene: Scene, plan: Plan, everyone: dict[str, Contender], pulse: str, hostile: str, clock: RealTime | None
) -> VirtualTime:
    total = sum(plan.counts(scene))
    taking_part = [everyone[name] for name in scene.contenders]
    return VirtualTime(
        script(scene, taking_part, pulse, total, real_time=clock is not None),
        programs=[*PROGRAMS, pulse, hostile, *{c.command[0] for c in taking_part}],
        results=[RESULTS],
        timeout_s=settle_s(clock is not None) + len(taking_part) * (total / SLOWEST_HZ + 60),
        memory=MEMORY,
        display=DISPLAY,
        python=True,
        real_time=clock,
    )


def _scene(
    image: VirtualTime, scene: Scene, plan: Plan, everyone: dict[str, Contender], keep: Path | None, twice: bool
) -> dict[str, Any]:
    """One boot, or with `twice` two of the same image, the second only to be compared with the first."""
    warm_up, frames = plan.counts(scene)
    taking_part = [everyone[name] for name in scene.contenders]
    report: dict[str, Any] = {
        "name": scene.name,
        "what": scene.what,
        "warm_up": warm_up,
        "frames": frames,
        "pairs": scene.pairs,
        "alike": scene.alike,
    }
    try:
        ran = image.run()
        again = _results(image.run(), taking_part, warm_up)[0] if twice else None
    except LabError as error:  # the other scenes' figures are worth printing
        return report | {"measured": {}, "failed": {"all of them": str(error)}, "again": None}
    print(f"bench: {scene.name}: {ran.guest_s:.1f} s of the guest in {ran.host_s:.0f} s", file=sys.stderr)
    if keep is not None:
        for index, contender in enumerate(taking_part):
            _keep(ran, folder(index), keep / scene.name / contender.name.replace("/", "-"))
    measured, failed = _results(ran, taking_part, warm_up)
    return report | {"measured": measured, "failed": failed, "again": again}


def _results(ran: VirtualRun, taking_part: Sequence[Contender], warm_up: int) -> tuple[dict[str, Any], dict[str, str]]:
    measured, failed = {}, {}
    for index, contender in enumerate(taking_part):
        try:
            measured[contender.name] = _evaluate(ran, folder(index), contender, warm_up)
        except BenchError as error:
            failed[contender.name] = str(error)
    return measured, failed


def _evaluate(ran: VirtualRun, results: str, contender: Contender, warm_up: int) -> dict[str, Any]:
    code = ran.files.get(f"{results}/code", b"none").decode().strip()
    if code != "0":
        said = b"".join(ran.files.get(f"{results}/{name}", b"") for name in ("client.log", "log"))
        raise BenchError(f"client's exit code {code}: {(said or ran.output).decode(errors='replace').strip()[-500:]}")
    log = gzip.decompress(ran.files[f"{results}/pulse.jsonl.gz"]).decode()
    own = None
    if contender.traced:
        own = own_count(gzip.decompress(ran.files[f"{results}/run.mct.gz"]), log, warm_up)
    row = asdict(measure(log, warm_up, own))
    before, after = (ran.files.get(f"{results}/{name}") for name in ("cpu-before", "cpu-after"))
    if before is not None and after is not None:
        row["stolen"] = stolen_share(before.decode(), after.decode())
    return row


def _keep(ran: VirtualRun, results: str, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name, data in ran.files.items():
        if name.startswith(results + "/"):
            unpacked = gzip.decompress(data) if name.endswith(".gz") else data
            (target / Path(name).name.removesuffix(".gz")).write_bytes(unpacked)
