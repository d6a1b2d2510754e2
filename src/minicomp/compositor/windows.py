"""Windows as the policy sees them: what is known of each, and verbs to act on it.

A window may die at any moment, also between an event and the verb that it leads to. So a verb returns False when its
window is gone, or is not mapped any more where that matters; the policy hears of it by an event soon, and need not
check. Any other refusal is a mistake in the caller and raises ValueError.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from minicomp.compositor.geometry import Box

if TYPE_CHECKING:
    from minicomp.compositor.server import Compositor

_MAXIMIZED, _FULLSCREEN, _TILED_SHIFT = 1, 2, 4  # enum mc_window_state
_GONE = (-errno.ENOENT, -errno.EAGAIN)
_LIST_MAX = 4096


def done(result: int) -> bool:
    """A verb's result as a bool: False when its object is gone. Raises ValueError for a mistake."""
    if result in _GONE:
        return False
    if result < 0:
        raise ValueError(os.strerror(-result))
    return True


def text_of(ffi: Any, array: Any) -> str:
    """A char array of a verb's answer; it may be cut in the middle of a character."""
    data: bytes = ffi.string(array)
    return data.decode("utf-8", "ignore")


class Window:
    """One window, an xdg toplevel or an X11 window. Identity is the object: the same window is the same object.

    The attributes are a snapshot: the dispatcher refreshes it before each callback about this window. Sizes and places
    are of the window geometry (without shadows), in layout coordinates.
    """

    def __init__(self, compositor: Compositor, handle: int, windows: Windows) -> None:
        self.handle = handle
        self._compositor = compositor
        self._lib = compositor.lib
        self._server = compositor.server
        self._windows = windows
        self.told_mapped = False  # the policy was told of its map and not of an unmap since; the dispatcher's
        self.is_x11 = False
        self.pid = 0
        self.client = 0  # handle of its client
        self.title = ""
        self.app_id = ""
        self.parent_handle = 0
        self.geometry = Box(0, 0, 0, 0)
        self.min_size = (0, 0)  # 0: no limit
        self.max_size = (0, 0)
        self.waiting = False  # its initial commit waits for configure()
        self.mapped = False
        self.shown = False
        self.activated = False
        self.maximized = False
        self.fullscreen = False
        self.minimized = False

    def __repr__(self) -> str:
        return f"<Window {self.handle:#x} {self.app_id!r} {self.title!r}>"

    @property
    def parent(self) -> Window | None:
        return self._windows.get(self.parent_handle)

    @property
    def children(self) -> list[Window]:
        return [window for window in self._windows if window.parent_handle == self.handle]

    @property
    def is_dialog(self) -> bool:
        """It belongs to another window, or cannot be resized."""
        return self.parent_handle != 0 or (self.min_size == self.max_size and min(self.min_size) > 0)

    def refresh(self) -> bool:
        """Reads the window's state anew. False when it is gone; the last state is kept then."""
        info = self._compositor.ffi.new("struct mc_window_info *")
        if not done(self._lib.mc_window_get_info(self._server, self.handle, info)):
            return False
        ffi = self._compositor.ffi
        self.is_x11 = info.kind == self._lib.MC_WINDOW_X11
        self.pid = info.pid
        self.client = info.client
        self.title = text_of(ffi, info.title)
        self.app_id = text_of(ffi, info.app_id)
        self.parent_handle = info.parent
        self.geometry = Box(info.x, info.y, info.width, info.height)
        self.min_size = (info.min_width, info.min_height)
        self.max_size = (info.max_width, info.max_height)
        self.waiting = info.waiting
        self.mapped = info.mapped
        self.shown = info.shown
        self.activated = info.activated
        self.minimized = info.minimized
        self.maximized = bool(info.states & _MAXIMIZED)
        self.fullscreen = bool(info.states & _FULLSCREEN)
        return True

    # ---- verbs ----

    def configure(
        self, width: int = 0, height: int = 0, *, maximized: bool = False, fullscreen: bool = False, tiled: int = 0
    ) -> bool:
        """Tells the client its size (0: its own choice) and states. tiled: wlr_edges bits, top 1, bottom 2, left 4,
        right 8. A new window waits for this before it can draw anything."""
        states = (_MAXIMIZED if maximized else 0) | (_FULLSCREEN if fullscreen else 0) | tiled << _TILED_SHIFT
        self.maximized, self.fullscreen = maximized, fullscreen
        return done(self._lib.mc_window_configure(self._server, self.handle, max(0, width), max(0, height), states))

    def show(self) -> bool:
        """A mapped window is hidden until it is shown, and again after each unmap."""
        return done(self._lib.mc_window_show(self._server, self.handle))

    def hide(self) -> bool:
        return done(self._lib.mc_window_hide(self._server, self.handle))

    def place(self, x: int, y: int) -> bool:
        """Puts the top-left corner there."""
        self.geometry = self.geometry._replace(x=x, y=y)
        return done(self._lib.mc_window_place_at(self._server, self.handle, x, y))

    def raise_to_top(self) -> bool:
        return done(self._lib.mc_window_raise(self._server, self.handle))

    def lower_to_bottom(self) -> bool:
        return done(self._lib.mc_window_lower(self._server, self.handle))

    def raise_above(self, sibling: Window) -> bool:
        """Just above another window that is over, or under, panels like this one; ValueError otherwise."""
        return done(self._lib.mc_window_raise_above(self._server, self.handle, sibling.handle))

    def set_over_panels(self, over: bool) -> bool:
        """Over the layer-shell's top layer (for full-screen windows), or under it."""
        level = self._lib.MC_WINDOW_LEVEL_FULLSCREEN if over else self._lib.MC_WINDOW_LEVEL_NORMAL
        return done(self._lib.mc_window_set_level(self._server, self.handle, level))

    def focus(self) -> bool:
        """Keyboard focus; the window is told that it is the active one, and whoever was, that it is not."""
        return done(self._lib.mc_seat_focus_window(self._server, self.handle))

    def set_minimized(self, minimized: bool) -> bool:
        """What taskbars and X11 see. Hiding or showing it is another verb."""
        self.minimized = minimized
        return done(self._lib.mc_window_set_minimized(self._server, self.handle, minimized))

    def close(self) -> bool:
        """Asks it to close."""
        return done(self._lib.mc_window_close(self._server, self.handle))

    def kill_client(self) -> bool:
        """Disconnects its client, with all windows of it. ValueError for X11 windows."""
        return done(self._lib.mc_window_kill_client(self._server, self.handle))

    def begin_move(self) -> bool:
        """Lets the held pointer button (or finger) drag it. False when nothing is held any more."""
        return bool(self._lib.mc_seat_begin_move(self._server, self.handle) == 0)

    def begin_resize(self, edges: int) -> bool:
        """Likewise by its edges (wlr_edges bits)."""
        return bool(self._lib.mc_seat_begin_resize(self._server, self.handle, edges) == 0)


class Windows:
    """The windows that the policy knows, oldest first."""

    def __init__(self, compositor: Compositor) -> None:
        self._compositor = compositor
        self._windows: dict[int, Window] = {}

    def get(self, handle: int) -> Window | None:
        return self._windows.get(handle)

    def __iter__(self) -> Iterator[Window]:
        return iter(list(self._windows.values()))

    def __len__(self) -> int:
        return len(self._windows)

    def add(self, handle: int) -> Window:
        """The window with this handle, made known if it is not."""
        window = self._windows.get(handle)
        if window is None:
            window = self._windows[handle] = Window(self._compositor, handle, self)
        return window

    def remove(self, handle: int) -> Window | None:
        return self._windows.pop(handle, None)

    def native_handles(self) -> list[int]:
        """What exists natively now, oldest first: for reading everything anew."""
        handles = self._compositor.ffi.new("uint64_t[]", _LIST_MAX)
        count = self._compositor.lib.mc_windows_list(self._compositor.server, handles, _LIST_MAX)
        return list(handles[0 : min(count, _LIST_MAX)])[::-1]
