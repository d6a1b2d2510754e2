"""A compositor for a test: in this process, with its policy thread and every log message kept.

`with InProcess(config) as instance:` gives one that runs; leaving it fails (AssertionError) when policy code
raised, or when an ERROR was logged that the test did not `expect`.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from minicomp.compositor.dispatch import Dispatcher
from minicomp.compositor.policy_thread import PolicyThread
from minicomp.compositor.programs import client_environment
from minicomp.compositor.run import Supervisor, wait_until_ready
from minicomp.compositor.runtime_dir import ensure_runtime_dir
from minicomp.compositor.server import Compositor
from minicomp.config import Config, Override, load
from minicomp.shell.policy import load_policy

TIMEOUT_S = 10.0


def configure(**settings: Any) -> Config:
    """A headless configuration; keys are `section__key`: configure(headless__outputs=["800x600@60"]).

    MINICOMP_TEST_LOOP_WAIT is another default for loop.wait, to run existing tests with it.
    """
    chosen = {"backend__kind": "headless", "log__level": "info", **settings}
    if wait := os.environ.get("MINICOMP_TEST_LOOP_WAIT"):
        chosen.setdefault("loop__wait", wait)
        chosen.setdefault("loop__sqpoll_idle_ms", 1)  # the kernel's thread must not starve what is tested
    return load(None, [Override(tuple(key.split("__")), value, f"test {key}") for key, value in chosen.items()])


class Records(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def messages(self, level: int = logging.DEBUG) -> list[str]:
        return [f"{r.name}: {r.getMessage()}" for r in self.records if r.levelno >= level]


class InProcess:
    """A compositor that runs in this process. `policy` replaces the configured policy class."""

    def __init__(self, config: Config | None = None, policy: Callable[..., Any] | None = None) -> None:
        self.config = config or configure()
        self._policy_class = policy
        self._stack = ExitStack()
        self._expected: list[str] = []
        self._processes: list[subprocess.Popen[str]] = []
        self.log = Records()

    def __enter__(self) -> InProcess:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _start(self) -> None:
        logger = logging.getLogger("minicomp")
        level = logger.level
        logger.addHandler(self.log)
        logger.setLevel(logging.DEBUG)
        self._stack.callback(logger.setLevel, level)
        self._stack.callback(logger.removeHandler, self.log)
        ensure_runtime_dir(self._stack, may_create=True)
        self.compositor = self._stack.enter_context(Compositor(self.config))
        policy_class = self._policy_class or load_policy(self.config.policy.name)
        self.policy = policy_class(self.compositor, self.config.policy.options)
        self.dispatcher = Dispatcher(self.compositor, self.policy)
        self.thread = PolicyThread(self.compositor, self.dispatcher)
        self.supervisor = self._stack.enter_context(Supervisor(self.compositor, self.thread))
        self.dispatcher.request_stop = self.supervisor.request_stop
        self.thread.start()
        self._stack.callback(self.thread.stop, 5.0)
        wait_until_ready(self.supervisor)

    def expect(self, pattern: str) -> None:
        """Announces that an ERROR matching the regular expression will be logged."""
        self._expected.append(pattern)

    def pump(self, seconds: float = 0.0) -> None:
        """Does the main thread's work for a while: native log messages, policy health."""
        deadline = time.monotonic() + seconds
        while True:
            self.supervisor.step(min(20.0, max(0.0, (deadline - time.monotonic()) * 1000)))
            if time.monotonic() >= deadline:
                return

    def wait_for(self, condition: Callable[[], Any], what: str = "condition", timeout_s: float = TIMEOUT_S) -> Any:
        """Pumps until the condition is true and returns its value; AssertionError with the log after the time limit."""
        deadline = time.monotonic() + timeout_s
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {timeout_s} s for {what}; log:\n" + "\n".join(self.log.messages()))
            self.pump(0.005)

    def settle(self) -> None:
        """Until the policy thread has handled every event that is queued now."""
        done: list[bool] = []
        lib = self.compositor.lib
        self.wait_for(lambda: lib.mc_server_policy_lag_ns(self.compositor.server) == 0, "the event queue to drain")
        self.thread.call(lambda: done.append(True))
        self.wait_for(lambda: done, "the policy thread")

    def environment(self) -> dict[str, str]:
        return client_environment(self.compositor)

    def launch(self, command: Sequence[str], **kwargs: Any) -> subprocess.Popen[str]:
        """Starts a client; it is ended, at the latest, with the compositor."""
        environment = {**self.environment(), **kwargs.pop("env", {})}
        process: subprocess.Popen[str] = subprocess.Popen(
            list(command), env=environment, text=True, stdin=subprocess.DEVNULL, **kwargs
        )
        self._processes.append(process)
        return process

    def run(self, command: Sequence[str], timeout_s: float = TIMEOUT_S, **kwargs: Any) -> tuple[int, str]:
        """Runs a client to its end, the compositor's main thread working meanwhile; exit code and output."""
        process = self.launch(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kwargs)
        assert process.stdout is not None
        fd = process.stdout.fileno()
        os.set_blocking(fd, False)
        output = bytearray()

        def read() -> None:
            # Not to the end of the file: a background process that it left behind may hold the pipe.
            with suppress(BlockingIOError):
                while data := os.read(fd, 65536):
                    output.extend(data)

        def ended() -> bool:
            read()
            return process.poll() is not None

        self.wait_for(ended, f"{command[0]} to end", timeout_s)
        read()
        return process.returncode, output.decode(errors="replace")

    def image(self, output: str | None = None) -> Any:
        """A Pillow picture of the next composed frame."""
        from minicomp.testing.image import to_image

        return to_image(*self.compositor.capture(output))

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()
        if hasattr(self, "supervisor"):
            self.pump(0.02)
        self._stack.close()
        if kind is None:
            self._judge()

    def _judge(self) -> None:
        unexpected = [
            message
            for message in self.log.messages(logging.ERROR)
            if not any(re.search(pattern, message) for pattern in self._expected)
        ]
        assert not unexpected, "unexpected errors in the log:\n" + "\n".join(unexpected)
        assert self.dispatcher.errors == 0, "policy code raised"
