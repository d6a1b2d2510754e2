"""A small Wayland client for tests, on its own connection in the test's process.

Built on pywayland's client side. Every call returns; `roundtrip()` is the way to know that the compositor has handled
what was sent. Not for measuring: it is Python.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pywayland.client import Display
from pywayland.protocol.presentation_time import WpPresentation
from pywayland.protocol.viewporter import WpViewporter
from pywayland.protocol.wayland import WlCompositor, WlDataDeviceManager, WlOutput, WlSeat, WlShm, WlSubcompositor
from pywayland.protocol.xdg_shell import XdgWmBase

XRGB8888 = 1
_INTERFACES = {
    interface.name: interface
    for interface in (
        WlCompositor,
        WlSubcompositor,
        WlShm,
        WlSeat,
        WlOutput,
        WlDataDeviceManager,
        XdgWmBase,
        WpPresentation,
        WpViewporter,
    )
}


@dataclass
class Presented:
    """One wp_presentation feedback. Times in ns; `discarded` leaves the rest 0."""

    commit: int
    time_ns: int = 0
    refresh_ns: int = 0
    seq: int = 0
    flags: int = 0
    discarded: bool = False


class Client:
    """A connection. `globals` maps interface name to (id, version); the usual ones are bound."""

    def __init__(self, socket: str) -> None:
        self.display = Display(socket)
        self.display.connect()
        self.globals: dict[str, tuple[int, int]] = {}
        self.outputs: list[Any] = []
        self.bound: dict[str, Any] = {}
        self.capabilities = 0
        self.fd = self.display.get_fd()
        self._buffers: list[mmap.mmap] = []
        self.registry = self.display.get_registry()
        self.registry.dispatcher["global"] = self._on_global
        self.roundtrip()
        self.roundtrip()

    def _on_global(self, registry: Any, name: int, interface: str, version: int) -> None:
        self.globals[interface] = (name, version)
        known = _INTERFACES.get(interface)
        if known is None:
            return
        proxy = registry.bind(name, known, min(version, known.version))
        if interface == "wl_output":
            self.outputs.append(proxy)
            return
        self.bound[interface] = proxy
        if interface == "xdg_wm_base":
            proxy.dispatcher["ping"] = lambda shell, serial: shell.pong(serial)
        elif interface == "wl_seat":
            proxy.dispatcher["capabilities"] = self._on_capabilities

    def _on_capabilities(self, seat: Any, capabilities: int) -> None:
        self.capabilities = capabilities

    def bind(self, interface: Any) -> Any:
        name, version = self.globals[interface.name]
        return self.registry.bind(name, interface, min(version, interface.version))

    def roundtrip(self) -> None:
        """Raises RuntimeError when the connection is gone (a protocol error, or the compositor disconnected us)."""
        if self.display.roundtrip() < 0:
            raise RuntimeError("disconnected")

    def buffer(self, width: int, height: int, colour: int) -> Any:
        """A wl_buffer of one colour (0xRRGGBB)."""
        size = width * height * 4
        fd = os.memfd_create("test-buffer", os.MFD_CLOEXEC)
        os.ftruncate(fd, size)
        memory = mmap.mmap(fd, size)
        memory[:] = (colour | 0xFF000000).to_bytes(4, "little") * (width * height)
        self._buffers.append(memory)
        pool = self.bound["wl_shm"].create_pool(fd, size)
        buffer = pool.create_buffer(0, width, height, width * 4, XRGB8888)
        pool.destroy()
        os.close(fd)
        return buffer

    def close(self) -> None:
        # pywayland would destroy every object with a request of its own, in no particular order, which xdg-shell calls
        # an error. The compositor takes them all when the connection ends.
        for proxy in list(self.display._children):
            proxy._destroy()
        self.display.disconnect()
        for memory in self._buffers:
            memory.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass
class Window:
    """An xdg toplevel. `configures` holds (width, height, states) as they were acknowledged."""

    client: Client
    title: str = "test"
    app_id: str = "test"
    configures: list[tuple[int, int, list[int]]] = field(default_factory=list)
    presented: list[Presented] = field(default_factory=list)
    callbacks: list[int] = field(default_factory=list)
    commits: int = 0
    closed: bool = False
    released: int = 0

    def __post_init__(self) -> None:
        self.surface = self.client.bound["wl_compositor"].create_surface()
        self.xdg_surface = self.client.bound["xdg_wm_base"].get_xdg_surface(self.surface)
        self.xdg_surface.dispatcher["configure"] = self._on_configure
        self.toplevel = self.xdg_surface.get_toplevel()
        self.toplevel.dispatcher["configure"] = self._on_toplevel_configure
        self.toplevel.dispatcher["close"] = self._on_close
        self.toplevel.set_title(self.title)
        self.toplevel.set_app_id(self.app_id)
        self._pending: tuple[int, int, list[int]] = (0, 0, [])
        self._kept: list[Any] = []

    def _on_toplevel_configure(self, toplevel: Any, width: int, height: int, states: Any) -> None:
        data = bytes(states) if not isinstance(states, list) else b"".join(s.to_bytes(4, "little") for s in states)
        self._pending = (width, height, [data[i] for i in range(0, len(data), 4)])

    def _on_configure(self, surface: Any, serial: int) -> None:
        surface.ack_configure(serial)
        self.configures.append(self._pending)

    def _on_close(self, toplevel: Any) -> None:
        self.closed = True

    def initial_commit(self, wait: Callable[[Callable[[], Any], str], Any]) -> tuple[int, int]:
        """Commits without a buffer and waits for the configure; the size it asks for (0 is our choice)."""
        self.surface.commit()

        def configured() -> bool:
            self.client.roundtrip()
            return bool(self.configures)

        wait(configured, "the initial configure")
        width, height, _ = self.configures[-1]
        return width, height

    def commit(
        self, width: int, height: int, colour: int, *, damage: bool = True, callback: bool = True, feedback: bool = True
    ) -> int:
        """Attaches a one-colour buffer and commits; the commit's number, from 1. Does not wait."""
        buffer = self.client.buffer(width, height, colour)
        buffer.dispatcher["release"] = self._on_release
        self._kept.append(buffer)
        self.surface.attach(buffer, 0, 0)
        if damage:
            self.surface.damage_buffer(0, 0, width, height)
        return self.commit_only(callback=callback, feedback=feedback)

    def commit_only(self, *, callback: bool = True, feedback: bool = True) -> int:
        """Commits without a new buffer."""
        self.commits += 1
        number = self.commits
        if callback:
            frame = self.surface.frame()
            frame.dispatcher["done"] = lambda _, time_ms: self.callbacks.append(time_ms)
            self._kept.append(frame)
        if feedback and "wp_presentation" in self.client.bound:
            self._ask_feedback(number)
        self.surface.commit()
        return number

    def _ask_feedback(self, number: int) -> None:
        answer = self.client.bound["wp_presentation"].feedback(self.surface)
        self._kept.append(answer)

        def on_presented(
            _: Any, sec_hi: int, sec_lo: int, nsec: int, refresh: int, seq_hi: int, seq_lo: int, flags: int
        ) -> None:
            time_ns = ((sec_hi << 32) + sec_lo) * 1_000_000_000 + nsec
            self.presented.append(Presented(number, time_ns, refresh, (seq_hi << 32) + seq_lo, flags))

        answer.dispatcher["presented"] = on_presented
        answer.dispatcher["discarded"] = lambda _: self.presented.append(Presented(number, discarded=True))

    def _on_release(self, buffer: Any) -> None:
        self.released += 1
