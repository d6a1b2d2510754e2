"""The lab's knobs for a running compositor: tells them of its threads, outputs and clients.

Imported only when a [knobs] key is set, or when one is set at run time: `apply_change(compositor, "knobs.render.class",
"fifo") -> Effect` and `effects(compositor) -> list[Effect]` may be called from any Python thread.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from minicomp.config.knobs import KnobSettings, ThreadKnobs
from minicomp.errors import ConfigError, PreconditionError
from minicomp.lab.knobs import privileges
from minicomp.lab.knobs.apply import KnobSession
from minicomp.lab.knobs.knob import Effect, KnobRefused, MemoryState, Stage, StartedWith, Subject
from minicomp.lab.knobs.reservation import is_derived
from minicomp.native.wlr import ffi, lib

if TYPE_CHECKING:
    from minicomp.compositor.server import Compositor
    from minicomp.compositor.tracefile import TraceFile

_SOURCES = {"loop": 0, "render": 1}  # enum mc_source
_MEMORY_KINDS = ("ring", "frame", "stack")  # enum mc_memory_kind
_MAX_REGIONS = 64
_MAX_CLIENTS = 1024
_MAX_OUTPUTS = 64
_making = threading.Lock()


class CompositorKnobs:
    """The knobs of one compositor. Made before it, for what acts on the process as a whole."""

    def __init__(self, settings: KnobSettings) -> None:
        self.session = KnobSession(settings, self._describe)
        self._compositor: Compositor | None = None
        self._measured_refresh_ns = 0
        self._written = -1

    def __enter__(self) -> CompositorKnobs:
        return self

    def __exit__(self, *exc: object) -> None:
        self.session.close()

    def before(self, backend_kind: str) -> None:
        """What must come before the compositor. Raises PreconditionError when a strict setting cannot be had."""
        self.session.apply(Stage.BEFORE)
        if self.session.settings.drop_privileges:
            if backend_kind == "drm" and os.geteuid() == 0:
                raise ConfigError(
                    "as root the drm backend needs its privileges for the seat",
                    where=privileges.NAME,
                    todo="run minicomp as an ordinary user, with seatd or logind",
                )
            self.session.start_helper()
            try:
                privileges.drop_all()
            except KnobRefused as error:
                raise error.as_error() from None

    def attach(self, compositor: Compositor) -> None:
        """From now on the compositor is described, and found by `apply_change`."""
        result = lib.mc_overrun_watch()  # before any thread can get a deadline
        if result != 0:
            raise PreconditionError(f"SIGXCPU cannot be handled: {os.strerror(-result)}", where="knobs")
        self._compositor = compositor
        compositor.knobs = self
        compositor.on_knobs()

    def running(self) -> None:
        """Its threads run, and its outputs are on; nobody has been told that it is ready. Raises as before()."""
        self._measure()
        self.session.apply(Stage.RUNNING)

    def tick(self) -> None:
        """A few times a second, on the main thread."""
        self._measure()
        self.session.update()

    def record(self, trace: TraceFile, *, last: bool = False) -> None:
        """Writes the effects to the run file when they may have changed, and at the end with what was counted."""
        if last or self._written != self.session.changes:
            effects = [effect.to_dict() for effect in self.session.effects()]
            self._written = self.session.changes
            trace.note_knobs(effects)

    def _measure(self) -> None:
        """Measures what the threads use per refresh, when something is derived from it."""
        if self._compositor is None or self._compositor.server is None:
            return
        settings, server = self.session.settings, self._compositor.server
        wanted = any(_derives(table) for table in (settings.loop, settings.render))
        period_ns = _fastest_refresh_ns(server) if wanted else 0
        if period_ns != self._measured_refresh_ns:
            self._measured_refresh_ns = period_ns
            lib.mc_usage_measure(server, period_ns)

    def _describe(self) -> Subject:
        compositor = self._compositor
        if compositor is None or compositor.server is None:
            return Subject(os.getpid())
        server = compositor.server
        clients = ffi.new("struct mc_client_info[]", _MAX_CLIENTS)
        count = min(_MAX_CLIENTS, lib.mc_clients_list(server, clients, _MAX_CLIENTS))
        return Subject(
            pid=os.getpid(),
            loop_tid=lib.mc_thread_id(server, _SOURCES["loop"]),
            render_tid=lib.mc_thread_id(server, _SOURCES["render"]),
            client_pids=tuple(sorted({client.pid for client in clients[0:count]})),
            refresh_ns=_fastest_refresh_ns(server),
            cpu_per_refresh_ns=lambda thread, quantile: int(lib.mc_usage_ns(server, _SOURCES[thread], quantile)),
            overruns=lambda: int(lib.mc_overrun_count(ffi.NULL)),
            wake=lambda: lib.mc_threads_wake(server),
            memory=lambda: _memory_state(compositor),
            lock_inherits=lambda: bool(lib.mc_server_lock_inherits(server)),
        )


def apply_change(compositor: Compositor, dotted_key: str, value: Any) -> Effect:
    """Sets a knob while the compositor runs; what took effect. None gives a setting back to the kernel.

    Raises ConfigError (no such knob or value) and lab.knobs.knob.KnobRefused (the kernel or the helper refuses).
    """
    return _knobs_of(compositor).session.change(dotted_key, value)


def effects(compositor: Compositor) -> list[Effect]:
    """Every knob that is set, read back now."""
    return compositor.knobs.session.effects() if compositor.knobs is not None else []


def _knobs_of(compositor: Compositor) -> CompositorKnobs:
    """The compositor's knobs, made now if it was started without any."""
    with _making:
        if compositor.knobs is None:
            made = CompositorKnobs(KnobSettings())
            made.attach(compositor)
            compositor.at_close(made.session.close)
            return made
        return compositor.knobs


def _derives(table: ThreadKnobs) -> bool:
    return table.policy == "deadline" and is_derived(table)


def _memory_state(compositor: Compositor) -> MemoryState:
    server, knobs = compositor.server, compositor.config.knobs
    started_with = StartedWith(
        bool(knobs.memory.populate),
        bool(knobs.thp.advise_buffers),
        knobs.memory.released or "keep",
        knobs.memory.prefault_stack_kib or 0,
    )
    regions = ffi.new("struct mc_memory_region[]", _MAX_REGIONS)
    counts = ffi.new("struct mc_memory_counts *")
    count = min(_MAX_REGIONS, lib.mc_memory_regions(server, regions, _MAX_REGIONS, counts))
    return MemoryState(
        started_with,
        tuple((_MEMORY_KINDS[region.kind], region.address, region.bytes) for region in regions[0:count]),
        counts.populated,
        counts.advised,
        counts.released,
        counts.populate_error,
        counts.advise_error,
        counts.release_error,
    )


def _fastest_refresh_ns(server: Any) -> int:
    """Of the outputs that are on; 0 when there is none."""
    handles = ffi.new("uint64_t[]", _MAX_OUTPUTS)
    info = ffi.new("struct mc_output_info *")
    fastest_mhz = 0
    for handle in handles[0 : min(_MAX_OUTPUTS, lib.mc_outputs_list(server, handles, _MAX_OUTPUTS))]:
        if lib.mc_output_get_info(server, handle, info) == 0 and info.enabled:
            fastest_mhz = max(fastest_mhz, info.refresh_mhz)
    return 1_000_000_000_000 // fastest_mhz if fastest_mhz else 0
