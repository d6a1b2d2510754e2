"""`scripts/bench`: finds or builds the contenders, has them measured by an unprivileged process, prints the table.

Exit codes: 0 measured (targets missed or not), 1 nothing could be measured, 2 usage.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import contenders
from .checkout import CHECKOUT, CLIENTS, PROGRAM, check_built, obtain
from .contenders import Contender
from .errors import BenchError, Unavailable
from .plan import PLANS
from .report import render
from .tinywl import build_tinywl
from .vm_guest import SCENES

UNPRIVILEGED_USER = "nobody"
X11_SOCKETS = Path("/tmp/.X11-unix")

_DESCRIPTION = """\
minicomp side by side with sway, cage and tinywl: CPU per delivered frame, time from exec to a client's first round
trip, memory, CPU against the number of clients, and what the trace costs. All headless with the pixman renderer, the
same client, interleaved in random order. docs/performance.md says how to read it.
"""
_EPILOG = """\
examples:
  scripts/bench --quick                     about a minute: a first look
  scripts/bench --json before.json          about six minutes: numbers to keep
  scripts/bench --show before.json          the table of an earlier run
  scripts/bench --vm                        latency on real KMS beside sway: ten minutes; --quick: three
  scripts/bench --pacing                    how late it asks and composes: fifteen minutes; --quick: two
"""


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if options.vm:
        from . import vm  # the lab's modules are not needed for the headless run

        return vm.run(options)
    if options.pacing:
        from . import pacing

        return pacing.run(options)
    result = obtain(options, lambda: _measured(options))
    if isinstance(result, int):
        return result
    print(render(result))
    if options.json is not None and options.show is None:
        print(f"\nevery single measurement: {options.json}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--vm",
        action="store_true",
        help="instead: commit -> presented and missed flips on real KMS, in a virtual machine's virtual time",
    )
    parser.add_argument(
        "--pacing",
        action="store_true",
        help="instead: callback -> presented and input -> presented at several refresh rates, minicomp against itself",
    )
    parser.add_argument(
        "--scene", action="append", default=[], choices=SCENES, help="with --vm: only this scene (repeatable)"
    )
    parser.add_argument(
        "--real-time", action="store_true", help="with --vm: on the host's clock, with KVM where there is one"
    )
    parser.add_argument("--twice", action="store_true", help="with --vm: boot each image again and compare the figures")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="with --vm: the clients' logs and the run files to DIR"
    )
    parser.add_argument("--quick", action="store_true", help="about a minute, with few rounds and no intervals")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every single measurement to FILE")
    parser.add_argument("--show", type=Path, metavar="FILE", help="measure nothing, print the table of a --json FILE")
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="SETTING",
        help="also measure minicomp with --set SETTING, for example render.thread=false (repeatable)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the order of the contenders (default 1)")
    return parser


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    found, left_out = _find_contenders(options.also)
    pulse = CLIENTS / "pulse"
    check_built(pulse)
    # An unprivileged process may not write compiled Python into the checkout; nor is compiling what is measured.
    compileall.compile_dir(CHECKOUT / "src/minicomp", quiet=2)
    request = {
        "plan": "quick" if options.quick else "full",
        "seed": options.seed,
        "pulse": str(pulse),
        "contenders": [asdict(contender) for contender in found],
    }
    result = _run_measurer(request)
    windows = asdict(PLANS[request["plan"]])
    return {
        "plan": request["plan"],
        "windows": windows,
        "contenders": request["contenders"],
        "left_out": left_out,
    } | result


def _find_contenders(also: list[str]) -> tuple[list[Contender], list[str]]:
    """Who takes part, minicomp first, and why others do not."""
    check_built(PROGRAM)
    asked = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=False)
    found = contenders.minicomp(PROGRAM, asked.stdout.split()[-1] if asked.stdout else "(version unknown)", also)
    left_out = []
    for name, make in (("sway", contenders.sway), ("cage", contenders.cage)):
        path = shutil.which(name)
        if path is None:
            left_out.append(f"{name}: not installed (Debian: apt-get install {name})")
        else:
            found.append(make(path))
    try:
        found.append(contenders.tinywl(*build_tinywl()))
    except Unavailable as reason:
        left_out.append(f"tinywl: {reason}")
    for reason_text in left_out:
        print(f"bench: left out: {reason_text}", file=sys.stderr)
    return found, left_out


def _run_measurer(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="minicomp-bench-") as name:
        order, out = Path(name, "order.json"), Path(name, "out.json")
        order.write_text(json.dumps(request))
        command = [sys.executable, "-m", "benchlib.measure", str(order), str(out)]
        if os.geteuid() == 0:
            _make_x11_folder()
            command = [*_as_unprivileged(Path(name)), *command]
        # The user's own desktop must not reach the contenders; sessions make their own environments from this one.
        done = subprocess.run(
            command, cwd=name, env=dict(os.environ, PYTHONPATH=str(CHECKOUT / "scripts"), TMPDIR="/tmp")
        )
        if done.returncode != 0:
            raise BenchError("the measurement failed")
        result: dict[str, Any] = json.loads(out.read_text())
        return result


def _make_x11_folder() -> None:
    """As the system's start-up does: else cage's Xwayland makes it, and it belongs to nobody, which Xwayland refuses
    to everybody else afterwards.
    """
    with suppress(FileExistsError):
        X11_SOCKETS.mkdir()
        X11_SOCKETS.chmod(0o1777)


def _as_unprivileged(folder: Path) -> list[str]:
    """A prefix that drops root, for sway and cage refuse it, and everyone shall run alike.

    The capability to read everything stays, so that a checkout or an interpreter in root's home can still be run.
    """
    if shutil.which("setpriv") is None:
        raise BenchError("setpriv is missing (Debian: util-linux); or run the bench as an ordinary user")
    account = pwd.getpwnam(UNPRIVILEGED_USER)
    os.chown(folder, account.pw_uid, account.pw_gid)
    identity = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    capability = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["setpriv", *identity, *capability, "--"]


if __name__ == "__main__":
    sys.exit(main())
