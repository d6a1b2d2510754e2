"""The methods that look: state, outputs, windows, clients, devices, stats, pacing, config. They change nothing.

Tables are lists of flat objects; durations carry their unit in the key. Read natively: also a stuck policy can be
looked at.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from minicomp.compositor.control.context import Context, format_handle
from minicomp.compositor.globals import PRIVILEGED
from minicomp.compositor.outputs import Output
from minicomp.compositor.windows import Window
from minicomp.config.modes import Mode
from minicomp.msg import interface

_MAX_CLIENTS = 4096
_LOCK_SOURCES = ("loop", "render", "policy")  # enum mc_source; "policy" is every Python thread
_PERCENTILES = (50, 90, 99)


class Looking:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._compositor = context.compositor
        self._started = time.monotonic()

    def methods(self) -> list[dict[str, Any]]:
        return [method.to_dict() for method in interface.METHODS]

    def version(self) -> dict[str, Any]:
        from minicomp import __version__

        compositor, config = self._compositor, self._compositor.config
        return {
            "minicomp": __version__,
            "protocol": interface.PROTOCOL_VERSION,
            "pid": os.getpid(),
            "display": compositor.socket,
            "x11_display": compositor.x11_display,
            "backend": compositor.backend_kind,
            "renderer": compositor.renderer_name,
            "clock": config.backend.clock,
            "policy": config.policy.name,
        }

    def state(self) -> dict[str, Any]:
        seat = self._compositor.seat
        pointer = seat.pointer
        focused = seat.focused
        return {
            "version": self.version(),
            "outputs": self.outputs(),
            "windows": self.windows(),
            "clients": self.clients(),
            "devices": self.devices(),
            "seat": {
                "focused": format_handle(focused) if focused else "",
                "pointer_x": pointer.x,
                "pointer_y": pointer.y,
                "pointer_over": format_handle(pointer.under) if pointer.under else "",
                "buttons_held": pointer.buttons,
            },
            "stats": self.stats(),
            "pacing": self.pacing(),
        }

    def outputs(self) -> list[dict[str, Any]]:
        return [self._describe(output) for output in self._context.outputs]

    def _describe(self, output: Output) -> dict[str, Any]:
        modes = self._context.outputs.modes(output.handle)
        return {**describe_output(output), "modes": [str(mode) for mode in modes]}

    def windows(self) -> list[dict[str, Any]]:
        focused = self._compositor.seat.focused
        return [describe_window(window, focused) for window in self._context.windows()]

    def clients(self) -> list[dict[str, Any]]:
        compositor = self._compositor
        infos = compositor.ffi.new("struct mc_client_info[]", _MAX_CLIENTS)
        count = compositor.lib.mc_clients_list(compositor.server, infos, _MAX_CLIENTS)
        return [
            {
                "id": format_handle(info.handle),
                "pid": info.pid,
                "program": _program(info.pid),
                "uid": info.uid,
                "surfaces": info.surfaces,
                "muted": info.times_muted,
                "privileged": [name for bit, name in enumerate(PRIVILEGED) if info.grants >> bit & 1],
            }
            for info in infos[0 : min(count, _MAX_CLIENTS)]
        ]

    def devices(self) -> list[dict[str, Any]]:
        return [
            {"type": device.kind, "name": device.name, "id": device.id, "virtual": device.is_virtual}
            for device in self._compositor.seat.devices
        ]

    def config(self) -> dict[str, Any]:
        return self._compositor.config.to_dict()

    # ---- numbers ----

    def stats(self) -> dict[str, Any]:
        compositor, parts = self._compositor, self._context.parts
        lib, server = compositor.lib, compositor.server
        counters = compositor.ffi.new("struct mc_counters *")
        lib.mc_server_counters(server, counters)
        return {
            "outputs": [self._output_stats(output) for output in self._context.outputs],
            "lock": [
                {
                    "thread": source,
                    "acquired": counters.lock_acquired[index],
                    "waited": counters.lock_contended[index],
                    "longest_wait_us": _us(counters.lock_longest_wait_ns[index]),
                    "longest_hold_us": _us(counters.lock_longest_hold_ns[index]),
                }
                for index, source in enumerate(_LOCK_SOURCES)
            ],
            "clients": counters.clients,
            "surfaces": counters.surfaces,
            "policy_lag_ms": _ms(lib.mc_server_policy_lag_ns(server)),
            "policy_stuck_s": round(parts.policy.stuck_s, 3),
            "policy_errors": parts.policy.errors,
            "trace_records": counters.records_written,
            "trace_dropped": counters.records_dropped,
        }

    def _output_stats(self, output: Output) -> dict[str, Any]:
        compositor = self._compositor
        info = compositor.ffi.new("struct mc_output_info *")
        pacing = self._read_pacing(output)
        if pacing is None or compositor.lib.mc_output_get_info(compositor.server, output.handle, info) != 0:
            return {"output": output.name}
        return {
            "output": output.name,
            "frames": info.frames,
            "paced": pacing.frames,
            "missed": pacing.misses,
            "probe_missed": pacing.probe_misses,
            "refused": info.failed_commits,
            "callback_only": info.callback_only,
            "last_presented_ns": info.last_present_ns,
            # Of the last 64 frames; the 99th of so few is their maximum. Cost: planned start -> commit's return.
            # Latency: the client's commit of the oldest content in the frame -> presented.
            **_percentiles("cost", pacing.cost_us[0 : pacing.cost_count]),
            **_percentiles("latency", pacing.shown_us[0 : pacing.shown_count]),
        }

    def pacing(self) -> list[dict[str, Any]]:
        found = []
        for output in self._context.outputs:
            pacing = self._read_pacing(output)
            if pacing is not None:
                found.append(
                    {
                        "output": output.name,
                        "mode": interface.PACING_MODES[pacing.mode],
                        "margin_ms": _ms(pacing.budget_ns),
                        "cost_ms": _ms(pacing.cost_ns),
                        "latch_above_ms": _ms(pacing.latch_low_ns),
                        "latch_at_most_ms": _ms(pacing.latch_high_ns),
                        "safety_ms": _ms(pacing.safety_ns),
                        "period_ms": _ms(pacing.period_ns),
                        "fixed_ms": _ms(pacing.fixed_ns),
                        "target_miss_rate": pacing.target_miss_rate,
                    }
                )
        return found

    def _read_pacing(self, output: Output) -> Any:
        """A struct mc_pacing_info, or None when the output is gone."""
        compositor = self._compositor
        info = compositor.ffi.new("struct mc_pacing_info *")
        return info if compositor.lib.mc_output_pacing(compositor.server, output.handle, info) == 0 else None


def describe_output(output: Output) -> dict[str, Any]:
    """An output as answers and events have it."""
    return {
        "name": output.name,
        "description": output.description,
        "enabled": output.enabled,
        "mode": str(Mode(output.mode_width, output.mode_height, output.refresh_mhz)),
        "scale": round(output.scale, 4),
        "transform": output.transform,
        "x": output.x,
        "y": output.y,
        "width": output.width,
        "height": output.height,
        "usable": list(output.usable),
        "adaptive_sync": output.adaptive_sync,
        "modelled": output.modelled,
    }


def describe_window(window: Window, focused: int) -> dict[str, Any]:
    """A window as answers and events have it. `focused`: the handle that has the keyboard."""
    return {
        "id": format_handle(window.handle),
        "app_id": window.app_id,
        "title": window.title,
        "pid": window.pid,
        "x": window.geometry.x,
        "y": window.geometry.y,
        "width": window.geometry.width,
        "height": window.geometry.height,
        "mapped": window.mapped,
        "shown": window.shown,
        "focused": window.handle == focused,
        "fullscreen": window.fullscreen,
        "maximized": window.maximized,
        "minimized": window.minimized,
        "x11": window.is_x11,
        "parent": format_handle(window.parent_handle) if window.parent_handle else "",
        "client": format_handle(window.client),
    }


def _percentiles(name: str, ascending_us: Sequence[int]) -> dict[str, float | None]:
    """NAME_p50_ms and so on, by the nearest-rank definition; None without any sample."""
    result: dict[str, float | None] = {}
    for percentile in _PERCENTILES:
        rank = -(-len(ascending_us) * percentile // 100)  # rounded up
        result[f"{name}_p{percentile}_ms"] = ascending_us[rank - 1] / 1000 if rank else None
    return result


def _program(pid: int) -> str:
    """Its name, or "" when it has ended."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 4)


def _us(nanoseconds: int) -> float:
    return round(nanoseconds / 1e3, 1)
