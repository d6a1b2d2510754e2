"""Outputs as the policy side sees them, and their configuration from [[output]] settings.

Outputs are born disabled; the policy thread gives each its mode, scale, transform and place when it hears of it. What a
output-management client asks for goes the same way.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from minicomp.config import parse_mode
from minicomp.native.wlr import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minicomp.config import Config, OutputSettings

log = logging.getLogger("minicomp.output")

TRANSFORMS = ("normal", "90", "180", "270", "flipped", "flipped-90", "flipped-180", "flipped-270")
"""In wl_output.transform's order."""


class Output(NamedTuple):
    """A snapshot of one output. Positions and sizes are layout units; `mode_*` are pixels."""

    handle: int
    id: int  # in the trace
    name: str
    description: str
    enabled: bool
    x: int
    y: int
    width: int
    height: int
    mode_width: int
    mode_height: int
    refresh_mhz: int
    scale: float
    transform: str
    adaptive_sync: bool
    modelled: bool
    latch_ns: int  # modelled displays: how long before a vblank a frame must be committed
    usable: tuple[int, int, int, int]  # x, y, width, height left by panels

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) in layout coordinates."""
        return self.x, self.y, self.width, self.height


class Outputs:
    """The live outputs, by handle: `outputs[handle]`, iterated in the order they appeared."""

    def __init__(self, server: Any, config: Config, manager: Any) -> None:
        self._server = server
        self._manager = manager  # struct wlr_output_manager_v1 *
        self._config = config
        self._info = ffi.new("struct mc_output_info *")

    def get(self, handle: int) -> Output | None:
        """The output, or None when it is gone."""
        info = self._info
        if lib.mc_output_get_info(self._server, handle, info) != 0:
            return None
        return Output(
            handle=handle,
            id=info.id,
            name=_text(info.name),
            description=f"{_text(info.make)} {_text(info.model)} {_text(info.serial)}".strip(),
            enabled=info.enabled,
            x=info.x,
            y=info.y,
            width=info.width,
            height=info.height,
            mode_width=info.mode_width,
            mode_height=info.mode_height,
            refresh_mhz=info.refresh_mhz,
            scale=info.scale,
            transform=TRANSFORMS[info.transform],
            adaptive_sync=info.adaptive_sync,
            modelled=info.modelled,
            latch_ns=info.latch_ns,
            usable=(info.usable_x, info.usable_y, info.usable_width, info.usable_height),
        )

    def __getitem__(self, handle: int) -> Output:
        output = self.get(handle)
        if output is None:
            raise KeyError(handle)
        return output

    def __iter__(self) -> Iterator[Output]:
        handles = ffi.new("uint64_t[64]")
        count = lib.mc_outputs_list(self._server, handles, 64)
        for handle in handles[0 : min(count, 64)]:
            output = self.get(handle)
            if output is not None:
                yield output

    def by_name(self, name: str) -> Output | None:
        return next((output for output in self if output.name == name), None)

    def configure_new(self, handle: int) -> bool:
        """Gives a new output what the configuration says. True when it is on now."""
        output = self.get(handle)
        if output is None:
            return False
        settings = self._config.output_settings(output.name)
        if self.configure(handle, settings):
            return settings.enabled
        if settings.mode != "preferred":
            log.warning("output %s refuses mode %s, trying its preferred mode", output.name, settings.mode)
            return self.configure(handle, _with_preferred_mode(settings)) and settings.enabled
        log.error("output %s refuses its preferred mode; it stays off", output.name)
        return False

    def configure(self, handle: int, settings: OutputSettings) -> bool:
        """Applies settings; False when the display refuses them (nothing changed) or is gone."""
        request = ffi.new("struct mc_output_config *")
        request.enabled = settings.enabled
        if settings.mode == "highest-refresh":
            request.refresh_mhz = 0
            current = self.get(handle)
            if current is not None and current.mode_width:
                request.width, request.height = current.mode_width, current.mode_height
        elif settings.mode != "preferred":
            mode = parse_mode(settings.mode)
            request.width, request.height = mode.width, mode.height
            request.refresh_mhz = mode.refresh_mhz or 0
        request.scale = settings.scale
        request.transform = TRANSFORMS.index(settings.transform)
        request.automatic_position = settings.position is None
        if settings.position is not None:
            request.x, request.y = settings.position
        request.adaptive_sync = settings.adaptive_sync
        result = lib.mc_output_configure(self._server, handle, request)
        if result != 0:
            log.debug("output %x: configuration refused: %s", handle, os.strerror(-result))
        return bool(result == 0)

    def apply_request(self, configuration: int, *, test_only: bool) -> bool:
        """What an output-management client asks for in MC_EVENT_OUTPUT_CONFIG: tested or applied, and answered."""
        wishes = ffi.new("struct mc_output_wish[64]")
        count = lib.mc_output_management_wishes(self._server, configuration, wishes, 64)
        # Tested as a whole before anything changes: a client that is refused finds everything as it was.
        ok = all(
            lib.mc_output_test(self._server, wish.output, ffi.addressof(wish.config)) == 0 for wish in wishes[0:count]
        )
        if ok and not test_only:
            ok = all(
                lib.mc_output_configure(self._server, wish.output, ffi.addressof(wish.config)) == 0
                for wish in wishes[0:count]
            )
        lib.mc_output_management_answer(self._server, configuration, ok)
        return ok

    def publish(self) -> None:
        """Tells output-management clients how the outputs are now."""
        lib.mc_output_management_publish(self._server, self._manager)

    def set_enabled(self, handle: int, enabled: bool) -> bool:
        """Switches an output on or off, the rest as it was (output-power, idle time-out)."""
        output = self.get(handle)
        if output is None or output.enabled == enabled:
            return output is not None
        request = ffi.new("struct mc_output_config *")
        request.enabled = enabled
        request.width, request.height, request.refresh_mhz = output.mode_width, output.mode_height, output.refresh_mhz
        request.scale = output.scale
        request.transform = TRANSFORMS.index(output.transform)
        request.automatic_position = not output.width
        request.x, request.y = output.x, output.y
        return bool(lib.mc_output_configure(self._server, handle, request) == 0)


def _with_preferred_mode(settings: OutputSettings) -> OutputSettings:
    from msgspec.structs import replace

    return replace(settings, mode="preferred")


def _text(array: Any) -> str:
    data: bytes = ffi.string(array)
    return data.decode("utf-8", "replace")
