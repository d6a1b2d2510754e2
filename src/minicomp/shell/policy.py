"""What a policy is: a class with a method for everything that happens, and how its name becomes that class.

A policy decides which window goes where, what has the keyboard, and what is granted to whom. It runs on a thread of its
own: frames and input never wait for it, and it acts by verbs (methods of Window, Layer and this class) that may come
late. docs/policies.md shows how to write one.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from minicomp.compositor.geometry import Box
from minicomp.errors import ConfigError

if TYPE_CHECKING:
    from minicomp.compositor.dispatch import Dispatcher
    from minicomp.compositor.layers import Layer
    from minicomp.compositor.outputs import Output
    from minicomp.compositor.server import Compositor
    from minicomp.compositor.windows import Window

log = logging.getLogger("minicomp.policy")

BUILT_IN = {"kiosk": "minicomp.shell.kiosk:Kiosk", "stacking": "minicomp.shell.stacking:Stacking"}


class Policy:
    """Base class. Every hook has a default that keeps clients alive; override what you care about.

    A hook that raises is logged and counted, nothing else happens. Windows and layer surfaces passed in were read anew
    just before the call.
    """

    OPTIONS: ClassVar[Mapping[str, type]] = {}
    """The keys of [policy.options] that the class knows, and their types."""

    CLIENT_SIDE_DECORATIONS: ClassVar[bool] = False
    """Clients draw title bars; otherwise there are none, as minicomp draws no decorations."""

    def __init__(self, compositor: Compositor, options: Mapping[str, Any]) -> None:
        """Raises ConfigError for an unknown option, or one of the wrong type. No verbs here: see on_start."""
        self.compositor = compositor
        self.options = options
        self._dispatcher: Dispatcher | None = None
        for name, value in options.items():
            expected = self.OPTIONS.get(name)
            if expected is None:
                known = ", ".join(sorted(self.OPTIONS)) or "none"
                raise ConfigError(f'unknown option "{name}"', where="policy.options", todo=f"known options: {known}")
            if not isinstance(value, expected):
                raise ConfigError(f"must be a {expected.__name__}", where=f"policy.options.{name}")

    def attach(self, dispatcher: Dispatcher) -> None:
        """Called once by the dispatcher, before on_start."""
        self._dispatcher = dispatcher
        self.windows = dispatcher.windows  # all windows, oldest first
        self.layers = dispatcher.layers  # all layer surfaces, oldest first

    # ---- what a policy may use, besides the verbs of windows and layer surfaces ----

    @property
    def outputs(self) -> list[Output]:
        """The outputs that are on, in the order they came."""
        assert self._dispatcher is not None
        return list(self._dispatcher.outputs.values())

    def output_of(self, window: Window) -> Output | None:
        """The output that shows most of the window; otherwise the first one; None when all are off."""
        outputs = self.outputs
        best = max(outputs, key=lambda output: Box(*output.box).overlap(window.geometry), default=None)
        if best is None or Box(*best.box).overlap(window.geometry) == 0:
            return self.output_at_pointer()
        return best

    def output_at_pointer(self) -> Output | None:
        """The output under the pointer; otherwise the first one; None when all are off."""
        info = self.compositor.ffi.new("struct mc_pointer_info *")
        self.compositor.lib.mc_seat_get_pointer(self.compositor.server, info)
        pointer = Box(int(info.lx), int(info.ly), 1, 1)
        outputs = self.outputs
        return next((output for output in outputs if Box(*output.box).contains(pointer)), None) or (
            outputs[0] if outputs else None
        )

    def focused_window(self) -> Window | None:
        """The window with the keyboard, if it is a window."""
        handle = self.compositor.lib.mc_seat_focused(self.compositor.server)
        return self.windows.get(handle)

    def refocus(self) -> None:
        """Gives the keyboard to whom it belongs now: a layer surface that demands it, else focus_candidate()."""
        layer = self.layers.with_keyboard()
        if layer is not None and layer.focus():
            return
        window = self.focus_candidate()
        if window is None or not window.focus():
            self.compositor.lib.mc_seat_focus_none(self.compositor.server)

    def spawn(self, command: str) -> None:
        """Starts a program; the command line is split as a shell would, but no shell runs."""
        self.compositor.spawn(shlex.split(command))

    def quit(self) -> None:
        """Ends the compositor."""
        assert self._dispatcher is not None
        self._dispatcher.request_stop()

    # ---- hooks: life ----

    def on_start(self) -> None:
        """Before the first event. The default applies CLIENT_SIDE_DECORATIONS."""
        self.compositor.lib.mc_decoration_set_server_side(self.compositor.server, not self.CLIENT_SIDE_DECORATIONS)

    def focus_candidate(self) -> Window | None:
        """Which window should have the keyboard when no layer surface demands it."""
        return None

    # ---- hooks: outputs ----

    def on_output_new(self, output: Output) -> None:
        """An output is on: it was plugged in, or switched on."""

    def on_output_gone(self, output: Output) -> None:
        """An output is off or unplugged; `output` is as it was last."""

    def on_output_changed(self, output: Output) -> None:
        """Its size, scale, transform or place, or the area that panels leave (`output.usable`), is different."""

    # ---- hooks: windows ----

    def on_window_new(self, window: Window) -> None:
        """A client wants a window. It draws nothing before window.configure(). Again when it comes back after an
        unmap. Title, app_id and parent are known if the client set them."""
        window.configure()

    def on_window_map(self, window: Window) -> None:
        """It has content now, and is hidden until window.show()."""
        window.show()

    def on_window_unmap(self, window: Window) -> None:
        """Its content is gone; it is hidden and has lost focus and grabs already."""

    def on_window_gone(self, window: Window) -> None:
        """It is dead: forget it. on_window_unmap came before, if it was mapped."""

    def on_window_title(self, window: Window) -> None:
        """Its title is different."""

    def on_window_app_id(self, window: Window) -> None:
        """Its app_id (X11: class) is different."""

    def on_window_parent(self, window: Window) -> None:
        """Its parent is different. Clients can make circles of parents."""

    def on_window_resized(self, window: Window) -> None:
        """The client committed another size."""

    def on_window_pressed(self, window: Window) -> None:
        """A button or finger went down on it or on a popup of it. The client gets the event too."""

    def on_window_request_activate(self, window: Window, source: str) -> None:
        """Somebody wants it active: "taskbar", "token" (it proved to be started by the user), or "x11"."""

    def on_window_request_fullscreen(self, window: Window, on: bool, output: Output | None) -> None:
        """Answer with window.configure(), also to refuse."""

    def on_window_request_maximize(self, window: Window, on: bool) -> None:
        """Answer with window.configure(), also to refuse."""

    def on_window_request_minimize(self, window: Window, on: bool) -> None:
        """on is False only from taskbars and X11."""

    def on_window_request_move(self, window: Window) -> None:
        """The user drags its title bar: window.begin_move() lets the pointer move it."""

    def on_window_request_resize(self, window: Window, edges: int) -> None:
        """The user drags its border: window.begin_resize(edges)."""

    def on_window_request_menu(self, window: Window, x: int, y: int) -> None:
        """The window menu is wanted at a place in the window's surface."""

    def on_window_request_close(self, window: Window) -> None:
        """A taskbar wants it closed."""
        window.close()

    def on_window_request_place(self, window: Window, box: Box) -> None:
        """An X11 window wants this place and size; it waits for an answer by place() or configure()."""
        window.place(window.geometry.x, window.geometry.y)

    def on_grab_end(self, window: Window) -> None:
        """An interactive move or resize is over."""

    # ---- hooks: layer surfaces (arranged already) ----

    def on_layer_new(self, layer: Layer) -> None:
        """A panel, background, lock screen or keyboard appears."""

    def on_layer_changed(self, layer: Layer) -> None:
        """It was mapped or unmapped, or asks for something else."""
        self.refocus()

    def on_layer_gone(self, layer: Layer) -> None:
        """It is dead."""
        self.refocus()

    def on_layer_pressed(self, layer: Layer) -> None:
        """A button or finger went down on it."""
        if layer.wish.keyboard and self.layers.with_keyboard() is None:
            layer.focus()

    # ---- hooks: the rest ----

    def on_binding(self, action: str) -> None:
        """A key binding of the configuration. The default knows "quit", "close" and "spawn:COMMAND"."""
        name, _, argument = action.partition(":")
        if name == "quit":
            self.quit()
        elif name == "spawn" and argument:
            self.spawn(argument)
        elif name == "close":
            window = self.focused_window()
            if window is not None:
                window.close()
        else:
            log.warning('the policy %s has no action "%s" ([[binding]])', type(self).__name__, action)

    def on_device_new(self, handle: int, kind: int, virtual: bool) -> None:
        """An input device; kind is enum wlr_input_device_type."""

    def on_device_gone(self, handle: int) -> None:
        """It was unplugged."""

    def on_client_new(self, handle: int, pid: int) -> None:
        """A client connected."""

    def on_client_gone(self, handle: int, pid: int) -> None:
        """A client disconnected."""

    def on_inhibitors(self, count: int) -> None:
        """How many visible surfaces keep the screen from going idle."""

    def on_xwayland_ready(self) -> None:
        """X11 programs can connect."""


def load_policy(name: str) -> type[Policy]:
    """The class for a policy's name: "kiosk", "stacking" or "package.module:Class". Raises ConfigError."""
    path = BUILT_IN.get(name, name)
    module_name, _, class_name = path.partition(":")
    if not class_name:
        raise ConfigError(
            f'there is no policy "{name}"',
            where="policy.name",
            todo='use "kiosk", "stacking", or your own as "package.module:Class"',
        )
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # the module is there, something that it imports is not
        raise ConfigError(
            f'the module "{module_name}" of policy "{name}" is not found',
            where="policy.name",
            todo="is its folder in PYTHONPATH?",
        ) from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, Policy):
        what = "has no class" if found is None else "is not a minicomp.shell.policy.Policy:"
        raise ConfigError(f'the module "{module_name}" {what} "{class_name}"', where="policy.name")
    return found
