"""The stacking policy: windows that overlap, are moved and resized with the mouse, raised and focused by a click.

Actions for key bindings: "focus-next", "focus-previous", "close", "fullscreen", "maximize", "minimize", "quit",
"spawn:COMMAND".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from minicomp.compositor.geometry import Box
from minicomp.shell.policy import Policy

if TYPE_CHECKING:
    from minicomp.compositor.outputs import Output
    from minicomp.compositor.server import Compositor
    from minicomp.compositor.windows import Window

CASCADE_STEP = 32  # layout units from one new window to the next
CASCADE_COUNT = 8  # then it starts again


class Stacking(Policy):
    CLIENT_SIDE_DECORATIONS: ClassVar[bool] = True

    def __init__(self, compositor: Compositor, options: Mapping[str, Any]) -> None:
        super().__init__(compositor, options)
        self._recent: list[Window] = []  # mapped windows, the last one used last
        self._restore: dict[Window, Box] = {}  # where maximized and full-screen windows go back to
        self._wants: dict[Window, tuple[bool, bool]] = {}  # asked for before the map: maximized, full screen
        self._placed = 0  # windows placed by cascade so far

    # ---- new windows ----

    def on_window_new(self, window: Window) -> None:
        window.configure()  # its own size; requests that it made before come as events next

    def on_window_map(self, window: Window) -> None:
        self._recent.append(window)
        output = self.output_of(window.parent) if window.parent is not None else self.output_at_pointer()
        if output is not None:
            self._place_new(window, Box(*output.usable))
        maximized, fullscreen = self._wants.pop(window, (False, False))
        if maximized or fullscreen:
            self._set_state(window, maximized, fullscreen)
        window.show()
        self._activate(window)

    def _place_new(self, window: Window, area: Box) -> None:
        """Dialogs over their parent, others by cascade; never larger than the area."""
        width, height = min(window.geometry.width, area.width), min(window.geometry.height, area.height)
        if (width, height) != window.geometry[2:]:
            window.configure(width, height)
        parent = window.parent
        if parent is not None and parent.mapped:
            box = parent.geometry.centred(width, height)
        elif window.is_dialog:
            box = area.centred(width, height)
        else:
            offset = CASCADE_STEP * (self._placed % CASCADE_COUNT)
            self._placed += 1
            box = Box(area.x + offset, area.y + offset, width, height)
        box = area.clamp(box)
        window.place(box.x, box.y)

    def on_window_unmap(self, window: Window) -> None:
        self._recent.remove(window)
        self._restore.pop(window, None)
        self.refocus()

    def on_window_gone(self, window: Window) -> None:
        self._wants.pop(window, None)

    # ---- focus and order ----

    def focus_candidate(self) -> Window | None:
        return next((window for window in reversed(self._recent) if not window.minimized), None)

    def _activate(self, window: Window) -> None:
        """Shows, raises and focuses a window and its dialogs."""
        if window not in self._recent:
            return
        if window.minimized:
            window.set_minimized(False)
            window.show()
        self._recent.remove(window)
        self._recent.append(window)
        family = [window]
        for member in self._recent:
            if member not in family and member.parent in family and not member.minimized:
                family.append(member)
        for other in self._recent:
            # A full-screen window covers panels only while it is the one in use.
            other.set_over_panels(other in family and self._covers_panels(other, family))
        for member in family:
            member.raise_to_top()
        self.refocus()

    @staticmethod
    def _covers_panels(window: Window, family: list[Window]) -> bool:
        return window.fullscreen or (window is not family[0] and family[0].fullscreen)

    def _step_focus(self, step: int) -> None:
        windows = [window for window in self.windows if window in self._recent]
        if windows:
            current = self.focused_window()
            index = windows.index(current) + step if current in windows else 0
            self._activate(windows[index % len(windows)])

    def on_window_pressed(self, window: Window) -> None:
        if not self._recent or self._recent[-1] is not window or not window.activated:
            self._activate(window)

    def on_window_request_activate(self, window: Window, source: str) -> None:
        self._activate(window)

    # ---- states ----

    def _set_state(self, window: Window, maximized: bool, fullscreen: bool, output: Output | None = None) -> None:
        if not window.mapped:
            self._wants[window] = (maximized, fullscreen)
            window.configure(maximized=maximized, fullscreen=fullscreen)
            return
        output = output or self.output_of(window)
        if output is None:
            return
        if not (window.maximized or window.fullscreen):
            self._restore[window] = window.geometry
        if fullscreen:
            box = Box(*output.box)
        elif maximized:
            box = Box(*output.usable)
        else:
            box = Box(*output.usable).clamp(self._restore.pop(window, window.geometry))
        window.configure(box.width, box.height, maximized=maximized, fullscreen=fullscreen)
        window.place(box.x, box.y)
        if fullscreen or window is self.focused_window():
            self._activate(window)

    def on_window_request_maximize(self, window: Window, on: bool) -> None:
        self._set_state(window, on, window.fullscreen)

    def on_window_request_fullscreen(self, window: Window, on: bool, output: Output | None) -> None:
        self._set_state(window, window.maximized, on, output)

    def on_window_request_minimize(self, window: Window, on: bool) -> None:
        if not on:
            self._activate(window)
        elif window in self._recent:
            window.set_minimized(True)
            window.hide()
            self.refocus()

    # ---- by hand ----

    def on_window_request_move(self, window: Window) -> None:
        if not (window.maximized or window.fullscreen):
            window.begin_move()

    def on_window_request_resize(self, window: Window, edges: int) -> None:
        if not (window.maximized or window.fullscreen):
            window.begin_resize(edges)

    def on_window_request_place(self, window: Window, box: Box) -> None:
        if window.maximized or window.fullscreen:
            super().on_window_request_place(window, box)
        else:
            window.configure(box.width, box.height)
            window.place(box.x, box.y)

    # ---- outputs ----

    def _fit_all(self) -> None:
        """Maximized windows fill what there is now; others come back into view."""
        for window in self._recent:
            window.refresh()
            output = self.output_of(window)
            if output is None:
                return
            if window.maximized or window.fullscreen:
                self._set_state(window, window.maximized, window.fullscreen, output)
            elif not Box(*output.usable).overlap(window.geometry):
                box = Box(*output.usable).clamp(window.geometry)
                window.place(box.x, box.y)

    def on_output_new(self, output: Output) -> None:
        self._fit_all()

    def on_output_gone(self, output: Output) -> None:
        self._fit_all()

    def on_output_changed(self, output: Output) -> None:
        self._fit_all()

    # ---- keys ----

    def on_binding(self, action: str) -> None:
        window = self.focused_window()
        if action == "focus-next":
            self._step_focus(1)
        elif action == "focus-previous":
            self._step_focus(-1)
        elif action == "fullscreen" and window is not None:
            self._set_state(window, window.maximized, not window.fullscreen)
        elif action == "maximize" and window is not None:
            self._set_state(window, not window.maximized, window.fullscreen)
        elif action == "minimize" and window is not None:
            self.on_window_request_minimize(window, True)
        elif action not in ("fullscreen", "maximize", "minimize"):
            super().on_binding(action)
