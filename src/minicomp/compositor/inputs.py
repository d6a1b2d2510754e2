"""Input devices from [[input]] settings: libinput's options, a keymap of its own, the output a device belongs to.

Called by the dispatcher on the policy thread when a device or an output appears. What a device lacks is a debug line,
what libinput refuses a warning with libinput's reason. Values are those of libinput.h's enums.
"""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING, Any

from minicomp.native.wlr import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from minicomp.compositor.outputs import Output
    from minicomp.compositor.seat import Device, Seat
    from minicomp.config import Config
    from minicomp.config.schema import InputSettings

log = logging.getLogger("minicomp.input")

EVENTS = {"enabled": 0, "disabled": 1, "disabled-on-external-mouse": 2}
ACCEL_PROFILES = {"flat": 1, "adaptive": 2}
SCROLL_METHODS = {"none": 0, "two-finger": 1, "edge": 2, "on-button": 4}
CLICK_METHODS = {"none": 0, "button-areas": 1, "clickfinger": 2}
TURNS_WITH_ITS_OUTPUT = ("touch", "tablet")
"""What belongs to a screen without being told when there is only one; a mouse belongs to all of them."""


class Inputs:
    """Applies settings; keeps none but the configuration."""

    def __init__(self, server: Any, config: Config, seat: Seat) -> None:
        self._server = server
        self._config = config
        self._seat = seat

    def settings_for(self, device: Device) -> InputSettings | None:
        """The first [[input]] that fits, or None."""
        return next((settings for settings in self._config.input if _fits(settings, device)), None)

    def configure_new(self, handle: int, outputs: Mapping[int, Output]) -> None:
        """Gives a device what the configuration says. One that has gone already is left alone."""
        device = self._seat.device(handle)
        if device is None or device.is_virtual:
            return
        settings = self.settings_for(device)
        log.debug('device "%s": %s%s', device.name, device.kind, f", {device.id}" if device.is_libinput else "")
        if settings is not None:
            for what, setting, value in _libinput_values(settings):
                self._report(device, what, lib.mc_libinput_set(self._server, handle, setting, value))
            if settings.calibration is not None:
                matrix = ffi.new("float[6]", list(settings.calibration))
                self._report(device, "calibration", lib.mc_libinput_calibrate(self._server, handle, matrix))
            self._set_keymap(device, settings)
        self._map(device, settings, outputs)

    def map_all(self, outputs: Mapping[int, Output]) -> None:
        """Outputs came or went: finds each device's output anew."""
        for device in list(self._seat.devices):
            if not device.is_virtual:
                self._map(device, self.settings_for(device), outputs)

    def _map(self, device: Device, settings: InputSettings | None, outputs: Mapping[int, Output]) -> None:
        if device.type not in ("pointer", *TURNS_WITH_ITS_OUTPUT):
            return
        pattern = (settings.map_to_output if settings is not None else None) or device.output_name
        if pattern:
            target = next((output.handle for output in outputs.values() if _matches(output.name, pattern)), 0)
            if not target:
                log.debug('device "%s": no output %s is on', device.name, pattern)
        elif device.is_libinput and device.type in TURNS_WITH_ITS_OUTPUT:
            target = next(iter(outputs)) if len(outputs) == 1 else 0
        else:
            return
        if target or outputs:  # all screens off: left as it was
            self._seat.map_to_output(device.handle, target)

    def _set_keymap(self, device: Device, settings: InputSettings) -> None:
        if device.type != "keyboard" or not (settings.layout or settings.variant or settings.options or settings.model):
            return
        names = (self._config.keyboard.rules, settings.model, settings.layout, settings.variant, settings.options)
        result = lib.mc_device_set_xkb_names(
            self._server, device.handle, *(name.encode() or ffi.NULL for name in names)
        )
        if result == -errno.EINVAL:
            from minicomp.compositor.keymap import explain
            from minicomp.config.schema import KeyboardSettings

            rules, model, layout, variant, options = names
            reason = explain(
                KeyboardSettings(layout=layout, variant=variant, options=options, model=model, rules=rules)
            )
            log.warning('device "%s" keeps the common keymap: %s', device.name, reason)
        elif result != 0 and result != -errno.ENOENT:
            log.warning('device "%s" keeps the common keymap: %s', device.name, os.strerror(-result))

    def _report(self, device: Device, what: str, result: int) -> None:
        if result > 0:
            reason = ffi.string(lib.mc_libinput_reason(result)).decode()
            log.warning('device "%s": %s is refused: %s', device.name, what, reason)
        elif result == -errno.ENODEV:
            log.debug('device "%s" is none of libinput\'s: no %s', device.name, what)
        elif result == -errno.ENOTSUP:
            log.debug('device "%s" has no setting %s', device.name, what)


def _fits(settings: InputSettings, device: Device) -> bool:
    if settings.type is not None and settings.type != device.kind:
        return False
    if settings.id is not None and settings.id.lower() != device.id:
        return False
    return _matches(device.name, settings.name)


def _matches(name: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    from fnmatch import fnmatchcase  # with re 3 ms of every start, for those who need it only

    return fnmatchcase(name, pattern)


def _libinput_values(settings: InputSettings) -> Iterator[tuple[str, int, float]]:
    """What is to be set, in the order of doing: name for messages, enum mc_libinput_setting, value."""
    if settings.events is not None:
        yield "events", lib.MC_LIBINPUT_EVENTS, EVENTS[settings.events]
    if settings.accel_profile is not None:
        yield "accel_profile", lib.MC_LIBINPUT_ACCEL_PROFILE, ACCEL_PROFILES[settings.accel_profile]
    if settings.accel_speed is not None:
        yield "accel_speed", lib.MC_LIBINPUT_ACCEL_SPEED, settings.accel_speed
    if settings.scroll_method is not None:
        yield "scroll_method", lib.MC_LIBINPUT_SCROLL_METHOD, SCROLL_METHODS[settings.scroll_method]
    if settings.click_method is not None:
        yield "click_method", lib.MC_LIBINPUT_CLICK_METHOD, CLICK_METHODS[settings.click_method]
    for what, setting in (
        ("tap", lib.MC_LIBINPUT_TAP),
        ("tap_drag", lib.MC_LIBINPUT_TAP_DRAG),
        ("natural_scroll", lib.MC_LIBINPUT_NATURAL_SCROLL),
        ("left_handed", lib.MC_LIBINPUT_LEFT_HANDED),
        ("disable_while_typing", lib.MC_LIBINPUT_DWT),
        ("middle_emulation", lib.MC_LIBINPUT_MIDDLE_EMULATION),
    ):
        on = getattr(settings, what)
        if on is not None:
            yield what, setting, float(on)
