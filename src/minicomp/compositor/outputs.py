"""Outputs as the policy side sees them, and their configuration from [[output]] settings.

Outputs are born disabled; the policy thread gives each its mode, scale, transform and place when it hears of it. What a
output-management client asks for goes the same way.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from minicomp.config import Mode, parse_mode
from minicomp.native.wlr import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minicomp.config import Config, OutputSettings

log = logging.getLogger("minicomp.output")

_BUSY_TRIES, _BUSY_S = 50, 0.004  # a flip ends within a refresh; an emulated display takes longer

TRANSFORMS = ("normal", "90", "180", "270", "flipped", "flipped-90", "flipped-180", "flipped-270")
"""In wl_output.transform's order."""


class Output(NamedTuple):
    """A snapshot of one output. Positions and sizes are layout units; `mode_*` are pixels."""

    handle: int
    id: int  # in the trace
    name: str
    description: str
    enabled: bool
    """It is lit."""
    placed: bool
    """It is part of the layout, lit or asleep."""
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
    hardware_cursor: bool  # the pointer's picture is on a plane of its own now
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
        self._before_off: dict[int, Output] = {}  # those that set_enabled switched off, as they were

    def get(self, handle: int) -> Output | None:
        """The output, or None when it is gone."""
        info = ffi.new("struct mc_output_info *")  # of this call: main, policy and control thread ask at a time
        if lib.mc_output_get_info(self._server, handle, info) != 0:
            return None
        return Output(
            handle=handle,
            id=info.id,
            name=_text(info.name),
            description=f"{_text(info.make)} {_text(info.model)} {_text(info.serial)}".strip(),
            enabled=info.enabled,
            placed=info.placed,
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
            hardware_cursor=info.hardware_cursor,
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
        self._warn_of_unlisted_mode(output, settings)
        result = self._apply(handle, settings)
        if result == -errno.EINVAL and settings.mode != "preferred":
            log.warning("output %s refuses mode %s, trying its preferred mode", output.name, settings.mode)
            settings = _with_preferred_mode(settings)
            result = self._apply(handle, settings)
        if result == 0:
            if settings.enabled:
                self._say_what_became(handle, settings)
            return settings.enabled
        if result != -errno.ENOENT:  # unplugged meanwhile is no refusal; the event for it is on its way
            log.error("output %s refuses its preferred mode; it stays off", output.name)
        return False

    def configure(self, handle: int, settings: OutputSettings) -> bool:
        """Applies settings; False when the display refuses them (nothing changed) or is gone."""
        return self._apply(handle, settings) == 0

    def _apply(self, handle: int, settings: OutputSettings) -> int:
        """0, -EINVAL when the display refuses the settings (nothing changed), or -ENOENT when it is gone."""
        request = ffi.new("struct mc_output_config *")
        request.enabled = settings.enabled
        if settings.mode == "highest-refresh":
            request.highest_refresh = True
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
        result = self._when_free(lib.mc_output_configure, handle, request)
        if result != 0:
            log.debug("output %x was not configured: %s", handle, os.strerror(-result))
        return result

    def _when_free(self, verb: Callable[[Any, int, Any], int], handle: int, request: Any) -> int:
        """The verb's result; -EBUSY only when the display's flip did not end within some refreshes."""
        result = -errno.EBUSY
        for _ in range(_BUSY_TRIES):
            result = verb(self._server, handle, request)
            if result != -errno.EBUSY:
                break
            time.sleep(_BUSY_S)
        return result

    def modes(self, handle: int) -> list[Mode]:
        """The monitor's modes, the preferred one first, without repetitions."""
        modes = ffi.new("struct mc_output_mode[128]")
        count = min(lib.mc_output_modes(self._server, handle, modes, 128), 128)
        preferred_first = sorted(modes[0:count], key=lambda mode: not mode.preferred)
        return list(dict.fromkeys(Mode(mode.width, mode.height, mode.refresh_mhz) for mode in preferred_first))

    def _warn_of_unlisted_mode(self, output: Output, settings: OutputSettings) -> None:
        if not settings.enabled or output.modelled or settings.mode in ("preferred", "highest-refresh"):
            return
        wanted, modes = parse_mode(settings.mode), self.modes(output.handle)
        if modes and not any(_is_meant(wanted, mode) for mode in modes):
            names = ", ".join(map(str, modes))
            log.warning(
                "output %s does not list the mode %s; trying it all the same; it lists: %s", output.name, wanted, names
            )

    def _say_what_became(self, handle: int, settings: OutputSettings) -> None:
        output = self.get(handle)
        if output is None:
            return
        mode = Mode(output.mode_width, output.mode_height, output.refresh_mhz)
        level = logging.DEBUG if output.modelled else logging.INFO
        log.log(level, "output %s: %s, scale %g, transform %s", output.name, mode, output.scale, output.transform)
        if settings.adaptive_sync and not output.adaptive_sync:
            log.warning("output %s: adaptive_sync is not available (monitor, driver or GPU)", output.name)

    def apply_request(self, configuration: int, *, test_only: bool) -> bool:
        """What an output-management client asks for in MC_EVENT_OUTPUT_CONFIG: tested or applied, and answered."""
        wishes = ffi.new("struct mc_output_wish[64]")
        count = lib.mc_output_management_wishes(self._server, configuration, wishes, 64)
        # Tested as a whole before anything changes: a client that is refused finds everything as it was.
        ok = all(
            self._when_free(lib.mc_output_test, wish.output, ffi.addressof(wish.config)) == 0
            for wish in wishes[0:count]
        )
        if ok and not test_only:
            ok = all(
                self._when_free(lib.mc_output_configure, wish.output, ffi.addressof(wish.config)) == 0
                for wish in wishes[0:count]
            )
        lib.mc_output_management_answer(self._server, configuration, ok)
        return ok

    def publish(self) -> None:
        """Tells output-management clients how the outputs are now."""
        lib.mc_output_management_publish(self._server, self._manager)

    def set_power(self, handle: int, on: bool) -> bool:
        """Wakes a display or sends it to sleep (output-power, idle time-out): to clients and policy it stays where it
        is."""
        return self._switch(handle, on, keep_place=True)

    def set_enabled(self, handle: int, enabled: bool) -> bool:
        """Switches an output on or off, the rest as it was. While it is off, it is not part of the layout."""
        return self._switch(handle, enabled, keep_place=False)

    def _switch(self, handle: int, enabled: bool, *, keep_place: bool) -> bool:
        output = self.get(handle)
        if output is None:
            return False
        if enabled == (output.enabled if enabled or keep_place else output.placed):
            return True
        was_placed = output.placed
        if enabled:
            output = self._before_off.pop(handle, output)
        elif output.enabled:
            self._before_off = {known: before for known, before in self._before_off.items() if self.get(known)}
            self._before_off[handle] = output
        request = ffi.new("struct mc_output_config *")
        request.enabled = enabled
        request.keep_place = keep_place and output.placed
        request.width, request.height, request.refresh_mhz = output.mode_width, output.mode_height, output.refresh_mhz
        request.scale = output.scale
        request.transform = TRANSFORMS.index(output.transform)
        request.automatic_position = enabled and (was_placed or not output.width)
        request.x, request.y = output.x, output.y
        request.adaptive_sync = output.adaptive_sync
        return bool(lib.mc_output_configure(self._server, handle, request) == 0)


def _is_meant(wanted: Mode, listed: Mode) -> bool:
    """As the native plane picks: 60 means a listed 59.951, too."""
    same_size = (wanted.width, wanted.height) == (listed.width, listed.height)
    return same_size and (not wanted.refresh_mhz or abs(wanted.refresh_mhz - listed.refresh_mhz) <= 500)


def _with_preferred_mode(settings: OutputSettings) -> OutputSettings:
    from msgspec.structs import replace

    return replace(settings, mode="preferred")


def _text(array: Any) -> str:
    data: bytes = ffi.string(array)
    return data.decode("utf-8", "replace")
