"""tinywl, wlroots' own example compositor in C, built from Debian's source package when the bench runs.

The source is fetched into the user's cache, never into the checkout; the version is the one that the installed wlroots
was built from, so that the same library does the work for every contender. Only tinywl.c is compiled, with Debian's
optimisation level; wlroots itself is the system's. EDITS is what has to change in it first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .debsource import fetch_source
from .errors import Unavailable

PACKAGE = "libwlroots-dev"
RECIPE = 2  # part of the cache's key: count it up when EDITS or the compiler's options change
EDITS = (
    # A headless session has no keyboard, and tinywl dereferences the one that it has not.
    ("\twlr_seat_keyboard_notify_enter(", "\tif (keyboard != NULL) wlr_seat_keyboard_notify_enter("),
    # It logs at debug level, the others errors only; logging is not what is compared.
    ("wlr_log_init(WLR_DEBUG,", "wlr_log_init(WLR_ERROR,"),
)


def wlroots_source_version() -> str:
    """The version of the source package that the installed wlroots headers come from. Raises Unavailable."""
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${source:Version}", PACKAGE], capture_output=True, text=True, check=False
    )
    if asked.returncode != 0 or not asked.stdout:
        raise Unavailable(f"the package {PACKAGE} is not installed")
    return asked.stdout


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minicomp" / "bench"


def build_tinywl() -> tuple[Path, str]:
    """The program and its version: from the cache, or fetched and compiled. Raises Unavailable."""
    version = wlroots_source_version()
    kept = cache_folder() / f"tinywl-{version}-{RECIPE}"
    program = kept / "tinywl"
    if program.exists():
        return program, version
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept, prefix="build-") as name:
        tree = fetch_source("wlroots", version, Path(name))
        built = _compile(tree / "tinywl" / "tinywl.c", Path(name))
        built.replace(program)  # at once: an interrupted build leaves nothing that looks finished
    return program, version


def edited(text: str) -> str:
    """tinywl.c with EDITS. Raises Unavailable when one of them has not exactly one place."""
    for old, new in EDITS:
        if text.count(old) != 1:
            raise Unavailable(
                f"tinywl.c is not as expected: {old.strip()!r} is there {text.count(old)} times, not once"
            )
        text = text.replace(old, new)
    return text


def _compile(source: Path, folder: Path) -> Path:
    if not source.exists():
        raise Unavailable(f"the source package has no {source.parent.name}/{source.name}")
    source.write_text(edited(source.read_text()))
    for tool in ("gcc", "pkg-config"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} not found")
    protocols = _output(["pkg-config", "--variable=pkgdatadir", "wayland-protocols"])
    scanner = _output(["pkg-config", "--variable=wayland_scanner", "wayland-scanner"])
    flags = _output(["pkg-config", "--cflags", "--libs", "wlroots", "wayland-server", "xkbcommon"]).split()
    header = folder / "xdg-shell-protocol.h"
    _output([scanner, "server-header", f"{protocols}/stable/xdg-shell/xdg-shell.xml", str(header)])
    program = folder / "tinywl"
    _output(["gcc", "-O2", "-g", "-DWLR_USE_UNSTABLE", f"-I{folder}", str(source), "-o", str(program), *flags])
    return program


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(f"{Path(command[0]).name} failed: {done.stderr.strip()[-400:]}")
    return done.stdout.strip()
