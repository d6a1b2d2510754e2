"""The protocols minicomp offers, and which of them only trusted clients see.

Each is one global; the ones that can spy on or inject into other clients are privileged: the native plane's filter
shows them to a client only if its grants, decided when it connects, have the global's bit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from minicomp.errors import MinicompError
from minicomp.native.wlr import ffi, lib

if TYPE_CHECKING:
    from minicomp.compositor.server import Compositor
    from minicomp.config import Config

from wlroots import lib as wlr

PRIVILEGED: dict[str, str] = {
    "screencopy": "zwlr_screencopy_manager_v1",
    "export-dmabuf": "zwlr_export_dmabuf_manager_v1",
    "virtual-keyboard": "zwp_virtual_keyboard_manager_v1",
    "virtual-pointer": "zwlr_virtual_pointer_manager_v1",
    "input-method": "zwp_input_method_manager_v2",
    "data-control": "zwlr_data_control_manager_v1",
    "foreign-toplevel": "zwlr_foreign_toplevel_manager_v1",
    "gamma-control": "zwlr_gamma_control_manager_v1",
    "output-management": "zwlr_output_manager_v1",
    "output-power": "zwlr_output_power_manager_v1",
    "layer-shell": "zwlr_layer_shell_v1",
}
"""Group name in the configuration -> interface name. The position is the bit in a client's grants."""

ALL_GRANTS = (1 << len(PRIVILEGED)) - 1


def grants_of(groups: Iterable[str]) -> int:
    """The grant bits for group names; "all" is every group."""
    bits = 0
    for group in groups:
        bits |= ALL_GRANTS if group == "all" else 1 << list(PRIVILEGED).index(group)
    return bits


def trusts_own_uid(config: Config, backend_kind: str) -> bool:
    """Whether every client of the compositor's own user may use every global."""
    mode = config.trust.mode
    return mode == "same-uid" or (mode == "auto" and backend_kind == "headless")


def apply_trust(server: Any, config: Config, backend_kind: str) -> None:
    """Hands the native plane the privileged names and the rules, most specific first.

    mode auto: headless trusts the compositor's own uid (a test drives its own machine), everything else only what the
    configuration lists.
    """
    names = [ffi.new("char[]", name.encode()) for name in PRIVILEGED.values()]
    lib.mc_clients_set_privileged(server, ffi.new("const char *[]", names), len(names))
    for client in config.trust.client:
        _add_rule(server, client.uid, client.exe, client.socket, grants_of(client.globals))
    if trusts_own_uid(config, backend_kind):
        _add_rule(server, os.getuid(), None, None, ALL_GRANTS)


def _add_rule(server: Any, uid: int | None, exe: str | None, socket: str | None, grants: int) -> None:
    result = lib.mc_clients_add_rule(
        server,
        -1 if uid is None else uid,
        ffi.NULL if exe is None else os.fsencode(exe),
        ffi.NULL if socket is None else os.fsencode(socket),
        grants,
    )
    if result != 0:
        raise MemoryError("trust rule")


def create_globals(compositor: Compositor) -> None:
    """Everything beyond wl_compositor, wl_shm and wp_presentation, which set-up creates itself.

    Called once, before the backend starts and before the loop thread runs. The managers belong to the wl_display and go
    with it.
    """
    display, server = compositor.display, compositor.server

    def made(what: str, manager: Any) -> Any:
        if not manager:
            raise MinicompError(f"the {what} protocol could not be created", todo="out of memory?")
        return manager

    def attached(what: str, result: int) -> None:
        if result != 0:
            raise MinicompError(f"the {what} protocol could not be attached: {os.strerror(-result)}")

    made("data device", wlr.wlr_data_device_manager_create(display))
    made("primary selection", wlr.wlr_primary_selection_v1_device_manager_create(display))
    made("data control", wlr.wlr_data_control_manager_v1_create(display))
    made("viewporter", wlr.wlr_viewporter_create(display))
    made("screencopy", wlr.wlr_screencopy_manager_v1_create(display))
    made("export-dmabuf", wlr.wlr_export_dmabuf_manager_v1_create(display))
    made("gamma control", wlr.wlr_gamma_control_manager_v1_create(display))
    made("xdg-output", wlr.wlr_xdg_output_manager_v1_create(display, compositor.output_layout))

    attached("xdg-shell", lib.mc_xdg_shell_attach(server, made("xdg-shell", wlr.wlr_xdg_shell_create(display))))
    layer_shell = made("layer-shell", wlr.wlr_layer_shell_v1_create(display))
    attached("layer-shell", lib.mc_layer_shell_attach(server, layer_shell))
    xdg_decoration = made("xdg-decoration", wlr.wlr_xdg_decoration_manager_v1_create(display))
    kde_decoration = made("server decoration", wlr.wlr_server_decoration_manager_create(display))
    attached("decoration", lib.mc_decoration_attach(server, xdg_decoration, kde_decoration))
    toplevels = made("foreign-toplevel", wlr.wlr_foreign_toplevel_manager_v1_create(display))
    attached("foreign-toplevel", lib.mc_foreign_toplevel_attach(server, toplevels))
    attached("activation", lib.mc_activation_create(server))
    power = made("output-power", wlr.wlr_output_power_manager_v1_create(display))
    attached("output-power", lib.mc_output_power_attach(server, power))
    compositor.output_manager = made("output-management", wlr.wlr_output_manager_v1_create(display))
    attached("output-management", lib.mc_output_management_attach(server, compositor.output_manager))
    idle = made("idle", wlr.wlr_idle_create(display))
    inhibit = made("idle-inhibit", wlr.wlr_idle_inhibit_v1_create(display))
    attached("idle", lib.mc_idle_attach(server, idle, inhibit))
    attached("seat", lib.mc_seat_create_globals(server, lib.MC_SEAT_ALL_GLOBALS))
