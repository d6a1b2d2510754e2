"""`minicomp run`: one compositor, its policy, and the program it is for, from start to the last cleanup.

The main thread supervises: signals, the program's pidfd, native log messages, the health of the policy. Policy runs on
a thread of its own, frames and input on native ones.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from contextlib import ExitStack, suppress
from select import POLLIN, poll
from typing import TYPE_CHECKING, Any

from minicomp.compositor import readiness
from minicomp.compositor.backend import choose_kind, has_display_card
from minicomp.compositor.child import Child
from minicomp.compositor.native_log import log_native
from minicomp.compositor.open_files import raise_limit
from minicomp.compositor.policy_thread import PolicyThread
from minicomp.compositor.programs import app_connection, client_environment, trust_app
from minicomp.compositor.runtime_dir import ensure_runtime_dir
from minicomp.errors import ConfigError, ExitCode, PreconditionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from minicomp.compositor.server import Compositor
    from minicomp.compositor.tracefile import TraceFile
    from minicomp.config import Config, RunOptions

    Observer = Callable[["Compositor", "Supervisor", ExitStack], None]

log = logging.getLogger("minicomp.run")

READY_TIMEOUT_S = 10.0
TICK_MS = 500


class Supervisor:
    """What the main thread does while the compositor runs."""

    def __init__(self, compositor: Compositor, policy: PolicyThread) -> None:
        self.compositor = compositor
        self.policy = policy
        self.child: Child | None = None
        self.stop_signal = 0
        self.loop_ended = False
        self.on_tick: list[Any] = []
        self.tick_ms: float = TICK_MS
        """Between two calls of `on_tick`; without any, the main thread sleeps until something happens."""
        lib = compositor.lib
        self._log_fd = lib.mc_log_fd(compositor.logring)
        self._ended_fd = lib.mc_loop_ended_fd(compositor.server)
        self._poller = poll()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._alarm_fd = policy.alarm_fd
        for fd in (self._log_fd, self._ended_fd, self._wake_read, self._alarm_fd):
            self._poller.register(fd, POLLIN)
        self._handlers: dict[int, Any] = {}
        self._watching = False  # policy was found busy for long

    def __enter__(self) -> Supervisor:
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        os.close(self._wake_read)
        os.close(self._wake_write)
        self.drain_log()

    def _on_signal(self, number: int, frame: object) -> None:
        self.stop_signal = self.stop_signal or number

    def request_stop(self) -> None:
        """From any thread: end the run as if by a signal, with exit code 0."""
        self.stop_signal = self.stop_signal or -1
        self._wake()

    def _wake(self) -> None:
        os.write(self._wake_write, b"\0")

    def drain_log(self) -> None:
        log_native(self.compositor.logring)

    def every_tick(self, function: Callable[[], object]) -> None:
        """From any thread: calls `function` twice a second from now on (oftener for systemd's watchdog)."""
        self.on_tick.append(function)
        self._wake()

    def watch(self, fd: int) -> None:
        self._poller.register(fd, POLLIN)

    def step(self, timeout_ms: float | None) -> None:
        """Waits for something, then does what is due."""
        ready = {fd for fd, _ in self._poller.poll(timeout_ms)}
        if self._wake_read in ready:
            os.read(self._wake_read, 512)
        if self._log_fd in ready:
            self.drain_log()
        if self._ended_fd in ready:
            self.loop_ended = True
        if self._alarm_fd in ready:
            with suppress(BlockingIOError):  # policy has returned meanwhile, and disarmed it
                os.read(self._alarm_fd, 8)
            self._watching = True
        if self._watching:
            self.policy.check()
            self._watching = self.policy.needs_watching
        for function in self.on_tick:
            function()

    def run(self, command: list[str], kill_grace_ms: int) -> int:
        """Until the program ends, a signal arrives or the compositor fails; the exit code."""
        if command and not self.is_over():
            self._start_child(command)
        while True:
            if self.child is not None:
                code = self.child.poll()
                if code is not None:
                    return code
            if self.stop_signal:
                return self._stopped(kill_grace_ms, wants_program=bool(command))
            if self.is_over():
                self._end_child(kill_grace_ms)
                return self._failed()
            self.step(self.tick_ms if self.on_tick or self._watching else None)

    def is_over(self) -> bool:
        """Whether there is a reason to end, apart from the program's end."""
        return bool(self.stop_signal) or self.loop_ended or self.policy.fatal is not None

    def _start_child(self, command: list[str]) -> None:
        environment = client_environment(self.compositor)
        app = self.compositor.config.app
        if app.sandbox:
            from minicomp.compositor.sandbox import sandboxed

            command = sandboxed(app, command, environment)
        connection = app_connection(self.compositor)
        if connection is None:
            with self.compositor.locked():  # its first connection is judged when we have said who it is
                self.child = Child.start(command, environment, sandboxed=app.sandbox)
                trust_app(self.compositor, self.child.pid)
        else:
            with connection:
                environment["WAYLAND_SOCKET"] = str(connection.fileno())
                self.child = Child.start(command, environment, sandboxed=app.sandbox)
        self.watch(self.child.pidfd)

    def _stopped(self, kill_grace_ms: int, *, wants_program: bool) -> int:
        if self.stop_signal > 0:
            log.info("%s: ending", signal.Signals(self.stop_signal).name)
        code = self._end_child(kill_grace_ms)
        if self.stop_signal < 0:
            return ExitCode.OK
        if code is None:
            return 128 + signal.SIGTERM if wants_program else ExitCode.OK  # as if it had been started just in time
        return code

    def _end_child(self, kill_grace_ms: int) -> int | None:
        return self.child.end(kill_grace_ms) if self.child is not None else None

    def _failed(self) -> int:
        if self.policy.fatal is not None:
            return ExitCode.COMPOSITOR_FAILED
        if self.compositor.backend_kind != "headless":
            log.error("the display device was lost; a supervisor should start minicomp again")
            return ExitCode.DEVICE_LOST
        log.error("the compositor's event loop ended by itself")
        return ExitCode.COMPOSITOR_FAILED


def wait_until_ready(supervisor: Supervisor) -> bool:
    """Until every output has its settings, the policy knows of it, and one is on (clients can connect since the socket
    exists). False when the run is over before that. Raises PreconditionError after a while.

    On KMS a kiosk may start with its monitor off: then being ready means waiting for one, and clients may connect.
    """
    deadline = time.monotonic() + READY_TIMEOUT_S
    compositor = supervisor.compositor
    while not supervisor.is_over():
        outputs = list(compositor.outputs)
        is_on = any(output.enabled for output in outputs)
        if is_on and supervisor.policy.has_configured(output.handle for output in outputs):
            return True
        if time.monotonic() > deadline or (compositor.backend_kind == "drm" and not outputs):
            if is_on:
                log.warning("policy has not configured every output yet; going on without it")
                return True
            if compositor.backend_kind == "drm":
                log.warning("no output is connected yet; going on without one")
                return True
            raise PreconditionError("no output could be switched on", todo="see the messages above")
        supervisor.step(5)
    return False


def run(config: Config, command: list[str], options: RunOptions, observe: Observer | None = None) -> int:
    """Runs the compositor for `command` (or until stopped); the process's exit code. Raises MinicompError.

    `observe` is called once clients can connect, on the main thread; it may use `supervisor.every_tick` and leave
    things to clean up before the compositor ends on the stack.
    """
    if options.stats:
        _need_numpy()
    readiness.keep_private(options.ready_fd)
    raise_limit()
    with ExitStack() as cleanup:
        kind_is_headless = config.backend.kind == "headless" or not has_display_card()
        ensure_runtime_dir(cleanup, may_create=kind_is_headless)
        from minicomp.compositor.dispatch import Dispatcher
        from minicomp.compositor.server import Compositor
        from minicomp.shell.policy import load_policy

        policy_class = load_policy(config.policy.name)
        trace_path = _trace_path(cleanup, config, options)
        kernel_trace = None
        if config.trace.kernel != "off":
            if trace_path is None:
                raise ConfigError("there is no run file to go with it", where="trace.kernel", todo="--trace FILE")
            from minicomp.lab.kernel.attach import Collector

            # Before any knob: it keeps its privileges, and none of the compositor's scheduling.
            kernel_trace = Collector.beside(trace_path, config.trace.kernel, config.trace.kernel_scope)
            cleanup.callback(kernel_trace.close)
        knobs = None
        if config.knobs.is_set():
            from minicomp.compositor.knobs import CompositorKnobs

            knobs = cleanup.enter_context(CompositorKnobs(config.knobs))
            knobs.before(choose_kind(config.backend.kind))
        compositor = cleanup.enter_context(Compositor(config))
        if knobs is not None:
            knobs.attach(compositor)
        dispatcher = Dispatcher(compositor, policy_class(compositor, config.policy.options))
        policy = PolicyThread(compositor, dispatcher)
        supervisor = cleanup.enter_context(Supervisor(compositor, policy))
        dispatcher.request_stop = supervisor.request_stop
        trace = None
        if trace_path is not None:
            from minicomp.compositor.tracefile import TraceFile

            trace = TraceFile(compositor, trace_path)
            supervisor.every_tick(trace.update_names)
        if kernel_trace is not None:
            from minicomp.lab.kernel.attach import threads_of

            kernel_trace.record(os.getpid(), threads_of(os.getpid()))
        control = None
        if config.control.enabled:
            from minicomp.compositor.control.endpoint import ControlSocket

            control = cleanup.enter_context(ControlSocket(compositor.socket))
            compositor.control_path = control.path
        policy.start()
        code: int
        ready = False
        try:
            ready = wait_until_ready(supervisor)
            if ready and knobs is not None:
                knobs.running()

            def tend() -> None:
                _tend_knobs(compositor, trace)

            if knobs is not None:
                supervisor.every_tick(tend)
            else:  # the control socket can set them
                compositor.on_knobs = lambda: supervisor.every_tick(tend)
            if "WATCHDOG_USEC" in os.environ:
                _feed_watchdog(supervisor)
            if ready:
                readiness.announce(options.ready_fd, compositor.socket, compositor.x11_display)
                log.info("ready: WAYLAND_DISPLAY=%s (%s)", compositor.socket, compositor.backend_kind)
            if control is not None:
                control.start(compositor, dispatcher, policy, supervisor.request_stop)
            with ExitStack() as observers:
                if ready and observe is not None:
                    observe(compositor, supervisor, observers)
                code = supervisor.run(command, config.app.kill_grace_ms)
        finally:
            readiness.notify("STOPPING=1")
            stuck = control is not None and not control.stop()  # before what it uses goes
            stuck |= not policy.stop()
            if ready:
                _tend_knobs(compositor, trace, last=True)
            if trace is not None:
                trace.update_names()
            compositor.stop_threads()
            if trace is not None and (error := trace.close()):
                log.error("the trace %s ends early: %s", trace.path, error)
            if kernel_trace is not None:
                kernel_trace.finish(log)
            if supervisor.child is not None:
                supervisor.child.close()
            supervisor.drain_log()
        if options.stats and trace_path is not None:
            _print_stats(trace_path)
        if stuck:
            return _leave_stuck(cleanup, code)
        return code


def _tend_knobs(compositor: Compositor, trace: TraceFile | None, *, last: bool = False) -> None:
    if compositor.knobs is not None:
        compositor.knobs.tick()
        if trace is not None:
            compositor.knobs.record(trace, last=last)


def _feed_watchdog(supervisor: Supervisor) -> None:
    from minicomp.compositor.watchdog import Watchdog, interval_s

    wanted_s = interval_s()
    if wanted_s:
        supervisor.every_tick(Watchdog(supervisor.compositor.server, wanted_s).tick)
        supervisor.tick_ms = min(supervisor.tick_ms, wanted_s * 1000 / 6)


def _trace_path(cleanup: ExitStack, config: Config, options: RunOptions) -> Path | None:
    if not config.trace.path and not options.stats:
        return None
    from pathlib import Path  # 3 ms of every start, for those who need it only

    if config.trace.path:
        return Path(config.trace.path)
    import tempfile

    folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="minicomp-"))
    return Path(folder, "run.mct")


def _need_numpy() -> None:
    """Raises PreconditionError before the run rather than after it."""
    from importlib.util import find_spec

    if find_spec("numpy") is None:
        raise PreconditionError(
            "the summary needs numpy, which is not installed",
            where="--stats",
            todo="install it (`scripts/setup` does), or write the run with --trace FILE and look at it elsewhere",
        )


def _print_stats(path: Path) -> None:
    from minicomp.lab.pipeline.runfile import read_run
    from minicomp.lab.report.summary import summarise_run
    from minicomp.lab.report.text import summary_text

    # To stderr: stdout belongs to the program that ran.
    print(summary_text(summarise_run(read_run(path))), end="", file=sys.stderr)


def _leave_stuck(cleanup: ExitStack, code: int) -> int:
    """A Python thread never returned: it would use a server that is gone. End without waiting for it."""
    log.error("policy, or the control thread, never returned; leaving without it")
    cleanup.close()
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)
