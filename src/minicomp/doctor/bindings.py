"""The bindings and the libraries under them: versions that work together, and one copy of each library.

Asked in a process of its own, because a wrong combination crashes when it is imported.
"""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator

from minicomp.doctor.finding import ALL, Finding, Purpose
from minicomp.doctor.libraries import duplicate_libraries

WLROOTS_SERIES = "0.15."
PINNED = {"pywlroots": "0.15.24", "pywayland": "0.4.15", "xkbcommon": "1.5.1"}
IMPORT_TIMEOUT_S = 20

_PROBE = """
import json
from importlib.metadata import PackageNotFoundError, version
report = {"packages": {}, "errors": {}}
for name in ("pywlroots", "pywayland", "xkbcommon", "cffi", "msgspec"):
    try:
        report["packages"][name] = version(name)
    except PackageNotFoundError:
        pass
for name in ("pywayland.server", "xkbcommon.xkb", "wlroots", "minicomp.native.pure", "minicomp.native.wlr"):
    try:
        module = __import__(name, fromlist=["_"])
        if name == "wlroots":
            from wlroots import lib
            report["wlroots"] = f"{lib.WLR_VERSION_MAJOR}.{lib.WLR_VERSION_MINOR}.{lib.WLR_VERSION_MICRO}"
    except Exception as error:
        report["errors"][name] = f"{type(error).__name__}: {error}"
report["maps"] = open("/proc/self/maps").read()
print(json.dumps(report))
"""


def check() -> Iterator[Finding]:
    """Python, the bindings' versions, wlroots' own, and duplicate libraries."""
    yield Finding(
        "Python", sys.version_info >= (3, 11), platform.python_version(), "use Python 3.11 or newer", needed_for=ALL
    )
    probe = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False
    )
    if probe.returncode != 0:
        why = (
            f"importing them ended with {probe.returncode}: {(probe.stderr.strip().splitlines() or ['no output'])[-1]}"
        )
        yield Finding("bindings", False, why, "run scripts/setup", ALL)
        return
    report = json.loads(probe.stdout)
    yield from _versions(report)
    yield from _duplicates(report["maps"])
    for name, package, purpose in (
        ("libwayland", "libwayland-server0", ALL),
        ("libxkbcommon", "libxkbcommon0", ALL),
        ("xkb keymaps", "xkb-data", ALL),
        ("Mesa", "libgl1-mesa-dri", ()),
        ("XWayland", "xwayland", ()),
    ):
        yield _debian_package(name, package, purpose)


def _versions(report: dict[str, dict[str, str]]) -> Iterator[Finding]:
    for name, wanted in PINNED.items():
        found = report["packages"].get(name, "not installed")
        yield Finding(name, found == wanted, found, f"{wanted} is what works: run scripts/setup", ALL)
    wlroots = str(report.get("wlroots", "cannot be loaded"))
    yield Finding(
        "wlroots", wlroots.startswith(WLROOTS_SERIES), wlroots, "install libwlroots-dev 0.15, run scripts/setup", ALL
    )
    errors = report["errors"]
    why = "; ".join(f"{name}: {error}" for name, error in errors.items())
    yield Finding("importing them", not errors, why or "bindings and native modules load", "run scripts/setup", ALL)


def _duplicates(maps_text: str) -> Iterator[Finding]:
    duplicates = duplicate_libraries(maps_text)
    why = "; ".join(f"{name}: {', '.join(paths)}" for name, paths in duplicates)
    todo = "a wheel brought its own copy, which crashes: run scripts/setup, which builds from source"
    yield Finding("one copy of each library", not duplicates, why or "none is there twice", todo, ALL)


def _debian_package(name: str, package: str, needed_for: tuple[Purpose, ...]) -> Finding:
    if shutil.which("dpkg-query") is None:
        return Finding(name, True, "not a Debian system: version not looked up")
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package],
        capture_output=True,
        text=True,
        timeout=IMPORT_TIMEOUT_S,
        check=False,
    )
    status, _, version = query.stdout.partition(" ")
    installed = status == "installed"
    return Finding(
        name,
        installed,
        f"{package} {version}" if installed else f"{package} is not installed",
        f"apt-get install {package}",
        needed_for,
    )
