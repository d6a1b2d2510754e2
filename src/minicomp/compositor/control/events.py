"""Who is told what: subscriptions, and from native events to notifications.

The policy thread calls `notice` after it has handled an event, which only puts it into a queue; the rest happens on the
control thread. What has no native event (focus, misses, a stuck policy) is looked at after each event and every
`TICK_S` while somebody listens; while nobody does, nothing is done at all.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from minicomp.compositor.control.context import Context, format_handle
from minicomp.compositor.control.jsonrpc import RpcError, notification
from minicomp.compositor.control.looking import describe_output, describe_window
from minicomp.compositor.outputs import Output
from minicomp.compositor.policy_thread import STUCK_AFTER_S
from minicomp.compositor.windows import Window
from minicomp.msg.interface import EVENTS, INVALID_PARAMS

TICK_S = 0.1
_MOST_WAITING = 10_000  # events not yet looked at

_NAMES = {
    "MC_EVENT_OUTPUT_NEW": "output.new",
    "MC_EVENT_OUTPUT_GONE": "output.gone",
    "MC_EVENT_OUTPUT_CHANGED": "output.changed",
    "MC_EVENT_WINDOW_NEW": "window.new",
    "MC_EVENT_WINDOW_MAP": "window.map",
    "MC_EVENT_WINDOW_UNMAP": "window.unmap",
    "MC_EVENT_WINDOW_GONE": "window.gone",
    "MC_EVENT_WINDOW_TITLE": "window.title",
    "MC_EVENT_WINDOW_APP_ID": "window.app_id",
    "MC_EVENT_WINDOW_RESIZED": "window.size",
    "MC_EVENT_CLIENT_NEW": "client.new",
    "MC_EVENT_CLIENT_GONE": "client.gone",
    "MC_EVENT_LAYER_MAP": "layer.map",
    "MC_EVENT_LAYER_UNMAP": "layer.unmap",
    "MC_EVENT_BINDING": "binding",
    "MC_EVENT_IDLE": "idle",
    "MC_EVENT_RESUMED": "resumed",
    "MC_EVENT_NONE": "lost",
}


class Subscriber(Protocol):
    """A connection."""

    def push(self, line: bytes) -> None: ...


class _Noticed(NamedTuple):
    kind: int
    handle: int
    a: int
    time_ns: int
    about: Output | Window | None = None  # as the policy knows it, for when it is gone before it is looked at


class Events:
    """`subscribe` and `unsubscribe` are methods of the socket."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._compositor = context.compositor
        self._names = {getattr(context.compositor.lib, kind): name for kind, name in _NAMES.items()}
        self._subscribers: dict[Subscriber, frozenset[str]] = {}
        self._noticed: deque[_Noticed] = deque()
        self._known: dict[int, dict[str, Any]] = {}  # windows and outputs as last described, for when they are gone
        self._focused = 0
        self._misses: dict[int, int] = {}
        self._stuck = False

    # ---- the policy thread ----

    def notice(self, kind: int, handle: int, a: int, b: int) -> None:
        """The dispatcher's observer, on the policy thread."""
        if kind not in self._names:
            return
        if len(self._noticed) >= _MOST_WAITING:
            kind, handle, a = self._compositor.lib.MC_EVENT_NONE, 0, 0
            self._noticed.clear()
        dispatcher = self._context.dispatcher
        about = dispatcher.outputs.get(handle) or dispatcher.windows.get(handle)
        self._noticed.append(_Noticed(kind, handle, a, time.monotonic_ns(), about))
        self._context.waker.wake()

    # ---- methods ----

    def subscribe(self, events: list[str], connection: Subscriber) -> dict[str, Any]:
        wanted = frozenset(name for name in EVENTS if not events or any(_fits(name, pattern) for pattern in events))
        for pattern in events:
            if not any(_fits(name, pattern) for name in EVENTS):
                raise RpcError(INVALID_PARAMS, f'there is no event "{pattern}"', {"events": ", ".join(EVENTS)})
        if not self._subscribers:
            self._begin()
        self._subscribers[connection] = wanted
        return {"events": sorted(wanted)}

    def unsubscribe(self, connection: Subscriber) -> dict[str, Any]:
        self.forget(connection)
        return {}

    def forget(self, connection: Subscriber) -> None:
        """It wants no more events, or is gone."""
        if self._subscribers.pop(connection, None) is not None and not self._subscribers:
            self.end()

    def _begin(self) -> None:
        """What is so already is no event; what happens from here on is one, maybe of something just read."""
        context = self._context
        self._noticed.clear()
        context.dispatcher.observer = self.notice
        self._focused = self._compositor.seat.focused
        self._known = {w.handle: describe_window(w, self._focused) for w in context.windows()}
        self._known.update((output.handle, describe_output(output)) for output in context.outputs)
        self._misses = self._read_misses()
        self._stuck = False

    def end(self) -> None:
        self._context.dispatcher.observer = None
        self._noticed.clear()

    # ---- the control thread ----

    @property
    def wanted(self) -> bool:
        return bool(self._subscribers)

    def send_noticed(self) -> None:
        """After each wake-up."""
        if not self._subscribers:
            return
        while self._noticed:
            noticed = self._noticed.popleft()
            name = self._names[noticed.kind]
            self._send(name, noticed.time_ns, lambda name=name, noticed=noticed: self._describe(name, noticed))  # type: ignore[misc]
        self._look_at_focus()

    def tick(self) -> None:
        """Every TICK_S."""
        now_ns = time.monotonic_ns()
        self._look_at_focus()
        before, self._misses = self._misses, self._read_misses()
        for handle, misses in self._misses.items():
            new = misses - before.get(handle, 0)
            if new > 0:
                name = self._known.get(handle, {}).get("name", "")
                self._send("frame.missed", now_ns, lambda name=name, new=new: {"output": name, "count": new})  # type: ignore[misc]
        stuck_s = self._context.parts.policy.stuck_s
        if (stuck_s > STUCK_AFTER_S) != self._stuck:
            self._stuck = not self._stuck
            current = self._context.dispatcher.current
            self._send("policy.stuck" if self._stuck else "policy.back", now_ns, lambda: {"in": current})

    def _look_at_focus(self) -> None:
        focused = self._compositor.seat.focused
        if focused != self._focused:
            self._focused = focused
            self._send("window.focus", time.monotonic_ns(), lambda: self._describe_focus(focused))

    def _read_misses(self) -> dict[int, int]:
        lib, server = self._compositor.lib, self._compositor.server
        info = self._compositor.ffi.new("struct mc_pacing_info *")
        return {
            output.handle: int(info.misses)
            for output in self._context.outputs
            if lib.mc_output_pacing(server, output.handle, info) == 0
        }

    # ---- what an event says ----

    def _send(self, name: str, time_ns: int, describe: Callable[[], dict[str, Any]]) -> None:
        content = describe()  # also when nobody wants it: it keeps what is known up to date
        listeners = [connection for connection, wanted in self._subscribers.items() if name in wanted]
        if listeners:
            line = notification("event", {"event": name, "time_ns": time_ns, **content})
            for connection in listeners:
                connection.push(line)

    def _describe(self, name: str, noticed: _Noticed) -> dict[str, Any]:
        group = name.partition(".")[0]
        if group == "window":
            return {"window": self._window(noticed, gone=name == "window.gone")}
        if group == "output":
            return {"output": self._output(noticed, gone=name == "output.gone")}
        if group == "client":
            return {"client": format_handle(noticed.handle), "pid": noticed.a}
        if name == "binding":
            keys, action = self._compositor.seat.binding(noticed.a)
            return {"keys": keys, "action": action}
        return {"layer": format_handle(noticed.handle)} if group == "layer" else {}

    def _window(self, noticed: _Noticed, *, gone: bool) -> dict[str, Any]:
        handle = noticed.handle
        window = None if gone else self._context.read_window(handle) or noticed.about
        if isinstance(window, Window):
            self._known[handle] = describe_window(window, self._compositor.seat.focused)
        known = self._known.pop(handle, None) if gone else self._known.get(handle)
        return known or {"id": format_handle(handle)}

    def _output(self, noticed: _Noticed, *, gone: bool) -> dict[str, Any]:
        handle = noticed.handle
        output = None if gone else self._context.outputs.get(handle) or noticed.about
        if isinstance(output, Output):
            self._known[handle] = describe_output(output)
        known = self._known.pop(handle, None) if gone else self._known.get(handle)
        return known or {}

    def _describe_focus(self, handle: int) -> dict[str, Any]:
        window = self._context.read_window(handle) if handle else None
        return {"window": describe_window(window, handle) if window is not None else None}


def _fits(name: str, pattern: str) -> bool:
    """ "window" and "window.*" are all of that group."""
    return name == pattern or name.partition(".")[0] == pattern.removesuffix(".*")
