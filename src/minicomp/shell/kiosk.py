"""The kiosk: every application fills its output, dialogs are centred over it, and nothing can be minimised away.

Options (`[policy.options]`): `outputs` maps app_ids to output names, `state` is "fullscreen" (default) or "maximized":
what applications are told that they are. Both fill the area that panels and on-screen keyboards leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from minicomp.compositor.geometry import Box
from minicomp.errors import ConfigError
from minicomp.shell.policy import Policy

if TYPE_CHECKING:
    from minicomp.compositor.outputs import Output
    from minicomp.compositor.server import Compositor
    from minicomp.compositor.windows import Window


class Kiosk(Policy):
    OPTIONS: ClassVar[Mapping[str, type]] = {"outputs": dict, "state": str}

    def __init__(self, compositor: Compositor, options: Mapping[str, Any]) -> None:
        super().__init__(compositor, options)
        self._fullscreen_first = options.get("state", "fullscreen") == "fullscreen"
        if options.get("state", "fullscreen") not in ("fullscreen", "maximized"):
            raise ConfigError('must be "fullscreen" or "maximized"', where="policy.options.state")
        self._output_names: dict[str, str] = options.get("outputs", {})
        self._mapped: list[Window] = []  # the most recent one last
        self._homes: dict[Window, str] = {}  # names of the outputs that windows started on
        self._own_choice: dict[Window, bool] = {}  # windows that asked to be full screen, or not to be

    # ---- where windows go ----

    def _output_for(self, window: Window) -> Output | None:
        """The output by app_id, its parent's, or the one it started on; another one while that is off."""
        outputs = {output.name: output for output in self.outputs}
        parent = window.parent
        name = self._output_names.get(window.app_id)
        if name not in outputs:
            name = self._homes.get(parent) if parent is not None else self._homes.get(window)
        output = outputs.get(name or "") or self.output_at_pointer()
        if output is not None:
            self._homes.setdefault(window, output.name)
        return output

    def _lay_out(self, window: Window) -> None:
        """Gives the window the size and place it should have; also the answer to every request about them."""
        output = self._output_for(window)
        if output is None:
            window.configure()  # all outputs are off: laid out again when one is on
            return
        area = Box(*output.usable)
        parent = window.parent
        if not window.is_dialog:
            fullscreen = self._own_choice.get(window, self._fullscreen_first)
            window.configure(area.width, area.height, fullscreen=fullscreen, maximized=not fullscreen)
        else:
            # Its own size, as far as it fits.
            width = area.width if window.geometry.width > area.width else 0
            height = area.height if window.geometry.height > area.height else 0
            window.configure(width, height)
        over = area
        if window.is_dialog and parent is not None and parent.mapped:
            over = parent.geometry
        box = over.centred(window.geometry.width, window.geometry.height)
        window.place(*area.clamp(box)[:2])

    def _lay_out_all(self) -> None:
        for window in self.windows:
            if window.mapped or window.waiting:
                self._lay_out(window)

    def on_output_new(self, output: Output) -> None:
        self._lay_out_all()

    def on_output_gone(self, output: Output) -> None:
        self._lay_out_all()

    def on_output_changed(self, output: Output) -> None:
        self._lay_out_all()

    def on_window_new(self, window: Window) -> None:
        self._lay_out(window)

    def on_window_parent(self, window: Window) -> None:
        self._lay_out(window)

    def on_window_app_id(self, window: Window) -> None:
        self._lay_out(window)

    def on_window_resized(self, window: Window) -> None:
        self._lay_out(window)

    # ---- who is on top and has the keyboard ----

    def focus_candidate(self) -> Window | None:
        return self._mapped[-1] if self._mapped else None

    def _bring_up(self, window: Window) -> None:
        """On top with its dialogs above it; the newest of those has the keyboard, as it waits for an answer."""
        family = [window]
        for member in self._mapped:
            if member not in family and member.parent in family:
                family.append(member)
        for member in family:
            self._mapped.remove(member)
            self._mapped.append(member)
            member.raise_to_top()
        self.refocus()

    def on_window_map(self, window: Window) -> None:
        self._mapped.append(window)
        self._lay_out(window)
        window.show()
        self._bring_up(window)

    def on_window_unmap(self, window: Window) -> None:
        self._mapped.remove(window)
        self.refocus()

    def on_window_gone(self, window: Window) -> None:
        self._own_choice.pop(window, None)
        self._homes.pop(window, None)

    def on_window_pressed(self, window: Window) -> None:
        self._bring_up(window)

    # ---- requests ----

    def on_window_request_activate(self, window: Window, source: str) -> None:
        if window in self._mapped:
            self._bring_up(window)

    def on_window_request_fullscreen(self, window: Window, on: bool, output: Output | None) -> None:
        self._own_choice[window] = on
        self._lay_out(window)

    def on_window_request_maximize(self, window: Window, on: bool) -> None:
        self._lay_out(window)

    def on_window_request_minimize(self, window: Window, on: bool) -> None:
        if window.is_x11:
            window.set_minimized(False)  # X11 believes it already

    def on_window_request_place(self, window: Window, box: Box) -> None:
        if window.is_dialog:
            window.configure(box.width, box.height)
        else:
            self._lay_out(window)
