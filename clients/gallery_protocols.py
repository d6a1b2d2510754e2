"""Protocols that pywayland does not ship: generated from XML by its scanner, once, into the build folder.

The generated package is made part of `pywayland.protocol`, because its modules import their neighbours
(`from ..xdg_shell import XdgPopup`) and must find the classes that pywayland itself uses.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from pathlib import Path
from types import ModuleType

import pywayland.protocol
from pywayland.scanner import Protocol

CLIENTS = Path(__file__).resolve().parent
GENERATED = CLIENTS.parent / "build" / "clients" / "pywayland"
LAYER_SHELL_XML = CLIENTS / "protocols" / "wlr-layer-shell-unstable-v1.xml"

#: Interfaces of pywayland's own packages that our XML files refer to.
SHIPPED = {"wl_output": "wayland", "wl_surface": "wayland", "xdg_popup": "xdg_shell"}


def load_layer_shell() -> ModuleType:
    """The generated module of wlr-layer-shell, with ZwlrLayerShellV1 and ZwlrLayerSurfaceV1."""
    return _load(LAYER_SHELL_XML)


def _load(xml: Path) -> ModuleType:
    protocol = Protocol.parse_file(str(xml))
    package = GENERATED / protocol.name
    if not package.exists() or package.stat().st_mtime < xml.stat().st_mtime:
        _generate(protocol, package)
    if str(GENERATED) not in pywayland.protocol.__path__:
        pywayland.protocol.__path__.append(str(GENERATED))
    return importlib.import_module(f"pywayland.protocol.{protocol.name}")


def _generate(protocol: Protocol, package: Path) -> None:
    """Writes beside the target and renames, so that a second gallery never imports half a package."""
    package.parent.mkdir(parents=True, exist_ok=True)
    imports = SHIPPED | {interface.name: protocol.name for interface in protocol.interface}
    with tempfile.TemporaryDirectory(dir=package.parent) as scratch:
        protocol.output(scratch, imports)
        shutil.rmtree(package, ignore_errors=True)
        try:
            (Path(scratch) / protocol.name).rename(package)
        except OSError:
            if not package.exists():  # otherwise another process was faster, with the same content
                raise
