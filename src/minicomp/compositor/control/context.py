"""What the methods share: the compositor and the way to the policy thread.

Looking needs no policy: native state is read by verbs, so a policy that is stuck can still be looked at. What changes
windows or outputs is policy's business and runs on its thread, between events.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minicomp.compositor.control.jsonrpc import RpcError, Waiting
from minicomp.compositor.outputs import Output, Outputs
from minicomp.compositor.windows import Window
from minicomp.msg.interface import INTERNAL_ERROR, INVALID_PARAMS, NOT_FOUND, REFUSED, TIMED_OUT

if TYPE_CHECKING:
    from minicomp.compositor.control.parts import Parts, Waker

POLICY_WAIT_S = 5.0
LOOK_AGAIN_MS = 100.0


class Context:
    """For the control thread only, except `waker`."""

    def __init__(self, parts: Parts, waker: Waker) -> None:
        self.parts = parts
        self.compositor = parts.compositor
        self.dispatcher = parts.dispatcher
        self.waker = waker
        # An own one: each reads into a buffer of its own.
        self.outputs = Outputs(self.compositor.server, self.compositor.config, self.compositor.output_manager)

    # ---- looking ----

    def output(self, name: str) -> Output:
        """Raises RpcError."""
        found = self.outputs.by_name(name)
        if found is None:
            names = ", ".join(output.name for output in self.outputs) or "none"
            raise RpcError(NOT_FOUND, f'there is no output "{name}"', {"outputs": names})
        return found

    def connector(self, name: str) -> int:
        """The number of a modelled display. Raises RpcError."""
        return int(self.output(name).name.rpartition("-")[2])

    def first_output_on(self) -> Output:
        """Raises RpcError."""
        found = next((output for output in self.outputs if output.enabled), None)
        if found is None:
            raise RpcError(NOT_FOUND, "no output is on")
        return found

    def windows(self) -> list[Window]:
        """Fresh ones, oldest first, read natively: not the policy's own objects."""
        found = map(self.read_window, self.dispatcher.windows.native_handles())
        return [window for window in found if window is not None]

    def read_window(self, handle: int) -> Window | None:
        """None when it is gone."""
        window = Window(self.compositor, handle, self.dispatcher.windows)
        return window if window.refresh() else None

    def find_window(self, text: str) -> int:
        """The handle that a `window` parameter means. Raises RpcError."""
        handle = self.compositor.seat.focused if text == "focused" else parse_handle(text)
        windows = self.windows()
        if handle is None:
            found = [window for window in windows if window.app_id == text]
            if len(found) > 1:
                ids = ", ".join(format_handle(window.handle) for window in found)
                raise RpcError(INVALID_PARAMS, f'several windows have the app_id "{text}"', {"windows": ids})
            handle = found[0].handle if found else 0
        if not any(window.handle == handle for window in windows):
            raise RpcError(NOT_FOUND, "no window has the keyboard" if text == "focused" else f'no window "{text}"')
        return handle

    # ---- the policy thread ----

    def on_policy(self, function: Callable[[], Any]) -> Waiting:
        """Runs a function on the policy thread and returns what it returns.

        Raises RpcError when that thread does not get to it in time; then it is not run at all.
        """
        call = _PolicyCall(function, self.waker.wake)
        self.parts.policy.call(call.run)
        deadline = time.monotonic() + POLICY_WAIT_S
        while not call.finished:
            yield LOOK_AGAIN_MS
            if time.monotonic() > deadline and not call.finished:
                current = self.dispatcher.current or "a callback"
                if call.cancel():
                    raise RpcError(TIMED_OUT, f"the policy is busy: {current} has not returned; nothing was changed")
                raise RpcError(TIMED_OUT, f"the policy has begun and not finished: {current} has not returned")
        return call.result()

    def guard(self, name: str, function: Callable[[], object]) -> None:
        """On the policy thread: runs a hook of the policy as the dispatcher does. Raises RpcError when it raised."""
        if not self.dispatcher.guard(name, function):
            raise RpcError(INTERNAL_ERROR, f"the policy's {name} failed; the log says why")


class _PolicyCall:
    def __init__(self, function: Callable[[], Any], wake: Callable[[], None]) -> None:
        self._function, self._wake = function, wake
        self._claim = threading.Lock()  # held by whoever comes first: run or cancel
        self._value: Any = None
        self._error: Exception | None = None
        self.finished = False

    def run(self) -> None:
        """On the policy thread."""
        if not self._claim.acquire(blocking=False):
            return
        try:
            self._value = self._function()
        except Exception as error:  # raised again, or logged, where it was asked for
            self._error = error
        self.finished = True
        self._wake()

    def cancel(self) -> bool:
        """False when it has begun."""
        return self._claim.acquire(blocking=False)

    def result(self) -> Any:
        if isinstance(self._error, ValueError):  # a verb's "the caller is wrong"
            raise RpcError(REFUSED, str(self._error))
        if self._error is not None:
            raise self._error
        return self._value


def format_handle(handle: int) -> str:
    """Handles use 64 bits, JSON numbers carry 53: so they are strings."""
    return f"{handle:#x}"


def parse_handle(text: str) -> int | None:
    """None when it is none."""
    if not text.startswith("0x") or len(text) > 18:
        return None
    try:
        return int(text, 16)
    except ValueError:
        return None
