"""A connection with flat-coloured surfaces on it: what the scenes of `gallery` are made of.

Everything runs on one thread, inside Shell.pump. pywayland prints and swallows what a handler raises; `listen`
keeps it instead, and the pump raises it. Proxies are destroyed when Python collects them, so the shell and its
elements hold every one that must live.
"""

from __future__ import annotations

import mmap
import os
import select
import time
from collections.abc import Callable
from typing import Any

from pywayland.client import Display
from pywayland.protocol.viewporter import WpViewporter
from pywayland.protocol.wayland import WlCompositor, WlSeat, WlShm, WlSubcompositor
from pywayland.protocol.xdg_decoration_unstable_v1 import ZxdgDecorationManagerV1
from pywayland.protocol.xdg_shell import XdgWmBase

from gallery_protocols import load_layer_shell


class MissingGlobal(Exception):
    """The compositor does not offer what the scene shows."""


class NotShown(Exception):
    """An element got no frame callback in time."""


class Stopped(Exception):
    """SIGTERM or SIGINT arrived."""


class Disconnected(Exception):
    """Protocol error, or the compositor closed the connection."""


class Element:
    """One surface of one colour. `x`, `y` are where it was asked for, relative to `parent` (an element's name)."""

    def __init__(self, shell: Shell, name: str, colour: int, width: int, height: int) -> None:
        self.shell = shell
        self.name = name
        self.colour = colour
        self.width, self.height = width, height
        self.parent: str | None = None
        self.x: int | None = None
        self.y: int | None = None
        self.extra: dict[str, Any] = {}
        self.shown = False
        self.surface = shell.compositor.create_surface()
        self.proxies: list[Any] = []  # the role objects; kept alive
        self._buffers: dict[tuple[int, int], Any] = {}
        self._callback: Any = None
        shell.elements.append(self)

    def paint(self, *, commit: bool = True) -> None:
        """Attaches the element's colour at its present size and asks for the frame callback that means shown."""
        size = (self.width, self.height)
        if size not in self._buffers:
            self._buffers[size] = self.shell.create_buffer(self.width, self.height, lambda x: self.colour)
        self.attach(self._buffers[size], self.width, self.height, commit=commit)

    def attach(self, buffer: Any, width: int, height: int, *, commit: bool = True) -> None:
        self.surface.attach(buffer, 0, 0)
        self.surface.damage_buffer(0, 0, width, height)
        if not self.shown:
            self._callback = self.surface.frame()
            self.shell.listen(self._callback, "done", self._on_frame_done)
        if commit:
            self.surface.commit()

    def _on_frame_done(self, callback: Any, time_ms: int) -> None:
        self.shown = True

    def describe(self) -> dict[str, Any]:
        """For the "ready" record."""
        return {
            "name": self.name,
            "color": f"{self.colour:06x}",
            "width": self.width,
            "height": self.height,
            "parent": self.parent,
            "x": self.x,
            "y": self.y,
            **self.extra,
        }


class Shell:
    """The connection, its globals, the event pump."""

    def __init__(self, wake_fd: int, timeout_s: float) -> None:
        """wake_fd becomes readable when a signal arrives; timeout_s bounds every wait for the compositor."""
        self.elements: list[Element] = []
        self.keep: list[Any] = []
        self.wake_fd = wake_fd
        self.timeout_s = timeout_s
        self._failure: BaseException | None = None
        self._offered: dict[str, tuple[int, int]] = {}
        self.display = Display()
        self.display.connect()  # ValueError when there is no compositor
        self._registry = self.display.get_registry()
        self.listen(self._registry, "global", self._on_global)

    def start(self) -> None:
        """Binds what every scene needs; raises MissingGlobal."""
        self.roundtrip()
        self.compositor = self.bind(WlCompositor, 4)
        self.shm = self.bind(WlShm, 1)
        self.wm_base = self.bind(XdgWmBase, 2)
        self.listen(self.wm_base, "ping", lambda wm_base, serial: wm_base.pong(serial))

    def close(self) -> None:
        """Ends the connection; without it pywayland's proxies outlive the display at exit and crash."""
        self.display.disconnect()

    def _on_global(self, registry: Any, name: int, interface: str, version: int) -> None:
        self._offered.setdefault(interface, (name, version))

    def bind(self, interface: Any, version: int) -> Any:
        """Binds the first global of an interface; raises MissingGlobal."""
        if interface.name not in self._offered:
            raise MissingGlobal(interface.name)
        name, offered = self._offered[interface.name]
        proxy = self._registry.bind(name, interface, min(version, offered))
        self.keep.append(proxy)
        return proxy

    def bind_subcompositor(self) -> Any:
        return self.bind(WlSubcompositor, 1)

    def bind_viewporter(self) -> Any:
        return self.bind(WpViewporter, 1)

    def bind_decoration_manager(self) -> Any:
        return self.bind(ZxdgDecorationManagerV1, 1)

    def bind_layer_shell(self) -> Any:
        return self.bind(load_layer_shell().ZwlrLayerShellV1, 4)

    def bind_seat(self) -> Any:
        return self.bind(WlSeat, 5)

    def listen(self, proxy: Any, event: str, handler: Callable[..., None]) -> None:
        def keep_failure(*arguments: Any) -> None:
            try:
                handler(*arguments)
            except BaseException as failure:
                self._failure = self._failure or failure

        proxy.dispatcher[event] = keep_failure

    def create_buffer(self, width: int, height: int, colour_of_column: Callable[[int], int]) -> Any:
        """An XRGB8888 wl_buffer whose columns have the colours (0xRRGGBB) that the function gives."""
        row = b"".join(colour_of_column(x).to_bytes(4, "little") for x in range(width))
        fd = os.memfd_create("gallery", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, len(row) * height)
            with mmap.mmap(fd, len(row) * height) as memory:
                memory.write(row * height)
            pool = self.shm.create_pool(fd, len(row) * height)
            buffer = pool.create_buffer(0, width, height, width * 4, WlShm.format.xrgb8888.value)
            self.display.flush()  # the fd must be sent before it is closed
            pool.destroy()
        finally:
            os.close(fd)
        self.keep.append(buffer)
        return buffer

    def pump(self, deadline_s: float | None) -> None:
        """Waits for events until the deadline (time.monotonic; None: for ever) and dispatches them."""
        try:
            self.display.dispatch(block=False)
            self.display.flush()
            left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            readable, _, _ = select.select([self.display.get_fd(), self.wake_fd], [], [], left_s)
            if self.wake_fd in readable:
                raise Stopped
            if readable:
                self.display.dispatch(block=True)
        except (RuntimeError, ValueError) as failure:  # pywayland's own for a broken connection
            raise Disconnected(str(failure)) from failure
        if self._failure is not None:
            raise self._failure

    def roundtrip(self) -> None:
        if self.display.roundtrip() < 0:
            raise Disconnected("round trip failed")
        if self._failure is not None:
            raise self._failure

    def wait_until(self, done: Callable[[], bool], missing: Callable[[], str]) -> None:
        """Pumps until done(); raises NotShown with what is missing after timeout_s."""
        deadline_s = time.monotonic() + self.timeout_s
        while not done():
            if time.monotonic() >= deadline_s:
                raise NotShown(missing())
            self.pump(deadline_s)

    def wait_until_shown(self) -> None:
        self.wait_until(
            lambda: all(element.shown for element in self.elements),
            lambda: ", ".join(element.name for element in self.elements if not element.shown),
        )
