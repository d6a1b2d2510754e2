"""Random window operations by a client, a user and a monitor cable: whatever happens, nothing is lost or confused.

After every step, the windows that the policy knows are those that exist, each mapped or not as its client left it; the
keyboard is with a mapped window or with nobody. The compositor itself checks that no ERROR is logged and no policy code
raises.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minicomp.compositor.geometry import Box
from minicomp.testing import client
from minicomp.testing.instance import InProcess, configure
from tests.headless.test_policies import Stage

OPERATIONS = ["open", "commit", "unmap", "remap", "destroy", "popup", "parent", "limits", "title"]
OPERATIONS += ["maximize", "unmaximize", "fullscreen", "unfullscreen", "minimize"]
OPERATIONS += ["click", "key", "drag", "unplug", "plug"]
steps = st.lists(
    st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 5), st.integers(1, 900), st.integers(1, 700)),
    min_size=10,
    max_size=40,
)


class Window:
    """A window of the client's and whether it is mapped."""

    def __init__(self, window: client.Window) -> None:
        self.window = window
        self.mapped = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.window, name)


class Life:
    """One run."""

    def __init__(self, instance: InProcess) -> None:
        self.stage = Stage(instance)
        self.instance = instance
        self.windows: list[Window] = []
        self.outputs = 1

    def do(self, name: str, which: int, width: int, height: int) -> None:
        if name in ("open", "click", "key", "drag", "unplug", "plug"):
            getattr(self, f"_{name}")(width, height)
        elif self.windows:
            getattr(self, f"_{name}")(self.windows[which % len(self.windows)], width, height)
        self.stage.settle()

    def _open(self, width: int, height: int) -> None:
        if len(self.windows) < 6:
            self.windows.append(Window(self.stage.open(f"w{len(self.stage.windows)}", (width, height))))

    def _commit(self, window: Window, width: int, height: int) -> None:
        if window.mapped:
            window.commit(width, height, 0x808080)

    def _unmap(self, window: Window, width: int, height: int) -> None:
        if window.mapped:
            window.surface.attach(None, 0, 0)
            window.surface.commit()
            window.mapped = False

    def _remap(self, window: Window, width: int, height: int) -> None:
        if not window.mapped:
            self.stage.map(window.window, (width, height))
            window.mapped = True

    def _destroy(self, window: Window, width: int, height: int) -> None:
        window.toplevel.destroy()
        window.xdg_surface.destroy()
        window.surface.destroy()
        self.windows.remove(window)

    def _maximize(self, window: Window, width: int, height: int) -> None:
        window.toplevel.set_maximized()

    def _unmaximize(self, window: Window, width: int, height: int) -> None:
        window.toplevel.unset_maximized()

    def _fullscreen(self, window: Window, width: int, height: int) -> None:
        window.toplevel.set_fullscreen(None)

    def _unfullscreen(self, window: Window, width: int, height: int) -> None:
        window.toplevel.unset_fullscreen()

    def _minimize(self, window: Window, width: int, height: int) -> None:
        window.toplevel.set_minimized()

    def _parent(self, window: Window, width: int, height: int) -> None:
        others = [other for other in self.windows if other is not window]
        window.toplevel.set_parent(others[width % len(others)].toplevel if others else None)

    def _limits(self, window: Window, width: int, height: int) -> None:
        window.toplevel.set_min_size(width, height)
        window.toplevel.set_max_size(width, height)

    def _title(self, window: Window, width: int, height: int) -> None:
        window.toplevel.set_title(f"{width} by {height}")

    def _popup(self, window: Window, width: int, height: int) -> None:
        from tests.headless.test_shell_protocols import Popup

        popup = Popup(self.stage, window.xdg_surface, (width, height), (30, 20))
        popup.surface.commit()
        self.stage.settle()
        if popup.box is not None and not popup.done:
            popup.map()

    def _click(self, x: int, y: int) -> None:
        self.stage.inject.click(x, y)

    def _drag(self, x: int, y: int) -> None:
        self.stage.inject.drag((x, y), (y, x))

    def _key(self, which: int, _: int) -> None:
        keys = ("Alt+Tab", "Super+m", "Super+f", "Super+n")
        self.stage.inject.press(keys[which % len(keys)])

    def _unplug(self, connector: int, _: int) -> None:
        if self.outputs:
            self.instance.compositor.unplug(self.outputs)
            self.outputs -= 1

    def _plug(self, width: int, height: int) -> None:
        if self.outputs < 2:
            self.outputs += 1
            self.instance.compositor.plug(width + 100, height + 100, 60000, self.outputs)

    def check(self) -> None:
        dispatcher = self.instance.dispatcher
        known = list(dispatcher.windows)
        assert [window.handle for window in known] == dispatcher.windows.native_handles()
        assert sum(window.mapped for window in self.windows) == sum(window.told_mapped for window in known)
        for window in known:
            assert window.refresh()
            assert window.mapped == window.told_mapped
            assert window.mapped or not window.activated
        focused = self.instance.policy.focused_window()
        assert focused is None or focused.mapped
        assert len(dispatcher.outputs) == self.outputs
        shown = [window for window in known if window.shown]
        screens = [Box(*output.box) for output in self.instance.policy.outputs]
        for window in shown if screens else []:
            assert any(screen.overlap(window.geometry) for screen in screens), f"{window} is on no output"
        assert bool(shown) == (focused is not None), "a window is shown, and none has the keyboard"


@pytest.mark.parametrize("policy", ["kiosk", "stacking"])
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=steps)
def test_random_operations(policy: str, steps: list[tuple[str, int, int, int]]) -> None:
    bindings: tuple[Any, ...] = (
        {"keys": "Alt+Tab", "action": "focus-next"},
        {"keys": "Super+m", "action": "maximize"},
        {"keys": "Super+f", "action": "fullscreen"},
        {"keys": "Super+n", "action": "minimize"},
    )
    with InProcess(configure(policy__name=policy, binding=bindings, headless__outputs=["800x600@240"])) as instance:
        life = Life(instance)
        try:
            for step in [("open", 0, 300, 200)] * 3 + steps:
                life.do(*step)
                life.check()
        finally:
            life.stage.client.close()
