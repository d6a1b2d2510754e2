"""From native events to policy callbacks.

The dispatcher keeps the registries (windows, layer surfaces, outputs that are on) and calls the policy's hooks, on the
policy thread. An exception in a hook is logged and counted; it ends nothing. When the native queue overflowed, `resync`
reads everything anew and tells the policy the difference.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minicomp.compositor.geometry import Box
from minicomp.compositor.layers import Layer, Layers
from minicomp.compositor.windows import Windows

if TYPE_CHECKING:
    from minicomp.compositor.outputs import Output
    from minicomp.compositor.server import Compositor
    from minicomp.shell.policy import Policy

log = logging.getLogger("minicomp.policy")

ACTIVATION_SOURCES = {1: "taskbar", 2: "token", 3: "x11"}

Arguments = Callable[[int, int, int], tuple[Any, ...]]

WINDOW_HOOKS: dict[str, tuple[str, Arguments]] = {
    "MC_EVENT_WINDOW_TITLE": ("on_window_title", lambda handle, a, b: ()),
    "MC_EVENT_WINDOW_APP_ID": ("on_window_app_id", lambda handle, a, b: ()),
    "MC_EVENT_WINDOW_PARENT": ("on_window_parent", lambda handle, a, b: ()),
    "MC_EVENT_WINDOW_RESIZED": ("on_window_resized", lambda handle, a, b: ()),
    "MC_EVENT_WINDOW_PRESSED": ("on_window_pressed", lambda handle, a, b: ()),
    "MC_EVENT_WINDOW_REQUEST_MAXIMIZE": ("on_window_request_maximize", lambda handle, a, b: (bool(a),)),
    "MC_EVENT_WINDOW_REQUEST_MINIMIZE": ("on_window_request_minimize", lambda handle, a, b: (bool(a),)),
    "MC_EVENT_WINDOW_REQUEST_MOVE": ("on_window_request_move", lambda handle, a, b: ()),
    "MC_EVENT_WINDOW_REQUEST_RESIZE": ("on_window_request_resize", lambda handle, a, b: (a,)),
    "MC_EVENT_WINDOW_REQUEST_MENU": ("on_window_request_menu", lambda handle, a, b: (a, b)),
    "MC_EVENT_WINDOW_REQUEST_CLOSE": ("on_window_request_close", lambda handle, a, b: ()),
    "MC_EVENT_GRAB_END": ("on_grab_end", lambda handle, a, b: ()),
}
"""Events about a live window that need nothing but their hook: its name, and its arguments after the window."""

PLAIN_HOOKS: dict[str, tuple[str, Arguments]] = {
    "MC_EVENT_DEVICE_GONE": ("on_device_gone", lambda handle, a, b: (handle,)),
    "MC_EVENT_CLIENT_NEW": ("on_client_new", lambda handle, a, b: (handle, a)),
    "MC_EVENT_CLIENT_GONE": ("on_client_gone", lambda handle, a, b: (handle, a)),
    "MC_EVENT_INHIBITORS": ("on_inhibitors", lambda handle, a, b: (a,)),
    "MC_EVENT_XWAYLAND_READY": ("on_xwayland_ready", lambda handle, a, b: ()),
}


class Dispatcher:
    """Hands events to `policy`.

    `errors` counts exceptions that hooks raised. `current` names the hook that runs now, for whoever watches from
    another thread. `request_stop` is set by whoever runs the compositor; it ends it. `observer` (the control socket's)
    is told kind, handle, a and b of each event once it has been handled, and MC_EVENT_NONE when events were lost.
    """

    def __init__(self, compositor: Compositor, policy: Policy) -> None:
        self.compositor = compositor
        self.policy = policy
        self.windows = Windows(compositor)
        self.layers = Layers(compositor)
        self.outputs: dict[int, Output] = {}  # those that are on
        self.configured: set[int] = set()  # outputs, on or off, that have their settings and that the policy knows of
        self._asleep: list[int] | None = None  # outputs that idleness switched off; None: not idle
        self.errors = 0
        self.current = ""
        self.observer: Callable[[int, int, int, int], None] | None = None
        self.request_stop: Callable[[], None] = lambda: log.warning("nobody is there to stop the compositor")
        lib = compositor.lib
        self._handlers: dict[int, Callable[[int, int, int], None]] = {
            lib.MC_EVENT_OUTPUT_NEW: self._on_output_new,
            lib.MC_EVENT_OUTPUT_GONE: self._on_output_gone,
            lib.MC_EVENT_OUTPUT_CHANGED: self._on_output_changed,
            lib.MC_EVENT_OUTPUT_POWER: self._on_output_power,
            lib.MC_EVENT_OUTPUT_CONFIG: self._on_output_config,
            lib.MC_EVENT_WINDOW_NEW: self._on_window_new,
            lib.MC_EVENT_WINDOW_MAP: self._on_window_map,
            lib.MC_EVENT_WINDOW_UNMAP: self._on_window_unmap,
            lib.MC_EVENT_WINDOW_GONE: self._on_window_gone,
            lib.MC_EVENT_WINDOW_REQUEST_ACTIVATE: self._on_request_activate,
            lib.MC_EVENT_WINDOW_REQUEST_FULLSCREEN: self._on_request_fullscreen,
            lib.MC_EVENT_WINDOW_REQUEST_PLACE: self._on_request_place,
            lib.MC_EVENT_LAYER_NEW: self._on_layer_new,
            lib.MC_EVENT_LAYER_CHANGED: self._on_layer_changed,
            lib.MC_EVENT_LAYER_MAP: self._on_layer_changed,
            lib.MC_EVENT_LAYER_UNMAP: self._on_layer_changed,
            lib.MC_EVENT_LAYER_GONE: self._on_layer_gone,
            lib.MC_EVENT_LAYER_PRESSED: self._on_layer_pressed,
            lib.MC_EVENT_BINDING: self._on_binding,
            lib.MC_EVENT_DEVICE_NEW: self._on_device_new,
            lib.MC_EVENT_IDLE: self._on_idle,
            lib.MC_EVENT_RESUMED: self._on_resumed,
        }
        for kind, (name, arguments) in WINDOW_HOOKS.items():
            self._handlers[getattr(lib, kind)] = self._window_handler(name, arguments)
        for kind, (name, arguments) in PLAIN_HOOKS.items():
            self._handlers[getattr(lib, kind)] = self._plain_handler(name, arguments)
        policy.attach(self)
        self.guard("on_start", policy.on_start)

    def handle(self, event: Any) -> None:
        """One `struct mc_event`."""
        handler = self._handlers.get(event.kind)
        if handler is None:
            self.errors += 1
            log.error("event of unknown kind %d", event.kind)
            return
        handler(event.handle, event.a, event.b)
        self._tell_observer(event.kind, event.handle, event.a, event.b)

    def _tell_observer(self, kind: int, handle: int = 0, a: int = 0, b: int = 0) -> None:
        observer = self.observer  # another thread takes it away
        if observer is not None:
            observer(kind, handle, a, b)

    def guard(self, name: str, function: Callable[[], object]) -> bool:
        """Runs policy code: False, with the traceback in the log and `errors` counted, when it raises."""
        outer, self.current = self.current, f"{type(self.policy).__name__}.{name}"
        try:
            function()
        except Exception:
            self.errors += 1
            log.exception("%s failed", self.current)
            return False
        finally:
            self.current = outer
        return True

    def resync(self) -> None:
        """Events were lost: compares what is known with what is, and tells the policy what it missed."""
        outputs = {output.handle for output in self.compositor.outputs}
        for handle in list(self.outputs):
            if handle not in outputs:
                self._on_output_gone(handle, 0, 0)
        self.configured &= outputs
        for handle in outputs:
            # One that was switched off on purpose stays off.
            (self._on_output_changed if handle in self.configured else self._on_output_new)(handle, 0, 0)
        layers = self.layers.native_handles()
        for layer in self.layers:
            if layer.handle not in layers:
                self._on_layer_gone(layer.handle, 0, 0)
        for handle in layers:
            (self._on_layer_changed if self.layers.get(handle) else self._on_layer_new)(handle, 0, 0)
        windows = self.windows.native_handles()
        for window in self.windows:
            if window.handle not in windows:
                self._on_window_gone(window.handle, 0, 0)
        for handle in windows:
            self._resync_window(handle)
        self._tell_observer(self.compositor.lib.MC_EVENT_NONE)

    def _resync_window(self, handle: int) -> None:
        self._on_window_new(handle, 0, 0)
        window = self.windows.get(handle)
        if window is None:
            return
        if window.mapped and not window.told_mapped:
            self._on_window_map(handle, 0, 0)
        elif window.told_mapped and not window.mapped:
            self._on_window_unmap(handle, 0, 0)

    # ---- outputs ----

    def _on_output_new(self, handle: int, a: int, b: int) -> None:
        if self.compositor.outputs.configure_new(handle) and self._asleep is not None:
            # Monitors that are switched off often go and come again: that must not wake them.
            self.compositor.outputs.set_power(handle, False)
            self._asleep.append(handle)
        self._on_output_changed(handle, 0, 0)
        self.configured.add(handle)

    def _on_output_changed(self, handle: int, a: int, b: int) -> None:
        output = self.compositor.outputs.get(handle)
        if output is None or not output.placed:
            self._forget_output(handle)
            return
        self.compositor.outputs.publish()
        before = self.outputs.get(handle)
        if before == output:
            return
        self.outputs[handle] = output
        self._arrange(handle)
        if before is None:
            self.compositor.inputs.map_all(self.outputs)
            self.guard("on_output_new", lambda: self.policy.on_output_new(self.outputs[handle]))
        elif before != self.outputs[handle]:
            self.guard("on_output_changed", lambda: self.policy.on_output_changed(self.outputs[handle]))

    def _on_output_gone(self, handle: int, a: int, b: int) -> None:
        self.configured.discard(handle)
        self._forget_output(handle)

    def _forget_output(self, handle: int) -> None:
        """It left the layout or is gone: to the policy that is the same."""
        output = self.outputs.pop(handle, None)
        self.compositor.outputs.publish()
        if output is not None:
            self.compositor.inputs.map_all(self.outputs)
            self.guard("on_output_gone", lambda: self.policy.on_output_gone(output))

    def _on_output_power(self, handle: int, a: int, b: int) -> None:
        if self._asleep is not None and a:
            self._wake()
        self.compositor.outputs.set_power(handle, bool(a))

    def _on_output_config(self, handle: int, a: int, b: int) -> None:
        self.compositor.outputs.apply_request(a, test_only=bool(b))

    # ---- idleness ----

    def _on_idle(self, handle: int, a: int, b: int) -> None:
        if self._asleep is None:
            self._asleep = list(self.outputs)
            log.info("no input for %d s: switching the screens off", self.compositor.config.idle.output_off_after_s)
            for output in self._asleep:
                self.compositor.outputs.set_power(output, False)

    def _on_resumed(self, handle: int, a: int, b: int) -> None:
        self._wake()

    def _wake(self) -> None:
        asleep, self._asleep = self._asleep, None
        for output in asleep or ():
            if not self.compositor.outputs.set_power(output, True) and self.compositor.outputs.get(output):
                log.warning("output %x does not come on again as it was; configuring it anew", output)
                self.compositor.outputs.configure_new(output)

    def _arrange(self, handle: int) -> bool:
        """Arranges an output's layer surfaces; True when its usable area changed."""
        output = self.outputs.get(handle)
        if output is None or not self.layers.arrange_on(output):
            return False
        fresh = self.compositor.outputs.get(handle)
        if fresh is not None:
            self.outputs[handle] = fresh
        return True

    # ---- windows ----

    def _window_handler(self, name: str, arguments: Arguments) -> Callable[[int, int, int], None]:
        method = getattr(self.policy, name)

        def handler(handle: int, a: int, b: int) -> None:
            window = self.windows.get(handle)
            if window is not None and window.refresh():
                self.guard(name, lambda: method(window, *arguments(handle, a, b)))

        return handler

    def _plain_handler(self, name: str, arguments: Arguments) -> Callable[[int, int, int], None]:
        method = getattr(self.policy, name)

        def handler(handle: int, a: int, b: int) -> None:
            self.guard(name, lambda: method(*arguments(handle, a, b)))

        return handler

    def _on_window_new(self, handle: int, a: int, b: int) -> None:
        known = self.windows.get(handle) is not None
        window = self.windows.add(handle)
        if not window.refresh():
            if not known:
                self.windows.remove(handle)
            return
        if known and not window.waiting:
            return  # read anew already, after an overflow
        if not self.guard("on_window_new", lambda: self.policy.on_window_new(window)):
            window.configure()

    def _on_window_map(self, handle: int, a: int, b: int) -> None:
        window = self.windows.get(handle)
        if window is not None and window.refresh() and window.mapped and not window.told_mapped:
            window.told_mapped = True
            self.guard("on_window_map", lambda: self.policy.on_window_map(window))

    def _on_window_unmap(self, handle: int, a: int, b: int) -> None:
        window = self.windows.get(handle)
        if window is not None and window.told_mapped:
            window.refresh()
            window.told_mapped = False
            self.guard("on_window_unmap", lambda: self.policy.on_window_unmap(window))

    def _on_window_gone(self, handle: int, a: int, b: int) -> None:
        self._on_window_unmap(handle, 0, 0)
        window = self.windows.remove(handle)
        if window is not None:
            self.guard("on_window_gone", lambda: self.policy.on_window_gone(window))

    def _on_request_activate(self, handle: int, a: int, b: int) -> None:
        window = self.windows.get(handle)
        if window is not None and window.refresh():
            source = ACTIVATION_SOURCES[a]
            self.guard("on_window_request_activate", lambda: self.policy.on_window_request_activate(window, source))

    def _on_request_fullscreen(self, handle: int, a: int, b: int) -> None:
        window = self.windows.get(handle)
        if window is not None and window.refresh():
            self.guard(
                "on_window_request_fullscreen",
                lambda: self.policy.on_window_request_fullscreen(window, bool(a), self.outputs.get(b)),
            )

    def _on_request_place(self, handle: int, a: int, b: int) -> None:
        window = self.windows.get(handle)
        if window is not None and window.refresh():
            box = Box(a >> 32, _signed(a), b >> 32, b & 0xFFFFFFFF)
            self.guard("on_window_request_place", lambda: self.policy.on_window_request_place(window, box))

    # ---- layer surfaces ----

    def _on_layer_new(self, handle: int, a: int, b: int) -> None:
        layer = self.layers.add(handle)
        if not layer.refresh():
            self.layers.remove(handle)
            return
        self._arrange_for(layer)
        self.guard("on_layer_new", lambda: self.policy.on_layer_new(layer))

    def _on_layer_changed(self, handle: int, a: int, b: int) -> None:
        layer = self.layers.get(handle)
        if layer is not None and layer.refresh():
            self._arrange_for(layer)
            self.guard("on_layer_changed", lambda: self.policy.on_layer_changed(layer))

    def _on_layer_gone(self, handle: int, a: int, b: int) -> None:
        layer = self.layers.remove(handle)
        if layer is not None:
            self._arrange_for(layer)
            self.guard("on_layer_gone", lambda: self.policy.on_layer_gone(layer))

    def _on_layer_pressed(self, handle: int, a: int, b: int) -> None:
        layer = self.layers.get(handle)
        if layer is not None and layer.refresh():
            self.guard("on_layer_pressed", lambda: self.policy.on_layer_pressed(layer))

    def _arrange_for(self, layer: Layer) -> None:
        if self._arrange(layer.output_handle):
            output = self.outputs[layer.output_handle]
            self.guard("on_output_changed", lambda: self.policy.on_output_changed(output))

    # ---- the rest ----

    def _on_binding(self, handle: int, a: int, b: int) -> None:
        _, action = self.compositor.seat.binding(a)
        self.guard("on_binding", lambda: self.policy.on_binding(action))

    def _on_device_new(self, handle: int, a: int, b: int) -> None:
        self.compositor.inputs.configure_new(handle, self.outputs)
        self.guard("on_device_new", lambda: self.policy.on_device_new(handle, a, bool(b)))


def _signed(value: int) -> int:
    """The low 32 bits as a signed number."""
    low = value & 0xFFFFFFFF
    return low - (1 << 32) if low >= 1 << 31 else low
