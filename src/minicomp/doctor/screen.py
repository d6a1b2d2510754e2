"""What a screen needs: a seat, DRM devices that can set modes, rights to them, input devices."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from minicomp.doctor.finding import Finding, Purpose

DRI = Path("/dev/dri")
KIOSK = (Purpose.KIOSK,)


def check() -> Iterator[Finding]:
    """The preconditions of the drm backend; headless needs none of them."""
    yield seat(os.environ)
    cards = sorted(DRI.glob("card*"))
    if not cards:
        why = f"no {DRI}/card*: this kernel has no display driver loaded"
        yield Finding("DRM device", False, why, "load the GPU's driver (modprobe); headless needs none", KIOSK)
    for card in cards:
        yield _modesetting(card)
    for node in [*cards, *sorted(DRI.glob("renderD*"))]:
        yield _rights(node)
    yield _input_devices()
    uinput = Path("/dev/uinput")
    yield Finding(
        "uinput",
        os.access(uinput, os.W_OK),
        f"{uinput} {'can be written' if os.access(uinput, os.W_OK) else 'is missing or not writable'}",
        "modprobe uinput, as root (only tests that make input devices need it)",
    )


def seat(environment: "os._Environ[str] | dict[str, str]") -> Finding:
    """libseat asks seatd first, then logind."""
    seatd = environment.get("SEATD_SOCK", "/run/seatd.sock")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(2)
            connection.connect(seatd)
        return Finding("seat", True, f"seatd answers on {seatd}")
    except OSError as error:
        why = f"no seatd ({seatd}: {error.strerror or error})"
    session = environment.get("XDG_SESSION_ID")
    if session and Path(f"/run/systemd/sessions/{session}").exists():
        return Finding("seat", True, f"logind session {session}")
    todo = "apt-get install seatd and join its group (Debian: video), or log in on a TTY with systemd-logind"
    return Finding("seat", False, f"{why}, and no logind session (XDG_SESSION_ID)", todo, KIOSK)


def _modesetting(card: Path) -> Finding:
    """A card that drives screens has connectors (cardN-HDMI-A-1, ...) in sysfs; a pure render device has none."""
    driver = Path(f"/sys/class/drm/{card.name}/device/driver")
    name = driver.resolve().name if driver.exists() else "unknown driver"
    connectors = sorted(path.name.partition("-")[2] for path in Path("/sys/class/drm").glob(f"{card.name}-*"))
    connected = [
        connector
        for connector in connectors
        if _first_line(f"/sys/class/drm/{card.name}-{connector}/status") == "connected"
    ]
    why = f"{name}: connectors {', '.join(connectors) or 'none'}; connected {', '.join(connected) or 'none'}"
    return Finding(f"{card} modesetting", bool(connectors), why, "use a driver with kernel modesetting", KIOSK)


def _rights(node: Path) -> Finding:
    good = os.access(node, os.R_OK | os.W_OK)
    is_card = node.name.startswith("card")
    why = "can be opened for reading and writing" if good else f"no rights for uid {os.getuid()}"
    # seatd and logind open the card for us; the render node we open ourselves.
    group = "video" if is_card else "render"
    return Finding(f"{node} rights", good, why, f"join the group {group}, or leave it to seatd or logind")


def _input_devices() -> Finding:
    devices = sorted(Path("/dev/input").glob("event*"))
    readable = [device for device in devices if os.access(device, os.R_OK)]
    why = f"{len(devices)} in /dev/input, {len(readable)} readable by us (seatd and logind open them otherwise)"
    return Finding("input devices", bool(devices), why, "minicomp starts without any; plug one in or modprobe evdev")


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return ""
