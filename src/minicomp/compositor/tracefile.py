"""Writes a run file's META, NAMES and END chunks; the RECORDS between them come from the native writer thread.

Each chunk is one write(2) to an O_APPEND file, so the two writers never interleave. The format is docs/trace-format.md.
"""

from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicomp.errors import ConfigError, MinicompError
from minicomp.native.wlr import ffi, lib

if TYPE_CHECKING:
    from minicomp.compositor.server import Compositor

_HEADER = struct.Struct("<IHHII")
_MAGIC = 0x3154434D
_META, _NAMES, _END = 1, 3, 4
_MAX_SURFACES = 4096


class TraceFile:
    """A trace that is being written. Create it once the compositor runs; close() it after the loop has ended."""

    def __init__(self, compositor: Compositor, path: Path) -> None:
        self.path = path
        self._compositor = compositor
        self._changes = -1
        self._named: dict[tuple[str, int], dict[str, Any]] = {}
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"cannot write the trace: {error.strerror}", where=str(path)) from None
        self._about = self._meta()
        self._write(_META, self._about)
        result = lib.mc_server_trace_start(compositor.server, self._fd, compositor.config.trace.ring_records)
        if result != 0:
            os.close(self._fd)
            raise MinicompError(f"the trace could not be started: {os.strerror(-result)}", where=str(path))

    def update_names(self) -> None:
        """Appends the outputs, clients and surfaces that are new or have changed since the last call."""
        changes = lib.mc_server_changes(self._compositor.server)
        if changes == self._changes:
            return
        self._changes = changes
        fresh = [entry for entry in self._names() if self._named.get((entry["type"], entry["id"])) != entry]
        if fresh:
            self._named.update({(entry["type"], entry["id"]): entry for entry in fresh})
            self._write(_NAMES, fresh)

    def note_knobs(self, effects: list[dict[str, Any]]) -> None:
        """Writes META anew, with what became of the knobs (docs/knobs.md)."""
        self._about["knobs"] = effects
        self._write(_META, self._about)

    def close(self) -> str:
        """Ends the file; what went wrong with it, or "". The native loop must have ended."""
        server = self._compositor.server
        lib.mc_server_trace_stop(server)
        counters = ffi.new("struct mc_counters *")
        lib.mc_server_counters(server, counters)
        if not counters.trace_error:
            self._write(
                _END,
                {
                    "records": counters.records_written,
                    "dropped": counters.records_dropped,
                    "end_ns": time.monotonic_ns(),
                },
            )
        os.close(self._fd)
        return os.strerror(counters.trace_error) if counters.trace_error else ""

    def _write(self, kind: int, content: Any) -> None:
        payload = json.dumps(content, separators=(",", ":")).encode()
        os.write(self._fd, _HEADER.pack(_MAGIC, kind, 0, len(payload), 0) + payload)

    def _meta(self) -> dict[str, Any]:
        from minicomp import __version__

        config = self._compositor.config
        return {
            "version": 1,
            "minicomp": __version__,
            "backend": self._compositor.backend_kind,
            "clock": config.backend.clock,
            "renderer": self._compositor.renderer_name,
            "pid": os.getpid(),
            "start_ns": time.monotonic_ns(),
            "start_unix_ns": time.time_ns(),
            "kernel": os.uname().release,
            "config": config.to_dict(),
        }

    def _names(self) -> list[dict[str, Any]]:
        server = self._compositor.server
        entries: list[dict[str, Any]] = [
            {
                "type": "output",
                "id": output.id,
                "name": output.name,
                "refresh_mhz": output.refresh_mhz,
                "width": output.mode_width,
                "height": output.mode_height,
                "latch_us": output.latch_ns / 1000,
            }
            for output in self._compositor.outputs
        ]
        clients = ffi.new("struct mc_client_info[]", 1024)
        for client in clients[0 : min(1024, lib.mc_clients_list(server, clients, 1024))]:
            entries.append({"type": "client", "id": client.id, "name": f"pid {client.pid}", "pid": client.pid})
        surfaces = ffi.new("struct mc_surface_info[]", _MAX_SURFACES)
        for surface in surfaces[0 : min(_MAX_SURFACES, lib.mc_surfaces_list(server, surfaces, _MAX_SURFACES))]:
            role = ffi.string(surface.role).decode("utf-8", "replace")
            entries.append(
                {
                    "type": "surface",
                    "id": surface.id,
                    "name": f"{role or 'surface'} {surface.id} (pid {surface.client_pid})",
                    "role": role,
                    "client_pid": surface.client_pid,
                }
            )
        return entries
