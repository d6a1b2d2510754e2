"""The compositor: wlroots set up through pywlroots, the native plane attached to it, and both taken down again.

Everything made is undone in reverse order, also when set-up fails half-way. wlroots is touched from here only before
the loop thread starts, after it has ended, or inside `locked()`. No Python listener hangs on a wlroots signal: it
would take the GIL on the frame path.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from minicomp.compositor import backend as backends
from minicomp.compositor.globals import apply_trust, create_globals
from minicomp.compositor.inputs import Inputs
from minicomp.compositor.native_log import log_native
from minicomp.compositor.outputs import Outputs
from minicomp.compositor.seat import Seat
from minicomp.config import parse_mode
from minicomp.errors import ConfigError, MinicompError, PreconditionError
from minicomp.native.wlr import ffi, lib

if TYPE_CHECKING:
    from minicomp.compositor.knobs import CompositorKnobs
    from minicomp.config import Config

from pywayland import lib as wayland
from wlroots import lib as wlr

log = logging.getLogger("minicomp.server")

LOG_LEVELS = {"error": 1, "warning": 1, "info": 2, "debug": 3}


class Compositor:
    """One compositor in this process: `with Compositor(config) as compositor: ...` runs it.

    Attributes that policy code may use: `config`, `outputs`, `seat`, `socket` (WAYLAND_DISPLAY's value), `server` (the
    native `struct mc_server *` for verbs), `ffi`, `lib`, `spawn(argv)`.
    """

    ffi = ffi
    lib = lib

    def __init__(self, config: Config) -> None:
        self.config = config
        self.backend_kind: backends.Kind = backends.choose_kind(config.backend.kind)
        self.renderer_name = backends.renderer_name(config, self.backend_kind)
        self.server: Any = None
        self.display: Any = None
        self.output_layout: Any = None
        self.output_manager: Any = None
        self.xwayland: Any = None
        self.socket = ""
        self.x11_display = ""
        self.control_path = ""  # the control socket, where there is one
        self.knobs: CompositorKnobs | None = None  # when a knob is set
        self.on_knobs: Callable[[], None] = lambda: None  # and then called, on whichever thread sets it
        self.outputs: Outputs
        self.seat: Seat
        self.inputs: Inputs
        self.logring: Any = None
        self._undo = ExitStack()
        self._spawned: list[int] = []  # pids, reaped when the next one is started

    def __enter__(self) -> Compositor:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # ---- set-up ----

    def start(self) -> None:
        """Everything up to a running loop thread and a socket that accepts clients. Raises MinicompError."""
        try:
            self._start()
        except BaseException:
            self.close()
            if self.logring:
                log_native(self.logring)
            raise

    def _start(self) -> None:
        config, undo = self.config, self._undo
        self.logring = _made("log ring", lib.mc_log_init(LOG_LEVELS[config.log.level]))
        self.server = server = _made("server", lib.mc_server_create(config.knobs.lock.kind != "plain"))
        undo.callback(lib.mc_server_destroy, server)
        self._configure_memory()
        self._terminate_fd = self._create_display()
        undo.callback(self._close_terminate_fd)
        step = config.backend.clock == "step"
        if step and self.backend_kind != "headless":
            raise ConfigError(
                "the step clock needs the modelled display",
                where="backend.clock",
                todo="use --backend headless",
            )
        parts = ffi.new("struct mc_parts *")
        parts.display = self.display
        parts.step = step
        parts.step_start_ns = time.monotonic_ns()
        lib.mc_server_set_parts(server, parts)  # the modelled display needs the clock and the event loop

        parts.backend = backend = backends.create_backend(server, self.display, self.backend_kind, config.backend.gpu)
        destroy_backend = Once(wlr.wlr_backend_destroy, backend)
        undo.callback(destroy_backend)
        parts.renderer = renderer = backends.create_renderer(backend, self.renderer_name, self.backend_kind)
        undo.callback(wlr.wlr_renderer_destroy, renderer)
        _check("buffer protocols", lib.mc_dmabuf_create(server, self.display, backend, renderer))
        undo.callback(lib.mc_dmabuf_destroy, server)
        parts.allocator = allocator = _made("allocator", self._create_allocator(backend, renderer))
        undo.callback(lib.mc_allocator_destroy, allocator)
        undo.callback(destroy_backend)  # its outputs' swapchains still use the allocator
        parts.compositor = _made("wl_compositor", wlr.wlr_compositor_create(self.display, renderer))
        parts.scene = scene = _made("scene", wlr.wlr_scene_create())
        undo.callback(lib.mc_scene_destroy, server)
        parts.output_layout = self.output_layout = _made("output layout", wlr.wlr_output_layout_create())
        undo.callback(wlr.wlr_output_layout_destroy, self.output_layout)
        if not wlr.wlr_scene_attach_output_layout(scene, self.output_layout):
            raise MemoryError("scene")
        parts.cursor = cursor = _made("cursor", wlr.wlr_cursor_create())
        undo.callback(wlr.wlr_cursor_destroy, cursor)
        wlr.wlr_cursor_attach_output_layout(cursor, self.output_layout)
        parts.wlr_seat = seat = _made("seat", wlr.wlr_seat_create(self.display, b"seat0"))
        undo.callback(wlr.wlr_seat_destroy, seat)
        lib.mc_server_set_parts(server, parts)
        _check("presentation", lib.mc_presentation_create(server))

        undo.callback(lib.mc_server_detach, server)
        _check("native plane", lib.mc_server_attach(server))
        limits = config.limits
        lib.mc_clients_set_limits(
            server,
            limits.fds_per_client,
            limits.surfaces_per_client,
            limits.unread_bytes_per_client,
            limits.time_share_per_client,
        )
        pacing = config.pacing
        self.set_pacing(pacing.mode, pacing.fixed_ms, pacing.target_miss_rate)
        early = config.render.early
        lib.mc_server_set_early(server, early == "yes" or (early == "auto" and not config.knobs.render.is_set()))
        if config.render.thread and not step:
            undo.callback(lib.mc_render_stop, server)
            _check("render thread", lib.mc_render_start(server))
        apply_trust(server, config, self.backend_kind)
        create_globals(self)
        self.seat = Seat(server, config)
        self.inputs = Inputs(server, config, self.seat)
        _check("idle time-out", lib.mc_idle_set_timeout(server, config.idle.output_off_after_s * 1000))
        self.outputs = Outputs(server, config, self.output_manager)
        self._open_socket()
        if self.backend_kind == "headless":
            for text in config.headless.outputs:
                mode = parse_mode(text)
                self.plug(mode.width, mode.height, mode.refresh_mhz)
        if not wlr.wlr_backend_start(backend):
            raise PreconditionError(
                f"the {self.backend_kind} backend did not start (wlroots' messages are above)",
                where="backend.kind",
                todo="`minicomp doctor` says what is missing",
            )
        if config.backend.xwayland:
            self._start_xwayland()
        self._start_loop()
        undo.callback(lib.mc_loop_stop, server)

    def _configure_memory(self) -> None:
        memory = self.config.knobs.memory
        lib.mc_memory_configure(
            self.server,
            ffi.new(
                "struct mc_memory_settings *",
                {
                    "populate": bool(memory.populate),
                    "advise_huge": bool(self.config.knobs.thp.advise_buffers),
                    "released": ("keep", "wipe", "recycle").index(memory.released or "keep"),
                    "stack_kib": memory.prefault_stack_kib or 0,
                },
            ),
        )

    def _create_allocator(self, backend: Any, renderer: Any) -> Any:
        if self.backend_kind == "headless" and self.renderer_name == "pixman":
            return lib.mc_frame_allocator_create(self.server)
        return wlr.wlr_allocator_autocreate(backend, renderer)

    def _start_loop(self) -> None:
        loop = self.config.loop
        kind = ("epoll", "epoll-edge", "io-uring", "io-uring-sqpoll").index(loop.wait)
        error = lib.mc_loop_start(self.server, self._take_terminate_fd(), kind, loop.sqpoll_idle_ms)
        if error != 0 and loop.wait.startswith("io-uring"):
            raise PreconditionError(
                f"{loop.wait}: the kernel refuses it: {os.strerror(-error)}",
                where="loop.wait",
                todo="needs Linux 5.11, sysctl kernel.io_uring_disabled=0 and a container whose seccomp profile allows "
                'io_uring_setup; "epoll" works everywhere',
            )
        _check("loop thread", error)

    def _create_display(self) -> int:
        """wl_display, and a duplicate of its private termination eventfd.

        A backend whose device is lost only calls wl_display_terminate; libwayland's own loop would see a flag, ours has
        to watch the eventfd. It is the one eventfd that wl_display_create opens.
        """
        before = set(os.listdir("/proc/self/fd"))
        self.display = display = _made("display", wayland.wl_display_create())
        self._undo.callback(wayland.wl_display_destroy, display)
        for name in sorted(set(os.listdir("/proc/self/fd")) - before):
            try:
                target = os.readlink(f"/proc/self/fd/{name}")
            except FileNotFoundError:
                continue  # the directory listing's own fd
            if target == "anon_inode:[eventfd]":
                return os.dup(int(name))
        log.warning("libwayland's termination eventfd was not found: a lost display device may go unnoticed")
        return -1

    def _take_terminate_fd(self) -> int:
        """Gives the fd away: the native loop owns it from now on."""
        fd, self._terminate_fd = self._terminate_fd, -1
        return fd

    def _close_terminate_fd(self) -> None:
        if self._terminate_fd >= 0:
            os.close(self._take_terminate_fd())

    def _open_socket(self) -> None:
        """The listening socket, mode 0600, under the configured name or the first free wayland-N.

        libwayland's lock file makes taking a name atomic, so there is no race with other compositors.
        """
        name = self.config.backend.socket
        umask = os.umask(0o177)
        try:
            if name:
                if wayland.wl_display_add_socket(self.display, name.encode()) != 0:
                    raise PreconditionError(
                        f'the socket "{name}" cannot be created',
                        where="backend.socket",
                        todo="is another compositor using the name? Leave it out for the first free wayland-N",
                    )
                self.socket = name
                return
            chosen = wayland.wl_display_add_socket_auto(self.display)
            if chosen == ffi.NULL:
                raise PreconditionError(
                    "no Wayland socket can be created",
                    where=os.environ.get("XDG_RUNTIME_DIR", "XDG_RUNTIME_DIR"),
                    todo="is the directory writable, and are fewer than 32 compositors running?",
                )
            self.socket = ffi.string(chosen).decode()
        finally:
            os.umask(umask)

    def _start_xwayland(self) -> None:
        if not any(os.access(os.path.join(folder, "Xwayland"), os.X_OK) for folder in os.get_exec_path()):
            raise PreconditionError(
                "Xwayland is not installed",
                where="backend.xwayland",
                todo="install the package xwayland, or set backend.xwayland = false",
            )
        xwayland = wlr.wlr_xwayland_create(self.display, lib.mc_server_compositor(self.server), True)
        if not xwayland:
            raise PreconditionError(
                "Xwayland could not be prepared (wlroots' messages are above)",
                where="backend.xwayland",
                todo="is /tmp/.X11-unix owned by root or you, with mode 1777?",
            )
        self.xwayland = xwayland
        self._undo.callback(lib.mc_xwayland_destroy, self.server, xwayland)
        _check("xwayland", lib.mc_xwayland_attach(self.server, xwayland))
        self.x11_display = ffi.string(xwayland.display_name).decode()

    # ---- running ----

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The compositor lock, for rare calls into pywlroots. Frames wait meanwhile: hold it for microseconds."""
        lib.mc_verb_begin(self.server)
        try:
            yield
        finally:
            lib.mc_verb_end(self.server)

    def plug(self, width: int, height: int, refresh_mhz: int, connector: int = 0) -> int:
        """Connects a modelled monitor; the connector number (1 is HEADLESS-1). connector 0 is the first free one."""
        result: int = lib.mc_vdisplay_plug(
            self.server, connector, width, height, refresh_mhz, self.config.headless.latch_us * 1000
        )
        if result < 0:
            raise ConfigError(
                f"a {width}x{height} display at {refresh_mhz / 1000:g} Hz with latch_us = "
                f"{self.config.headless.latch_us} cannot be modelled: {os.strerror(-result)}",
                where="headless.outputs",
                todo="latch_us must be shorter than a refresh; sizes go up to 16384",
            )
        return result

    def unplug(self, connector: int) -> None:
        if lib.mc_vdisplay_unplug(self.server, connector) != 0:
            raise MinicompError(f"there is no modelled display HEADLESS-{connector}")

    def set_pacing(self, mode: str, fixed_ms: float, target_miss_rate: float) -> None:
        """When composing begins, on every output from now on; as in config.PacingSettings."""
        number = ("asap", "fixed", "adaptive").index(mode)
        _check("pacing", lib.mc_server_set_pacing(self.server, number, int(fixed_ms * 1e6), target_miss_rate))

    def now_ns(self) -> int:
        """The compositor's clock: CLOCK_MONOTONIC, or the modelled one with the step clock."""
        return int(lib.mc_server_now_ns(self.server))

    def advance_ns(self, nanoseconds: int) -> None:
        """Moves the step clock forward; vblanks on the way happen in order."""
        _check("step clock", lib.mc_clock_advance(self.server, self.now_ns() + nanoseconds))

    def advance_to_next_event(self) -> int:
        """Moves the step clock to what is due next (a vblank, a planned start, a callback); its time, or 0."""
        next_ns = int(lib.mc_clock_next_ns(self.server))
        if next_ns:
            _check("step clock", lib.mc_clock_advance(self.server, next_ns))
        return next_ns

    def advance_to_vblank(self, connector: int = 1, offset_ns: int = 0) -> int:
        """Moves the step clock to the next vblank of a modelled display after now, plus an offset; its time in ns."""
        vblank_ns = int(lib.mc_vdisplay_next_vblank(self.server, connector, self.now_ns() + 1))
        _check("step clock", lib.mc_clock_advance(self.server, vblank_ns + offset_ns))
        return vblank_ns

    def capture(self, name: str | None = None, timeout_s: float = 5.0) -> tuple[int, int, bytes]:
        """The next composed frame of an output (the first, or by name): width, height in pixels, XRGB8888 bytes.

        Raises MinicompError when nothing is composed in time (with the step clock, advance it meanwhile).
        """
        output = self.outputs.by_name(name) if name else next((o for o in self.outputs if o.enabled), None)
        if output is None:
            raise MinicompError(f"there is no output {name}" if name else "no output is on")
        from minicomp.compositor.capture import wait_for_frame

        return wait_for_frame(self.server, output, timeout_s)

    def spawn(self, argv: list[str]) -> int:
        """Starts a program as a client of this compositor and returns its pid; never blocks on it."""
        from minicomp.compositor.child import spawn
        from minicomp.compositor.programs import client_environment

        pid = spawn(argv, client_environment(self))
        self._spawned = [earlier for earlier in self._spawned if os.waitpid(earlier, os.WNOHANG) == (0, 0)]
        self._spawned.append(pid)
        return pid

    def stop_threads(self) -> None:
        """Ends the native threads: nothing is rendered, dispatched or traced from now on. Safe to call twice."""
        lib.mc_loop_stop(self.server)
        lib.mc_render_stop(self.server)

    def at_close(self, function: Callable[[], None]) -> None:
        """Calls it at the beginning of close(), or of the rest of it."""
        self._undo.callback(function)

    def close(self) -> None:
        """Takes everything down in reverse order. Safe to call twice, and after a failed start."""
        self._undo.close()
        self.server = self.display = None


class Once:
    """A call that is made at most once, from whichever place of the teardown comes first."""

    def __init__(self, function: Any, argument: Any) -> None:
        self._function, self._argument, self._done = function, argument, False

    def __call__(self) -> None:
        if not self._done:
            self._done = True
            self._function(self._argument)


def _made(what: str, pointer: Any) -> Any:
    if not pointer:
        raise MinicompError(f"{what}: cannot be created", todo="out of memory or file descriptors?")
    return pointer


def _check(what: str, result: int) -> None:
    if result != 0:
        raise MinicompError(f"{what}: {os.strerror(-result)}")
